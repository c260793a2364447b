import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount, session } from '../../../testing/mount.ts';
import './claw-page-account.ts';

afterEach(() => vi.unstubAllGlobals());

async function fill(password: string, repeat = password) {
  await page.getByLabelText('New password', { exact: true }).fill(password);
  await page.getByLabelText('Repeat the new password').fill(repeat);
}

it('sets a first password, and from then on changes it', async () => {
  const server = fakeServer({ 'PUT /api/session/password': () => ({ status: 204 }) });
  await mount('claw-page-account');
  await fill('correct horse', 'correct horsE');
  await page.getByRole('button', { name: 'Set password' }).click();
  await expect.element(page.getByText('The two passwords differ.')).toBeVisible();
  expect(server.calls).toEqual([]);
  await fill('correct horse');
  await page.getByRole('button', { name: 'Set password' }).click();
  await expect.element(page.getByRole('button', { name: 'Change password' })).toBeVisible();
  expect(server.calls[0]?.body).toEqual({ password: 'correct horse' });
  await expectAccessible();
});

it('asks for the present password when the server wants it', async () => {
  const refused = { status: 403, body: { error: { code: 'FORBIDDEN', message: 'x' } } };
  let answer: { status: number; body?: unknown } = refused;
  const server = fakeServer({ 'PUT /api/session/password': () => answer });
  await mount('claw-page-account');
  await fill('another horse');
  await page.getByRole('button', { name: 'Set password' }).click();
  const current = page.getByLabelText('Present password');
  await expect.element(page.getByText('You signed in a while ago: give your present password too.')).toBeVisible();
  await current.fill('wrong horse');
  await page.getByRole('button', { name: 'Change password' }).click();
  await expect.element(page.getByText('The present password is not right.')).toBeVisible();
  await expectAccessible();
  answer = { status: 204 };
  await current.fill('correct horse');
  await page.getByRole('button', { name: 'Change password' }).click();
  await expect.element(current).toHaveValue('');
  expect(server.calls.at(-1)?.body).toEqual({ password: 'another horse', currentPassword: 'correct horse' });
});

it('shows the time zone, suggests that of the browser, and saves another', async () => {
  let status = 400;
  const server = fakeServer({ 'PATCH /api/session/profile': () => ({ status, body: {} }) });
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const { shell } = await mount('claw-page-account');
  const zone = page.getByLabelText('Time zone');
  await expect.element(zone).toHaveValue('Europe/Vienna');
  await expect.element(page.getByText(`This browser is in ${here}.`)).toBeVisible();
  await zone.fill('Mars/North');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect.element(page.getByText('There is no such time zone. Choose one from the list.')).toBeVisible();
  expect(shell.refreshSession).not.toHaveBeenCalled();
  await expectAccessible();
  status = 200;
  await zone.fill('Asia/Tokyo');
  await page.getByRole('button', { name: 'Save' }).click();
  await vi.waitFor(() => expect(shell.toast).toHaveBeenCalledWith('Time zone saved'));
  expect(shell.refreshSession).toHaveBeenCalledOnce();
  expect(server.calls.map(({ body }) => body)).toEqual([{ timeZone: 'Mars/North' }, { timeZone: 'Asia/Tokyo' }]);
});

it('suggests the time zone of the browser where none is chosen', async () => {
  await mount('claw-page-account', [], { user: { ...session.user, timeZone: null } });
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  await expect.element(page.getByLabelText('Time zone')).toHaveValue(here);
});
