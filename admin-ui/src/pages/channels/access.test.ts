import { expect, it } from 'vitest';
import { parseSenders, readAccess, writeAccess } from './access.ts';

it('reads what is missing as closed', () => {
  expect(readAccess(undefined)).toEqual({ direct: 'pairing', group: 'allowlist', allowFrom: [] });
  expect(readAccess({ dmPolicy: 'surprise', allowFrom: 'x' })).toEqual({
    direct: 'pairing',
    group: 'allowlist',
    allowFrom: [],
  });
});

it('says "everyone" twice, and takes it back', () => {
  const open = writeAccess({ streaming: true }, { direct: 'open', group: 'disabled', allowFrom: ['7'] });
  expect(open).toEqual({ streaming: true, dmPolicy: 'open', groupPolicy: 'disabled', allowFrom: ['*', '7'] });
  expect(readAccess(open)).toEqual({ direct: 'open', group: 'disabled', allowFrom: ['7'] });
  expect(writeAccess(open, { direct: 'pairing', group: 'allowlist', allowFrom: [] })).toEqual({ streaming: true });
});

it('takes ids as people type them', () => {
  expect(parseSenders(' 12, 34\n@ada;12 * ')).toEqual(['12', '34', '@ada']);
});
