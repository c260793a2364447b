import { describe, expect, it, vi } from 'vitest';
import './claw-markdown.ts';
import { renderMarkdown } from './markdown.ts';

const parsed = (source: string) => {
  const holder = document.createElement('div');
  holder.innerHTML = renderMarkdown(source);
  return holder;
};

describe('renderMarkdown', () => {
  it('renders what people write', () => {
    const html = parsed('# Title\n\n- **bold** and `code`\n\n| a | b |\n| - | - |\n| 1 | 2 |\n\n```js\nlet x = "<b>";\n```');
    expect(html.querySelector('h3')?.textContent).toBe('Title');
    expect(html.querySelector('li strong')?.textContent).toBe('bold');
    expect(html.querySelectorAll('td')).toHaveLength(2);
    expect(html.querySelector('pre code')?.textContent).toBe('let x = "<b>";\n');
  });

  it.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<iframe src="https://evil.example"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '<svg><script>alert(1)</script></svg>',
    '<form action="https://evil.example"><input name=p></form>',
    '<style>*{display:none}</style>',
    '[x](javascript:alert(1))',
    '[x](JaVaScRiPt:alert(1))',
    '[x](data:text/html,<script>alert(1)</script>)',
    '![x](https://evil.example/pixel.png?secret)',
    '![x" onerror="alert(1)](https://evil.example)',
    '[a](https://ok.example"onmouseover="alert(1))',
    '[a](//evil.example)',
    '[a](/\\\\evil.example)',
    '[a](/#sign-in=code)',
    '[a](</\t/evil.example>)',
    '```"><img src=x onerror=alert(1)>\ncode\n```',
  ])('makes %s harmless', (source) => {
    const html = parsed(source);
    expect(html.querySelector('script, img, iframe, svg, form, input, style, object, embed')).toBeNull();
    for (const element of html.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        expect(name).not.toMatch(/^on|^style$|^id$|^class$/);
        if (name !== 'href') continue;
        const { protocol, origin, hash } = new URL(value, 'https://here.example');
        expect(['https:', 'mailto:', 'tel:']).toContain(protocol);
        if (value.startsWith('/')) expect({ origin, hash }).toEqual({ origin: 'https://here.example', hash: '' });
      }
    }
  });

  it('turns an image into a link that is not followed by itself', () => {
    const anchor = parsed('![chart](https://cdn.example/c.png)').querySelector('a');
    expect(anchor?.textContent).toBe('chart');
    expect(anchor?.rel).toBe('noopener noreferrer');
    expect(anchor?.target).toBe('_blank');
  });

  it('leads to pages of the application in the same window', () => {
    const anchor = parsed('[Settings](/settings/ai-providers)').querySelector('a');
    expect(anchor?.getAttribute('href')).toBe('/settings/ai-providers');
    expect(anchor?.target).toBe('');
  });

  it('shows a very long text without parsing it', () => {
    const started = '**x** '.repeat(40_000);
    expect(parsed(started).querySelector('strong')).toBeNull();
    expect(parsed(started).textContent).toBe(started);
  });
});

it('shows no raw end of a link while a text arrives', async () => {
  const element = document.createElement('claw-markdown');
  Object.assign(element, { text: 'See [the docs](https://docs.exa', streaming: true });
  document.body.replaceChildren(element);
  await element.updateComplete;
  const shown = () => element.shadowRoot?.textContent?.trim();
  expect(shown()).toBe('See the docs');
  Object.assign(element, { text: 'See [the docs](https://docs.example.com).', streaming: false });
  await vi.waitFor(() => expect(element.shadowRoot?.querySelector('a')?.href).toBe('https://docs.example.com/'));
  expect(shown()).toBe('See the docs.');
});
