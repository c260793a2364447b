/**
 * Client of the gateway WebSocket: connect, back-off, matching of answers, sequence check.
 *
 * Events are not replayed. Whenever some may have been missed (a gap in `seq`, a new connection) the client emits
 * `resync`, and whoever shows server state fetches it again.
 */

/** An error the gateway answered with, or `DISCONNECTED` / `TIMEOUT` made here. */
export class GatewayError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly details?: Record<string, unknown>,
    readonly retryable = false,
    readonly retryAfterMs?: number,
  ) {
    super(message);
    this.name = 'GatewayError';
  }

  /** The request may or may not have reached the server: safe to repeat only with an idempotency key. */
  get uncertain(): boolean {
    return this.code === 'DISCONNECTED' || this.code === 'TIMEOUT';
  }
}

export interface Hello {
  server: { version: string; connId: string };
  features: { methods: string[]; events: string[] };
  snapshot: { sessionDefaults?: { mainSessionKey?: string; defaultAgentId?: string } };
  auth: { role: string; scopes: string[] };
  policy: { maxPayload: number; tickIntervalMs: number; attachments?: { maxBytes?: number; maxImageBytes?: number } };
}

export type ConnectionState =
  | { phase: 'idle' }
  | { phase: 'connecting'; attempt: number }
  | { phase: 'open'; hello: Hello }
  /** Waiting for the next attempt, which starts at `retryAt` (epoch ms). */
  | { phase: 'waiting'; attempt: number; retryAt: number; reason: string; code: number };

/** The part of the browser's WebSocket that is used. */
export interface SocketLike {
  readyState: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
}

export interface GatewayOptions {
  url: string;
  clientVersion?: string;
  createSocket?: (url: string) => SocketLike;
  /** 0 ≤ r < 1, spreads reconnects. */
  random?: () => number;
  now?: () => number;
}

interface Pending {
  resolve: (payload: unknown) => void;
  reject: (error: GatewayError) => void;
  timer: ReturnType<typeof setTimeout> | undefined;
}

type Listener = (payload: unknown) => void;

const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 30_000;
const HANDSHAKE_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Close code for "gave up waiting", as the original clients use it. */
const CLOSE_CLIENT_TIMEOUT = 4000;
const SOCKET_OPEN = 1;

/** What the browser client can do with events. `tool-events` is needed to be sent tool streams. */
const CAPABILITIES = ['tool-events'];
const SCOPES = [
  'operator.admin',
  'operator.read',
  'operator.write',
  'operator.approvals',
  'operator.questions',
  'operator.pairing',
  'operator.talk.secrets',
];

export class GatewayClient {
  #state: ConnectionState = { phase: 'idle' };
  #socket: SocketLike | undefined;
  #helloDone = false;
  #everOpen = false;
  #attempt = 0;
  #lastSeq = 0;
  #nextId = 1;
  #connectId = '';
  #retryHintMs: number | undefined;
  #refusal = '';
  #lastFrameAt = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #handshakeTimer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setInterval> | undefined;
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #stateListeners = new Set<(state: ConnectionState) => void>();
  readonly #options: Required<GatewayOptions>;

  constructor(options: GatewayOptions) {
    this.#options = {
      clientVersion: '0.1.0',
      createSocket: (url) => new WebSocket(url) as unknown as SocketLike,
      random: Math.random,
      now: Date.now,
      ...options,
    };
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get hello(): Hello | undefined {
    return this.#state.phase === 'open' ? this.#state.hello : undefined;
  }

  /** Does the server advertise this method. */
  supports(method: string): boolean {
    return this.hello?.features.methods.includes(method) ?? false;
  }

  start(): void {
    if (this.#state.phase === 'idle') this.#open();
  }

  /** Closes for good; `start` begins anew. */
  stop(): void {
    clearTimeout(this.#retryTimer);
    const socket = this.#socket;
    this.#detach();
    socket?.close(1000, 'bye');
    this.#rejectAll('the page closed the connection');
    this.#attempt = 0;
    this.#everOpen = false;
    this.#setState({ phase: 'idle' });
  }

  /** Skips the rest of the back-off; for a click, or when the browser is online again. */
  retryNow(): void {
    if (this.#state.phase !== 'waiting') return;
    clearTimeout(this.#retryTimer);
    this.#open();
  }

  /**
   * Calls a method. Rejects with `GatewayError`; `DISCONNECTED` at once when there is no connection.
   * `timeoutMs` bounds the wait for the answer.
   */
  request<T>(method: string, params: unknown = {}, timeoutMs = REQUEST_TIMEOUT_MS): Promise<T> {
    if (!this.#helloDone || !this.#socket) {
      return Promise.reject(new GatewayError('DISCONNECTED', 'Not connected to the server.', undefined, true));
    }
    return this.#send<T>(method, params, timeoutMs);
  }

  /** Listens to an event by name; `resync` is emitted by the client itself. Returns the way to stop. */
  on<T>(event: string, listener: (payload: T) => void): () => void {
    const set = this.#listeners.get(event) ?? new Set<Listener>();
    this.#listeners.set(event, set);
    set.add(listener as Listener);
    return () => set.delete(listener as Listener);
  }

  /** Listens to changes of the connection. */
  onState(listener: (state: ConnectionState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  #open(): void {
    this.#helloDone = false;
    this.#lastSeq = 0;
    this.#refusal = '';
    this.#setState({ phase: 'connecting', attempt: this.#attempt });
    let socket: SocketLike;
    try {
      socket = this.#options.createSocket(this.#options.url);
    } catch {
      this.#scheduleRetry(1006, 'cannot connect');
      return;
    }
    this.#socket = socket;
    socket.onmessage = (event) => this.#onFrame(event.data);
    socket.onclose = (event) => this.#onClose(event.code, event.reason);
    this.#handshakeTimer = setTimeout(() => this.#giveUp('handshake timeout'), HANDSHAKE_TIMEOUT_MS);
  }

  #onFrame(data: unknown): void {
    const frame = parseFrame(data);
    if (!frame) return;
    this.#lastFrameAt = this.#options.now();
    if (frame['type'] === 'event') this.#onEvent(frame);
    else if (frame['type'] === 'res') this.#onResponse(frame);
  }

  #onEvent(frame: Record<string, unknown>): void {
    const name = frame['event'];
    if (typeof name !== 'string') return;
    if (name === 'connect.challenge') {
      if (!this.#helloDone && this.#connectId === '') this.#connect();
      return;
    }
    if (!this.#helloDone) return;
    const seq = frame['seq'];
    let gap = false;
    if (typeof seq === 'number') {
      gap = seq > this.#lastSeq + 1;
      this.#lastSeq = Math.max(this.#lastSeq, seq);
    }
    if (name === 'shutdown') this.#retryHintMs = restartHint(frame['payload']);
    this.#emit(name, frame['payload']);
    if (gap) this.#emit('resync', { reason: 'gap' });
  }

  #connect(): void {
    const params = {
      minProtocol: 4,
      maxProtocol: 4,
      client: {
        id: 'openclaw-control-ui',
        displayName: 'ClawCentral Admin UI',
        version: this.#options.clientVersion,
        platform: 'web',
        mode: 'ui',
      },
      role: 'operator',
      scopes: SCOPES,
      caps: CAPABILITIES,
    };
    const answer = this.#send<Hello>('connect', params, HANDSHAKE_TIMEOUT_MS);
    this.#connectId = String(this.#nextId - 1);
    answer.then(
      (hello) => this.#onHello(hello),
      (error: unknown) => {
        if (!(error instanceof GatewayError) || error.uncertain) return;
        this.#refusal = error.message;
        this.#retryHintMs = error.retryAfterMs;
        this.#socket?.close(1000, 'refused');
      },
    );
  }

  #onHello(hello: Hello): void {
    clearTimeout(this.#handshakeTimer);
    this.#helloDone = true;
    this.#attempt = 0;
    this.#retryHintMs = undefined;
    this.#watchSilence(hello.policy.tickIntervalMs);
    const again = this.#everOpen;
    this.#everOpen = true;
    this.#setState({ phase: 'open', hello });
    if (again) this.#emit('resync', { reason: 'reconnected' });
  }

  #onResponse(frame: Record<string, unknown>): void {
    const id = frame['id'];
    if (typeof id !== 'string') return;
    const pending = this.#pending.get(id);
    if (!pending) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (frame['ok'] === true) pending.resolve(frame['payload']);
    else pending.reject(toGatewayError(frame['error']));
  }

  #send<T>(method: string, params: unknown, timeoutMs: number): Promise<T> {
    const id = String(this.#nextId++);
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new GatewayError('TIMEOUT', 'The server did not answer in time.', undefined, true));
      }, timeoutMs);
      this.#pending.set(id, { resolve: resolve as (payload: unknown) => void, reject, timer });
      if (this.#socket?.readyState === SOCKET_OPEN) {
        this.#socket.send(JSON.stringify({ type: 'req', id, method, params }));
      }
    });
  }

  #onClose(code: number, reason: string): void {
    this.#detach();
    this.#rejectAll('the connection was lost');
    this.#scheduleRetry(code, this.#refusal || reason);
  }

  #giveUp(reason: string): void {
    const socket = this.#socket;
    this.#detach();
    socket?.close(CLOSE_CLIENT_TIMEOUT, reason);
    this.#rejectAll(reason);
    this.#scheduleRetry(CLOSE_CLIENT_TIMEOUT, reason);
  }

  #scheduleRetry(code: number, reason: string): void {
    const backoff = Math.min(BACKOFF_FIRST_MS * 2 ** this.#attempt, BACKOFF_MAX_MS);
    const base = Math.max(backoff, Math.min(this.#retryHintMs ?? 0, BACKOFF_MAX_MS));
    const delay = Math.round(base * (0.8 + 0.2 * this.#options.random()));
    this.#attempt += 1;
    this.#setState({
      phase: 'waiting',
      attempt: this.#attempt,
      retryAt: this.#options.now() + delay,
      reason,
      code,
    });
    this.#retryTimer = setTimeout(() => this.#open(), delay);
  }

  /** Two silent tick intervals mean that the connection is dead, whatever TCP thinks. */
  #watchSilence(tickIntervalMs: number): void {
    const interval = Math.max(tickIntervalMs, 1_000);
    this.#silenceTimer = setInterval(() => {
      if (this.#options.now() - this.#lastFrameAt > 2 * interval) this.#giveUp('no sign of life');
    }, interval);
  }

  #detach(): void {
    clearTimeout(this.#handshakeTimer);
    clearInterval(this.#silenceTimer);
    if (this.#socket) {
      this.#socket.onmessage = null;
      this.#socket.onclose = null;
    }
    this.#socket = undefined;
    this.#helloDone = false;
    this.#connectId = '';
  }

  #rejectAll(reason: string): void {
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject, timer } of waiting) {
      clearTimeout(timer);
      reject(new GatewayError('DISCONNECTED', reason, undefined, true));
    }
  }

  #emit(event: string, payload: unknown): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(payload);
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    for (const listener of [...this.#stateListeners]) listener(state);
  }
}

/** Address of the gateway on the origin the page came from. */
export function gatewayUrl(origin: { protocol: string; host: string }): string {
  return `${origin.protocol === 'https:' ? 'wss' : 'ws'}://${origin.host}/gateway/ws`;
}

function parseFrame(data: unknown): Record<string, unknown> | undefined {
  if (typeof data !== 'string') return undefined;
  try {
    const value = JSON.parse(data) as unknown;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function toGatewayError(value: unknown): GatewayError {
  const error = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const retryAfter = error['retryAfterMs'];
  return new GatewayError(
    typeof error['code'] === 'string' ? error['code'] : 'UNAVAILABLE',
    typeof error['message'] === 'string' ? error['message'] : 'The server refused the request.',
    typeof error['details'] === 'object' && error['details'] !== null
      ? (error['details'] as Record<string, unknown>)
      : undefined,
    error['retryable'] === true,
    typeof retryAfter === 'number' ? retryAfter : undefined,
  );
}

function restartHint(payload: unknown): number | undefined {
  const value = (payload as { restartExpectedMs?: unknown } | undefined)?.restartExpectedMs;
  return typeof value === 'number' ? value : undefined;
}
