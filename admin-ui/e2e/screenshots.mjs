/** Screenshots of every page into e2e/shots, in both colour schemes and at phone width. `node e2e/screenshots.mjs [filter]`. */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { launchBrowser } from './browser.mjs';
import { startMockServer } from './mock-server.mjs';

const OUT = fileURLToPath(new URL('./shots/', import.meta.url));
const PAGES = ['chat', 'activity', 'channels', 'devices', 'skills', 'settings/ai-providers', 'settings/mcp-servers', 'settings/tokens', 'settings/budgets', 'settings/members', 'settings/audit', 'settings/account'];
const VIEWS = [
  { name: 'light', colorScheme: 'light', viewport: { width: 1280, height: 820 } },
  { name: 'dark', colorScheme: 'dark', viewport: { width: 1280, height: 820 } },
  { name: 'phone-dark', colorScheme: 'dark', viewport: { width: 390, height: 800 } },
  { name: 'phone', colorScheme: 'light', viewport: { width: 390, height: 800 } },
];
const filter = process.argv[2] ?? '';

await mkdir(OUT, { recursive: true });
const browser = await launchBrowser();
const full = await startMockServer({ signedIn: true });
const empty = await startMockServer({ signedIn: true, empty: true });
const out = await startMockServer();
const problems = [];

async function shoot(page, name) {
  await page.waitForTimeout(500);
  await page.screenshot({ path: `${OUT}${name}.png` });
}

for (const view of VIEWS) {
  const context = await browser.newContext({ colorScheme: view.colorScheme, viewport: view.viewport });
  const page = await context.newPage();
  page.on('console', (entry) => {
    const expected = entry.text().includes('401');
    if (['error', 'warning'].includes(entry.type()) && !expected) problems.push(`${view.name} ${page.url()}: ${entry.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`${view.name} ${page.url()}: ${error.message}`));
  const shots = [
    ['sign-in', async () => page.goto(out.url)],
    ['sign-in-expired', async () => page.goto(`${out.url}/?x=1#sign-in=old`)],
    ...PAGES.map((path) => [path.replace('/', '-'), async () => page.goto(`${full.url}/${path}`)]),
    ...PAGES.slice(0, 9).map((path) => [`empty-${path.replace('/', '-')}`, async () => page.goto(`${empty.url}/${path}`)]),
    [
      'chat-streaming',
      async () => {
        await page.goto(`${full.url}/chat?session=agent:main:shot-${view.name}`);
        await page.getByRole('textbox', { name: 'Write a message' }).fill('Tell me something');
        await page.keyboard.press('Enter');
        await page.waitForTimeout(700);
      },
    ],
    [
      'channel-dialog',
      async () => {
        await page.goto(`${full.url}/channels`);
        await page.getByRole('button', { name: 'Connect a channel' }).click();
        await page.getByLabel('Platform').selectOption('slack');
      },
    ],
    [
      'provider-dialog',
      async () => {
        await page.goto(`${full.url}/settings/ai-providers`);
        await page.getByRole('button', { name: 'Add provider' }).click();
      },
    ],
    [
      'budget-dialog',
      async () => {
        await page.goto(`${full.url}/settings/budgets`);
        await page.getByRole('button', { name: 'Set a limit' }).click();
      },
    ],
    [
      'mcp-dialog',
      async () => {
        await page.goto(`${full.url}/settings/mcp-servers`);
        await page.getByRole('button', { name: 'Edit warehouse' }).click();
      },
    ],
    [
      'mcp-test',
      async () => {
        await page.goto(`${full.url}/settings/mcp-servers`);
        await page.getByRole('button', { name: 'Test docs' }).click();
      },
    ],
    [
      'token-created',
      async () => {
        await page.goto(`${full.url}/settings/tokens`);
        await page.getByRole('button', { name: 'Create token' }).click();
        await page.getByLabel('Name').fill('Phone');
        await page.locator('claw-token-dialog').getByRole('button', { name: 'Create token' }).click();
      },
    ],
    [
      'hook-created',
      async () => {
        await page.goto(`${full.url}/settings/tokens`);
        await page.getByRole('button', { name: 'Create hook token' }).click();
        await page.getByLabel('Name').fill('Build server');
        await page.locator('claw-hook-dialog').getByRole('button', { name: 'Create hook token' }).click();
      },
    ],
    [
      'provider-keys',
      async () => {
        await page.goto(`${full.url}/settings/ai-providers`);
        await page.getByRole('button', { name: 'Keys of openai' }).click();
      },
    ],
    [
      'skill-find',
      async () => {
        await page.goto(`${full.url}/skills`);
        await page.getByRole('button', { name: 'Find a skill' }).click();
      },
    ],
    [
      'skill-look',
      async () => {
        await page.goto(`${full.url}/skills`);
        await page.getByRole('button', { name: 'Find a skill' }).click();
        await page.getByRole('button', { name: 'Look at Odd helper' }).click();
      },
    ],
    [
      'skill-update',
      async () => {
        await page.goto(`${full.url}/skills`);
        await page.getByRole('button', { name: 'Update to 1.1.0: weather' }).click();
      },
    ],
    [
      'skill-settings',
      async () => {
        await page.goto(`${full.url}/skills`);
        await page.getByRole('button', { name: 'Settings of notion' }).click();
      },
    ],
    ['not-found', async () => page.goto(`${full.url}/nowhere`)],
    [
      'failed',
      async () => {
        await page.goto(`${full.url}/settings/account`);
        full.data.failing = true;
        if (view.name.startsWith('phone')) await page.getByRole('button', { name: 'Open navigation' }).click();
        await page.getByRole('link', { name: 'Tokens and hooks' }).click();
        await page.waitForTimeout(400);
        full.data.failing = false;
      },
    ],
  ];
  for (const [name, open] of shots) {
    if (!name.includes(filter)) continue;
    await open();
    await shoot(page, `${name}-${view.name}`);
  }
  await context.close();
}
await browser.close();
await Promise.all([full.close(), empty.close(), out.close()]);
process.stdout.write(problems.length > 0 ? `${problems.join('\n')}\n` : 'no console problems\n');
