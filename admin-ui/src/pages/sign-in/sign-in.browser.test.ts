import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { ApiError } from '../../api/http.ts';
import { expectAccessible, fakeServer, mount, session } from '../../testing/mount.ts';
import type { Session } from '../../api/session.ts';
import type { ClawPageSignIn } from './claw-page-sign-in.ts';
import './claw-page-sign-in.ts';

afterEach(() => vi.unstubAllGlobals());

async function submit(email: string, password: string) {
  await page.getByLabelText('E-mail address').fill(email);
  await page.getByLabelText('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

it('signs in with e-mail and password', async () => {
  const server = fakeServer({ 'POST /api/session': () => ({ body: session }) });
  const { element } = await mount<ClawPageSignIn>('claw-page-sign-in');
  const signedIn = vi.fn();
  element.addEventListener('claw-signed-in', (event) => void signedIn((event as CustomEvent<Session>).detail));
  await expectAccessible();
  await submit(' ada@acme.test ', 'secret');
  await vi.waitFor(() => expect(signedIn).toHaveBeenCalledExactlyOnceWith(session));
  expect(server.calls[0]?.body).toEqual({ email: 'ada@acme.test', password: 'secret' });
});

it('says that the password is wrong, and that there were too many attempts', async () => {
  let status = 401;
  fakeServer({ 'POST /api/session': () => ({ status, body: { error: { code: 'X', message: 'x' } } }) });
  await mount('claw-page-sign-in');
  await submit('ada@acme.test', 'nope');
  await expect.element(page.getByText('The e-mail address or the password is not right.')).toBeVisible();
  await expectAccessible();
  status = 429;
  await submit('ada@acme.test', 'nope');
  await expect.element(page.getByText('Too many attempts')).toBeVisible();
});

it('says that a sign-in link has expired', async () => {
  const { element } = await mount<ClawPageSignIn>('claw-page-sign-in');
  element.problem = new ApiError(401, 'UNAUTHORIZED', 'unknown code');
  await expect.element(page.getByText('This sign-in link has expired')).toBeVisible();
});
