/**
 * The one way from Markdown (people's and models' words) to HTML.
 *
 * Raw HTML in the source is shown as text. Images become links: loading one would tell a foreign host that, and what,
 * somebody reads. DOMPurify is the second line behind both.
 */
import DOMPurify from 'dompurify';
import { Marked } from 'marked';
import type { Tokens } from 'marked';

const TAGS = [
  ...['a', 'p', 'br', 'hr', 'em', 'strong', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li'],
  ...['h3', 'h4', 'h5', 'h6', 'table', 'thead', 'tbody', 'tr', 'th', 'td'],
];
const ATTRIBUTES = ['href', 'title', 'target', 'rel', 'align', 'start', 'tabindex'];
const EXTERNAL_LINK = /^(?:https?:|mailto:|tel:)/i;
/** A page of this application. Neither `//host` nor `/\host`, and no fragment: that is where sign-in codes travel. */
const PAGE_LINK = /^\/(?:[\w-][\w\-./?=&%:]*)?$/;
const SAFE_LINK = new RegExp(`${EXTERNAL_LINK.source}|${PAGE_LINK.source}`, 'i');
/** Longer texts are shown as they are: parsing them on every streamed word would stall the page. */
const MAX_CHARS = 200_000;

const marked = new Marked({ gfm: true, breaks: true, async: false });
marked.use({
  renderer: {
    html({ text }: Tokens.HTML | Tokens.Tag) {
      return escapeHtml(text);
    },
    image({ href, text }: Tokens.Image) {
      return link(href, escapeHtml(text || href));
    },
    link({ href, tokens }: Tokens.Link) {
      return link(href, this.parser.parseInline(tokens));
    },
    heading({ tokens, depth }: Tokens.Heading) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
    code({ text }: Tokens.Code) {
      // Focusable, because a wide block scrolls sideways.
      return `<pre tabindex="0"><code>${escapeHtml(text)}\n</code></pre>\n`;
    },
    checkbox({ checked }: Tokens.Checkbox) {
      return checked ? '[x] ' : '[ ] ';
    },
  },
});

/** HTML that is safe to insert. */
export function renderMarkdown(source: string): string {
  if (source.length > MAX_CHARS) return `<pre tabindex="0"><code>${escapeHtml(source)}</code></pre>`;
  return DOMPurify.sanitize(marked.parse(source, { async: false }), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOWED_URI_REGEXP: SAFE_LINK,
    // The pattern above is meant for `href` alone.
    ADD_URI_SAFE_ATTR: ATTRIBUTES.filter((name) => name !== 'href'),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}

function link(href: string, label: string): string {
  if (PAGE_LINK.test(href)) return `<a href="${escapeHtml(href)}">${label}</a>`;
  if (!EXTERNAL_LINK.test(href)) return label;
  return `<a href="${escapeHtml(href)}" target="_blank" rel="noopener noreferrer">${label}</a>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
