/** Canned data of the mock server. */
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const secret = (name, label, help, required = true, generated = false) => ({
  name,
  envName: name.toUpperCase(),
  label,
  help,
  required,
  generated,
});

const MANIFESTS = [
  {
    id: 'telegram',
    path: 'telegram',
    label: 'Telegram',
    defaultApiBase: 'https://api.telegram.org',
    provesSender: true,
    secrets: [
      secret('botToken', 'Bot token', 'From @BotFather.'),
      secret('webhookSecret', 'Webhook secret', 'Sent by Telegram with every update.', false, true),
    ],
  },
  {
    id: 'slack',
    path: 'slack',
    label: 'Slack',
    defaultApiBase: 'https://slack.com/api',
    provesSender: true,
    secrets: [
      secret('botToken', 'Bot token', 'Starts with xoxb-. OAuth & Permissions page of your app.'),
      secret('signingSecret', 'Signing secret', 'Basic Information page of your app.'),
    ],
  },
  {
    id: 'webhook',
    path: 'webhook',
    label: 'Generic webhook',
    defaultApiBase: '',
    provesSender: false,
    secrets: [secret('secret', 'Shared secret', 'Signs requests in both directions.', false)],
  },
];

function message(seq, role, content, at, extra = {}) {
  return { role, content, timestamp: at, ...extra, __openclaw: { id: `m${seq}`, seq, ...extra.meta } };
}

function mainTranscript(now, count) {
  const messages = [];
  for (let seq = 1; seq <= count; seq += 1) {
    const at = now - (count - seq + 10) * MINUTE;
    messages.push(
      seq % 2 === 1
        ? message(seq, 'user', `Question number ${seq}: what changed in the deployment pipeline?`, at)
        : message(seq, 'assistant', [{ type: 'text', text: `Answer ${seq}. The build now runs in two steps, and each one is cached.` }], at),
    );
  }
  const base = count;
  messages.push(
    message(base + 1, 'user', 'Which services are slow today? Please check the error rates too.', now - 9 * MINUTE),
    message(
      base + 2,
      'assistant',
      [
        { type: 'thinking', thinking: 'I should look at the metrics first and then summarise.' },
        { type: 'text', text: 'I will look at the metrics of the last hour.' },
        { type: 'toolCall', id: 'c1', name: 'metrics_query', arguments: { query: 'p95 by service', hours: 1 } },
        { type: 'toolCall', id: 'c2', name: 'web_fetch', arguments: { url: 'https://status.example.com' } },
      ],
      now - 9 * MINUTE + 4000,
    ),
    message(base + 3, 'toolResult', [{ type: 'text', text: 'checkout p95=840ms\nsearch p95=120ms\nauth p95=95ms' }], now - 9 * MINUTE + 6000, {
      toolCallId: 'c1',
      toolName: 'metrics_query',
    }),
    message(base + 4, 'toolResult', [{ type: 'text', text: 'connection refused' }], now - 9 * MINUTE + 7000, {
      toolCallId: 'c2',
      toolName: 'web_fetch',
      isError: true,
    }),
    message(
      base + 5,
      'assistant',
      [
        {
          type: 'text',
          text: [
            'One service stands out:',
            '',
            '| Service | p95 | Errors |',
            '| --- | ---: | ---: |',
            '| **checkout** | 840 ms | 1.4 % |',
            '| search | 120 ms | 0.1 % |',
            '| auth | 95 ms | 0.0 % |',
            '',
            '### What to do',
            '1. Look at the payment provider, its calls take `700 ms` each.',
            '2. Raise the pool size:',
            '',
            '```toml',
            '[database]',
            'max_connections = 40  # was 10',
            '```',
            '',
            'The status page could not be reached, see [the docs](https://docs.example.com).',
          ].join('\n'),
        },
      ],
      now - 8 * MINUTE,
      { provider: 'openai', model: 'gpt-5-mini', stopReason: 'stop' },
    ),
    message(base + 6, 'user', 'Write a long post-mortem.', now - 3 * MINUTE),
    message(base + 7, 'assistant', [{ type: 'text', text: 'The incident began when' }], now - 3 * MINUTE + 3000, { stopReason: 'aborted' }),
    message(base + 8, 'user', 'And a short one?', now - 2 * MINUTE),
    message(base + 9, 'assistant', [], now - 2 * MINUTE + 2000, {
      stopReason: 'error',
      errorMessage: 'The provider refused the request: the account has no credit left.',
    }),
  );
  return messages;
}

export function initialData({ empty = false, zeroKey = false, signedIn = false, messages = 30 } = {}) {
  const now = Date.now();
  const session = {
    tenant: { slug: 'acme', name: 'Acme Industries' },
    user: { id: 'u1', email: 'ada@acme.test', name: 'Ada Byron', role: 'owner', timeZone: null },
    scopes: ['operator.admin'],
    zeroKey: zeroKey || empty,
    hasPassword: false,
    asksPassword: false,
  };
  const data = {
    signedIn,
    failing: false,
    session,
    apis: ['anthropic-messages', 'openai-completions', 'demo-echo'],
    manifests: MANIFESTS,
    tokens: [],
    hookTokens: [],
    hooks: [
      { name: 'wake', path: 'wake', action: 'wake' },
      { name: 'agent', path: 'agent', action: 'agent' },
    ],
    registry: 'https://clawhub.ai',
    skills: [],
    mcpServers: [],
    budgets: [],
    providers: [],
    models: [],
    accounts: [],
    pairing: [],
    approvals: [],
    activity: { inbox: [], outbox: [] },
    audit: [],
    users: [{ ...session.user, createdAt: now - 90 * 24 * HOUR }],
    transcripts: { 'agent:main:main': [] },
    sessions: [{ key: 'agent:main:main', isMain: true, updatedAt: now }],
    devices: { pending: [], paired: [] },
    surfaces: [],
    nodes: [],
  };
  if (!empty) fill(data, now, messages);
  return data;
}

function fill(data, now, messages) {
  data.tokens.push(
    { id: 't1', name: 'Laptop', scopes: ['operator.admin'], createdAt: now - 40 * 24 * HOUR, lastUsedAt: now - 5 * MINUTE },
    { id: 't2', name: 'Nightly report script', scopes: ['operator.read'], createdAt: now - 2 * 24 * HOUR, lastUsedAt: null },
  );
  data.hookTokens.push(
    { id: 'h1', name: 'Build server', hook: 'agent', createdAt: now - 20 * 24 * HOUR, lastUsedAt: now - 12 * MINUTE },
    { id: 'h2', name: 'Alarm', hook: null, createdAt: now - HOUR, lastUsedAt: null },
  );
  data.hooks.push({ name: 'github', path: 'github', action: 'agent' });
  const missing = { bins: [], anyBins: [], env: [], config: [], os: [] };
  const skill = { source: 'upload', enabled: true, eligible: true, missing, apiKeySet: false, envWanted: [], envSet: [], secretHosts: [], guests: false, userInvocable: true, files: 1, size: 900, updatedAt: now - HOUR };
  data.skills.push(
    { ...skill, key: 'weather', name: 'weather', emoji: '🌤', description: 'Tells the weather of a place, today and for the days to come.', homepage: 'https://example.com', files: 3, source: 'clawhub', origin: { url: 'https://clawhub.ai/ada/weather', slug: 'weather', publisher: 'ada', version: '1.0.0', update: '1.1.0', checkedAt: now - HOUR, suspicious: false } },
    { ...skill, key: 'github', name: 'github', emoji: '🐙', description: 'Looks after issues and pull requests with the gh program.', primaryEnv: 'GH_TOKEN', apiKeySet: true, eligible: false, missing: { ...missing, bins: ['gh'], os: ['darwin', 'linux'] } },
    { ...skill, key: 'notion', name: 'notion', description: 'Reads and writes pages of Notion.', primaryEnv: 'NOTION_KEY', envWanted: ['NOTION_KEY'], enabled: false, eligible: false, missing: { ...missing, env: ['NOTION_KEY'] } },
    { ...skill, key: 'minutes', name: 'minutes', emoji: '📝', description: 'Turns notes of a meeting into minutes, in the words of the house.', source: 'url', origin: { url: 'https://example.com/acme/skills/archive/main.tar.gz', folder: 'skills/minutes', suspicious: false } },
    { ...skill, key: 'lamp', name: 'lamp', description: 'Switches the lamp beside the desk.', source: 'node', node: 'Desk' },
  );
  const budget = { unit: 'money', reserved: 0, period: 'month', timeZone: 'Europe/Berlin', startsAt: now - 20 * 24 * HOUR, resetsAt: now + 10 * 24 * HOUR, origin: 'admin', enabled: true, editable: true, createdAt: now - 60 * 24 * HOUR };
  data.budgets.push(
    { ...budget, id: 'b1', kind: 'tenant', amount: 250, spent: 92.471182, reserved: 1.25, remaining: 156.278818 },
    { ...budget, id: 'b2', kind: 'user', user: 'u2', email: 'grace@acme.test', amount: 20, spent: 17.9, remaining: 2.1 },
    { ...budget, id: 'b3', kind: 'agent', user: 'u1', email: 'ada@acme.test', target: 'research', unit: 'tokens', amount: 2_000_000, spent: 2_000_000, remaining: 0, period: 'day', resetsAt: now + 9 * HOUR, origin: 'user' },
    { ...budget, id: 'b4', kind: 'cron', user: 'u1', email: 'ada@acme.test', target: 'j1', targetName: 'Morning news', unit: 'tokens', amount: 500_000, spent: 12_400, remaining: 487_600, period: 'total', startsAt: null, resetsAt: null, origin: 'user', enabled: false },
  );
  const mcp = { enabled: true, headers: [], connectionTimeoutMs: 30_000, requestTimeoutMs: 60_000, include: [], exclude: [], guests: [], state: 'unknown', problem: null, tools: null };
  data.mcpServers.push(
    { ...mcp, name: 'docs', prefix: 'docs', url: 'https://mcp.docs.example/mcp', headers: ['Authorization'], state: 'ready', tools: 12 },
    { ...mcp, name: 'warehouse', prefix: 'warehouse', url: 'https://warehouse.acme.example/streamable/mcp', headers: ['Authorization', 'X-Warehouse'], include: ['get_*'], guests: ['get_stock'], state: 'failing', problem: 'The server refuses the credentials that are stored for it (status 401).' },
    { ...mcp, name: 'weather', prefix: 'weather', url: 'https://weather.example/mcp', enabled: false },
  );
  const model = { id: 'gpt-5-mini', name: 'GPT-5 mini', contextWindow: 400_000, maxTokens: 128_000, input: ['text', 'image'], reasoning: true };
  data.providers.push(
    { id: 'openai', api: 'openai-completions', baseUrl: 'https://api.openai.com/v1', enabled: true, keySet: true, keyOrder: [], keys: [
      { name: 'default', lastUsedAt: now - 3 * MINUTE },
      { name: 'backup', restsUntil: now + 42 * MINUTE, reason: 'rate_limit', model: 'gpt-5-mini' },
      { name: 'old-contract', restsUntil: now + 5 * HOUR, reason: 'billing' },
    ], models: [model] },
    { id: 'lab', api: 'openai-completions', baseUrl: 'http://127.0.0.1:11434/v1', enabled: false, keySet: false, keyOrder: [], keys: [], models: [{ ...model, id: 'small', name: 'Small' }] },
  );
  data.models.push({ ref: 'openai/gpt-5-mini', name: 'GPT-5 mini', provider: 'openai', contextWindow: 400_000, reasoning: true, default: true });
  data.users.push(
    { id: 'u2', email: 'grace@acme.test', name: 'Grace Hopper', role: 'admin', createdAt: now - 30 * 24 * HOUR },
    { id: 'u3', email: 'linus@acme.test', name: null, role: 'member', disabled: true, createdAt: now - HOUR },
  );
  data.accounts.push(
    {
      channel: 'telegram',
      accountId: 'default',
      owner: 'u1',
      enabled: true,
      status: 'connected',
      statusDetail: null,
      identity: { name: 'Acme helper', username: '@acme_helper_bot' },
      secretsSet: ['botToken', 'webhookSecret'],
      config: {},
      webhookUrl: 'https://acme.example.com/webhooks/telegram',
    },
    {
      channel: 'slack',
      accountId: 'support',
      owner: 'u2',
      enabled: true,
      status: 'error',
      statusDetail: 'Slack answered invalid_auth. Enter a new bot token.',
      identity: null,
      secretsSet: ['botToken', 'signingSecret'],
      config: {},
      webhookUrl: 'https://acme.example.com/webhooks/slack/support',
    },
  );
  data.approvals.push({
    id: 'c1',
    command: 'cargo test --workspace',
    cwd: '/srv/project',
    envKeys: [],
    nodeId: 'd0597d8badf4',
    nodeName: 'build box',
    agentId: 'main',
    sessionKey: 'agent:main:main',
    warning: null,
    decisions: ['allow-once', 'allow-always', 'deny'],
    createdAt: now,
    expiresAt: now + 2 * MINUTE,
  });
  data.pairing.push({
    id: 'p1',
    channel: 'telegram',
    accountId: 'default',
    senderId: '81234567',
    senderName: 'Marie Curie',
    code: 'QH7K-M2',
    createdAt: now - 4 * MINUTE,
    expiresAt: now + 56 * MINUTE,
  });
  data.activity.inbox.push({
    id: 41,
    source: 'telegram',
    sessionKey: 'agent:main:telegram:direct:81234567',
    state: 'dead',
    reason: 'The model did not answer in time',
    attempts: 3,
    receivedAt: now - 26 * MINUTE,
  });
  data.activity.outbox.push(
    { id: 7, conversation: 'slack · #support', state: 'unknown', error: null, createdAt: now - 2 * HOUR },
    { id: 8, conversation: 'telegram · Marie Curie', state: 'failed', error: 'chat not found', createdAt: now - 3 * HOUR },
  );
  const audit = (seq, action, actor, target, detail) => ({ seq, at: now - (60 - seq) * MINUTE, action, actor, target, detail });
  data.audit.push(
    audit(59, 'session.sign_in', 'u1', '', { method: 'link' }),
    audit(58, 'provider.key_set', 'u1', 'openai', {}),
    audit(57, 'channel.connected', 'u2', 'slack/support', {}),
    audit(51, 'device.approved', 'u1', 'd0597d8badf4', { role: 'node' }),
    audit(40, 'tenant.created', 'cli', 'acme', {}),
  );
  data.transcripts = {
    'agent:main:main': mainTranscript(now, messages),
    'agent:main:telegram:direct:81234567': [
      message(1, 'user', 'Bonjour, is anybody there?', now - 50 * MINUTE),
      message(2, 'assistant', [{ type: 'text', text: 'Yes, how can I help?' }], now - 49 * MINUTE),
    ],
    'agent:main:web-1f3a': [message(1, 'user', 'Draft the release notes', now - 30 * HOUR)],
  };
  data.sessions = [
    { key: 'agent:main:main', isMain: true, updatedAt: now - 2 * MINUTE, lastMessagePreview: 'And a short one?' },
    {
      key: 'agent:main:telegram:direct:81234567',
      updatedAt: now - 49 * MINUTE,
      displayName: 'Marie Curie (Telegram)',
      lastMessagePreview: 'Yes, how can I help?',
      unread: true,
    },
    { key: 'agent:main:web-1f3a', updatedAt: now - 30 * HOUR, derivedTitle: 'Release notes', lastMessagePreview: 'Draft the release notes' },
  ];
  const commands = ['system.run', 'system.which', 'fs.listDir', 'mcp.tools.call.v1'];
  data.devices = {
    pending: [
      { requestId: 'r1', deviceId: 'c745f5943a80', displayName: 'Ada’s MacBook', platform: 'darwin', deviceFamily: 'Mac', clientId: 'cli', role: 'operator', roles: ['operator'], scopes: ['operator.read', 'operator.write'], ts: now - MINUTE },
    ],
    paired: [
      { deviceId: 'd0597d8badf4', displayName: 'build box', platform: 'linux', deviceFamily: 'Linux', clientId: 'node-host', role: 'node', roles: ['node'], lastSeenAtMs: now - MINUTE, connected: true },
      { deviceId: 'a71c2', displayName: 'Old phone', platform: 'android', deviceFamily: 'Android', clientId: 'openclaw-android', roles: ['operator', 'node'], lastSeenAtMs: now - 12 * 24 * HOUR, connected: false },
    ],
  };
  data.surfaces = [
    { requestId: 's1', nodeId: 'd0597d8badf4', displayName: 'build box', platform: 'linux', version: '2026.9.6', commands, requiredApproveScopes: ['operator.pairing', 'operator.admin'] },
  ];
  data.nodes = [
    { nodeId: 'd0597d8badf4', displayName: 'build box', platform: 'linux', version: '2026.9.6', commands: [], approvalState: 'pending-approval', connected: true, lastSeenAtMs: now },
    { nodeId: 'ee11', displayName: 'office mac', platform: 'darwin', version: '2026.9.6', commands, approvalState: 'approved', connected: false, lastSeenAtMs: now - 3 * HOUR },
  ];
}
