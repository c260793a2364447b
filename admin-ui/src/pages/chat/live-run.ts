/** A reply in the making, fed by `chat` and `agent` events. */
import { blocksText } from './transcript.ts';
import type { AssistantItem, ToolView } from './transcript.ts';

export class LiveRun {
  /** Replaced on every change, so that it can be compared by identity. */
  item: AssistantItem;

  constructor(runId: string) {
    this.item = {
      kind: 'assistant',
      key: `run-${runId}`,
      at: Date.now(),
      text: '',
      thinking: '',
      tools: [],
      state: 'live',
    };
  }

  setPhase(phase: string | undefined): void {
    this.item = { ...this.item, ...(phase !== undefined && { phase }) };
  }

  /** The text so far; what the server sends with each delta. */
  setText(text: string): void {
    this.item = { ...this.item, text };
  }

  append(text: string, replace: boolean): void {
    this.setText(replace ? text : this.item.text + text);
  }

  onTool(data: Record<string, unknown>): void {
    const id = data['toolCallId'];
    if (typeof id !== 'string') return;
    const before = this.item.tools.find((tool) => tool.id === id);
    const tool: ToolView = {
      id,
      name: typeof data['name'] === 'string' ? data['name'] : (before?.name ?? 'tool'),
      arguments: data['args'] ?? before?.arguments,
      state: data['phase'] === 'result' ? (data['isError'] === true ? 'failed' : 'done') : 'running',
    };
    const result = resultText(data['result'] ?? data['partialResult']) ?? before?.result;
    if (result !== undefined) tool.result = result;
    const tools = before
      ? this.item.tools.map((existing) => (existing.id === id ? tool : existing))
      : [...this.item.tools, tool];
    this.item = { ...this.item, tools };
  }
}

function resultText(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  const content = (value as { content?: unknown }).content;
  const text = blocksText(content);
  return text === '' ? JSON.stringify(value, null, 2) : text;
}
