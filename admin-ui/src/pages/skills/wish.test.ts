import { expect, it } from 'vitest';
import { wishOf } from './wish.ts';

it.each([
  [' https://x.example/a.zip ', 'skills/tea', 'https://hub.test', { url: 'https://x.example/a.zip', folder: 'skills/tea' }],
  ['https://x.example/a.zip', '', '', { url: 'https://x.example/a.zip' }],
  ['@ada/tea', 'ignored', 'https://hub.test', { slug: '@ada/tea' }],
  ['https://hub.test/ada/tea', '', 'https://hub.test', { slug: 'https://hub.test/ada/tea' }],
  ['https://hub.test/files/a.tar.gz?x=1', '', 'https://hub.test', { url: 'https://hub.test/files/a.tar.gz?x=1' }],
  ['https://hub.test.evil/ada/tea', '', 'https://hub.test', { url: 'https://hub.test.evil/ada/tea' }],
  ['tea', '', '', undefined],
  ['two words', '', 'https://hub.test', undefined],
  ['  ', '', 'https://hub.test', undefined],
])('reads %j', (typed, folder, registry, wish) => {
  expect(wishOf(typed, folder, registry)).toEqual(wish);
});
