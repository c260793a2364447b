import { describe, expect, it } from 'vitest';
import { settled } from './markdown-tail.ts';

describe('settled', () => {
  it.each([
    ['See [the do', 'See '],
    ['See [the docs]', 'See the docs'],
    ['See [the docs](', 'See the docs'],
    ['See [the docs](https://docs.example.com/pa', 'See the docs'],
    ['See [a [b] c](https://x', 'See a [b] c'],
    ['![a chart](https://cdn', 'a chart'],
    ['![a ch', ''],
    ['At <https://docs.exam', 'At '],
    ['One [whole](https://x.example), and [anoth', 'One [whole](https://x.example), and '],
    ['line\n- [item', 'line\n- '],
  ])('holds back the end of %j', (text, shown) => {
    expect(settled(text)).toBe(shown);
  });

  it.each([
    'See [the docs](https://docs.example.com).',
    'an array a[0] = 1',
    'in `code [x`',
    'in `code [x',
    '```js\nconst a = [1, 2',
    'escaped \\[x',
    `[${'x'.repeat(400)}`,
    '[not a link\nnext line',
    '1 < 2',
    '',
  ])('leaves %j', (text) => {
    expect(settled(text)).toBe(text);
  });

  it('shows the whole in the end, whatever came before', () => {
    const whole = 'See [the docs](https://docs.example.com) and [more](/x).';
    for (let end = 1; end < whole.length; end += 1) {
      expect(settled(whole.slice(0, end))).not.toMatch(/\]\((?![^)]*\))/);
    }
    expect(settled(whole)).toBe(whole);
  });
});
