import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../testing/mount.ts';
import './claw-approval-list.ts';

afterEach(() => vi.unstubAllGlobals());

const approval = {
  id: 'a1',
  command: "rm -rf 'a b'",
  cwd: '/srv',
  envKeys: ['LANG'],
  nodeId: 'n1',
  nodeName: 'build box',
  agentId: 'main',
  sessionKey: 'agent:main:main',
  warning: null,
  decisions: ['allow-once', 'deny'],
  createdAt: Date.now(),
  expiresAt: Date.now() + 120_000,
};

it('shows a command when it is asked about, and decides it once', async () => {
  let open: unknown[] = [];
  const server = fakeServer({
    'GET /api/approvals': () => ({ body: { approvals: open } }),
    'POST /api/approvals/a1': () => {
      open = [];
      return { status: 204 };
    },
  });
  const { socket, shell } = await mount('claw-approval-list');
  await vi.waitFor(() => expect(server.of('GET /api/approvals')).toHaveLength(1));
  expect(page.getByText('build box').query()).toBeNull();
  open = [approval];
  socket.event('exec.approval.requested', { id: 'a1' });
  await expect.element(page.getByText("rm -rf 'a b'")).toBeVisible();
  await expect.element(page.getByText('build box')).toBeVisible();
  expect(page.getByRole('button', { name: /Always/ }).query()).toBeNull();
  await expectAccessible();
  await page.getByRole('button', { name: /Allow once/ }).click();
  await vi.waitFor(() => expect(shell.toast).toHaveBeenCalled());
  expect(server.of('POST /api/approvals/a1').map(({ body }) => body)).toEqual([{ decision: 'allow-once' }]);
  await vi.waitFor(() => expect(page.getByText('build box').query()).toBeNull());
});

it('forgets what the clock denied', async () => {
  const late = { ...approval, expiresAt: Date.now() + 1_500 };
  fakeServer({ 'GET /api/approvals': () => ({ body: { approvals: [late] } }) });
  await mount('claw-approval-list');
  await expect.element(page.getByText('build box')).toBeVisible();
  await vi.waitFor(() => expect(page.getByText('build box').query()).toBeNull(), { timeout: 10_000 });
});
