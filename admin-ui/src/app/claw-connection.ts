/** The strip that says the live connection is lost, with a countdown. Silent while everything is fine. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { ConnectionState } from '../api/gateway.ts';
import '../components/claw-banner.ts';
import { t } from '../i18n/index.ts';
import { sharedStyles } from '../styles/shared.ts';

@customElement('claw-connection')
export class ClawConnection extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      claw-banner {
        margin: 10px 16px 0;
      }
    `,
  ];

  @property({ attribute: false }) connection: ConnectionState = { phase: 'idle' };

  @state() private now = Date.now();
  private timer: ReturnType<typeof setInterval> | undefined;

  override willUpdate() {
    const counting = this.connection.phase === 'waiting';
    if (counting && this.timer === undefined) {
      this.now = Date.now();
      this.timer = setInterval(() => (this.now = Date.now()), 1_000);
    } else if (!counting) {
      this.stop();
    }
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.stop();
  }

  private stop() {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  override render() {
    const { connection } = this;
    const troubled = connection.phase === 'waiting' || (connection.phase === 'connecting' && connection.attempt > 0);
    if (!troubled) return nothing;
    const seconds = connection.phase === 'waiting' ? Math.ceil((connection.retryAt - this.now) / 1_000) : 0;
    // The ticking number is not announced: only the sentence in front of it is read out.
    return html`<claw-banner tone="warn">
      <span>${t.connection.lost}</span>
      ${seconds > 0 ? html`<span class="muted" aria-hidden="true">${t.connection.nextIn(seconds)}</span>` : nothing}
      <button
        slot="action"
        class="btn small"
        type="button"
        ?disabled=${connection.phase !== 'waiting'}
        @click=${() => this.dispatchEvent(new CustomEvent('claw-reconnect'))}
      >
        ${t.common.reconnectNow}
      </button>
    </claw-banner>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-connection': ClawConnection;
  }
}
