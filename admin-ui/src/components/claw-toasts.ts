/** Short notes at the top, away from the composer. They fade by themselves; errors stay until dismissed. Emits `claw-dismiss` with the id. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import { t } from '../i18n/index.ts';
import { sharedStyles } from '../styles/shared.ts';
import './claw-icon.ts';

export interface Toast {
  id: number;
  text: string;
  tone: 'ok' | 'danger';
}

@customElement('claw-toasts')
export class ClawToasts extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .stack {
        position: fixed;
        z-index: 50;
        top: 12px;
        left: 50%;
        transform: translateX(-50%);
        gap: 8px;
        width: min(380px, calc(100vw - 32px));
        pointer-events: none;
      }
      .toast {
        display: flex;
        align-items: flex-start;
        gap: 10px;
        padding: 10px 8px 10px 14px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
        background: var(--claw-surface);
        box-shadow: var(--claw-shadow-2);
        pointer-events: auto;
      }
      .toast > claw-icon {
        margin-top: 2px;
        color: var(--claw-ok);
      }
      .toast.danger > claw-icon {
        color: var(--claw-danger);
      }
      .text {
        flex: 1;
        padding: 1px 0;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) toasts: Toast[] = [];

  private dismiss(id: number) {
    this.dispatchEvent(new CustomEvent<number>('claw-dismiss', { detail: id }));
  }

  override render() {
    return html`<div class="stack" role="log" aria-live="polite" aria-label=${t.product}>
      ${repeat(
        this.toasts,
        (toast) => toast.id,
        (toast) =>
          html`<div class="toast ${toast.tone}">
            <claw-icon name=${toast.tone === 'ok' ? 'check' : 'warning'}></claw-icon>
            <span class="text">${toast.text}</span>
            <button
              class="btn ghost icon small"
              type="button"
              aria-label=${t.common.dismiss}
              @click=${() => this.dismiss(toast.id)}
            >
              <claw-icon name="close"></claw-icon>
            </button>
          </div>`,
      )}
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-toasts': ClawToasts;
  }
}
