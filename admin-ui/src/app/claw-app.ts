/**
 * The shell: finds out who is signed in, owns the live connection, provides the contexts, shows the page of the path.
 * Page logic lives in the pages.
 */
import { ContextProvider } from '@lit/context';
import { LitElement, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import { GatewayClient, gatewayUrl } from '../api/gateway.ts';
import type { ConnectionState } from '../api/gateway.ts';
import { onUnauthorized } from '../api/http.ts';
import { browserZone, changeProfile, fetchSession, signInWithCode, signOut } from '../api/session.ts';
import type { Session } from '../api/session.ts';
import '../components/claw-empty.ts';
import '../components/claw-failure.ts';
import '../components/claw-icon.ts';
import '../components/claw-toasts.ts';
import type { Toast } from '../components/claw-toasts.ts';
import { describeError } from '../i18n/errors.ts';
import { t } from '../i18n/index.ts';
import { appStyles } from './claw-app.styles.ts';
import './claw-connection.ts';
import './claw-nav.ts';
import { connectionContext, gatewayContext, sessionContext, shellContext } from './contexts.ts';
import type { Shell } from './contexts.ts';
import { PageOutlet } from './page-outlet.ts';
import { clickedPath, matchRoute, signInCode } from './router.ts';
import { routes } from './routes.ts';

type Phase = { name: 'starting' } | { name: 'failed'; error: unknown } | { name: 'signed-out' } | { name: 'signed-in' };

const TOAST_MS = 5_000;

@customElement('claw-app')
export class ClawApp extends LitElement implements Shell {
  static override styles = appStyles;

  @state() private phase: Phase = { name: 'starting' };
  @state() private signInProblem: unknown = undefined;
  @state() private navOpen = false;
  @state() private toasts: Toast[] = [];

  @query('main') private readonly main!: HTMLElement | null;
  @query('.menu') private readonly menuButton!: HTMLElement | null;

  private readonly session = new ContextProvider(this, { context: sessionContext });
  private readonly connection = new ContextProvider(this, { context: connectionContext });
  private readonly gateway = new GatewayClient({ url: gatewayUrl(location) });
  private readonly outlet = new PageOutlet(this);
  private nextToast = 1;
  private undo: (() => void)[] = [];

  constructor() {
    super();
    new ContextProvider(this, { context: shellContext, initialValue: this });
    new ContextProvider(this, { context: gatewayContext, initialValue: this.gateway });
    this.connection.setValue(this.gateway.state);
  }

  override connectedCallback() {
    super.connectedCallback();
    const listen = (name: string, listener: (event: never) => void) => {
      window.addEventListener(name, listener as EventListener);
      this.undo.push(() => window.removeEventListener(name, listener as EventListener));
    };
    listen('popstate', () => this.showPath());
    listen('hashchange', () => signInCode(location.hash) && void this.begin());
    listen('online', () => this.gateway.retryNow());
    listen('click', (event: MouseEvent) => this.onClick(event));
    listen('keydown', (event: KeyboardEvent) => event.key === 'Escape' && this.closeNav());
    this.undo.push(
      onUnauthorized(() => this.endSession()),
      this.gateway.onState((state) => this.onConnection(state)),
    );
    void this.begin();
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    for (const undo of this.undo) undo();
    this.undo = [];
    this.gateway.stop();
  }

  // Shell, for pages.

  navigate(path: string) {
    if (path !== location.pathname + location.search) history.pushState(null, '', path);
    this.closeNav();
    this.showPath();
    this.main?.focus({ preventScroll: true });
  }

  async refreshSession() {
    const session = await fetchSession();
    if (session) this.session.setValue(session);
    else this.endSession();
    this.requestUpdate();
  }

  async signOut() {
    try {
      await signOut();
    } catch (error) {
      this.toastError(error);
      return;
    }
    this.endSession();
  }

  toast(text: string) {
    const id = this.pushToast(text, 'ok');
    setTimeout(() => this.dropToast(id), TOAST_MS);
  }

  toastError(error: unknown) {
    this.pushToast(describeError(error), 'danger');
  }

  // Session.

  private async begin() {
    const code = signInCode(location.hash);
    this.phase = { name: 'starting' };
    this.signInProblem = undefined;
    try {
      if (code !== undefined) {
        // The code leaves the address bar and the history before anything else happens.
        history.replaceState(null, '', location.pathname + location.search);
        this.enter(await signInWithCode(code));
        return;
      }
      const session = await fetchSession();
      if (session) this.enter(session);
      else this.showSignIn();
    } catch (error) {
      if (code === undefined) this.phase = { name: 'failed', error };
      else this.showSignIn(error);
    }
  }

  private enter(session: Session) {
    this.session.setValue(session);
    this.phase = { name: 'signed-in' };
    this.gateway.stop();
    this.gateway.start();
    this.showPath();
    if (session.user.timeZone === null) void this.adoptZone();
  }

  /** Until somebody chooses a time zone, it is that of their browser. */
  private async adoptZone() {
    const timeZone = browserZone();
    if (!timeZone) return;
    try {
      const user = await changeProfile({ timeZone });
      // Somebody else may have signed in meanwhile.
      const still = this.phase.name === 'signed-in' && this.session.value.user.id === user.id;
      if (still) this.session.setValue({ ...this.session.value, user });
    } catch {
      // It can be chosen in the settings.
    }
  }

  private showSignIn(problem?: unknown) {
    this.signInProblem = problem;
    void this.outlet.show('claw-page-sign-in', () => import('../pages/sign-in/claw-page-sign-in.ts'));
    document.title = `${t.signIn.title}`;
    this.phase = { name: 'signed-out' };
  }

  private endSession() {
    if (this.phase.name !== 'signed-in') return;
    this.gateway.stop();
    this.showSignIn();
  }

  private onConnection(connection: ConnectionState) {
    this.connection.setValue(connection);
    this.requestUpdate();
    // A browser cannot see why an upgrade was refused: ask whether the session is still good.
    if (connection.phase === 'waiting') void this.checkSession();
  }

  private async checkSession() {
    try {
      const session = await fetchSession();
      if (session === null) this.endSession();
      // Somebody else signed in in another tab: what this one shows is not theirs.
      else if (session.user.id !== this.session.value.user.id) location.reload();
    } catch {
      // The server is away altogether; the connection strip says so.
    }
  }

  // Navigation.

  private showPath() {
    if (this.phase.name !== 'signed-in') return;
    const { route, redirect } = matchRoute(routes, location.pathname);
    if (redirect !== undefined) history.replaceState(null, '', redirect + location.search);
    document.title = `${route?.title ?? t.notFound.title} · ${t.product}`;
    if (route) void this.outlet.show(route.tag, route.load);
    else this.outlet.clear();
  }

  private onClick(event: MouseEvent) {
    if (this.phase.name !== 'signed-in') return;
    const path = clickedPath(event, location.origin);
    if (path === undefined) return;
    event.preventDefault();
    this.navigate(path);
  }

  private closeNav() {
    if (!this.navOpen) return;
    this.navOpen = false;
    this.menuButton?.focus();
  }

  private pushToast(text: string, tone: Toast['tone']): number {
    const id = this.nextToast++;
    this.toasts = [...this.toasts.filter((toast) => toast.text !== text).slice(-3), { id, text, tone }];
    return id;
  }

  private dropToast(id: number) {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  // Rendering.

  override render() {
    return html`${this.renderPhase()}
      <claw-toasts
        .toasts=${this.toasts}
        @claw-dismiss=${(event: CustomEvent<number>) => this.dropToast(event.detail)}
      ></claw-toasts>`;
  }

  private renderPhase() {
    switch (this.phase.name) {
      case 'starting':
        return html`<div class="center" role="status">
          <span class="spinner" aria-hidden="true"></span>
          <span class="visually-hidden">${t.common.loading}</span>
        </div>`;
      case 'failed':
        return html`<div class="center">
          <claw-failure .error=${this.phase.error} @claw-retry=${() => this.begin()}></claw-failure>
        </div>`;
      case 'signed-out':
        return html`<main class="center" @claw-signed-in=${(event: CustomEvent<Session>) => this.enter(event.detail)}>
          ${this.renderOutlet()}
        </main>`;
      case 'signed-in':
        return this.renderShell();
    }
  }

  private renderShell() {
    const current = matchRoute(routes, location.pathname).route;
    return html`<a class="skip" href="#main" @click=${(event: Event) => this.skip(event)}>${t.nav.skip}</a>
      <div class="shell">
        <div class="topbar">
          <button
            class="btn ghost icon menu"
            type="button"
            aria-label=${t.nav.open}
            aria-expanded=${this.navOpen ? 'true' : 'false'}
            @click=${() => (this.navOpen = true)}
          >
            <claw-icon name="menu"></claw-icon>
          </button>
          <span class="place">${current?.title ?? t.product}</span>
        </div>
        <button
          class="scrim"
          type="button"
          aria-label=${t.nav.close}
          ?hidden=${!this.navOpen}
          @click=${() => this.closeNav()}
        ></button>
        <claw-nav
          class=${this.navOpen ? 'open' : ''}
          .session=${this.session.value}
          current=${current?.path ?? ''}
          @claw-sign-out=${() => this.signOut()}
        ></claw-nav>
        <main id="main" tabindex="-1">
          <claw-connection
            .connection=${this.connection.value}
            @claw-reconnect=${() => this.gateway.retryNow()}
          ></claw-connection>
          <div class="page">${current ? this.renderOutlet() : this.renderNotFound()}</div>
        </main>
      </div>`;
  }

  private renderOutlet() {
    const { element, error } = this.outlet;
    if (error !== undefined) {
      return html`<claw-failure .error=${error} @claw-retry=${() => location.reload()}></claw-failure>`;
    }
    if (element && this.phase.name === 'signed-out') Object.assign(element, { problem: this.signInProblem });
    return element ?? nothing;
  }

  private renderNotFound() {
    return html`<claw-empty icon="info" heading=${t.notFound.title} text=${t.notFound.text}>
      <a href="/chat">${t.notFound.home}</a>
    </claw-empty>`;
  }

  private skip(event: Event) {
    event.preventDefault();
    this.main?.focus();
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-app': ClawApp;
  }
}
