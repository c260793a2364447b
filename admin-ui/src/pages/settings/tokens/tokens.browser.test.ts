import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../../testing/mount.ts';
import './claw-page-tokens.ts';

afterEach(() => vi.unstubAllGlobals());

const laptop = { id: 't1', name: 'Laptop', scopes: [], createdAt: Date.now(), lastUsedAt: null };

it('shows a new token once', async () => {
  const tokens = [laptop];
  const server = fakeServer({
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
