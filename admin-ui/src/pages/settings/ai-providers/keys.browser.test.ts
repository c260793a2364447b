import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../../testing/mount.ts';
import './claw-page-providers.ts';

afterEach(() => vi.unstubAllGlobals());

const openai = {
  id: 'openai',
  api: 'openai-completions',
  baseUrl: 'https://api.openai.com/v1',
  enabled: true,
  keySet: true,
  keys: [
    { name: 'default', lastUsedAt: Date.now() - 60_000 },
    { name: 'backup', restsUntil: Date.now() + 3_600_000, reason: 'billing' },
  ],
  keyOrder: [] as string[],
  models: [{ id: 'gpt-5-mini' }],
};

function serve() {
  const state = { provider: openai };
  const change = (change: Partial<typeof openai>) => () => {
    state.provider = { ...state.provider, ...change };
    return { body: state.provider };
  };
  const server = fakeServer({
    'GET /api/providers': () => ({ body: { providers: [state.provider], apis: ['openai-completions'] } }),
    'GET /api/models': () => ({ body: { models: [] } }),
    'PUT /api/providers/openai/keys/work': change({ keys: [...openai.keys, { name: 'work', lastUsedAt: 0 }] }),
    'PUT /api/providers/openai/key-order': change({ keyOrder: ['backup', 'default'] }),
    'POST /api/providers/openai/keys/backup/retry': change({ keys: openai.keys.map(({ name }) => ({ name, lastUsedAt: 0 })) }),
    'DELETE /api/providers/openai/keys/backup': () => ({ status: 204 }),
  });
  return server;
}

it('shows which key rests, until when and why, and tries it again', async () => {
  const server = serve();
  await mount('claw-page-providers');
  await expect.element(page.getByText('1 of 2 keys resting')).toBeVisible();
  await page.getByRole('button', { name: 'Keys of openai' }).click();
  await expect.element(page.getByText('no credit left')).toBeVisible();
  await expect.element(page.getByText('Resting until', { exact: false })).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Try again now: backup' }).click();
  await vi.waitFor(() => expect(page.getByText('no credit left').query()).toBeNull());
  expect(server.of('POST /api/providers/openai/keys/backup/retry')).toHaveLength(1);
  await expectAccessible();
});

it('adds, orders and removes keys', async () => {
  const server = serve();
  await mount('claw-page-providers');
  await page.getByRole('button', { name: 'Keys of openai' }).click();
  await page.getByRole('button', { name: 'Add a key' }).click();
  await expect.element(page.getByText('A label has letters', { exact: false })).toBeVisible();
  await page.getByLabelText('Label').fill('backup');
  await expect.element(page.getByText('There is a key backup already', { exact: false })).toBeVisible();
  await page.getByLabelText('Label').fill('work');
  await page.getByLabelText('API key').fill('sk-2');
  await page.getByRole('button', { name: 'Add a key' }).click();
  await expect.element(page.getByRole('button', { name: 'Remove key work' })).toBeVisible();
  expect(server.of('PUT /api/providers/openai/keys/work')[0]?.body).toEqual({ apiKey: 'sk-2' });
  await page.getByRole('button', { name: 'Move backup up' }).click();
  await expect.element(page.getByText('Order: from top to bottom', { exact: false })).toBeVisible();
  expect(server.of('PUT /api/providers/openai/key-order')[0]?.body).toEqual({ order: ['backup', 'default', 'work'] });
  // What the order leaves out is never used, and says so.
  await expect.element(page.getByText('Not in the order')).toBeVisible();
  await page.getByRole('button', { name: 'Remove key backup' }).click();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await vi.waitFor(() => expect(server.of('DELETE /api/providers/openai/keys/backup')).toHaveLength(1));
});
