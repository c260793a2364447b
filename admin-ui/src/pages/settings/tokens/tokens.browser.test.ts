import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../../testing/mount.ts';
import './claw-page-tokens.ts';

afterEach(() => vi.unstubAllGlobals());

const hooks = {
  hookTokens: [{ id: 'h1', name: 'Alarm', hook: 'wake', createdAt: Date.now(), lastUsedAt: null }],
  enabled: true,
  hooks: [
    { name: 'wake', path: 'wake', action: 'wake' },
    { name: 'agent', path: 'agent', action: 'agent' },
    { name: 'github', path: 'gh/push', action: 'agent' },
  ],
};
const noHooks = { 'GET /api/hook-tokens': () => ({ body: { ...hooks, hookTokens: [] } }) };
const laptop = { id: 't1', name: 'Laptop', scopes: [], createdAt: Date.now(), lastUsedAt: null };

it('shows a new token once', async () => {
  const tokens = [laptop];
  const server = fakeServer({
    ...noHooks,
    'GET /api/tokens': () => ({ body: { tokens } }),
    'POST /api/tokens': () => {
      const created = { ...laptop, id: 't2', name: 'Phone' };
      tokens.push(created);
      return { status: 201, body: { ...created, token: 'claw_secret' } };
    },
  });
  await mount('claw-page-tokens');
  await expect.element(page.getByText('Laptop')).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Create token' }).click();
  await page.getByLabelText('Name').fill('Phone');
  await page.getByLabelText('Access').selectOptions('Read only');
  await expectAccessible();
  await page.getByRole('button', { name: 'Create token' }).last().click();
  await expect.element(page.getByText('claw_secret')).toBeVisible();
  await expectAccessible();
  expect(server.of('POST /api/tokens')[0]?.body).toEqual({ name: 'Phone', scopes: ['operator.read'] });
  await page.getByRole('button', { name: 'Done' }).click();
  await expect.element(page.getByText('Phone')).toBeVisible();
  expect(page.getByText('claw_secret').query()).toBeNull();
});

it('asks before it revokes', async () => {
  const server = fakeServer({
    ...noHooks,
    'GET /api/tokens': () => ({ body: { tokens: server?.of('DELETE /api/tokens/t1').length ? [] : [laptop] } }),
    'DELETE /api/tokens/t1': () => ({ status: 204 }),
  }) as ReturnType<typeof fakeServer> | undefined;
  await mount('claw-page-tokens');
  await page.getByRole('button', { name: 'Revoke Laptop' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  expect(server!.of('DELETE /api/tokens/t1')).toHaveLength(0);
  await page.getByRole('button', { name: 'Revoke Laptop' }).click();
  await page.getByRole('button', { name: 'Revoke', exact: true }).click();
  await expect.element(page.getByText('No tokens yet')).toBeVisible();
});

it('offers a second try when loading fails', async () => {
  let broken = true;
  fakeServer({
    ...noHooks,
    'GET /api/tokens': () =>
      broken
        ? { status: 500, body: { error: { code: 'INTERNAL', message: 'it broke', errorId: 'e-7' } } }
        : { body: { tokens: [] } },
  });
  await mount('claw-page-tokens');
  await expect.element(page.getByRole('alert')).toHaveTextContent('It broke. Reference for support: e-7');
  await expectAccessible();
  broken = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await expect.element(page.getByText('No tokens yet')).toBeVisible();
});

it('shows a hook token once, with where and how to call it', async () => {
  const server = fakeServer({
    'GET /api/tokens': () => ({ body: { tokens: [] } }),
    'GET /api/hook-tokens': () => ({ body: hooks }),
    'POST /api/hook-tokens': () => ({
      status: 201,
      body: { ...hooks.hookTokens[0], id: 'h2', name: 'GitHub', hook: 'github', token: 'hook_secret' },
    }),
    'DELETE /api/hook-tokens/h1': () => ({ status: 204 }),
  });
  await mount('claw-page-tokens');
  await expect.element(page.getByText('Alarm')).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Create hook token' }).click();
  await page.getByLabelText('Name').fill('GitHub');
  await page.getByLabelText('Opens').selectOptions('github (your own hook, agent)');
  await expectAccessible();
  await page.getByRole('button', { name: 'Create hook token' }).last().click();
  await expect.element(page.getByText(`${location.origin}/hooks/gh/push`, { exact: true })).toBeVisible();
  await expect.element(page.getByText("-H 'Authorization: Bearer hook_secret'")).toBeVisible();
  await expectAccessible();
  expect(server.of('POST /api/hook-tokens')[0]?.body).toEqual({ name: 'GitHub', hook: 'github' });
  await page.getByRole('button', { name: 'Done' }).click();
  expect(page.getByText('hook_secret').query()).toBeNull();
  await page.getByRole('button', { name: 'Revoke Alarm' }).click();
  await page.getByRole('button', { name: 'Revoke', exact: true }).click();
  await vi.waitFor(() => expect(server.of('DELETE /api/hook-tokens/h1')).toHaveLength(1));
});

it('says when hooks are switched off', async () => {
  fakeServer({
    'GET /api/tokens': () => ({ body: { tokens: [] } }),
    'GET /api/hook-tokens': () => ({ body: { ...hooks, enabled: false } }),
  });
  await mount('claw-page-tokens');
  await expect.element(page.getByText('Hooks are switched off', { exact: false })).toBeVisible();
});
