import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { page, userEvent } from 'vitest/browser';
import type { ChatMessage } from '../../api/chat.ts';
import { expectAccessible, mount } from '../../testing/mount.ts';
import type { FakeSocket } from '../../testing/fake-socket.ts';
import type { ClawPageChat } from './claw-page-chat.ts';
import './claw-page-chat.ts';

const KEY = 'agent:main:main';
const composer = page.getByRole('textbox', { name: 'Write a message' });

const stored = (id: number, role: ChatMessage['role'], content: string): ChatMessage => ({
  role,
  content,
  timestamp: Date.now() - 100_000 + id,
  __openclaw: { id: `m${id}`, seq: id },
});

let transcript: ChatMessage[];
let socket: FakeSocket;

/** Answers what the page asks for by itself. */
function serve(fake: FakeSocket) {
  const send = fake.send.bind(fake);
  fake.send = (data: string) => {
    send(data);
    const { id, method, params } = JSON.parse(data) as { id: string; method: string; params: Record<string, number> };
    const answer = (payload: unknown) => queueMicrotask(() => fake.frame({ type: 'res', id, ok: true, payload }));
    if (method === 'sessions.subscribe') answer({});
    if (method === 'sessions.list') answer({ sessions: [{ key: KEY, isMain: true, updatedAt: Date.now() }] });
    if (method === 'chat.history') {
      const end = transcript.length - (params['offset'] ?? 0);
      const messages = transcript.slice(Math.max(0, end - params['limit']!), Math.max(0, end));
      const hasMore = end > messages.length;
      answer({ sessionKey: KEY, messages, hasMore, ...(hasMore && { nextOffset: transcript.length - end + messages.length }) });
    }
    if (method === 'chat.send') answer({ runId: params['idempotencyKey'], status: 'started' });
    if (method === 'chat.abort') answer({ ok: true });
  };
}

async function open(as = {}) {
  const mounted = await mount<ClawPageChat>('claw-page-chat', [], as);
  socket = mounted.socket;
  mounted.element.style.height = '700px';
  return mounted;
}

/** The fake server must answer before the page asks. */
beforeEach(async () => {
  history.replaceState(null, '', location.pathname);
  const { FakeSocket: Fake } = await import('../../testing/fake-socket.ts');
  const greet = Fake.prototype.greet;
  vi.spyOn(Fake.prototype, 'greet').mockImplementation(function (this: FakeSocket, methods) {
    greet.call(this, methods);
    serve(this);
  });
  transcript = [stored(1, 'user', 'hello'), stored(2, 'assistant', 'hi **there**')];
});

afterEach(() => vi.restoreAllMocks());

const runId = () => socket.last('chat.send').params['idempotencyKey'] as string;
const chat = (payload: Record<string, unknown>) => socket.event('chat', { runId: runId(), sessionKey: KEY, ...payload });

it('shows the history and is accessible', async () => {
  await open();
  await expect.element(page.getByText('there', { exact: true })).toBeVisible();
  await expectAccessible();
});

it('sends with Enter, streams, and can be stopped', async () => {
  await open();
  await composer.fill('first line');
  await userEvent.keyboard('{Shift>}{Enter}{/Shift}second');
  await userEvent.keyboard('{Enter}');
  await expect.poll(() => socket.last('chat.send').params['message']).toBe('first line\nsecond');
  await expect.element(composer).toHaveValue('');
  await expect.element(page.getByText('Working…')).toBeVisible();
  chat({ state: 'delta', deltaText: 'One', message: { role: 'assistant', content: [{ type: 'text', text: 'One' }] } });
  await expect.element(page.getByText('One')).toBeVisible();
  await page.getByRole('button', { name: 'Stop' }).click();
  await expect.poll(() => socket.last('chat.abort').params['sessionKey']).toBe(KEY);
  chat({ state: 'aborted' });
  await expect.element(page.getByText('Stopped')).toBeVisible();
  expect(page.getByRole('button', { name: 'Stop' }).query()).toBeNull();
});

it('shows the error of a run', async () => {
  await open();
  await composer.fill('x');
  await userEvent.keyboard('{Enter}');
  await expect.element(page.getByText('Working…')).toBeVisible();
  chat({ state: 'error', errorMessage: 'No credit left' });
  await expect.element(page.getByText('No credit left').first()).toBeVisible();
});

it('opens a tool card on demand', async () => {
  await open();
  await composer.fill('x');
  await userEvent.keyboard('{Enter}');
  await expect.element(page.getByText('Working…')).toBeVisible();
  const tool = (data: Record<string, unknown>) =>
    socket.event('agent', { runId: runId(), sessionKey: KEY, stream: 'tool', data: { toolCallId: 't', ...data } });
  tool({ phase: 'start', name: 'exec', args: { command: 'uname' } });
  await expect.element(page.getByText('running', { exact: true })).toBeVisible();
  expect(page.getByText('uname').query()).toBeNull();
  tool({ phase: 'result', result: { content: [{ type: 'text', text: 'Linux' }] } });
  await page.getByText('exec', { exact: true }).click({ timeout: 5_000 });
  await expect.element(page.getByText('Linux')).toBeVisible();
  await expectAccessible();
});

it('fetches again when events were missed', async () => {
  await open();
  await expect.element(page.getByText('hello')).toBeVisible();
  transcript.push(stored(3, 'assistant', 'you missed this'));
  socket.event('tick', { ts: 1 }, 9);
  await expect.element(page.getByText('you missed this')).toBeVisible();
});

it('says that the demo provider answers, with the way out', async () => {
  await open({ zeroKey: true });
  await expect.element(page.getByRole('link', { name: 'Set up AI providers' })).toBeVisible();
  await expectAccessible();
});

it('stays at the end while the reader is there, and keeps their place otherwise', async () => {
  transcript = Array.from({ length: 400 }, (_, index) => stored(index + 1, index % 2 ? 'assistant' : 'user', `message ${index + 1}`));
  const { element } = await open();
  await expect.element(page.getByText('message 400')).toBeVisible();
  const thread = element.renderRoot.querySelector('claw-thread')!;
  const scroller = thread.renderRoot.querySelector('.scroller')!;
  const rows = () => thread.renderRoot.querySelector('claw-message-list')!.renderRoot.querySelectorAll('claw-message');
  const fromEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
  await expect.poll(fromEnd).toBeLessThan(2);

  scroller.scrollTop = 900;
  await expect.element(page.getByRole('button', { name: 'Jump to latest' })).toBeVisible();
  const place = scroller.scrollTop;
  socket.event('chat', { runId: 'other', sessionKey: KEY, state: 'delta', deltaText: 'news' });
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  expect(Math.abs(scroller.scrollTop - place)).toBeLessThan(3);

  const top = scroller.getBoundingClientRect().top;
  const anchor = [...rows()].find((row) => row.getBoundingClientRect().top >= top)!;
  scroller.scrollTop -= 400;
  await expect.poll(() => rows().length).toBe(160);
  await expect.poll(() => Math.abs(anchor.getBoundingClientRect().top - top - 400)).toBeLessThan(160);

  await page.getByRole('button', { name: 'Jump to latest' }).click();
  await expect.poll(fromEnd).toBeLessThan(2);
});

it('refuses attachments that are no images', async () => {
  const { element } = await open();
  const box = element.renderRoot.querySelector('claw-composer')!;
  const files = new DataTransfer();
  files.items.add(new File(['x'], 'notes.txt', { type: 'text/plain' }));
  box.renderRoot.querySelector('textarea')!.dispatchEvent(new ClipboardEvent('paste', { clipboardData: files }));
  await expect.element(page.getByText('notes.txt is not a PNG, JPEG, GIF or WebP image.')).toBeVisible();
});

it('sends a pasted image', async () => {
  const { element } = await open();
  const box = element.renderRoot.querySelector('claw-composer')!;
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.of(1, 2, 3)], 'dot.png', { type: 'image/png' }));
  box.renderRoot.querySelector('textarea')!.dispatchEvent(new ClipboardEvent('paste', { clipboardData: files }));
  await expect.element(page.getByRole('button', { name: 'Remove dot.png' })).toBeVisible();
  await page.getByRole('button', { name: 'Send message' }).click();
  await expect
    .poll(() => socket.last('chat.send').params['attachments'])
    .toEqual([{ type: 'image', mimeType: 'image/png', fileName: 'dot.png', content: 'AQID' }]);
});
