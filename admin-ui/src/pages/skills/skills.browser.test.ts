import { afterEach, expect, it, vi } from 'vitest';
import { page, userEvent } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../testing/mount.ts';
import './claw-page-skills.ts';

afterEach(() => vi.unstubAllGlobals());

const nothing = { bins: [], anyBins: [], env: [], config: [], os: [] };
const tea = {
  key: 'tea',
  name: 'tea',
  description: 'Makes tea.',
  emoji: '🍵',
  source: 'upload',
  enabled: true,
  eligible: true,
  missing: nothing,
  primaryEnv: 'TEA_KEY',
  apiKeySet: true,
  envWanted: ['TEA_KEY', 'TEA_SHOP'],
  envSet: [],
  files: 2,
  size: 300,
  updatedAt: Date.now(),
};
const code = {
  ...tea,
  key: 'code',
  name: 'code',
  source: 'node',
  eligible: false,
  missing: { ...nothing, bins: ['git'], os: ['darwin'] },
  primaryEnv: null,
  apiKeySet: false,
  envWanted: [],
};

it('shows how skills stand, and switches one', async () => {
  let enabled = true;
  const server = fakeServer({
    'GET /api/skills': () => ({ body: { skills: [{ ...tea, enabled }, code] } }),
    'PUT /api/skills/tea': () => {
      enabled = false;
      return { body: { ...tea, enabled } };
    },
  });
  await mount('claw-page-skills');
  await expect.element(page.getByText('Ready', { exact: true })).toBeVisible();
  await expect.element(page.getByText('No connected device has: git')).toBeVisible();
  await expect.element(page.getByText('macOS', { exact: false })).toBeVisible();
  expect(page.getByRole('button', { name: 'Remove code' }).query()).toBeNull();
  await expectAccessible();
  await page.getByRole('button', { name: 'Turn off tea' }).click();
  await expect.element(page.getByRole('button', { name: 'Turn on tea' })).toBeVisible();
  expect(server.of('PUT /api/skills/tea')[0]?.body).toEqual({ enabled: false });
});

it('sends only the keys that were entered or cleared', async () => {
  const server = fakeServer({
    'GET /api/skills': () => ({ body: { skills: [tea] } }),
    'PUT /api/skills/tea': () => ({ body: tea }),
  });
  await mount('claw-page-skills');
  await page.getByRole('button', { name: 'Keys of tea' }).click();
  await expectAccessible();
  await page.getByLabelText('TEA_SHOP').fill('corner');
  await page.getByRole('button', { name: 'Save' }).click();
  await vi.waitFor(() => expect(server.of('PUT /api/skills/tea')).toHaveLength(1));
  await page.getByRole('button', { name: 'Keys of tea' }).click();
  await page.getByRole('button', { name: 'Clear API key (TEA_KEY)' }).click();
  await page.getByRole('button', { name: 'Save' }).click();
  await vi.waitFor(() => expect(server.of('PUT /api/skills/tea')).toHaveLength(2));
  expect(server.of('PUT /api/skills/tea').map((call) => call.body)).toEqual([
    { env: { TEA_SHOP: 'corner' } },
    { apiKey: '' },
  ]);
});

it('uploads, asks before it replaces, and removes', async () => {
  const skills: (typeof tea)[] = [];
  const server = fakeServer({
    'GET /api/skills': () => ({ body: { skills } }),
    'POST /api/skills': () => ({ status: 409, body: { error: { code: 'conflict', message: 'there is a skill tea' } } }),
    'POST /api/skills?replace=true': () => {
      skills.push(tea);
      return { status: 201, body: tea };
    },
    'DELETE /api/skills/tea': () => {
      skills.pop();
      return { status: 204 };
    },
  });
  const { shell } = await mount('claw-page-skills');
  await expect.element(page.getByText('No skills yet')).toBeVisible();
  await expectAccessible();
  const file = new File(['---\nname: tea\n---\n'], 'SKILL.md');
  await userEvent.upload(page.getByLabelText('Skill file'), file);
  await page.getByRole('button', { name: 'Replace' }).click();
  await expect.element(page.getByText('Makes tea.')).toBeVisible();
  expect(shell.toast).toHaveBeenCalledWith('tea is installed');
  expect(server.of('POST /api/skills?replace=true')).toHaveLength(1);
  await page.getByRole('button', { name: 'Remove tea' }).click();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await expect.element(page.getByText('No skills yet')).toBeVisible();
});
