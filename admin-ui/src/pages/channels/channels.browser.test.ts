import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount, session } from '../../testing/mount.ts';
import './claw-page-channels.ts';

afterEach(() => vi.unstubAllGlobals());

const telegram = {
  id: 'telegram',
  path: 'telegram',
  label: 'Telegram',
  defaultApiBase: 'https://api.telegram.org',
  provesSender: true,
  secrets: [
    { name: 'botToken', envName: 'X', label: 'Bot token', help: 'From BotFather.', required: true, generated: false },
    { name: 'webhookSecret', envName: 'Y', label: 'Webhook secret', help: '', required: true, generated: true },
  ],
};
const account = {
  channel: 'telegram',
  accountId: 'default',
  owner: 'u1',
  enabled: true,
  status: 'error',
  statusDetail: 'The token was revoked.',
  identity: { username: '@bot' },
  secretsSet: ['botToken'],
  config: { streaming: true },
  webhookUrl: 'https://acme.example.com/webhooks/telegram',
};

function routes(accounts: unknown[]) {
  return {
    'GET /api/channels': () => ({ body: { channels: [telegram], accounts } }),
    'GET /api/users': () => ({ body: { users: [session.user] } }),
    'GET /api/pairing': () => ({ body: { requests: [] } }),
  };
}

it('connects a channel with the fields of its manifest', async () => {
  const accounts: unknown[] = [];
  const server = fakeServer({
    ...routes(accounts),
    'PUT /api/channels/telegram/default': () => {
      accounts.push({ ...account, status: 'connected', statusDetail: null });
      return { body: { account: accounts[0], warnings: [] } };
    },
  });
  const { shell } = await mount('claw-page-channels');
  await expect.element(page.getByText('No channels yet')).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Connect a channel' }).click();
  await page.getByLabelText('Platform').selectOptions('Telegram');
  expect(page.getByLabelText('Webhook secret').query()).toBeNull();
  await page.getByLabelText('Bot token').fill('12:ab');
  await expectAccessible();
  await page.getByRole('button', { name: 'Save and connect' }).click();
  await expect.element(page.getByText('https://acme.example.com/webhooks/telegram')).toBeVisible();
  expect(server.of('PUT /api/channels/telegram/default')[0]?.body).toEqual({
    enabled: true,
    config: {},
    secrets: { botToken: '12:ab' },
  });
  expect(shell.toast).toHaveBeenCalledWith('Telegram is connected.');
});

it('keeps stored secrets and unknown settings when a channel is edited', async () => {
  const server = fakeServer({
    ...routes([account]),
    'PUT /api/channels/telegram/default': () => ({ body: { account, warnings: ['Privacy mode is on.'] } }),
  });
  await mount('claw-page-channels');
  await expect.element(page.getByText('The token was revoked.')).toBeVisible();
  await page.getByRole('button', { name: 'Edit Telegram' }).click();
  const input = page.getByLabelText('Bot token');
  await expect.element(input).toHaveValue('');
  await expect.element(page.getByText('A value is stored.')).toBeVisible();
  await page.getByRole('button', { name: 'Save and connect' }).click();
  await expect.element(page.getByText('Privacy mode is on.')).toBeVisible();
  expect(server.of('PUT /api/channels/telegram/default')[0]?.body).toMatchObject({
    config: { streaming: true },
    secrets: {},
  });
});

it('shows what the platform refused, and keeps what was typed', async () => {
  fakeServer({
    ...routes([]),
    'PUT /api/channels/telegram/default': () => ({
      status: 422,
      body: { error: { code: 'CHANNEL', message: 'Telegram does not know this token' } },
    }),
  });
  await mount('claw-page-channels');
  await page.getByRole('button', { name: 'Connect a channel' }).click();
  await page.getByLabelText('Platform').selectOptions('Telegram');
  await page.getByLabelText('Bot token').fill('bad');
  await page.getByRole('button', { name: 'Save and connect' }).click();
  await expect.element(page.getByText('Telegram does not know this token.')).toBeVisible();
  await expect.element(page.getByLabelText('Bot token')).toHaveValue('bad');
});

it('approves a person who waits', async () => {
  let requests = [
    {
      id: 'p1',
      channel: 'telegram',
      accountId: 'default',
      senderId: '81',
      senderName: 'Marie',
      code: 'QH7K',
      createdAt: Date.now(),
      expiresAt: Date.now() + 60_000,
    },
  ];
  fakeServer({
    ...routes([]),
    'GET /api/pairing': () => ({ body: { requests } }),
    'POST /api/pairing/p1/approve': () => {
      requests = [];
      return { status: 204 };
    },
  });
  const { shell } = await mount('claw-page-channels');
  await page.getByRole('button', { name: 'Approve Marie' }).click();
  await expect.element(page.getByText('Nobody is waiting.')).toBeVisible();
  expect(shell.toast).toHaveBeenCalledWith('Marie may write now.');
});

it('does not offer changes to members', async () => {
  fakeServer(routes([account]));
  await mount('claw-page-channels', [], { user: { ...session.user, role: 'member' } });
  await expect.element(page.getByText('The token was revoked.')).toBeVisible();
  expect(page.getByRole('button', { name: 'Connect a channel' }).query()).toBeNull();
  expect(page.getByRole('button', { name: 'Edit Telegram' }).query()).toBeNull();
});
