/** The side navigation: pages, who is signed in, theme, sign out. */
import { LitElement, css, html } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Session } from '../api/session.ts';
import '../components/claw-icon.ts';
import { t } from '../i18n/index.ts';
import { sharedStyles } from '../styles/shared.ts';
import type { Route } from './routes.ts';
import { visibleRoutes } from './routes.ts';
import { setTheme, storedTheme } from './theme.ts';
import type { Theme } from './theme.ts';

@customElement('claw-nav')
export class ClawNav extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: flex;
        flex-direction: column;
        min-height: 0;
        background: var(--claw-surface);
      }
      .brand {
        display: flex;
        align-items: center;
        gap: 10px;
        padding: 18px 18px 14px;
        color: var(--claw-text);
        font-weight: 650;
        letter-spacing: -0.01em;
        text-decoration: none;
      }
      .mark {
        flex: none;
        width: 28px;
        height: 28px;
      }
      .mark rect {
        fill: var(--claw-brand);
      }
      .mark path {
        fill: none;
        stroke: #fff;
        stroke-width: 2.6;
        stroke-linecap: round;
      }
      .names {
        display: grid;
        min-width: 0;
        line-height: 1.25;
      }
      .tenant {
        color: var(--claw-text-2);
        font-weight: 400;
        font-size: 0.8125rem;
        letter-spacing: 0;
      }
      nav {
        flex: 1;
        min-height: 0;
        padding: 4px 10px;
        overflow-y: auto;
      }
      nav ul {
        padding: 0;
        list-style: none;
      }
      .group {
        padding: 18px 8px 6px;
        color: var(--claw-text-3);
        font-weight: 500;
        font-size: 0.75rem;
      }
      li a {
        display: flex;
        align-items: center;
        gap: 10px;
        min-height: 34px;
        margin: 1px 0;
        padding: 0 8px;
        border-radius: var(--claw-radius-s);
        color: var(--claw-text-2);
        font-weight: 500;
        text-decoration: none;
      }
      li a:hover {
        background: var(--claw-surface-hover);
        color: var(--claw-text);
      }
      li a[aria-current='page'] {
        background: var(--claw-accent-soft);
        color: var(--claw-accent);
      }
      footer {
        display: grid;
        gap: 8px;
        padding: 12px 18px 14px;
        border-top: 1px solid var(--claw-border);
      }
      .person {
        display: flex;
        align-items: center;
        gap: 8px;
      }
      .theme {
        display: flex;
        align-items: center;
        gap: 8px;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
      }
      .theme select {
        flex: 1;
        min-height: 28px;
        padding: 2px 6px;
        border-color: var(--claw-border);
        font-size: 0.8125rem;
      }
    `,
  ];

  @property({ attribute: false }) session!: Session;
  @property() current = '';

  @state() private theme: Theme = storedTheme();

  private onTheme(event: Event) {
    this.theme = (event.target as HTMLSelectElement).value as Theme;
    setTheme(this.theme);
  }

  private item(route: Route) {
    const current = route.path === this.current ? 'page' : 'false';
    return html`<li>
      <a href=${route.path} aria-current=${current}><claw-icon name=${route.icon}></claw-icon>${route.title}</a>
    </li>`;
  }

  override render() {
    const pages = visibleRoutes(this.session);
    const { tenant, user } = this.session;
    const themes: [Theme, string][] = [
      ['system', t.nav.themeSystem],
      ['light', t.nav.themeLight],
      ['dark', t.nav.themeDark],
    ];
    return html`
      <a class="brand" href="/chat">
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="8" />
          <path d="M9 24c-1.5-6.5 0-12.5 5-17M15.5 25c-1-5.5.5-10.5 5-14.5M22 25.5c-.5-4 .5-7.5 3-10.5" />
        </svg>
        <span class="names"
          >${t.product}<span class="tenant truncate">${tenant.name || tenant.slug}</span></span
        >
      </a>
      <nav aria-label=${t.nav.label}>
        <ul>
          ${pages.filter((route) => route.group === 'main').map((route) => this.item(route))}
        </ul>
        <p class="group" id="settings">${t.nav.settings}</p>
        <ul aria-labelledby="settings">
          ${pages.filter((route) => route.group === 'settings').map((route) => this.item(route))}
        </ul>
      </nav>
      <footer>
        <div class="person">
          <span class="grow truncate small-text" title=${user.email}>${user.name || user.email}</span>
          <button
            class="btn ghost icon small"
            type="button"
            aria-label=${t.nav.signOut}
            title=${t.nav.signOut}
            @click=${() => this.dispatchEvent(new CustomEvent('claw-sign-out'))}
          >
            <claw-icon name="signout"></claw-icon>
          </button>
        </div>
        <label class="theme">
          ${t.nav.theme}
          <select class="input" @change=${(event: Event) => this.onTheme(event)}>
            ${themes.map(
              ([value, label]) => html`<option value=${value} ?selected=${value === this.theme}>${label}</option>`,
            )}
          </select>
        </label>
      </footer>
    `;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-nav': ClawNav;
  }
}
