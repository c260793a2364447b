/** The mock server's gateway: handshake, sessions, chat that streams word by word, devices. */
const REPLY =
  'This is the mock assistant. This reply is streamed word by word so that you can watch it arrive, **with markup** and `code`.';
const WORD_MS = 60;

const METHODS = [
  ...['chat.history', 'chat.send', 'chat.abort', 'sessions.list', 'sessions.subscribe', 'sessions.delete'],
  ...['node.list', 'node.pair.list', 'node.pair.approve', 'node.pair.reject'],
  ...['device.pair.list', 'device.pair.approve', 'device.pair.reject', 'device.pair.remove'],
];

export function attachGateway(ws, data) {
  const client = { ws, data, seq: 0, runs: new Map() };
  ws.on('message', (raw) => onFrame(client, JSON.parse(raw.toString())));
  ws.on('close', () => {
    for (const run of client.runs.values()) clearInterval(run.timer);
  });
  ws.send(JSON.stringify({ type: 'event', event: 'connect.challenge', payload: { nonce: 'n', ts: Date.now() } }));
  client.tick = setInterval(() => emit(client, 'tick', { ts: Date.now() }), 10_000);
  ws.on('close', () => clearInterval(client.tick));
}

function emit(client, event, payload) {
  client.seq += 1;
  client.ws.send(JSON.stringify({ type: 'event', event, payload, seq: client.seq }));
}

function onFrame(client, { id, method, params }) {
  const ok = (payload) => client.ws.send(JSON.stringify({ type: 'res', id, ok: true, payload }));
  const fail = (code, message) => client.ws.send(JSON.stringify({ type: 'res', id, ok: false, error: { code, message } }));
  const handler = HANDLERS[method];
  if (!handler) return fail('INVALID_REQUEST', `unknown method: ${method}`);
  return handler({ client, data: client.data, params: params ?? {}, ok, fail });
}

const drop = (list, test) => {
  const index = list.findIndex(test);
  return index < 0 ? undefined : list.splice(index, 1)[0];
};

const HANDLERS = {
  connect: ({ ok }) =>
    ok({
      type: 'hello-ok',
      protocol: 4,
      server: { version: '0.1.0', connId: 'c1' },
      features: { methods: METHODS, events: ['chat', 'agent', 'tick'] },
      snapshot: {
        presence: [],
        health: {},
        stateVersion: { presence: 1, health: 1 },
        uptimeMs: 1,
        sessionDefaults: { defaultAgentId: 'main', mainKey: 'main', mainSessionKey: 'agent:main:main' },
      },
      auth: { role: 'operator', scopes: ['operator.admin'] },
      policy: { maxPayload: 26_214_400, maxBufferedBytes: 52_428_800, tickIntervalMs: 30_000 },
    }),
  'sessions.subscribe': ({ ok }) => ok({ subscribed: true }),
  'sessions.list': ({ data, ok }) => ok({ sessions: data.sessions, hasMore: false }),
  'sessions.delete': ({ data, params, ok }) => {
    drop(data.sessions, (session) => session.key === params.key);
    delete data.transcripts[params.key];
    ok({ ok: true });
  },
  'chat.history': ({ data, params, ok }) => {
    const all = data.transcripts[params.sessionKey] ?? [];
    const offset = params.offset ?? 0;
    const end = all.length - offset;
    const messages = all.slice(Math.max(0, end - params.limit), Math.max(0, end));
    const hasMore = end - messages.length > 0;
    ok({
      sessionKey: params.sessionKey,
      messages,
      hasMore,
      totalMessages: all.length,
      ...(hasMore && { nextOffset: offset + messages.length }),
    });
  },
  'chat.send': ({ client, data, params, ok }) => {
    const { sessionKey, idempotencyKey: runId, message } = params;
    const transcript = (data.transcripts[sessionKey] ??= []);
    if (!data.sessions.some((session) => session.key === sessionKey)) {
      data.sessions.unshift({ key: sessionKey, derivedTitle: message.slice(0, 40), updatedAt: Date.now() });
    }
    if (transcript.some((row) => row.__openclaw.idempotencyKey === `${runId}:user`)) return ok({ runId, status: 'ok' });
    const images = (params.attachments ?? []).map(({ content, mimeType }) => ({ type: 'image', data: content, mimeType }));
    store(transcript, 'user', images.length > 0 ? [{ type: 'text', text: message }, ...images] : message, {
      idempotencyKey: `${runId}:user`,
    });
    ok({ runId, status: 'started' });
    startRun(client, sessionKey, runId, transcript);
    return undefined;
  },
  'chat.abort': ({ client, params, ok }) => {
    const runIds = [...client.runs.keys()].filter((runId) => client.runs.get(runId).sessionKey === params.sessionKey);
    ok({ ok: true, aborted: runIds.length > 0, runIds });
    for (const runId of runIds) client.runs.get(runId).end('aborted');
  },
  'device.pair.list': ({ data, ok }) => ok(data.devices),
  'device.pair.approve': ({ client, data, params, ok, fail }) => {
    const request = drop(data.devices.pending, (device) => device.requestId === params.requestId);
    if (!request) return fail('INVALID_REQUEST', 'unknown requestId');
    data.devices.paired.push({ ...request, connected: false, lastSeenAtMs: Date.now() });
    ok({ requestId: params.requestId, device: {} });
    emit(client, 'device.pair.resolved', { requestId: params.requestId, decision: 'approved', ts: Date.now() });
    return undefined;
  },
  'device.pair.reject': ({ data, params, ok }) => {
    drop(data.devices.pending, (device) => device.requestId === params.requestId);
    ok({});
  },
  'device.pair.remove': ({ data, params, ok }) => {
    drop(data.devices.paired, (device) => device.deviceId === params.deviceId);
    ok({});
  },
  'node.pair.list': ({ data, ok }) => ok({ pending: data.surfaces, paired: [] }),
  'node.pair.approve': ({ data, params, ok }) => {
    const surface = drop(data.surfaces, (row) => row.requestId === params.requestId);
    const node = data.nodes.find((row) => row.nodeId === surface?.nodeId);
    if (node) Object.assign(node, { approvalState: 'approved', commands: surface.commands });
    ok({});
  },
  'node.pair.reject': ({ data, params, ok }) => {
    drop(data.surfaces, (row) => row.requestId === params.requestId);
    ok({});
  },
  'node.list': ({ data, ok }) => ok({ ts: Date.now(), nodes: data.nodes }),
};

function store(transcript, role, content, meta, extra = {}) {
  const seq = transcript.length + 1;
  transcript.push({ role, content, timestamp: Date.now(), ...extra, __openclaw: { id: `n${seq}`, seq, ...meta } });
}

function startRun(client, sessionKey, runId, transcript) {
  const words = REPLY.split(' ');
  let said = 0;
  let chatSeq = 0;
  const text = () => words.slice(0, said).join(' ');
  const message = () => ({ role: 'assistant', content: [{ type: 'text', text: text() }], timestamp: Date.now() });
  const chat = (state, rest) => emit(client, 'chat', { runId, sessionKey, agentId: 'main', seq: (chatSeq += 1), state, ...rest });
  const tool = (data) => emit(client, 'agent', { runId, sessionKey, agentId: 'main', stream: 'tool', seq: (chatSeq += 1), ts: Date.now(), data });
  const end = (state) => {
    clearInterval(run.timer);
    client.runs.delete(runId);
    store(transcript, 'assistant', message().content, { runId }, { stopReason: state === 'final' ? 'stop' : 'aborted' });
    chat(state, { stopReason: state === 'final' ? 'stop' : 'rpc', message: message() });
    emit(client, 'sessions.changed', { sessionKey });
  };
  const run = { sessionKey, end };
  client.runs.set(runId, run);
  chat('status', { phase: 'starting_model' });
  tool({ phase: 'start', name: 'memory_search', toolCallId: `${runId}-t`, args: { query: 'preferences' } });
  run.timer = setInterval(() => {
    if (said === 2) tool({ phase: 'result', name: 'memory_search', toolCallId: `${runId}-t`, isError: false, result: { content: [{ type: 'text', text: 'nothing found' }] } });
    said += 1;
    if (said <= words.length) chat('delta', { deltaText: said === 1 ? words[0] : ` ${words[said - 1]}`, message: message() });
    else end('final');
  }, WORD_MS);
}
