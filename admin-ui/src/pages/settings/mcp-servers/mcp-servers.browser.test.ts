import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../../testing/mount.ts';
import './claw-page-mcp-servers.ts';

afterEach(() => vi.unstubAllGlobals());

const docs = {
  name: 'docs',
  prefix: 'docs',
  url: 'https://docs.example/mcp',
  enabled: true,
  headers: ['Authorization'],
  connectionTimeoutMs: 30000,
  requestTimeoutMs: 60000,
  include: [],
  exclude: [],
  guests: [],
  state: 'ready',
  problem: null,
  tools: 2,
};
const broken = {
  ...docs,
  name: 'broken',
  prefix: 'broken',
  state: 'failing',
  problem: 'The server refuses the credentials that are stored for it (status 401).',
  tools: null,
};
const tools = [
  { name: 'search', called: 'docs__search', description: 'Finds pages.', readOnly: true, changed: false },
  { name: 'write', called: 'docs__write', description: 'Writes pages anywhere.', readOnly: false, changed: true },
];
const result = { ok: true, server: 'Docs 1.0', protocol: '2025-11-25', tools, leftOut: 0, fingerprint: 'f1' };

it('shows how servers stand, and switches one', async () => {
  let enabled = true;
  const server = fakeServer({
    'GET /api/mcp-servers': () => ({ body: { servers: [{ ...docs, enabled }, broken] } }),
    'PUT /api/mcp-servers/docs': () => {
      enabled = false;
      return { body: { ...docs, enabled } };
    },
  });
  await mount('claw-page-mcp-servers');
  await expect.element(page.getByText('2 tools', { exact: true })).toBeVisible();
  await expect.element(page.getByText('refuses the credentials', { exact: false })).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Turn off docs' }).click();
  await expect.element(page.getByRole('button', { name: 'Turn on docs' })).toBeVisible();
  expect(server.of('PUT /api/mcp-servers/docs')[0]?.body).toEqual({ enabled: false });
});

it('adds a server, tries it at once, and lets a changed tool in only as it was shown', async () => {
  const servers: unknown[] = [];
  const server = fakeServer({
    'GET /api/mcp-servers': () => ({ body: { servers } }),
    'PUT /api/mcp-servers/docs': () => {
      servers.push(docs);
      return { body: docs };
    },
    'POST /api/mcp-servers/docs/test': () => ({ body: result }),
    'POST /api/mcp-servers/docs/approve': () => ({ status: 204 }),
  });
  const { shell } = await mount('claw-page-mcp-servers');
  await expect.element(page.getByText('No MCP servers yet')).toBeVisible();
  await page.getByRole('button', { name: 'Add server' }).click();
  await page.getByLabelText('Name', { exact: true }).fill('docs');
  await page.getByLabelText('Address').fill('docs.example');
  await page.getByRole('button', { name: 'Save and test' }).click();
  await expect.element(page.getByText('The address begins with https://', { exact: false })).toBeVisible();
  await page.getByLabelText('Address').fill('https://docs.example/mcp');
  await page.getByRole('button', { name: 'Add header' }).click();
  await page.getByLabelText('Value of Authorization').fill('Bearer s3cret');
  await expectAccessible();
  await page.getByRole('button', { name: 'Save and test' }).click();
  await expect.element(page.getByText('docs__search')).toBeVisible();
  expect(server.of('PUT /api/mcp-servers/docs')[0]?.body).toEqual({
    url: 'https://docs.example/mcp',
    headers: { Authorization: 'Bearer s3cret' },
    include: [],
    exclude: [],
    guests: [],
    requestTimeoutMs: 0,
  });
  await expectAccessible();
  await page.getByRole('button', { name: 'Let them in' }).click();
  await vi.waitFor(() => expect(server.of('POST /api/mcp-servers/docs/approve')).toHaveLength(1));
  expect(server.of('POST /api/mcp-servers/docs/approve')[0]?.body).toEqual({ fingerprint: 'f1' });
  await vi.waitFor(() => expect(shell.toast).toHaveBeenCalled());
});

it('keeps a stored header, changes one, and takes one away', async () => {
  const server = fakeServer({
    'GET /api/mcp-servers': () => ({ body: { servers: [{ ...docs, headers: ['Authorization', 'X-Old'] }] } }),
    'PUT /api/mcp-servers/docs': () => ({ body: docs }),
    'POST /api/mcp-servers/docs/test': () => ({ body: { ...result, ok: false, problem: 'The server cannot be reached.', tools: [] } }),
  });
  await mount('claw-page-mcp-servers');
  await page.getByRole('button', { name: 'Edit docs' }).click();
  await page.getByRole('button', { name: 'Take away X-Old' }).click();
  await page.getByText('Filter, guests and timeout').click();
  await page.getByLabelText('Only these tools').fill('search, read_*');
  await page.getByRole('button', { name: 'Save and test' }).click();
  await expect.element(page.getByText('The server cannot be reached.')).toBeVisible();
  expect(server.of('PUT /api/mcp-servers/docs')[0]?.body).toMatchObject({
    headers: { 'X-Old': '' },
    include: ['search', 'read_*'],
    requestTimeoutMs: 60000,
  });
});

it('asks before it removes', async () => {
  const servers = [docs];
  const server = fakeServer({
    'GET /api/mcp-servers': () => ({ body: { servers } }),
    'DELETE /api/mcp-servers/docs': () => {
      servers.pop();
      return { status: 204 };
    },
  });
  await mount('claw-page-mcp-servers');
  await page.getByRole('button', { name: 'Remove docs' }).click();
  expect(server.of('DELETE /api/mcp-servers/docs')).toHaveLength(0);
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await expect.element(page.getByText('No MCP servers yet')).toBeVisible();
});
