import { describe, expect, it } from 'vitest';
import type { ChatMessage } from '../../api/chat.ts';
import { containsSent, mergeOlder, mergeTail } from './merge.ts';
import { TranscriptView } from './transcript.ts';
import type { AssistantItem } from './transcript.ts';

const message = (id: number, role: ChatMessage['role'], content: ChatMessage['content'], extra = {}): ChatMessage => ({
  role,
  content,
  timestamp: id * 1_000,
  __openclaw: { id: `m${id}`, seq: id },
  ...extra,
});
const user = (id: number) => message(id, 'user', `question ${id}`);
const ids = (messages: ChatMessage[]) => messages.map((row) => row.__openclaw?.id ?? 'local');

describe('TranscriptView', () => {
  const call = message(2, 'assistant', [
    { type: 'text', text: 'Looking.' },
    { type: 'toolCall', id: 'c1', name: 'read', arguments: { path: 'a' } },
  ]);
  const result = message(3, 'toolResult', [{ type: 'text', text: 'gone' }], { toolCallId: 'c1', isError: true });

  it('joins a tool result to its call', () => {
    const items = new TranscriptView().build([user(1), call, result]);
    expect(items.map(({ kind }) => kind)).toEqual(['user', 'assistant']);
    expect((items[1] as AssistantItem).tools).toEqual([
      { id: 'c1', name: 'read', arguments: { path: 'a' }, state: 'failed', result: 'gone' },
    ]);
  });

  it('keeps the objects of unchanged messages', () => {
    const view = new TranscriptView();
    const question = user(1);
    const before = view.build([question, call]);
    const after = view.build([question, call, result]);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).not.toBe(before[1]);
    expect(view.build([question, call, result])[1]).toBe(after[1]);
  });

  it('shows a result whose call is on an older page', () => {
    const [item] = new TranscriptView().build([result]);
    expect((item as AssistantItem).tools[0]).toMatchObject({ id: 'c1', state: 'failed' });
  });

  it('tells aborted and failed replies from finished ones', () => {
    const items = new TranscriptView().build([
      message(1, 'assistant', 'x', { stopReason: 'aborted' }),
      message(2, 'assistant', 'y', { openclawAbort: { aborted: true } }),
      message(3, 'assistant', [], { stopReason: 'error', errorMessage: 'no credit' }),
      message(4, 'assistant', 'z', { stopReason: 'stop' }),
    ]) as AssistantItem[];
    expect(items.map(({ state }) => state)).toEqual(['aborted', 'aborted', 'error', 'done']);
    expect(items[2]?.problem).toBe('no credit');
  });

  it('shows a compaction as a line, not as a message', () => {
    const summarised = message(2, 'system', [{ type: 'text', text: 'Earlier messages were summarised.' }], {
      __openclaw: { id: 'm2', seq: 2, kind: 'compaction' },
    });
    const items = new TranscriptView().build([user(1), summarised, message(3, 'system', 'a note')]);
    expect(items.map(({ kind }) => kind)).toEqual(['user', 'divider', 'system']);
    expect(items[1]).toEqual({ kind: 'divider', key: 'm2', at: 2_000, text: 'Earlier messages were summarised.' });
  });

  it('shows images only of known types', () => {
    const [item] = new TranscriptView().build([
      message(1, 'user', [
        { type: 'image', data: 'AAAA', mimeType: 'image/png' },
        { type: 'image', data: 'AAAA', mimeType: 'image/svg+xml' },
        { type: 'image', ref: 'blob/1', mimeType: 'image/png' },
        { type: 'image', ref: 'blob-2', mimeType: 'text/html' },
      ]),
    ]);
    expect(item).toMatchObject({
      images: [
        { source: 'data:image/png;base64,AAAA' },
        { source: undefined },
        { source: '/api/blobs/blob%2F1' },
        { source: undefined },
      ],
    });
  });
});

describe('merging', () => {
  it('appends what is new and keeps the rendered objects', () => {
    const held = [user(1), user(2), user(3)];
    const merged = mergeTail(held, [user(2), user(3), user(4)]);
    expect(ids(merged.messages)).toEqual(['m1', 'm2', 'm3', 'm4']);
    expect(merged.messages[1]).toBe(held[1]);
    expect(merged).toMatchObject({ added: 1, replaced: false });
  });

  it('starts over when the new page does not touch the old ones', () => {
    const merged = mergeTail([user(1)], [user(90), user(91)]);
    expect(ids(merged.messages)).toEqual(['m90', 'm91']);
    expect(merged.replaced).toBe(true);
  });

  it('drops a local reply once the server has it, and keeps one that it lacks', () => {
    const local: ChatMessage = {
      role: 'assistant',
      content: 'streamed',
      timestamp: 2_500,
      __openclaw: { runId: 'r1' },
    };
    const stored = message(3, 'assistant', 'streamed', { __openclaw: { id: 'm3', seq: 3, runId: 'r1' } });
    expect(ids(mergeTail([user(1), local], [user(1), stored]).messages)).toEqual(['m1', 'm3']);
    expect(ids(mergeTail([user(1), local], [user(1), user(4)]).messages)).toEqual(['m1', 'local', 'm4']);
  });

  it('puts an older page in front without doubles', () => {
    expect(ids(mergeOlder([user(3), user(4)], [user(1), user(2), user(3)]))).toEqual(['m1', 'm2', 'm3', 'm4']);
  });

  it('recognises a sent message by its key, else by its words', () => {
    const sent = { key: 'k', text: 'hi', at: 5_000 };
    const withKey = message(1, 'user', 'hi', { idempotencyKey: 'k:user' });
    const otherKey = message(1, 'user', 'hi', { idempotencyKey: 'other:user' });
    expect(containsSent([withKey], sent)).toBe(true);
    expect(containsSent([otherKey], sent)).toBe(false);
    expect(containsSent([message(5, 'user', 'hi')], sent)).toBe(true);
    expect(containsSent([message(5, 'user', 'ho')], sent)).toBe(false);
  });
});
