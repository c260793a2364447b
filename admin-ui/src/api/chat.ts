/** Conversations over the gateway: history, sending, aborting, and the events that stream a reply. */
import type { GatewayClient } from './gateway.ts';

export interface TextBlock {
  type: 'text';
  text: string;
}
export interface ThinkingBlock {
  type: 'thinking';
  thinking: string;
}
export interface ToolCallBlock {
  type: 'toolCall';
  id: string;
  name: string;
  arguments: unknown;
}
export interface ImageBlock {
  type: 'image';
  data?: string;
  ref?: string;
  mimeType?: string;
}
export type Block = TextBlock | ThinkingBlock | ToolCallBlock | ImageBlock | { type: string };

export interface ChatMessage {
  role: 'user' | 'assistant' | 'system' | 'toolResult';
  content: string | Block[];
  timestamp?: number;
  stopReason?: string;
  errorMessage?: string;
  toolCallId?: string;
  toolName?: string;
  isError?: boolean;
  provider?: string;
  model?: string;
  idempotencyKey?: string;
  openclawAbort?: { aborted?: boolean };
  __openclaw?: { id?: string; seq?: number; runId?: string; idempotencyKey?: string; kind?: string };
}

export interface PendingInput {
  id: string;
  runId?: string;
  message: ChatMessage;
}

export interface History {
  sessionKey: string;
  messages: ChatMessage[];
  hasMore?: boolean;
  totalMessages?: number;
  /** `offset` of the page before this one. */
  nextOffset?: number | null;
  inFlightRun?: { runId: string; text: string; startedAt?: number } | null;
  pendingInputs?: { items: PendingInput[] };
  sessionInfo?: { modelProvider?: string; model?: string; hasActiveRun?: boolean; activeRunIds?: string[] };
}

export interface ChatEvent {
  runId: string;
  sessionKey: string;
  state: 'status' | 'delta' | 'final' | 'aborted' | 'error';
  phase?: string;
  deltaText?: string;
  replace?: boolean;
  message?: ChatMessage;
  stopReason?: string;
  errorMessage?: string;
}

export interface AgentEvent {
  runId: string;
  sessionKey: string;
  stream: string;
  data: Record<string, unknown>;
}

export interface SessionMessageEvent {
  sessionKey: string;
  message: ChatMessage;
}

export interface Attachment {
  type: 'image';
  mimeType: string;
  fileName: string;
  /** Base64. */
  content: string;
}

export interface SendResult {
  runId: string;
  status: string;
}

/** `offset` counts back from the newest message: 0 is the last page. */
export function fetchHistory(
  gateway: GatewayClient,
  sessionKey: string,
  page: { limit: number; offset?: number },
): Promise<History> {
  return gateway.request('chat.history', { sessionKey, ...page });
}

/** Safe to repeat with the same `idempotencyKey`: there is never a second run. */
export function sendMessage(
  gateway: GatewayClient,
  message: { sessionKey: string; message: string; idempotencyKey: string; attachments?: Attachment[] },
): Promise<SendResult> {
  return gateway.request('chat.send', message);
}

export function abortRun(gateway: GatewayClient, sessionKey: string, runId?: string): Promise<unknown> {
  return gateway.request('chat.abort', runId === undefined ? { sessionKey } : { sessionKey, runId });
}
