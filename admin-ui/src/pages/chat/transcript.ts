/** From wire messages to what the thread shows. Pure. */
import type { Block, ChatMessage } from '../../api/chat.ts';

export interface ToolView {
  id: string;
  name: string;
  arguments: unknown;
  /** Text of the result, once there is one. */
  result?: string;
  state: 'running' | 'done' | 'failed';
}

export interface ImageView {
  /** `data:` address or path of the stored bytes; `undefined` for what is not shown. */
  source: string | undefined;
}

export interface UserItem {
  kind: 'user';
  key: string;
  at: number;
  text: string;
  images: ImageView[];
  delivery?: 'sending' | 'queued' | 'failed';
  problem?: string;
}

export interface AssistantItem {
  kind: 'assistant';
  key: string;
  at: number;
  text: string;
  thinking: string;
  tools: ToolView[];
  state: 'done' | 'live' | 'aborted' | 'error';
  problem?: string;
  /** What a live run is busy with before the first word. */
  phase?: string;
  model?: string;
}

export interface SystemItem {
  kind: 'system';
  key: string;
  at: number;
  text: string;
}

/** A line between messages: what is above it was summarised for the model. */
export interface DividerItem {
  kind: 'divider';
  key: string;
  at: number;
  text: string;
}

export type Item = UserItem | AssistantItem | SystemItem | DividerItem;

export function messageId(message: ChatMessage): string | undefined {
  return message.__openclaw?.id;
}

export function messageText(message: ChatMessage): string {
  if (typeof message.content === 'string') return message.content;
  return blocksText(message.content);
}

/**
 * The items of a transcript. Tool results join the call they belong to. Items of unchanged messages are the same
 * objects as in the call before, so that nothing is rendered again.
 */
export class TranscriptView {
  readonly #cache = new WeakMap<ChatMessage, { item: Item; results: (ChatMessage | undefined)[] }>();

  build(messages: readonly ChatMessage[]): Item[] {
    const results = new Map<string, ChatMessage>();
    for (const message of messages) {
      if (message.role === 'toolResult' && message.toolCallId) results.set(message.toolCallId, message);
    }
    const claimed = new Set<ChatMessage>();
    const items: Item[] = [];
    for (const [index, message] of messages.entries()) {
      if (message.role === 'toolResult' && claimed.has(message)) continue;
      const own = callIds(message).map((id) => results.get(id));
      for (const result of own) if (result) claimed.add(result);
      const cached = this.#cache.get(message);
      const item =
        cached && sameItems(cached.results, own) ? cached.item : toItem(message, own, `message-${index}`);
      this.#cache.set(message, { item, results: own });
      if (!isBlank(item)) items.push(item);
    }
    return items;
  }
}

function toItem(message: ChatMessage, results: (ChatMessage | undefined)[], fallbackKey: string): Item {
  const key = messageId(message) ?? `${message.role}-${message.timestamp ?? fallbackKey}-${message.__openclaw?.runId ?? ''}`;
  const at = message.timestamp ?? 0;
  switch (message.role) {
    case 'user':
      return { kind: 'user', key, at, text: messageText(message), images: images(message) };
    case 'system':
      if (message.__openclaw?.kind === 'compaction') {
        return { kind: 'divider', key, at, text: messageText(message) };
      }
      return { kind: 'system', key, at, text: messageText(message) };
    case 'toolResult':
      return assistant(key, at, { tools: [orphanTool(message)] });
    case 'assistant':
      return assistant(key, at, {
        text: messageText(message),
        thinking: thinkingText(message),
        tools: toolViews(message, results),
        state: endState(message),
        ...(message.errorMessage && { problem: message.errorMessage }),
        ...(message.model && { model: message.provider ? `${message.provider}/${message.model}` : message.model }),
      });
  }
}

function assistant(key: string, at: number, rest: Partial<AssistantItem>): AssistantItem {
  return { kind: 'assistant', key, at, text: '', thinking: '', tools: [], state: 'done', ...rest };
}

function endState(message: ChatMessage): AssistantItem['state'] {
  if (message.stopReason === 'aborted' || message.openclawAbort?.aborted) return 'aborted';
  if (message.stopReason === 'error') return 'error';
  return 'done';
}

function isBlank(item: Item): boolean {
  if (item.kind === 'user') return item.text.trim() === '' && item.images.length === 0;
  if (item.kind === 'system' || item.kind === 'divider') return item.text.trim() === '';
  return item.text.trim() === '' && item.thinking === '' && item.tools.length === 0 && item.state === 'done';
}

function blocks(message: ChatMessage): Block[] {
  return typeof message.content === 'string' ? [] : message.content;
}

function callIds(message: ChatMessage): string[] {
  if (message.role !== 'assistant') return [];
  return blocks(message).flatMap((block) => (block.type === 'toolCall' && 'id' in block ? [block.id] : []));
}

function toolViews(message: ChatMessage, results: (ChatMessage | undefined)[]): ToolView[] {
  const calls = blocks(message).flatMap((block) => (block.type === 'toolCall' && 'id' in block ? [block] : []));
  return calls.map((call, index) => {
    const result = results[index];
    return {
      id: call.id,
      name: call.name,
      arguments: call.arguments,
      state: result ? (result.isError ? 'failed' : 'done') : 'done',
      ...(result && { result: messageText(result) }),
    };
  });
}

function orphanTool(message: ChatMessage): ToolView {
  return {
    id: message.toolCallId ?? '',
    name: message.toolName ?? 'tool',
    arguments: undefined,
    result: messageText(message),
    state: message.isError ? 'failed' : 'done',
  };
}

/** Joined text parts of content blocks. */
export function blocksText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return (content as Block[])
    .flatMap((block) => (block.type === 'text' && 'text' in block ? [block.text] : []))
    .join('\n\n');
}

function thinkingText(message: ChatMessage): string {
  return blocks(message)
    .flatMap((block) => (block.type === 'thinking' && 'thinking' in block ? [block.thinking] : []))
    .join('\n\n');
}

const IMAGE_TYPE = /^image\/(?:png|jpeg|gif|webp)$/;

function images(message: ChatMessage): ImageView[] {
  return blocks(message).flatMap((block) => {
    if (block.type !== 'image') return [];
    const { data, ref, mimeType } = block as { data?: string; ref?: string; mimeType?: string };
    if (!IMAGE_TYPE.test(mimeType ?? '')) return [{ source: undefined }];
    if (data !== undefined) return [{ source: `data:${mimeType};base64,${data}` }];
    return [{ source: ref ? blobPath(ref) : undefined }];
  });
}

/** Where the bytes of a stored image are, for their owner. */
export function blobPath(ref: string): string {
  return `/api/blobs/${encodeURIComponent(ref)}`;
}

function sameItems<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
