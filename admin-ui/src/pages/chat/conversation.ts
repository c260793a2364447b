/**
 * One open conversation: its history in pages, messages on their way, runs that stream. Knows no elements; tells its
 * host through `changed`.
 */
import { abortRun, fetchHistory, sendMessage } from '../../api/chat.ts';
import type { AgentEvent, Attachment, ChatEvent, ChatMessage, SessionMessageEvent } from '../../api/chat.ts';
import { GatewayError } from '../../api/gateway.ts';
import type { GatewayClient } from '../../api/gateway.ts';
import { describeError } from '../../i18n/errors.ts';
import { LiveRun } from './live-run.ts';
import { containsSent, mergeOlder, mergeTail } from './merge.ts';
import { TranscriptView, messageText } from './transcript.ts';
import type { Item, UserItem } from './transcript.ts';

/** Messages fetched at once. */
export const PAGE_SIZE = 80;
/** Events of one turn come in a burst: the transcript is fetched once afterwards. */
const SETTLE_MS = 150;

interface Outgoing {
  key: string;
  text: string;
  attachments: Attachment[];
  at: number;
  delivery: 'sending' | 'queued' | 'sent' | 'failed';
  problem?: string;
}

export class Conversation {
  status: 'loading' | 'ready' | 'failed' = 'loading';
  error: unknown;
  hasOlder = false;
  loadingOlder = false;
  /** Stored and just finished messages, as the thread shows them. A new array only when something changed. */
  items: Item[] = [];
  /** Text of the last finished reply, to be read out. */
  announcement = '';

  #messages: ChatMessage[] = [];
  #olderOffset = 0;
  #outgoing: Outgoing[] = [];
  readonly #runs = new Map<string, LiveRun>();
  readonly #ended = new Set<string>();
  readonly #view = new TranscriptView();
  #settleTimer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(
    private readonly gateway: GatewayClient,
    readonly sessionKey: string,
    private readonly changed: () => void,
  ) {}

  get running(): boolean {
    return this.#runs.size > 0;
  }

  /** What comes after the history: messages on their way and replies in the making. */
  get liveItems(): Item[] {
    const sending = this.#outgoing.map((message) => toUserItem(message));
    return [...sending, ...[...this.#runs.values()].map((run) => run.item)];
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#settleTimer);
  }

  /** Fetches the newest page; runs that the server no longer knows are dropped. */
  async load(): Promise<void> {
    const sessionKey = this.sessionKey;
    const runsBefore = new Set(this.#runs.keys());
    try {
      const history = await fetchHistory(this.gateway, sessionKey, { limit: PAGE_SIZE });
      if (this.#closed) return;
      this.#take(history.messages, history.nextOffset ?? undefined, history.hasMore ?? false);
      const active = new Set(history.sessionInfo?.activeRunIds ?? []);
      if (history.inFlightRun) active.add(history.inFlightRun.runId);
      for (const runId of runsBefore) if (!active.has(runId)) this.#runs.delete(runId);
      for (const runId of active) this.#run(runId);
      if (history.inFlightRun) this.#run(history.inFlightRun.runId)?.setText(history.inFlightRun.text);
      this.#rebuild();
      this.status = 'ready';
      this.error = undefined;
    } catch (error) {
      if (this.#closed) return;
      if (this.status === 'loading') this.status = 'failed';
      this.error = error;
    }
    this.changed();
    this.#resendUncertain();
  }

  async loadOlder(): Promise<void> {
    if (this.loadingOlder || !this.hasOlder) return;
    this.loadingOlder = true;
    this.changed();
    try {
      const page = await fetchHistory(this.gateway, this.sessionKey, { limit: PAGE_SIZE, offset: this.#olderOffset });
      if (this.#closed) return;
      this.#messages = mergeOlder(this.#messages, page.messages);
      this.#olderOffset = page.nextOffset ?? this.#olderOffset + page.messages.length;
      this.hasOlder = (page.hasMore ?? page.nextOffset != null) && page.messages.length > 0;
      this.#rebuild();
    } finally {
      this.loadingOlder = false;
      this.changed();
    }
  }

  /** Shows the message at once and sends it; resolves when its fate is known or it waits for the connection. */
  async send(text: string, attachments: Attachment[]): Promise<void> {
    const message: Outgoing = {
      key: crypto.randomUUID(),
      text,
      attachments,
      at: Date.now(),
      delivery: 'sending',
    };
    this.#outgoing = [...this.#outgoing, message];
    this.changed();
    await this.#deliver(message);
  }

  #rebuild(): void {
    // What a run has stored so far is part of its live item.
    const live = (message: ChatMessage) =>
      message.role !== 'user' && this.#runs.has(message.__openclaw?.runId ?? '');
    this.items = this.#view.build(this.#messages.filter((message) => !live(message)));
  }

  /** Sends a failed message again, under its old key: it cannot run twice. */
  resend(key: string): void {
    const message = this.#outgoing.find((candidate) => candidate.key === key);
    if (message) void this.#deliver(message);
  }

  async stop(): Promise<void> {
    await abortRun(this.gateway, this.sessionKey);
  }

  onChat(event: ChatEvent): void {
    if (event.sessionKey !== this.sessionKey) return;
    switch (event.state) {
      case 'status':
        this.#run(event.runId)?.setPhase(event.phase);
        break;
      case 'delta': {
        const run = this.#run(event.runId);
        if (event.message) run?.setText(messageText(event.message));
        else run?.append(event.deltaText ?? '', event.replace ?? false);
        break;
      }
      case 'final':
      case 'aborted':
      case 'error':
        this.#end(event);
        break;
    }
    this.changed();
  }

  onAgent(event: AgentEvent): void {
    if (event.sessionKey !== this.sessionKey || event.stream !== 'tool') return;
    this.#run(event.runId)?.onTool(event.data);
    this.changed();
  }

  onSessionMessage(event: SessionMessageEvent): void {
    if (event.sessionKey === this.sessionKey) this.#settle();
  }

  #run(runId: string): LiveRun | undefined {
    if (this.#ended.has(runId)) return undefined;
    const run = this.#runs.get(runId) ?? new LiveRun(runId);
    this.#runs.set(runId, run);
    return run;
  }

  #end(event: ChatEvent): void {
    const run = this.#runs.get(event.runId);
    this.#runs.delete(event.runId);
    this.#ended.add(event.runId);
    const text = event.message ? messageText(event.message) : (run?.item.text ?? '');
    if (text !== '' || event.state === 'error') {
      const content = event.message?.content ?? [{ type: 'text', text }];
      this.#messages = [
        ...this.#messages,
        ...this.#promoteSent(event.runId),
        {
          role: 'assistant',
          content,
          timestamp: event.message?.timestamp ?? Date.now(),
          __openclaw: { runId: event.runId },
          stopReason: event.state === 'final' ? (event.stopReason ?? 'stop') : event.state,
          ...(event.state === 'error' && { errorMessage: event.errorMessage ?? '' }),
        },
      ];
      this.#rebuild();
    }
    this.announcement = event.state === 'error' ? (event.errorMessage ?? '') : text;
    this.#settle();
  }

  /** The message that started a run must stay above its reply until the transcript is fetched. */
  #promoteSent(runId: string): ChatMessage[] {
    const sent = this.#outgoing.filter((message) => message.key === runId && message.attachments.length === 0);
    this.#outgoing = this.#outgoing.filter((message) => !sent.includes(message));
    return sent.map((message) => ({
      role: 'user',
      content: message.text,
      timestamp: message.at,
      __openclaw: { runId: message.key },
    }));
  }

  /** Fetches the tail once things are quiet. */
  #settle(): void {
    clearTimeout(this.#settleTimer);
    this.#settleTimer = setTimeout(() => void this.#refreshTail(), SETTLE_MS);
  }

  async #refreshTail(): Promise<void> {
    try {
      const history = await fetchHistory(this.gateway, this.sessionKey, { limit: PAGE_SIZE });
      if (this.#closed) return;
      this.#take(history.messages, history.nextOffset ?? undefined, history.hasMore ?? false);
      this.changed();
    } catch {
      // The next connection or gap loads the conversation anew.
    }
  }

  #take(tail: ChatMessage[], nextOffset: number | undefined, hasMore: boolean): void {
    const wasEmpty = this.#messages.length === 0;
    const merged = mergeTail(this.#messages, tail);
    this.#messages = merged.messages;
    if (wasEmpty || merged.replaced || this.status !== 'ready') {
      this.#olderOffset = nextOffset ?? tail.length;
      this.hasOlder = hasMore;
    } else {
      this.#olderOffset += merged.added;
    }
    this.#outgoing = this.#outgoing.filter(
      (message) => message.delivery !== 'sent' || !containsSent(this.#messages, message),
    );
    this.#rebuild();
  }

  async #deliver(message: Outgoing): Promise<void> {
    this.#update(message, 'sending');
    try {
      const { attachments, key, text } = message;
      const result = await sendMessage(this.gateway, {
        sessionKey: this.sessionKey,
        message: text,
        idempotencyKey: key,
        ...(attachments.length > 0 && { attachments }),
      });
      if (this.#closed) return;
      this.#update(message, 'sent');
      if (result.status === 'ok') this.#settle();
      else this.#run(result.runId);
    } catch (error) {
      if (this.#closed) return;
      if (error instanceof GatewayError && error.uncertain) this.#update(message, 'queued');
      else this.#update(message, 'failed', describeError(error));
    }
    this.changed();
  }

  #update(message: Outgoing, delivery: Outgoing['delivery'], problem?: string): void {
    message.delivery = delivery;
    if (problem === undefined) delete message.problem;
    else message.problem = problem;
    this.changed();
  }

  /** Messages whose fate is unknown go out again with their old key. */
  #resendUncertain(): void {
    for (const message of this.#outgoing) if (message.delivery === 'queued') void this.#deliver(message);
  }
}

function toUserItem(message: Outgoing): UserItem {
  return {
    kind: 'user',
    key: message.key,
    at: message.at,
    text: message.text,
    images: message.attachments.map(({ mimeType, content }) => ({ source: `data:${mimeType};base64,${content}` })),
    ...(message.delivery !== 'sent' && { delivery: message.delivery }),
    ...(message.problem !== undefined && { problem: message.problem }),
  };
}
