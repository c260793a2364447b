import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../../testing/mount.ts';
import './claw-page-members.ts';

afterEach(() => vi.unstubAllGlobals());

const people = () => [
  { id: 'u1', email: 'ada@acme.test', name: 'Ada', role: 'owner', disabled: false, createdAt: Date.now() },
  { id: 'u2', email: 'bob@acme.test', name: 'Bob', role: 'admin', disabled: false, createdAt: Date.now() },
  { id: 'u3', email: 'eve@acme.test', name: 'Eve', role: 'owner', disabled: false, createdAt: Date.now() },
];

it('disables a member after asking, and enables them again', async () => {
  const users = people();
  const server = fakeServer({
    'GET /api/users': () => ({ body: { users } }),
    'PATCH /api/users/u2': (body) => {
      users[1]!.disabled = (body as { disabled: boolean }).disabled;
      return { body: users[1] };
    },
  });
  const { shell } = await mount('claw-page-members');
  await page.getByRole('button', { name: 'Disable bob@acme.test' }).click();
  await expect.element(page.getByText('They are signed out at once')).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  expect(server.of('PATCH /api/users/u2')).toHaveLength(0);
  await page.getByRole('button', { name: 'Disable bob@acme.test' }).click();
  await page.getByRole('button', { name: 'Disable', exact: true }).click();
  await expect.element(page.getByText('Disabled', { exact: true })).toBeVisible();
  await expectAccessible();
  expect(shell.toast).toHaveBeenLastCalledWith('bob@acme.test is disabled');
  await page.getByRole('button', { name: 'Enable bob@acme.test' }).click();
  await expect.element(page.getByRole('button', { name: 'Disable bob@acme.test' })).toBeVisible();
  expect(page.getByText('Disabled', { exact: true }).query()).toBeNull();
  expect(server.of('PATCH /api/users/u2').map(({ body }) => body)).toEqual([{ disabled: true }, { disabled: false }]);
});

it('offers nobody themselves or somebody above them', async () => {
  fakeServer({ 'GET /api/users': () => ({ body: { users: people() } }) });
  await mount('claw-page-members', [], { user: { id: 'u2', email: 'bob@acme.test', name: 'Bob', role: 'admin', timeZone: null } });
  await expect.element(page.getByText('eve@acme.test')).toBeVisible();
  expect(page.getByRole('button', { name: /Disable/ }).query()).toBeNull();
});

it('says why it did not work', async () => {
  fakeServer({
    'GET /api/users': () => ({ body: { users: people() } }),
    'PATCH /api/users/u3': () => ({ status: 409, body: { error: { code: 'conflict', message: 'the last owner' } } }),
  });
  const { shell } = await mount('claw-page-members');
  await page.getByRole('button', { name: 'Disable eve@acme.test' }).click();
  await page.getByRole('button', { name: 'Disable', exact: true }).click();
  await vi.waitFor(() => expect(shell.toastError).toHaveBeenCalledOnce());
  await expect.element(page.getByRole('button', { name: 'Disable eve@acme.test' })).toBeEnabled();
});
