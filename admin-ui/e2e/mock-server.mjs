/**
 * A stand-in for the server: serves the built UI under the real Content-Security-Policy, a REST API and a gateway with
 * canned data. For tests and for looking at pages; knows nothing of the real rules. `node e2e/mock-server.mjs [port]`.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { attachGateway } from './mock-gateway.mjs';
import { initialData } from './mock-data.mjs';

const DIST = fileURLToPath(new URL('../dist/', import.meta.url));
/** As in `src/lib.rs`. */
const CSP =
  "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
  "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

/** Starts the mock; `options.empty` starts with no data, `options.zeroKey` without a provider. */
export async function startMockServer(options = {}) {
  const data = initialData(options);
  const server = createServer((request, response) => {
    answer(data, request, response).catch((error) => {
      response.writeHead(500, { 'content-type': 'text/plain' }).end(String(error));
    });
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (!data.signedIn || request.url !== '/gateway/ws') {
      socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => attachGateway(ws, data));
  });
  await new Promise((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    data,
    sockets,
    close: () => {
      for (const ws of sockets.clients) ws.terminate();
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(data, request, response) {
  const url = new URL(request.url, 'http://localhost');
  if (url.pathname.startsWith('/api/')) return api(data, request, response, url);
  const file = normalize(url.pathname).replace(/^\/+/, '');
  try {
    if (!extname(file)) throw new Error('shell');
    return send(response, 200, await readFile(join(DIST, file)), TYPES[extname(file)]);
  } catch {
    return send(response, 200, await readFile(join(DIST, 'index.html')), TYPES['.html']);
  }
}

function send(response, status, body, type) {
  response.writeHead(status, {
    'content-security-policy': CSP,
    'x-content-type-options': 'nosniff',
    ...(type && { 'content-type': type }),
  });
  response.end(body);
}

const json = (response, status, body) =>
  status === 204
    ? send(response, 204)
    : send(response, status, JSON.stringify(body), 'application/json');
const refuse = (response, status, code, message) => json(response, status, { error: { code, message } });

async function readBody(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text === '' ? {} : JSON.parse(text);
}

async function api(data, request, response, url) {
  const body = await readBody(request);
  const key = `${request.method} ${url.pathname.slice('/api'.length)}`;
  if (key === 'GET /session') {
    return data.signedIn ? json(response, 200, data.session) : refuse(response, 401, 'UNAUTHORIZED', 'not signed in');
  }
  if (key === 'POST /session') {
    if (body.email === 'slow@acme.test') return refuse(response, 429, 'RATE_LIMITED', 'too many attempts');
    const good = body.code === 'good' || body.password === 'correct horse';
    if (!good) return refuse(response, 401, 'UNAUTHORIZED', 'unknown code or password');
    data.signedIn = true;
    return json(response, 200, data.session);
  }
  if (!data.signedIn) return refuse(response, 401, 'UNAUTHORIZED', 'not signed in');
  if (data.failing) return json(response, 500, { error: { code: 'INTERNAL', message: 'something broke', errorId: 'e-42' } });
  for (const [pattern, handler] of ROUTES) {
    const match = pattern.exec(key);
    if (match) return handler({ data, response, body, parts: match.slice(1).map(decodeURIComponent), url });
  }
  return refuse(response, 404, 'NOT_FOUND', 'no such resource');
}

const drop = (list, test) => {
  const index = list.findIndex(test);
  if (index >= 0) list.splice(index, 1);
};

const HITS = [
  { slug: 'tea', publisher: 'ada', name: 'Tea', summary: 'Makes tea of every kind, and knows how long it takes.', version: '1.1.0', updatedAt: 0 },
  { slug: 'odd', publisher: 'eve', name: 'Odd helper', summary: 'Helps with odd things.', version: '0.3.1', updatedAt: 0 },
  { slug: 'calendar', publisher: 'grace', name: 'Calendar', summary: 'Reads and writes calendars, finds times that suit everybody, and sends the invitations for them in the end.', version: '2.4.0', updatedAt: 0 },
];

const ROUTES = [
  [/^DELETE \/session$/, ({ data, response }) => ((data.signedIn = false), json(response, 204))],
  [/^PUT \/session\/password$/, ({ response }) => json(response, 204)],
  [
    /^PATCH \/session\/profile$/,
    ({ data, response, body }) => json(response, 200, Object.assign(data.session.user, body)),
  ],
  [/^GET \/tokens$/, ({ data, response }) => json(response, 200, { tokens: data.tokens })],
  [
    /^POST \/tokens$/,
    ({ data, response, body }) => {
      const token = { id: `t${Date.now()}`, name: body.name, scopes: body.scopes ?? [], createdAt: Date.now() };
      data.tokens.push(token);
      json(response, 201, { ...token, token: 'claw_pat_9xQ2vT7mK4sW8yB1nL6cR3dF5gH0jZ' });
    },
  ],
  [/^DELETE \/tokens\/(.+)$/, ({ data, response, parts }) => (drop(data.tokens, (t) => t.id === parts[0]), json(response, 204))],
  [/^GET \/hook-tokens$/, ({ data, response }) => json(response, 200, { hookTokens: data.hookTokens, enabled: true, hooks: data.hooks })],
  [
    /^POST \/hook-tokens$/,
    ({ data, response, body }) => {
      const token = { id: `h${Date.now()}`, name: body.name, hook: body.hook ?? null, createdAt: Date.now() };
      data.hookTokens.push(token);
      json(response, 201, { ...token, token: 'hook_Zx81mQ4tB7nW2kL9vR5cY3dF6gH0jPsA' });
    },
  ],
  [/^DELETE \/hook-tokens\/(.+)$/, ({ data, response, parts }) => (drop(data.hookTokens, (h) => h.id === parts[0]), json(response, 204))],
  [
    /^GET \/skill-store$/,
    ({ data, response, url }) => {
      const words = url.searchParams.get('q') ?? '';
      json(response, 200, { registry: data.registry, results: HITS.filter(({ name, summary }) => `${name} ${summary}`.toLowerCase().includes(words.toLowerCase())) });
    },
  ],
  [/^GET \/skill-store\/skills\/(.+)$/, ({ response }) => json(response, 200, { versions: ['1.1.0', '1.0.0'].map((version) => ({ version, createdAt: 0 })) })],
  [/^POST \/skill-store\/check$/, ({ data, response }) => json(response, 200, { skills: data.skills })],
  [
    /^POST \/skill-store\/(preview|install)$/,
    ({ data, response, body, parts }) => {
      if (body.url?.includes('broken')) return refuse(response, 400, 'invalid_request', 'there is no SKILL.md in the archive');
      const slug = (body.slug ?? 'tea').split('/').at(-1);
      const version = body.version ?? '1.1.0';
      const origin = body.url
        ? { url: body.url, folder: body.folder ?? null, suspicious: false }
        : { url: `https://clawhub.ai/ada/${slug}`, slug, publisher: 'ada', version, suspicious: slug === 'odd' };
      const before = data.skills.find(({ key }) => key === slug);
      if (parts[0] === 'install') {
        drop(data.skills, ({ key }) => key === slug);
        const missing = { bins: [], anyBins: [], env: [], config: [], os: [] };
        const skill = { key: slug, name: slug, description: `Does ${slug}.`, source: body.url ? 'url' : 'clawhub', origin, enabled: true, eligible: true, missing, apiKeySet: false, envWanted: [], envSet: [], secretHosts: [], guests: false, userInvocable: true, files: 2, size: 900, updatedAt: Date.now() };
        data.skills.push(skill);
        return json(response, 201, skill);
      }
      json(response, 200, {
        key: slug,
        name: slug,
        description: `Does ${slug}, and does it well.`,
        emoji: '🍵',
        origin,
        verdict: slug === 'odd' ? { verdict: 'suspicious', reason: 'asks for commands that fetch and run a script' } : { verdict: 'ok', reason: null },
        sha256: '3f8a1c0e5d7b92461f0e8c3a5b7d9e1f20416385a7c9ebd0f1426384a5c6e7d8',
        text: `---\nname: ${slug}\ndescription: Does ${slug}, and does it well.\n---\n# ${slug}\n\nBoil fresh water. Wait until it has 70 degrees.\n`,
        paths: [{ path: 'SKILL.md', size: 300 }, { path: 'notes/green.md', size: 80 }],
        bins: ['curl'],
        env: ['TEA_KEY'],
        os: [],
        replaces: before ? (before.origin?.version ?? before.source) : null,
        changes: before ? [{ path: 'SKILL.md', kind: 'changed', diff: '@@ -5,3 +5,3 @@\n # weather\n \n-Boil water.\n+Boil fresh water. Wait until it has 70 degrees.\n' }, { path: 'notes/green.md', kind: 'added', diff: '@@ -0,0 +1 @@\n+70 degrees, two minutes\n' }] : [],
      });
    },
  ],
  [/^GET \/skills$/, ({ data, response }) => json(response, 200, { skills: data.skills })],
  [
    /^PUT \/skills\/(.+)$/,
    ({ data, response, body, parts }) => {
      const skill = data.skills.find((s) => s.key === parts[0]);
      for (const field of ['enabled', 'secretHosts', 'guests']) if (body[field] !== undefined) skill[field] = body[field];
      json(response, 200, skill);
    },
  ],
  [/^DELETE \/skills\/(.+)$/, ({ data, response, parts }) => (drop(data.skills, (s) => s.key === parts[0]), json(response, 204))],
  [/^GET \/providers$/, ({ data, response }) => json(response, 200, { providers: data.providers, apis: data.apis })],
  [
    /^PUT \/providers\/([^/]+)\/keys\/(.+)$/,
    ({ data, response, parts }) => {
      const provider = data.providers.find(({ id }) => id === parts[0]);
      if (!provider.keys.some(({ name }) => name === parts[1])) provider.keys.push({ name: parts[1] });
      provider.keySet = true;
      json(response, 200, provider);
    },
  ],
  [
    /^DELETE \/providers\/([^/]+)\/keys\/(.+)$/,
    ({ data, response, parts }) => {
      const provider = data.providers.find(({ id }) => id === parts[0]);
      drop(provider.keys, ({ name }) => name === parts[1]);
      provider.keyOrder = provider.keyOrder.filter((name) => name !== parts[1]);
      json(response, 204);
    },
  ],
  [
    /^POST \/providers\/([^/]+)\/keys\/(.+)\/retry$/,
    ({ data, response, parts }) => {
      const provider = data.providers.find(({ id }) => id === parts[0]);
      const key = provider.keys.find(({ name }) => name === parts[1]);
      for (const field of ['restsUntil', 'reason', 'model']) delete key[field];
      json(response, 200, provider);
    },
  ],
  [
    /^PUT \/providers\/([^/]+)\/key-order$/,
    ({ data, response, body, parts }) => {
      const provider = data.providers.find(({ id }) => id === parts[0]);
      provider.keyOrder = body.order;
      json(response, 200, provider);
    },
  ],
  [
    /^PUT \/providers\/([^/]+)$/,
    ({ data, response, body, parts }) => {
      const { apiKey, ...rest } = body;
      const before = data.providers.find((p) => p.id === parts[0]);
      drop(data.providers, (p) => p.id === parts[0]);
      const keys = before?.keys ?? (apiKey ? [{ name: 'default' }] : []);
      const provider = { id: parts[0], keyOrder: [], ...rest, keys, keySet: keys.length > 0 };
      data.providers.push(provider);
      data.session.zeroKey = false;
      json(response, 200, provider);
    },
  ],
  [
    /^DELETE \/providers\/([^/]+)$/,
    ({ data, response, parts }) => {
      drop(data.providers, (p) => p.id === parts[0]);
      data.session.zeroKey = data.providers.length === 0;
      json(response, 204);
    },
  ],
  [/^GET \/models$/, ({ data, response }) => json(response, 200, { models: data.models })],
  [/^GET \/channels$/, ({ data, response }) => json(response, 200, { channels: data.manifests, accounts: data.accounts })],
  [
    /^PUT \/channels\/([^/]+)\/([^/]+)$/,
    ({ data, response, body, parts }) => {
      const [channel, accountId] = parts;
      if (Object.values(body.secrets).includes('bad')) {
        return refuse(response, 422, 'CHANNEL_REFUSED', 'the platform does not accept this token');
      }
      const before = data.accounts.find((a) => a.channel === channel && a.accountId === accountId);
      drop(data.accounts, (a) => a === before);
      const account = {
        channel,
        accountId,
        owner: body.owner ?? data.session.user.id,
        enabled: body.enabled,
        status: 'connected',
        statusDetail: null,
        identity: { name: 'Acme helper', username: '@acme_helper_bot' },
        secretsSet: [...new Set([...(before?.secretsSet ?? []), ...Object.keys(body.secrets)])],
        config: body.config,
        webhookUrl: `https://acme.example.com/webhooks/${channel}`,
      };
      data.accounts.push(account);
      json(response, 200, { account, warnings: channel === 'slack' ? ['Add the event subscription for message.im by hand.'] : [] });
    },
  ],
  [
    /^DELETE \/channels\/([^/]+)\/([^/]+)$/,
    ({ data, response, parts }) => {
      drop(data.accounts, (a) => a.channel === parts[0] && a.accountId === parts[1]);
      json(response, 204);
    },
  ],
  [/^GET \/budgets$/, ({ data, response }) => json(response, 200, { budgets: data.budgets })],
  [
    /^POST \/budgets$/,
    ({ data, response, body }) => {
      const budget = { spent: 0, reserved: 0, remaining: body.amount, timeZone: 'UTC', origin: 'admin', enabled: true, editable: true, createdAt: Date.now(), id: `b${data.budgets.length + 1}`, ...body };
      data.budgets.push(budget);
      json(response, 201, budget);
    },
  ],
  [
    /^PATCH \/budgets\/([^/]+)$/,
    ({ data, response, body, parts }) => {
      const budget = data.budgets.find((b) => b.id === parts[0]);
      json(response, 200, Object.assign(budget, body));
    },
  ],
  [/^DELETE \/budgets\/([^/]+)$/, ({ data, response, parts }) => (drop(data.budgets, (b) => b.id === parts[0]), json(response, 204))],
  [/^GET \/mcp-servers$/, ({ data, response }) => json(response, 200, { servers: data.mcpServers })],
  [
    /^POST \/mcp-servers\/([^/]+)\/test$/,
    ({ response, parts }) => {
      const tool = (name, description, more) => ({ name, called: `${parts[0]}__${name}`, description, readOnly: false, changed: false, ...more });
      const tools = [
        tool('search', 'Searches all pages and gives the best ten, with the part of each that fits best.', { readOnly: true }),
        tool('get_page', 'Gives one page as Markdown.', { readOnly: true }),
        tool('write_page', 'Writes a page. Also sends a copy of what was written to everybody who follows it.', { changed: true }),
      ];
      json(response, 200, { ok: true, problem: null, server: 'Docs 2.1', protocol: '2025-11-25', tools, leftOut: 0, fingerprint: 'f1' });
    },
  ],
  [/^POST \/mcp-servers\/([^/]+)\/approve$/, ({ response }) => json(response, 204)],
  [
    /^PUT \/mcp-servers\/([^/]+)$/,
    ({ data, response, body, parts }) => {
      let server = data.mcpServers.find((s) => s.name === parts[0]);
      if (!server) {
        server = { name: parts[0], prefix: parts[0], enabled: true, headers: [], connectionTimeoutMs: 30_000, requestTimeoutMs: 60_000, include: [], exclude: [], guests: [], state: 'unknown', problem: null, tools: null };
        data.mcpServers.push(server);
      }
      const { headers = {}, ...rest } = body;
      Object.assign(server, rest, { headers: [...new Set([...server.headers, ...Object.keys(headers)])] });
      json(response, 200, server);
    },
  ],
  [/^DELETE \/mcp-servers\/([^/]+)$/, ({ data, response, parts }) => (drop(data.mcpServers, (s) => s.name === parts[0]), json(response, 204))],
  [/^GET \/pairing$/, ({ data, response }) => json(response, 200, { requests: data.pairing })],
  [/^POST \/pairing\/(.+)\/(approve|dismiss)$/, ({ data, response, parts }) => (drop(data.pairing, (p) => p.id === parts[0]), json(response, 204))],
  [/^GET \/approvals$/, ({ data, response }) => json(response, 200, { approvals: data.approvals })],
  [/^POST \/approvals\/(.+)$/, ({ data, response, parts }) => (drop(data.approvals, (row) => row.id === parts[0]), json(response, 204))],
  [/^POST \/link-codes$/, ({ response }) => json(response, 201, { code: 'K7QM-2XWD', expiresAt: Date.now() + 600_000 })],
  [/^GET \/activity$/, ({ data, response }) => json(response, 200, data.activity)],
  [
    /^POST \/activity\/(inbox|outbox)\/(.+)\/retry$/,
    ({ data, response, parts }) => (drop(data.activity[parts[0]], (row) => String(row.id) === parts[1]), json(response, 204)),
  ],
  [
    /^GET \/audit$/,
    ({ data, response, url }) => json(response, 200, { entries: url.searchParams.has('before') ? [] : data.audit }),
  ],
  [/^GET \/users$/, ({ data, response }) => json(response, 200, { users: data.users })],
  [
    /^PATCH \/users\/(.+)$/,
    ({ data, response, body, parts }) => {
      const user = data.users.find(({ id }) => id === parts[0]);
      json(response, 200, Object.assign(user, { disabled: body.disabled }));
    },
  ],
  [
    /^POST \/users$/,
    ({ data, response, body }) => {
      const user = { id: `u${data.users.length + 1}`, email: body.email, name: null, role: body.role, createdAt: Date.now() };
      data.users.push(user);
      json(response, 201, { user, signInLink: 'https://acme.example.com/#sign-in=Zk3vQ8mW1xT6', expiresAt: Date.now() + 900_000 });
    },
  ],
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await startMockServer({ port: Number(process.argv[2] ?? 8099) });
  process.stdout.write(`mock server on ${mock.url}/#sign-in=good\n`);
}
