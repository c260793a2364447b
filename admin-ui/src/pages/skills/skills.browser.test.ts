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
  secretHosts: [],
  guests: false,
  userInvocable: false,
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
  await page.getByRole('button', { name: 'Settings of tea' }).click();
  await expectAccessible();
  await page.getByLabelText('TEA_SHOP').fill('corner');
  await page.getByRole('button', { name: 'Save' }).click();
  await vi.waitFor(() => expect(server.of('PUT /api/skills/tea')).toHaveLength(1));
  await page.getByRole('button', { name: 'Settings of tea' }).click();
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

const preview = {
  key: 'tea',
  name: 'tea',
  description: 'Makes tea.',
  origin: { url: 'https://hub.test/ada/tea', slug: 'tea', publisher: 'ada', version: '2.0.0', suspicious: false },
  verdict: { verdict: 'ok', reason: null },
  sha256: 'ab'.repeat(32),
  text: '# tea\nBoil <b>water</b>.',
  paths: [{ path: 'SKILL.md', size: 10 }],
  bins: [],
  env: ['TEA_KEY'],
  os: [],
  replaces: null,
  changes: [],
};

it('installs what was looked at, and nothing else', async () => {
  const skills: unknown[] = [];
  const server = fakeServer({
    'GET /api/skills': () => ({ body: { skills } }),
    'GET /api/skill-store?q=': () => ({ body: { registry: 'https://hub.test', results: [] } }),
    'GET /api/skill-store?q=tea': () => ({
      body: { registry: 'https://hub.test', results: [{ slug: 'tea', publisher: 'ada', name: 'Tea', version: '2.0.0' }] },
    }),
    'GET /api/skill-store/skills/tea': () => ({ body: { versions: [{ version: '2.0.0' }, { version: '1.0.0' }] } }),
    'POST /api/skill-store/preview': () => ({ body: preview }),
    'POST /api/skill-store/install': () => {
      skills.push({ ...tea, source: 'clawhub', origin: preview.origin });
      return { status: 201, body: tea };
    },
  });
  const { shell } = await mount('claw-page-skills');
  await page.getByRole('button', { name: 'Find a skill' }).click();
  await page.getByLabelText('Search hub.test').fill('tea');
  await page.getByRole('button', { name: 'Search' }).click();
  await expectAccessible();
  await page.getByRole('button', { name: 'Look at Tea' }).click();
  await expect.element(page.getByText('Boil <b>water</b>.', { exact: false })).toBeVisible();
  await expect.element(page.getByRole('combobox', { name: 'Version' })).toHaveValue('2.0.0');
  await expectAccessible();
  await page.getByRole('button', { name: 'Install' }).click();
  await expect.element(page.getByRole('link', { name: 'ada/tea 2.0.0' })).toBeVisible();
  expect(shell.toast).toHaveBeenCalledWith('tea is installed');
  expect(server.of('POST /api/skill-store/install')[0]?.body).toEqual({
    slug: '@ada/tea',
    version: '2.0.0',
    replace: false,
    acceptSuspicious: false,
    sha256: 'ab'.repeat(32),
  });
});

it('asks for consent to what the registry warns of, and shows what an update changes', async () => {
  const old = { ...tea, source: 'clawhub', origin: { ...preview.origin, version: '1.0.0', update: '2.0.0' } };
  const server = fakeServer({
    'GET /api/skills': () => ({ body: { skills: [old] } }),
    'GET /api/skill-store/skills/tea': () => ({ status: 502, body: { error: { code: 'upstream', message: 'away' } } }),
    'POST /api/skill-store/check': () => ({ body: { skills: [old] } }),
    'POST /api/skill-store/preview': () => ({
      body: {
        ...preview,
        verdict: { verdict: 'suspicious', reason: 'it runs scripts' },
        replaces: '1.0.0',
        changes: [{ path: 'SKILL.md', kind: 'changed', diff: '-Boil water.\n+Run this.\n' }],
      },
    }),
    'POST /api/skill-store/install': () => ({ status: 409, body: { error: { code: 'conflict', message: 'it changed' } } }),
  });
  const { shell } = await mount('claw-page-skills');
  await page.getByRole('button', { name: 'Check for updates' }).click();
  await vi.waitFor(() => expect(shell.toast).toHaveBeenCalledWith('One update is available'));
  await page.getByRole('button', { name: 'Update to 2.0.0: tea' }).click();
  await expect.element(page.getByText('+Run this.')).toBeVisible();
  await expect.element(page.getByText('it runs scripts', { exact: false })).toBeVisible();
  await expectAccessible();
  await expect.element(page.getByRole('button', { name: 'Replace' })).toBeDisabled();
  await page.getByLabelText('I have read it', { exact: false }).click();
  await page.getByRole('button', { name: 'Replace' }).click();
  await expect.element(page.getByText('It changed', { exact: false })).toBeVisible();
  expect(server.of('POST /api/skill-store/install')[0]?.body).toMatchObject({ replace: true, acceptSuspicious: true });
});

it('says where keys may go and who may call a skill', async () => {
  const callable = { ...tea, userInvocable: true, secretHosts: ['api.tea.test'] };
  const server = fakeServer({
    'GET /api/skills': () => ({ body: { skills: [callable] } }),
    'PUT /api/skills/tea': () => ({ body: callable }),
  });
  await mount('claw-page-skills');
  await page.getByRole('button', { name: 'Settings of tea' }).click();
  await expectAccessible();
  await page.getByLabelText('Sites that may receive', { exact: false }).fill('api.tea.test\nshop.tea.test');
  await page.getByLabelText('Others who write', { exact: false }).click();
  await page.getByRole('button', { name: 'Save' }).click();
  await vi.waitFor(() => expect(server.of('PUT /api/skills/tea')).toHaveLength(1));
  expect(server.of('PUT /api/skills/tea')[0]?.body).toEqual({ secretHosts: ['api.tea.test', 'shop.tea.test'], guests: true });
});
