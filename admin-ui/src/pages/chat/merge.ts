/** How a freshly fetched page of history joins what the browser already holds. Pure. */
import type { ChatMessage } from '../../api/chat.ts';
import { messageId, messageText } from './transcript.ts';

export interface Merged {
  messages: ChatMessage[];
  /** Messages of the server that were not known before. */
  added: number;
  /** The page did not touch what was held: everything older was let go. */
  replaced: boolean;
}

/**
 * Joins the newest page (`tail`, oldest first) to `held`. Server messages win. Messages made here (without an id) stay
 * only until the server has them.
 */
export function mergeTail(held: readonly ChatMessage[], tail: readonly ChatMessage[]): Merged {
  const tailIds = new Set(tail.map(messageId));
  const known = new Set(held.map(messageId).filter((id) => id !== undefined));
  const heldById = new Map(held.map((message) => [messageId(message), message]));
  const firstOverlap = held.findIndex((message) => messageId(message) !== undefined && tailIds.has(messageId(message)));
  const touching = firstOverlap >= 0 || known.size === 0;
  const older = touching ? held.slice(0, Math.max(firstOverlap, 0)).filter((m) => messageId(m) !== undefined) : [];
  const newcomers = tail.filter((message) => !known.has(messageId(message) ?? ''));
  const loose = held.filter((message) => messageId(message) === undefined && !isStored(message, newcomers));
  // Keep the object that is already rendered: stored messages do not change.
  const fresh = tail.map((message) => heldById.get(messageId(message) ?? '') ?? message);
  return {
    messages: insertByTime([...older, ...fresh], loose),
    added: newcomers.length,
    replaced: !touching,
  };
}

/** Puts an older page in front, without doubles. */
export function mergeOlder(held: readonly ChatMessage[], page: readonly ChatMessage[]): ChatMessage[] {
  const known = new Set(held.map(messageId));
  return [...page.filter((message) => !known.has(messageId(message)) || messageId(message) === undefined), ...held];
}

/** Is this locally made message among those that the server has just told about. */
function isStored(local: ChatMessage, newcomers: readonly ChatMessage[]): boolean {
  const runId = local.__openclaw?.runId;
  return newcomers.some((message) => {
    if (message.role !== local.role) return false;
    if (local.stopReason === 'error') return message.stopReason === 'error';
    if (runId !== undefined && ownerOf(message) === runId && hasBody(message)) return true;
    return messageText(message) === messageText(local);
  });
}

/** The run a stored message belongs to; a user message names it in its idempotency key. */
function ownerOf(message: ChatMessage): string | undefined {
  const key = message.__openclaw?.idempotencyKey ?? message.idempotencyKey;
  return message.__openclaw?.runId ?? key?.replace(/:(?:user|assistant)$/, '');
}

function hasBody(message: ChatMessage): boolean {
  return messageText(message) !== '' || message.errorMessage !== undefined;
}

function insertByTime(messages: ChatMessage[], loose: readonly ChatMessage[]): ChatMessage[] {
  for (const message of loose) {
    const at = message.timestamp ?? Number.MAX_SAFE_INTEGER;
    let index = messages.length;
    while (index > 0 && (messages[index - 1]?.timestamp ?? 0) > at) index -= 1;
    messages.splice(index, 0, message);
  }
  return messages;
}

/** Is the message with this idempotency key part of the transcript. */
export function containsSent(
  messages: readonly ChatMessage[],
  sent: { key: string; text: string; at: number },
): boolean {
  return messages.some((message) => {
    if (message.role !== 'user') return false;
    const key = message.__openclaw?.idempotencyKey ?? message.idempotencyKey;
    if (key !== undefined) return key === sent.key || key === `${sent.key}:user`;
    if (message.__openclaw?.runId === sent.key) return true;
    return (message.timestamp ?? 0) >= sent.at - 60_000 && messageText(message) === sent.text;
  });
}
