/** The list of conversations. Emits `claw-select` with a key, `claw-new`, `claw-more`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import type { SessionRow } from '../../api/sessions.ts';
import '../../components/claw-icon.ts';
import '../../components/claw-time.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-session-list')
export class ClawSessionList extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: flex;
        flex-direction: column;
        min-height: 0;
      }
      header {
        display: flex;
        align-items: center;
        justify-content: space-between;
        gap: 8px;
        padding: 14px 12px 8px 18px;
      }
      h2 {
        font-size: 0.875rem;
      }
      ul {
        flex: 1;
        min-height: 0;
        margin: 0;
        padding: 0 8px 12px;
        overflow-y: auto;
        list-style: none;
      }
      .session {
        display: grid;
        grid-template-columns: minmax(0, 1fr) auto;
        gap: 0 8px;
        width: 100%;
        padding: 8px 10px;
        border: 0;
        border-radius: var(--claw-radius-s);
        background: transparent;
        color: var(--claw-text);
        font: inherit;
        text-align: left;
        cursor: pointer;
      }
      .session:hover {
        background: var(--claw-surface-hover);
      }
      .session[aria-current='true'] {
        background: var(--claw-accent-soft);
      }
      .name {
        font-weight: 500;
        font-size: 0.875rem;
      }
      .unread .name {
        font-weight: 700;
      }
      .when,
      .preview {
        color: var(--claw-text-2);
        font-size: 0.75rem;
      }
      .when {
        align-self: center;
      }
      .preview {
        grid-column: 1 / -1;
      }
      .live {
        align-self: center;
        width: 8px;
        height: 8px;
        border-radius: 50%;
        background: var(--claw-accent);
      }
      .more {
        margin: 8px 0 0 8px;
      }
      p {
        padding: 8px 18px;
        color: var(--claw-text-2);
      }
    `,
  ];

  @property({ attribute: false }) sessions: readonly SessionRow[] = [];
  @property() selected = '';
  @property({ type: Boolean }) hasMore = false;
  @property({ type: Boolean }) loaded = false;

  private emit(name: string, detail?: string) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  override render() {
    return html`<header>
        <h2 id="heading">${t.chat.sessions}</h2>
        <button
          class="btn ghost icon small"
          type="button"
          aria-label=${t.chat.newSession}
          title=${t.chat.newSession}
          @click=${() => this.emit('claw-new')}
        >
          <claw-icon name="plus"></claw-icon>
        </button>
      </header>
      ${this.loaded && this.sessions.length === 0 ? html`<p>${t.chat.noSessions}</p>` : nothing}
      <ul aria-labelledby="heading">
        ${repeat(
          this.sessions,
          (session) => session.key,
          (session) => this.renderSession(session),
        )}
        ${this.hasMore
          ? html`<li>
              <button class="btn small more" type="button" @click=${() => this.emit('claw-more')}>
                ${t.chat.moreSessions}
              </button>
            </li>`
          : nothing}
      </ul>`;
  }

  private renderSession(session: SessionRow) {
    const at = session.lastInteractionAt ?? session.updatedAt ?? 0;
    return html`<li>
      <button
        class="session ${session.unread ? 'unread' : ''}"
        type="button"
        aria-current=${session.key === this.selected ? 'true' : 'false'}
        @click=${() => this.emit('claw-select', session.key)}
      >
        <span class="name truncate">${sessionTitle(session)}</span>
        ${session.hasActiveRun
          ? html`<span class="live" role="img" aria-label=${t.chat.working}></span>`
          : html`<span class="when">${at ? html`<claw-time .at=${at}></claw-time>` : nothing}</span>`}
        ${session.lastMessagePreview
          ? html`<span class="preview truncate">${session.lastMessagePreview}</span>`
          : nothing}
      </button>
    </li>`;
  }
}

/** Name for people: the label they gave, else what the server derived, else what the key says. */
export function sessionTitle(session: SessionRow): string {
  const named = session.label || session.displayName || session.derivedTitle;
  if (named) return named;
  const parts = session.key.split(':');
  if (session.isMain || parts.at(-1) === 'main') return t.chat.main;
  const [, , channel, , ...peer] = parts;
  if (peer.length > 0 && channel) return `${channel}: ${peer.join(':')}`;
  return t.chat.untitled;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-session-list': ClawSessionList;
  }
}
