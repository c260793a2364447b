import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { ChatMessage } from '../../api/chat.ts';
import { GatewayClient } from '../../api/gateway.ts';
import { FakeSocket } from '../../testing/fake-socket.ts';
import { Conversation } from './conversation.ts';
import type { AssistantItem, Item, UserItem } from './transcript.ts';

const KEY = 'agent:main:main';
let sockets: FakeSocket[];
let gateway: GatewayClient;
let conversation: Conversation;
let transcript: ChatMessage[];

const socket = () => sockets.at(-1)!;
const settle = () => vi.advanceTimersByTimeAsync(0);
const texts = (items: Item[]) => items.map(({ kind, text }) => `${kind}: ${text}`);
const stored = (id: number, role: ChatMessage['role'], content: string, extra = {}): ChatMessage => ({
  role,
  content,
  timestamp: id,
  __openclaw: { id: `m${id}`, seq: id, ...extra },
});

/** Answers the last `chat.history` from `transcript`, as the server pages it. */
async function answerHistory(extra: Record<string, unknown> = {}): Promise<void> {
  const { limit, offset = 0 } = socket().last('chat.history').params as { limit: number; offset?: number };
  const end = transcript.length - offset;
  const messages = transcript.slice(Math.max(0, end - limit), Math.max(0, end));
  const hasMore = end > messages.length;
  socket().answer('chat.history', {
    sessionKey: KEY,
    messages,
    hasMore,
    ...(hasMore && { nextOffset: offset + messages.length }),
    ...extra,
  });
  await settle();
}

async function load(extra?: Record<string, unknown>): Promise<void> {
  const done = conversation.load();
  await answerHistory(extra);
  await done;
}

beforeEach(async () => {
  vi.useFakeTimers();
  sockets = [];
  transcript = [stored(1, 'user', 'hello'), stored(2, 'assistant', 'hi')];
  gateway = new GatewayClient({
    url: 'ws://x',
    createSocket: (url) => {
      sockets.push(new FakeSocket(url));
      return socket();
    },
  });
  gateway.start();
  socket().greet();
  await settle();
  conversation = new Conversation(gateway, KEY, () => undefined);
});

afterEach(() => {
  conversation.close();
  gateway.stop();
  vi.useRealTimers();
});

it('shows a message at once, then the words of the reply, then what was stored', async () => {
  await load();
  const sent = conversation.send('how are you?', []);
  expect(conversation.liveItems).toMatchObject([{ kind: 'user', text: 'how are you?', delivery: 'sending' }]);
  const { idempotencyKey: runId } = socket().last('chat.send').params as { idempotencyKey: string };
  socket().answer('chat.send', { runId, status: 'started' });
  await sent;
  expect((conversation.liveItems[0] as UserItem).delivery).toBeUndefined();
  expect(conversation.running).toBe(true);

  conversation.onChat({ runId, sessionKey: KEY, state: 'status', phase: 'starting_model' });
  conversation.onChat({ runId, sessionKey: KEY, state: 'delta', deltaText: 'I am' });
  conversation.onChat({ runId, sessionKey: KEY, state: 'delta', deltaText: ' fine' });
  expect(texts(conversation.liveItems)).toEqual(['user: how are you?', 'assistant: I am fine']);
  conversation.onChat({ runId, sessionKey: KEY, state: 'delta', deltaText: 'All well', replace: true });
  expect((conversation.liveItems[1] as AssistantItem).text).toBe('All well');

  const reply = { role: 'assistant' as const, content: [{ type: 'text' as const, text: 'All well.' }], timestamp: 4 };
  conversation.onChat({ runId, sessionKey: KEY, state: 'final', message: reply });
  expect(conversation.running).toBe(false);
  expect(conversation.liveItems).toEqual([]);
  const expected = ['user: hello', 'assistant: hi', 'user: how are you?', 'assistant: All well.'];
  expect(texts(conversation.items).toSorted()).toEqual(expected.toSorted());
  expect(conversation.announcement).toBe('All well.');

  transcript.push(
    stored(3, 'user', 'how are you?', { idempotencyKey: `${runId}:user` }),
    stored(4, 'assistant', 'All well.', { runId }),
  );
  await vi.advanceTimersByTimeAsync(200);
  await answerHistory();
  expect(texts(conversation.items)).toEqual(expected);
});

it('does not revive a run whose end came before the answer to chat.send', async () => {
  await load();
  const sent = conversation.send('quick', []);
  const { idempotencyKey: runId } = socket().last('chat.send').params as { idempotencyKey: string };
  conversation.onChat({ runId, sessionKey: KEY, state: 'final' });
  socket().answer('chat.send', { runId, status: 'started' });
  await sent;
  expect(conversation.running).toBe(false);
});

it('sends a message of unknown fate again under the same key after a reconnect', async () => {
  await load();
  const sent = conversation.send('important', []);
  const first = socket().last('chat.send').params['idempotencyKey'];
  socket().drop(1006);
  await sent;
  expect((conversation.liveItems[0] as UserItem).delivery).toBe('queued');
  await vi.advanceTimersByTimeAsync(1_000);
  socket().greet();
  await settle();
  await load();
  expect(socket().last('chat.send').params['idempotencyKey']).toBe(first);
});

it('keeps a refused message, and sends it again when asked', async () => {
  await load();
  const sent = conversation.send('no', []);
  socket().refuse('chat.send', { code: 'FORBIDDEN', message: 'missing scope: operator.write' });
  await sent;
  const [item] = conversation.liveItems as UserItem[];
  expect(item).toMatchObject({ delivery: 'failed', problem: 'Missing scope: operator.write.' });
  conversation.resend(item!.key);
  expect(socket().sent.filter(({ method }) => method === 'chat.send')).toHaveLength(2);
});

it('shows aborted and failed runs', async () => {
  await load();
  conversation.onChat({ runId: 'a', sessionKey: KEY, state: 'delta', deltaText: 'half' });
  conversation.onChat({ runId: 'a', sessionKey: KEY, state: 'aborted', stopReason: 'rpc' });
  conversation.onChat({ runId: 'b', sessionKey: KEY, state: 'error', errorMessage: 'no credit' });
  const ends = conversation.items.slice(-2) as AssistantItem[];
  expect(ends.map(({ state, text, problem }) => ({ state, text, problem }))).toEqual([
    { state: 'aborted', text: 'half', problem: undefined },
    { state: 'error', text: '', problem: 'no credit' },
  ]);
});

it('collects tool calls of a run', () => {
  const tool = (data: Record<string, unknown>) =>
    conversation.onAgent({ runId: 'r', sessionKey: KEY, stream: 'tool', data: { toolCallId: 't', ...data } });
  tool({ phase: 'start', name: 'exec', args: { command: 'ls' } });
  tool({ phase: 'update', partialResult: { content: [{ type: 'text', text: 'a' }] } });
  expect((conversation.liveItems[0] as AssistantItem).tools).toEqual([
    { id: 't', name: 'exec', arguments: { command: 'ls' }, state: 'running', result: 'a' },
  ]);
  tool({ phase: 'result', isError: true, result: { content: [{ type: 'text', text: 'ab' }] } });
  expect((conversation.liveItems[0] as AssistantItem).tools[0]).toMatchObject({ state: 'failed', result: 'ab' });
});

it('ignores other conversations', () => {
  conversation.onChat({ runId: 'x', sessionKey: 'agent:main:other', state: 'delta', deltaText: 'secret' });
  expect(conversation.liveItems).toEqual([]);
});

it('takes up a run that was under way when the page came', async () => {
  await load({ inFlightRun: { runId: 'r', text: 'so far' } });
  expect(conversation.liveItems).toMatchObject([{ kind: 'assistant', text: 'so far', state: 'live' }]);
});

it('drops a run that the server no longer knows after missed events', async () => {
  await load();
  conversation.onChat({ runId: 'lost', sessionKey: KEY, state: 'delta', deltaText: 'x' });
  await load();
  expect(conversation.running).toBe(false);
});

it('pages through ten thousand messages without a hole or a double', async () => {
  transcript = Array.from({ length: 10_000 }, (_, index) => stored(index + 1, 'user', `message ${index + 1}`));
  await load();
  expect(conversation.items).toHaveLength(80);
  for (let page = 0; page < 3; page += 1) {
    const done = conversation.loadOlder();
    await answerHistory();
    await done;
  }
  // Messages that arrive meanwhile shift what the server counts from its end.
  transcript.push(stored(10_001, 'user', 'message 10001'));
  conversation.onSessionMessage({ sessionKey: KEY, message: transcript.at(-1)! });
  await vi.advanceTimersByTimeAsync(200);
  await answerHistory();
  const done = conversation.loadOlder();
  await answerHistory();
  await done;
  const numbers = conversation.items.map(({ text }) => Number(text.replace('message ', '')));
  expect(numbers).toEqual(Array.from({ length: 401 }, (_, index) => 9_601 + index));
  expect(conversation.hasOlder).toBe(true);
});

it('says that the history could not be loaded, and recovers', async () => {
  const failed = conversation.load();
  socket().refuse('chat.history', { code: 'UNAVAILABLE', message: 'busy' });
  await failed;
  expect(conversation.status).toBe('failed');
  await load();
  expect(conversation.status).toBe('ready');
});
