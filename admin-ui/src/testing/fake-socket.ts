/** A WebSocket whose server side is the test. */
import type { SocketLike } from '../api/gateway.ts';

interface Request {
  type: string;
  id: string;
  method: string;
  params: Record<string, unknown>;
}

export class FakeSocket implements SocketLike {
  readyState = 1;
  onopen: SocketLike['onopen'] = null;
  onmessage: SocketLike['onmessage'] = null;
  onclose: SocketLike['onclose'] = null;
  onerror: SocketLike['onerror'] = null;
  readonly sent: Request[] = [];
  closed: { code: number | undefined; reason: string | undefined } | undefined;

  constructor(readonly url: string) {}

  send(data: string): void {
    this.sent.push(JSON.parse(data) as Request);
  }

  close(code?: number, reason?: string): void {
    this.closed = { code, reason };
    this.readyState = 3;
  }

  /** The server closes. */
  drop(code: number, reason = ''): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  frame(value: unknown): void {
    this.onmessage?.({ data: JSON.stringify(value) });
  }

  event(event: string, payload: unknown, seq?: number): void {
    this.frame({ type: 'event', event, payload, ...(seq !== undefined && { seq }) });
  }

  last(method: string): Request {
    const found = this.sent.findLast((request) => request.method === method);
    if (!found) throw new Error(`no ${method} was sent`);
    return found;
  }

  answer(method: string, payload: unknown): void {
    this.frame({ type: 'res', id: this.last(method).id, ok: true, payload });
  }

  refuse(method: string, error: Record<string, unknown>): void {
    this.frame({ type: 'res', id: this.last(method).id, ok: false, error });
  }

  /** Challenge and hello. */
  greet(methods: string[] = []): void {
    this.event('connect.challenge', { nonce: 'n', ts: 1 });
    this.answer('connect', hello(methods));
  }
}

export function hello(methods: string[] = []) {
  return {
    type: 'hello-ok',
    protocol: 4,
    server: { version: '1', connId: 'c' },
    features: { methods, events: [] },
    snapshot: { sessionDefaults: { mainSessionKey: 'agent:main:main', defaultAgentId: 'main' } },
    auth: { role: 'operator', scopes: ['operator.admin'] },
    policy: { maxPayload: 1_000, tickIntervalMs: 30_000 },
  };
}
