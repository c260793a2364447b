/** Puts a page into the document with the contexts of the shell, a fake gateway, and a fake network. */
import { ContextProvider } from '@lit/context';
import axe from 'axe-core';
import { LitElement } from 'lit';
import { expect, vi } from 'vitest';
import { GatewayClient } from '../api/gateway.ts';
import type { Session } from '../api/session.ts';
import { connectionContext, gatewayContext, sessionContext, shellContext } from '../app/contexts.ts';
import type { Shell } from '../app/contexts.ts';
import '../styles/base.css';
import { FakeSocket } from './fake-socket.ts';

export const session: Session = {
  tenant: { slug: 'acme', name: 'Acme' },
  user: { id: 'u1', email: 'ada@acme.test', name: 'Ada', role: 'owner', timeZone: 'Europe/Vienna' },
  scopes: ['operator.admin'],
  zeroKey: false,
  hasPassword: false,
  asksPassword: false,
};

type Handler = (body: unknown) => { status?: number; body?: unknown };

/** What the server answers, by `METHOD /path`. Unknown requests fail the test. */
export function fakeServer(routes: Record<string, Handler>) {
  const calls: { key: string; body: unknown }[] = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    const key = `${init.method} ${path}`;
    const body: unknown = typeof init.body === 'string' ? JSON.parse(init.body) : undefined;
    calls.push({ key, body });
    const handler = routes[key];
    if (!handler) throw new Error(`unexpected request ${key}`);
    const { status = 200, body: answer } = handler(body);
    return Promise.resolve(new Response(answer === undefined ? null : JSON.stringify(answer), { status }));
  });
  return {
    calls,
    of: (key: string) => calls.filter((call) => call.key === key),
  };
}

class TestShell extends LitElement {
  readonly socket = new FakeSocket('ws://test');
  readonly gateway = new GatewayClient({ url: 'ws://test', createSocket: () => this.socket });
  readonly shell = {
    navigate: vi.fn<Shell['navigate']>(),
    refreshSession: vi.fn<Shell['refreshSession']>(() => Promise.resolve()),
    signOut: vi.fn<Shell['signOut']>(() => Promise.resolve()),
    toast: vi.fn<Shell['toast']>(),
    toastError: vi.fn<Shell['toastError']>(),
  };
  readonly session = new ContextProvider(this, { context: sessionContext, initialValue: session });

  constructor() {
    super();
    new ContextProvider(this, { context: shellContext, initialValue: this.shell });
    new ContextProvider(this, { context: gatewayContext, initialValue: this.gateway });
    new ContextProvider(this, { context: connectionContext, initialValue: this.gateway.state });
  }

  protected override createRenderRoot() {
    return this;
  }
}
customElements.define('test-shell', TestShell);

/** Mounts `<tag>`; the gateway is connected and knows `methods`. */
export async function mount<T extends LitElement>(tag: string, methods: string[] = [], as: Partial<Session> = {}) {
  document.body.replaceChildren();
  document.documentElement.lang = 'en';
  document.title = 'test';
  const host = document.createElement('test-shell') as TestShell;
  host.session.setValue({ ...session, ...as });
  host.gateway.start();
  host.socket.greet(methods);
  await vi.waitFor(() => expect(host.gateway.state.phase).toBe('open'));
  const main = document.createElement('main');
  const element = document.createElement(tag) as T;
  main.append(element);
  host.append(main);
  document.body.append(host);
  await element.updateComplete;
  return { element, socket: host.socket, shell: host.shell };
}

/** No accessibility violation of weight in what is shown. */
export async function expectAccessible() {
  const { violations } = await axe.run(document, { resultTypes: ['violations'] });
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`)).toEqual([]);
}
