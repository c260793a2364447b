/** Chat: conversations on the side, the open one in the middle. */
import { consume } from '@lit/context';
import { LitElement, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import type { AgentEvent, ChatEvent, SessionMessageEvent } from '../../api/chat.ts';
import type { ConnectionState, GatewayClient } from '../../api/gateway.ts';
import { deleteSession, listSessions, subscribeMessages, subscribeSessions } from '../../api/sessions.ts';
import type { SessionRow } from '../../api/sessions.ts';
import type { Session } from '../../api/session.ts';
import { connectionContext, gatewayContext, sessionContext, shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import { GatewaySubscriptions } from '../../app/subscriptions.ts';
import '../../components/claw-banner.ts';
import '../../components/claw-empty.ts';
import '../../components/claw-failure.ts';
import '../../components/claw-icon.ts';
import '../../components/claw-skeleton.ts';
import { confirmAction } from '../../components/confirm.ts';
import { t } from '../../i18n/index.ts';
import { DEFAULT_MAX_IMAGE_BYTES } from './attachments.ts';
import type { ClawComposer, Draft } from './claw-composer.ts';
import './claw-composer.ts';
import { chatPageStyles } from './claw-page-chat.styles.ts';
import { sessionTitle } from './claw-session-list.ts';
import './claw-session-list.ts';
import type { ClawThread } from './claw-thread.ts';
import './claw-thread.ts';
import { Conversation } from './conversation.ts';

const SESSIONS_PAGE = 50;
/** `sessions.changed` comes several times per turn. */
const SESSIONS_SETTLE_MS = 400;

@customElement('claw-page-chat')
export class ClawPageChat extends LitElement {
  static override styles = chatPageStyles;

  @consume({ context: gatewayContext }) private readonly gateway!: GatewayClient;
  @consume({ context: shellContext }) private readonly shell!: Shell;
  @consume({ context: sessionContext, subscribe: true }) @state() private session!: Session;
  @consume({ context: connectionContext, subscribe: true }) @state() private connection!: ConnectionState;

  @state() private sessions: SessionRow[] = [];
  @state() private sessionsLoaded = false;
  @state() private moreSessions = false;
  @state() private conversation: Conversation | undefined;
  @state() private listOpen = false;
  @state() private stopping = false;

  @query('claw-thread') private readonly thread!: ClawThread | null;
  @query('claw-composer') private readonly composer!: ClawComposer | null;

  private sessionsShown = SESSIONS_PAGE;
  private sessionsTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly onPopState = () => this.openFromAddress();

  constructor() {
    super();
    new GatewaySubscriptions(
      this,
      () => this.gateway,
      {
        chat: (event: ChatEvent) => this.conversation?.onChat(event),
        agent: (event: AgentEvent) => this.conversation?.onAgent(event),
        'session.message': (event: SessionMessageEvent) => this.conversation?.onSessionMessage(event),
        'sessions.changed': () => this.sessionsSoon(),
      },
      () => void this.load(),
    );
  }

  override connectedCallback() {
    super.connectedCallback();
    window.addEventListener('popstate', this.onPopState);
  }

  protected override firstUpdated() {
    if (!this.conversation) this.openFromAddress();
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    window.removeEventListener('popstate', this.onPopState);
    clearTimeout(this.sessionsTimer);
    this.conversation?.close();
    this.conversation = undefined;
  }

  private get mainKey(): string {
    return this.gateway.hello?.snapshot.sessionDefaults?.mainSessionKey ?? 'agent:main:main';
  }

  /** At the start of each connection, and when events were missed. */
  private async load() {
    subscribeSessions(this.gateway).catch(() => undefined);
    void this.loadSessions();
    const before = this.conversation;
    // The server may name another main conversation than was assumed without it.
    this.openFromAddress();
    if (before && before === this.conversation) {
      this.watch(before.sessionKey);
      await before.load();
    }
  }

  private async loadSessions() {
    try {
      const list = await listSessions(this.gateway, { limit: this.sessionsShown });
      this.sessions = list.sessions;
      this.moreSessions = list.hasMore ?? false;
      this.sessionsLoaded = true;
    } catch (error) {
      if (this.connection.phase === 'open') this.shell.toastError(error);
    }
  }

  private sessionsSoon() {
    clearTimeout(this.sessionsTimer);
    this.sessionsTimer = setTimeout(() => void this.loadSessions(), SESSIONS_SETTLE_MS);
  }

  private openFromAddress() {
    const asked = new URLSearchParams(location.search).get('session');
    this.open(asked ?? this.mainKey);
  }

  private open(key: string) {
    this.listOpen = false;
    if (this.conversation?.sessionKey === key) return;
    this.conversation?.close();
    this.stopping = false;
    this.conversation = new Conversation(this.gateway, key, () => this.onConversation());
    // Without a connection it waits for `load`; what is written meanwhile is sent then.
    if (this.gateway.hello === undefined) return;
    this.watch(key);
    void this.conversation.load();
  }

  private watch(key: string) {
    subscribeMessages(this.gateway, key).catch(() => undefined);
  }

  private onConversation() {
    if (!this.conversation?.running) this.stopping = false;
    this.requestUpdate();
  }

  private select(key: string) {
    const path = key === this.mainKey ? '/chat' : `/chat?session=${encodeURIComponent(key)}`;
    history.pushState(null, '', path);
    this.open(key);
    void this.updateComplete.then(() => this.composer?.focus());
  }

  private startNew() {
    const agent = this.gateway.hello?.snapshot.sessionDefaults?.defaultAgentId ?? 'main';
    this.select(`agent:${agent}:web-${crypto.randomUUID().slice(0, 8)}`);
  }

  private showMore() {
    this.sessionsShown += SESSIONS_PAGE;
    void this.loadSessions();
  }

  private async send({ text, attachments }: Draft) {
    const sent = this.conversation?.send(text, attachments);
    await this.updateComplete;
    this.thread?.toEnd();
    await sent;
    this.sessionsSoon();
  }

  private async stop() {
    this.stopping = true;
    try {
      await this.conversation?.stop();
    } catch (error) {
      this.stopping = false;
      this.shell.toastError(error);
    }
  }

  private async deleteConversation() {
    const key = this.conversation?.sessionKey;
    if (!key || !(await confirmAction(t.chat.removeConfirm, t.chat.remove))) return;
    try {
      await deleteSession(this.gateway, key);
      this.sessions = this.sessions.filter((session) => session.key !== key);
      this.select(this.mainKey);
    } catch (error) {
      this.shell.toastError(error);
    }
  }

  private async older() {
    try {
      await this.conversation?.loadOlder();
    } catch (error) {
      this.shell.toastError(error);
    }
  }

  private get heading(): string {
    const key = this.conversation?.sessionKey ?? this.mainKey;
    const row = this.sessions.find((session) => session.key === key);
    if (row) return sessionTitle(row);
    return key === this.mainKey ? t.chat.main : t.chat.newSession;
  }

  override render() {
    const key = this.conversation?.sessionKey ?? '';
    const removable = key !== '' && key !== this.mainKey && this.sessions.some((session) => session.key === key);
    return html`<h1 class="visually-hidden">${t.chat.title}</h1>
      <claw-session-list
        class=${this.listOpen ? 'open' : ''}
        .sessions=${this.sessions}
        selected=${key}
        ?hasMore=${this.moreSessions}
        ?loaded=${this.sessionsLoaded}
        @claw-select=${(event: CustomEvent<string>) => this.select(event.detail)}
        @claw-new=${() => this.startNew()}
        @claw-more=${() => this.showMore()}
      ></claw-session-list>
      <section class="conversation" aria-label=${this.heading}>
        <header>
          <button
            class="btn ghost icon small toggle"
            type="button"
            aria-label=${t.chat.showSessions}
            aria-expanded=${this.listOpen ? 'true' : 'false'}
            @click=${() => (this.listOpen = !this.listOpen)}
          >
            <claw-icon name="list"></claw-icon>
          </button>
          <h2 class="grow truncate">${this.heading}</h2>
          ${removable && this.gateway.supports('sessions.delete')
            ? html`<button
                class="btn ghost icon small"
                type="button"
                aria-label=${t.chat.remove}
                title=${t.chat.remove}
                @click=${() => this.deleteConversation()}
              >
                <claw-icon name="trash"></claw-icon>
              </button>`
            : nothing}
        </header>
        ${this.session.zeroKey ? this.renderDemo() : nothing} ${this.renderThread()}
        <claw-composer
          conversation=${key}
          ?running=${this.conversation?.running ?? false}
          ?stopping=${this.stopping}
          .maxImageBytes=${this.gateway.hello?.policy.attachments?.maxImageBytes ?? DEFAULT_MAX_IMAGE_BYTES}
          @claw-send=${(event: CustomEvent<Draft>) => this.send(event.detail)}
          @claw-stop=${() => this.stop()}
        ></claw-composer>
      </section>`;
  }

  private renderDemo() {
    return html`<claw-banner class="demo">
      <strong>${t.chat.demoTitle}</strong> ${t.chat.demoText}
      ${this.session.user.role === 'member'
        ? nothing
        : html`<a href="/settings/ai-providers">${t.chat.demoLink}</a>`}
    </claw-banner>`;
  }

  private renderThread() {
    const { conversation } = this;
    const live = conversation?.liveItems ?? [];
    if (!conversation || (conversation.status === 'loading' && live.length === 0)) {
      return html`<div class="fill"><claw-skeleton lines="6"></claw-skeleton></div>`;
    }
    if (conversation.status === 'failed') {
      return html`<div class="fill middle">
        <claw-failure .error=${conversation.error} @claw-retry=${() => conversation.load()}></claw-failure>
      </div>`;
    }
    if (conversation.items.length === 0 && live.length === 0) {
      return html`<div class="fill middle">
        <claw-empty icon="chat" heading=${t.chat.emptyTitle} text=${t.chat.emptyText}></claw-empty>
      </div>`;
    }
    return html`<claw-thread
      class="fill"
      label=${t.chat.threadLabel(this.heading)}
      .items=${conversation.items}
      .liveItems=${live}
      ?hasOlder=${conversation.hasOlder}
      ?loadingOlder=${conversation.loadingOlder}
      announcement=${conversation.announcement}
      @claw-older=${() => this.older()}
      @claw-resend=${(event: CustomEvent<string>) => conversation.resend(event.detail)}
    ></claw-thread>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-chat': ClawPageChat;
  }
}
