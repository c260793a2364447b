import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeSocket } from '../testing/fake-socket.ts';
import { GatewayClient, GatewayError, gatewayUrl } from './gateway.ts';
import type { ConnectionState } from './gateway.ts';

let sockets: FakeSocket[];
let client: GatewayClient;
let states: ConnectionState[];

const socket = () => sockets.at(-1)!;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  states = [];
  client = new GatewayClient({
    url: 'ws://localhost/gateway/ws',
    random: () => 1,
    createSocket: (url) => {
      const created = new FakeSocket(url);
      sockets.push(created);
      return created;
    },
  });
  client.onState((state) => states.push(state));
});

afterEach(() => {
  client.stop();
  vi.useRealTimers();
});

/** Lets promise callbacks run. */
const settle = () => vi.advanceTimersByTimeAsync(0);

async function connect(): Promise<void> {
  client.start();
  socket().greet(['chat.send']);
  await settle();
}

describe('handshake', () => {
  it('waits for the challenge, then connects as the control UI without device or token', async () => {
    client.start();
    expect(socket().sent).toEqual([]);
    socket().event('connect.challenge', { nonce: 'n', ts: 1 });
    const { params } = socket().last('connect');
    expect(params).toMatchObject({
      minProtocol: 4,
      maxProtocol: 4,
      client: { id: 'openclaw-control-ui', mode: 'ui' },
      role: 'operator',
    });
    expect(params).not.toHaveProperty('device');
    expect(params).not.toHaveProperty('auth');
    socket().answer('connect', {
      features: { methods: ['chat.send'], events: [] },
      policy: { tickIntervalMs: 30_000 },
    });
    await settle();
    expect(client.state.phase).toBe('open');
    expect(client.supports('chat.send')).toBe(true);
    expect(client.supports('nope')).toBe(false);
  });

  it('sends one connect however many challenges come', () => {
    client.start();
    socket().event('connect.challenge', { nonce: 'a', ts: 1 });
    socket().event('connect.challenge', { nonce: 'b', ts: 1 });
    expect(socket().sent).toHaveLength(1);
  });

  it('gives up with 4000 when the challenge does not come', async () => {
    client.start();
    await vi.advanceTimersByTimeAsync(15_000);
    expect(sockets[0]!.closed?.code).toBe(4000);
    expect(client.state).toMatchObject({ phase: 'waiting', code: 4000 });
  });

  it('keeps the reason of a refusal and honours retryAfterMs', async () => {
    client.start();
    socket().event('connect.challenge', { nonce: 'a', ts: 1 });
    socket().refuse('connect', { code: 'UNAVAILABLE', message: 'starting up', retryable: true, retryAfterMs: 5_000 });
    await settle();
    socket().drop(1013, '');
    expect(client.state).toMatchObject({ phase: 'waiting', reason: 'starting up', code: 1013 });
    await vi.advanceTimersByTimeAsync(4_900);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(sockets).toHaveLength(2);
  });
});

describe('requests', () => {
  it('matches answers by id, in any order', async () => {
    await connect();
    const first = client.request('a');
    const second = client.request('b');
    socket().answer('b', 'B');
    socket().answer('a', 'A');
    expect(await Promise.all([first, second])).toEqual(['A', 'B']);
  });

  it('rejects with what the server said', async () => {
    await connect();
    const call = client.request('a');
    socket().refuse('a', { code: 'FORBIDDEN', message: 'missing scope', details: { missingScope: 'operator.write' } });
    await expect(call).rejects.toMatchObject({ code: 'FORBIDDEN', message: 'missing scope', uncertain: false });
  });

  it('refuses at once while there is no connection', async () => {
    client.start();
    await expect(client.request('a')).rejects.toMatchObject({ code: 'DISCONNECTED' });
    expect(socket().sent).toEqual([]);
  });

  it('rejects what is under way when the connection is lost', async () => {
    await connect();
    const call = client.request('a').catch((error: unknown) => error);
    socket().drop(1006);
    const error = await call;
    expect(error).toBeInstanceOf(GatewayError);
    expect((error as GatewayError).uncertain).toBe(true);
  });

  it('times out, and ignores the answer that comes too late', async () => {
    await connect();
    const call = client.request('a', {}, 1_000).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(await call).toMatchObject({ code: 'TIMEOUT' });
    expect(() => socket().answer('a', 'late')).not.toThrow();
  });
});

describe('events', () => {
  it('emits resync exactly when a number is missing', async () => {
    const resync = vi.fn();
    const chat = vi.fn();
    client.on('resync', resync);
    client.on('chat', chat);
    await connect();
    socket().event('chat', { n: 1 }, 1);
    socket().event('chat', { n: 2 }, 2);
    socket().event('voicewake.changed', {});
    expect(resync).not.toHaveBeenCalled();
    socket().event('chat', { n: 4 }, 4);
    expect(resync).toHaveBeenCalledExactlyOnceWith({ reason: 'gap' });
    expect(chat).toHaveBeenCalledTimes(3);
    socket().event('chat', { n: 5 }, 5);
    expect(resync).toHaveBeenCalledTimes(1);
  });

  it('notices that the first event of a connection is missing', async () => {
    const resync = vi.fn();
    client.on('resync', resync);
    await connect();
    socket().event('chat', {}, 2);
    expect(resync).toHaveBeenCalledTimes(1);
  });

  it('emits resync after a reconnect, and counts anew', async () => {
    const resync = vi.fn();
    client.on('resync', resync);
    await connect();
    socket().event('chat', {}, 1);
    socket().event('chat', {}, 2);
    socket().drop(1006);
    await vi.advanceTimersByTimeAsync(1_000);
    socket().greet();
    await settle();
    expect(resync).toHaveBeenCalledExactlyOnceWith({ reason: 'reconnected' });
    socket().event('chat', {}, 1);
    expect(resync).toHaveBeenCalledTimes(1);
  });

  it('stops calling a listener that was taken away', async () => {
    const chat = vi.fn();
    const undo = client.on('chat', chat);
    await connect();
    undo();
    socket().event('chat', {}, 1);
    expect(chat).not.toHaveBeenCalled();
  });

  it('survives frames that are not JSON', async () => {
    await connect();
    socket().onmessage?.({ data: '{' });
    socket().onmessage?.({ data: new ArrayBuffer(1) });
    expect(client.state.phase).toBe('open');
  });
});

describe('reconnect', () => {
  it('waits 1, 2, 4 … at most 30 s, and starts over after a hello', async () => {
    client.start();
    const waits: number[] = [];
    for (let attempt = 0; attempt < 7; attempt += 1) {
      socket().drop(1006);
      const state = client.state;
      if (state.phase !== 'waiting') throw new Error(state.phase);
      waits.push(state.retryAt - Date.now());
      await vi.advanceTimersByTimeAsync(state.retryAt - Date.now());
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    socket().greet();
    await settle();
    socket().drop(1012, 'service restart');
    expect(client.state).toMatchObject({ phase: 'waiting', attempt: 1, code: 1012 });
  });

  it('goes at once when asked', async () => {
    client.start();
    socket().drop(1006);
    client.retryNow();
    expect(sockets).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(sockets).toHaveLength(2);
  });

  it('takes the hint of a shutdown', async () => {
    await connect();
    socket().event('shutdown', { reason: 'deploy', restartExpectedMs: 8_000 }, 1);
    socket().drop(1012, 'service restart');
    await vi.advanceTimersByTimeAsync(7_900);
    expect(sockets).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(sockets).toHaveLength(2);
  });

  it('closes with 4000 after two silent intervals', async () => {
    await connect();
    await vi.advanceTimersByTimeAsync(55_000);
    socket().event('tick', { ts: 1 }, 1);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(client.state.phase).toBe('open');
    await vi.advanceTimersByTimeAsync(30_000);
    expect(sockets[0]!.closed?.code).toBe(4000);
    expect(client.state.phase).not.toBe('open');
  });

  it('stays closed after stop', async () => {
    await connect();
    client.stop();
    expect(client.state.phase).toBe('idle');
    await vi.advanceTimersByTimeAsync(60_000);
    expect(sockets).toHaveLength(1);
  });
});

it('finds the gateway on the origin of the page', () => {
  expect(gatewayUrl({ protocol: 'https:', host: 'acme.example.com' })).toBe('wss://acme.example.com/gateway/ws');
  expect(gatewayUrl({ protocol: 'http:', host: 'localhost:8080' })).toBe('ws://localhost:8080/gateway/ws');
});
