/** The built application in a Chromium, under the real Content-Security-Policy, against the mock server. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { Browser, Page } from 'playwright';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { launchBrowser } from './browser.mjs';
import { startMockServer } from './mock-server.mjs';

type Mock = Awaited<ReturnType<typeof startMockServer>>;
interface Violation {
  id: string;
  impact: string | null;
  nodes: { target: unknown[] }[];
}

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
let browser: Browser;
let page: Page;
let mock: Mock;
/** What the browser complained about; refused API calls are expected. */
let complaints: string[];

beforeAll(async () => {
  browser = await launchBrowser();
});
afterAll(() => browser.close());

beforeEach(() => {
  complaints = [];
});
afterEach(async () => {
  await page.context().close();
  await mock.close();
  expect(complaints).toEqual([]);
});

async function open(path: string, options: Parameters<typeof startMockServer>[0], context = {}) {
  mock = await startMockServer(options);
  page = await (await browser.newContext({ viewport: { width: 1200, height: 800 }, ...context })).newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (entry) => {
    const refused = /Failed to load resource|WebSocket connection/.test(entry.text());
    if (entry.type() === 'error' && !refused) complaints.push(entry.text());
  });
  await page.goto(mock.url + path);
}

async function violations(): Promise<string[]> {
  // Through the debugger, which the policy of the page does not reach.
  await page.evaluate(await readFile(AXE, 'utf8'));
  const found = await page.evaluate(() => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
    return axe.run().then((result) => result.violations);
  });
  return found
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${JSON.stringify(nodes.map((node) => node.target))}`);
}

it('tests under the policy that the server sends', async () => {
  const [library, server] = await Promise.all(
    ['../src/lib.rs', './mock-server.mjs'].map((path) => readFile(new URL(path, import.meta.url), 'utf8')),
  );
  const directives = (source: string) => (source.match(/[a-z]+-[a-z]+ '(?:self|none)'(?: data: blob:)?(?=;|")/g) ?? []).toSorted();
  expect(directives(library!)).toHaveLength(9);
  expect(directives(server!)).toEqual(directives(library!));
  await open('/', {});
});

const composer = () => page.getByRole('textbox', { name: 'Write a message' });

describe('signing in', () => {
  it('takes the code out of the address before anything else, and shows the chat', async () => {
    await open('/#sign-in=good', { zeroKey: true });
    await page.getByRole('heading', { name: 'Main conversation' }).waitFor();
    expect(page.url()).toBe(`${mock.url}/chat`);
    await page.getByText('No AI provider is connected.').waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Main conversation' }).waitFor();
  });

  it('takes the time zone of the browser at the first sign-in, and leaves it to the person from then on', async () => {
    await open('/settings/account#sign-in=good', {}, { timezoneId: 'Asia/Tokyo' });
    const zone = page.getByLabel('Time zone');
    await page.getByRole('heading', { name: 'Your account' }).waitFor();
    await expect.poll(() => mock.data.session.user.timeZone).toBe('Asia/Tokyo');
    await expect.poll(() => zone.inputValue()).toBe('Asia/Tokyo');
    await zone.fill('Europe/Vienna');
    await page.getByRole('button', { name: 'Save', exact: true }).click();
    await expect.poll(() => mock.data.session.user.timeZone).toBe('Europe/Vienna');
    await page.reload();
    await expect.poll(() => zone.inputValue()).toBe('Europe/Vienna');
    expect(await violations()).toEqual([]);
  });

  it('says that a link has expired, then lets the password in, and comes back to the asked page', async () => {
    await open('/devices#sign-in=old', {});
    await page.getByText('This sign-in link has expired').waitFor();
    expect(page.url()).toBe(`${mock.url}/devices`);
    await page.getByLabel('E-mail address').fill('ada@acme.test');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The e-mail address or the password is not right.').waitFor();
    await page.getByLabel('Password').fill('correct horse');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Devices', exact: true }).waitFor();
  });

  it('shows the sign-in page when the session ends elsewhere, and after signing out', async () => {
    await open('/settings/account', { signedIn: true });
    await page.getByRole('heading', { name: 'Your account' }).waitFor();
    mock.data.signedIn = false;
    await page.getByRole('link', { name: 'Tokens and hooks' }).click();
    await page.getByRole('heading', { name: 'Sign in to ClawCentral' }).waitFor();
    await page.getByLabel('E-mail address').fill('ada@acme.test');
    await page.getByLabel('Password').fill('correct horse');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Tokens and hooks' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in to ClawCentral' }).waitFor();
  });
});

describe('chat', () => {
  it('streams a reply and keeps it', async () => {
    await open('/chat', { signedIn: true });
    await composer().fill('Hello there');
    await page.keyboard.press('Enter');
    await page.getByText('This is the mock assistant').waitFor();
    expect(await page.getByRole('button', { name: 'Stop' }).isVisible()).toBe(true);
    await page.getByRole('button', { name: 'Stop' }).waitFor({ state: 'detached' });
    await page.getByText('with markup', { exact: true }).waitFor();
    await page.reload();
    await page.getByText('with markup', { exact: true }).waitFor();
    expect(await page.getByText('Hello there').count()).toBe(1);
  });

  it('stops a reply', async () => {
    await open('/chat?session=agent:main:stop', { signedIn: true, empty: true });
    await composer().fill('Talk');
    await page.keyboard.press('Enter');
    await page.getByText('This is the mock').waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await page.getByText('Stopped').waitFor();
  });

  it('says that the connection is lost and comes back with what was missed', async () => {
    await open('/chat', { signedIn: true });
    await page.getByText('And a short one?').last().waitFor();
    for (const socket of mock.sockets.clients) socket.terminate();
    await page.getByText('No connection to the server. Trying again.').waitFor();
    await page.getByRole('button', { name: 'Reconnect now' }).click();
    await page.getByText('No connection to the server. Trying again.').waitFor({ state: 'detached' });
    await composer().fill('Back again');
    await page.keyboard.press('Enter');
    await page.getByText('This is the mock assistant').waitFor();
  });

  it('opens a conversation of ten thousand messages at once and pages back', async () => {
    await open('/chat', { signedIn: true, messages: 10_000 });
    await page.getByText('And a short one?').last().waitFor();
    const rows = () => page.locator('claw-message').count();
    expect(await rows()).toBeLessThan(100);
    const before = await rows();
    await page.locator('.scroller').evaluate((scroller) => (scroller.scrollTop = 0));
    await expect.poll(rows).toBeGreaterThan(before);
  });
});

it('connects a channel', async () => {
  await open('/channels', { signedIn: true, empty: true });
  await page.getByRole('button', { name: 'Connect a channel' }).click();
  await page.getByLabel('Platform').selectOption('telegram');
  await page.getByLabel('Bot token').fill('12:abc');
  await page.getByRole('button', { name: 'Save and connect' }).click();
  await page.getByText('https://acme.example.com/webhooks/telegram').waitFor();
});

it('adds a provider, and the demo banner goes away', async () => {
  await open('/chat', { signedIn: true, empty: true });
  await page.getByRole('link', { name: 'Set up AI providers' }).click();
  await page.getByRole('button', { name: 'Add provider' }).click();
  await page.getByLabel('Provider', { exact: true }).selectOption('openai');
  await page.getByLabel('API key').fill('sk-1');
  await page.getByLabel('Model id').fill('gpt-5-mini');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('1 model').waitFor();
  await page.getByRole('link', { name: 'Chat', exact: true }).click();
  await composer().waitFor();
  expect(await page.getByText('No AI provider is connected.').count()).toBe(0);
});

it('adds a key, puts it first, and lets one that rests be tried again', async () => {
  await open('/settings/ai-providers', { signedIn: true });
  await page.getByText('2 of 3 keys resting').waitFor();
  await page.getByRole('button', { name: 'Keys of openai' }).click();
  await page.getByLabel('Label').fill('spare');
  await page.getByLabel('API key').fill('sk-2');
  await page.getByRole('button', { name: 'Add a key' }).click();
  await page.getByRole('button', { name: 'Move spare up' }).click();
  await page.getByText('Order: from top to bottom.').waitFor();
  expect(mock.data.providers[0]?.keyOrder).toEqual(['default', 'backup', 'spare', 'old-contract']);
  await page.getByRole('button', { name: 'Try again now: old-contract' }).click();
  await page.getByRole('button', { name: 'Try again now: old-contract' }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Remove key backup' }).click();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await page.getByRole('button', { name: 'Remove key backup' }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Choose automatically' }).click();
  await page.getByText('Order: automatic.').waitFor();
  await page.getByRole('button', { name: 'Close' }).first().click();
  await page.getByText('3 keys', { exact: true }).waitFor();
});

it('finds a skill, looks at it, installs it, and updates another', async () => {
  await open('/skills', { signedIn: true });
  await page.getByRole('button', { name: 'Find a skill' }).click();
  await page.getByLabel('Search clawhub.ai').fill('odd');
  await page.getByRole('button', { name: 'Search' }).click();
  await page.getByRole('button', { name: 'Look at Tea' }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Look at Odd helper' }).click();
  await page.getByText('fetch and run a script').waitFor();
  expect(await page.getByRole('button', { name: 'Install' }).isDisabled()).toBe(true);
  await page.getByRole('button', { name: 'Back' }).click();
  await page.getByLabel('Address of an archive').fill('https://example.com/tea.tar.gz');
  await page.getByLabel('Folder in the archive').fill('skills/tea');
  await page.getByRole('button', { name: 'Look', exact: true }).last().click();
  await page.getByText('Boil fresh water.').waitFor();
  await page.getByRole('button', { name: 'Install' }).click();
  await page.getByText('tea is installed').waitFor();
  await page.getByRole('link', { name: 'example.com/tea.tar.gz' }).waitFor();
  await page.getByRole('button', { name: 'Update to 1.1.0: weather' }).click();
  await page.getByText('What changes').waitFor();
  await page.getByRole('button', { name: 'Replace' }).click();
  await page.getByText('weather is installed').waitFor();
  await page.getByRole('button', { name: 'Update to 1.1.0: weather' }).waitFor({ state: 'detached' });
});

it('creates a hook token with an example to copy', async () => {
  await open('/settings/tokens', { signedIn: true, empty: true });
  await page.getByRole('button', { name: 'Create hook token' }).click();
  await page.getByLabel('Name').fill('Alarm');
  await page.getByLabel('Opens').selectOption('wake');
  await page.locator('claw-hook-dialog').getByRole('button', { name: 'Create hook token' }).click();
  await page.getByText(`curl -X POST ${mock.url}/hooks/wake`).waitFor();
  await page.getByText('"text":"Something happened').waitFor();
  await page.getByRole('button', { name: 'Done' }).click();
  await page.getByRole('button', { name: 'Revoke Alarm' }).waitFor();
  expect(await page.getByText('curl -X POST').count()).toBe(0);
});

it('approves a device and what its node asks for', async () => {
  await open('/devices', { signedIn: true });
  await page.getByRole('button', { name: 'Approve Ada’s MacBook' }).click();
  await page.getByRole('button', { name: 'Remove Ada’s MacBook' }).waitFor();
  await page.getByRole('button', { name: 'Approve build box' }).click();
  await page.getByText('needs approval').waitFor({ state: 'detached' });
});

it('invites a member', async () => {
  await open('/settings/members', { signedIn: true });
  await page.getByRole('button', { name: 'Invite member' }).click();
  await page.getByLabel('E-mail address').fill('new@acme.test');
  await page.getByRole('radio', { name: /Administrator/ }).check();
  await page.getByRole('button', { name: 'Create sign-in link' }).click();
  await page.getByText('https://acme.example.com/#sign-in=').waitFor();
});

it('works with the keyboard alone on a phone', async () => {
  await open('/activity', { signedIn: true }, { viewport: { width: 390, height: 780 } });
  await page.getByRole('button', { name: 'Open navigation' }).press('Enter');
  await page.getByRole('link', { name: 'Devices' }).press('Enter');
  await page.getByRole('heading', { name: 'Devices', exact: true }).waitFor();
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(overflow).toBe(0);
});

const PAGES = [
  ...['/chat', '/activity', '/channels', '/devices', '/skills', '/settings/ai-providers', '/settings/tokens'],
  ...['/settings/members', '/settings/audit', '/settings/account', '/nowhere'],
];

describe.each([
  { colorScheme: 'light', viewport: { width: 1200, height: 800 } },
  { colorScheme: 'dark', viewport: { width: 390, height: 780 } },
])('$colorScheme at $viewport.width px', (view) => {
  it.each([false, true])('has no serious accessibility violation (empty: %s)', async (empty) => {
    await open('/', { signedIn: true, empty }, view);
    const found: string[] = [];
    for (const path of PAGES) {
      await page.goto(mock.url + path);
      await page.locator('main h1, main claw-empty').first().waitFor();
      await page.waitForTimeout(300);
      for (const violation of await violations()) found.push(`${path} ${violation}`);
      const overflow = await page.locator('main').evaluate((main) => main.scrollWidth - main.clientWidth);
      if (overflow > 0) found.push(`${path} is ${overflow} px too wide`);
    }
    expect(found).toEqual([]);
  });
});
