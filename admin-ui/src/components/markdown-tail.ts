/** What of a Markdown text that is still arriving can be shown. */

/** Longer ones are shown as they are: they are no links any more. */
const LONGEST_LABEL = 300;
const LONGEST_ADDRESS = 2_000;

/**
 * The text without the raw end of a link: `[label` waits for its end, of `[label](https://…` only the label is shown.
 * Code is left alone.
 */
export function settled(text: string): string {
  const start = text.lastIndexOf('\n') + 1;
  const line = text.slice(start);
  if (inFence(text.slice(0, start), line)) return text;
  const angle = /<https?:[^\s>]*$/.exec(line);
  if (angle && !inCode(line, angle.index)) return text.slice(0, start + angle.index);
  const open = openBracket(line);
  if (open < 0 || inCode(line, open)) return text;
  const before = text.slice(0, start + (line[open - 1] === '!' ? open - 1 : open));
  const close = closingBracket(line, open);
  if (close < 0) return line.length - open > LONGEST_LABEL ? text : before;
  const rest = line.slice(close + 1);
  if (rest !== '' && (!rest.startsWith('(') || rest.includes(')') || rest.length > LONGEST_ADDRESS)) return text;
  return before + line.slice(open + 1, close);
}

function inFence(before: string, line: string): boolean {
  const fences = before.match(/^ {0,3}(?:```|~~~)/gm) ?? [];
  return fences.length % 2 === 1 || /^ {0,3}(?:```|~~~)/.test(line);
}

function inCode(line: string, at: number): boolean {
  return (line.slice(0, at).match(/`/g) ?? []).length % 2 === 1;
}

/** Where the last link of the line that may be unfinished begins; brackets inside its label are part of it. */
function openBracket(line: string): number {
  let depth = 0;
  const end = /\]\([^)]*$/.exec(line)?.index;
  for (let at = (end ?? line.length) - 1; at >= 0; at -= 1) {
    if (line[at - 1] === '\\') continue;
    if (line[at] === ']' && !(end === undefined && at === line.length - 1)) depth += 1;
    if (line[at] !== '[') continue;
    if (depth === 0) return at;
    depth -= 1;
  }
  return -1;
}

function closingBracket(line: string, open: number): number {
  let depth = 0;
  for (let at = open; at < line.length; at += 1) {
    if (line[at - 1] === '\\') continue;
    if (line[at] === '[') depth += 1;
    if (line[at] === ']') depth -= 1;
    if (depth === 0) return at;
  }
  return -1;
}
