/**
 * A modal dialog over the native element, which brings the focus trap and Escape. Exists while it is open: render it
 * conditionally. Emits `claw-close` when the person leaves it; `busy` holds it open.
 */
import { LitElement, css, html } from 'lit';
import { customElement, property, query } from 'lit/decorators.js';
import { t } from '../i18n/index.ts';
import { sharedStyles } from '../styles/shared.ts';
import './claw-icon.ts';

@customElement('claw-dialog')
export class ClawDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      dialog {
        width: min(var(--claw-dialog-width, 520px), calc(100vw - 32px));
        max-height: min(86dvh, 900px);
        margin: auto;
        padding: 0;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius-l);
        background: var(--claw-surface);
        color: var(--claw-text);
        box-shadow: var(--claw-shadow-2);
      }
      dialog[open] {
        display: flex;
        flex-direction: column;
      }
      dialog::backdrop {
        background: var(--claw-overlay);
      }
      header {
        display: flex;
        align-items: center;
        justify-content: space-between;
        gap: 12px;
        padding: 14px 14px 14px 20px;
        border-bottom: 1px solid var(--claw-border);
      }
      .body {
        min-height: 0;
        padding: 20px;
        overflow-y: auto;
      }
      @media (max-width: 640px) {
        dialog {
          width: 100vw;
          max-width: 100vw;
          max-height: 92dvh;
          margin: auto 0 0;
          border-radius: var(--claw-radius-l) var(--claw-radius-l) 0 0;
        }
      }
    `,
  ];

  @property() heading = '';
  @property({ type: Boolean }) busy = false;

  @query('dialog') private readonly dialog!: HTMLDialogElement;

  override firstUpdated() {
    this.dialog.showModal();
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.dialog?.close();
  }

  private leave() {
    if (!this.busy) this.dispatchEvent(new CustomEvent('claw-close'));
  }

  private onCancel(event: Event) {
    event.preventDefault();
    this.leave();
  }

  override render() {
    return html`<dialog aria-labelledby="heading" @cancel=${(event: Event) => this.onCancel(event)}>
      <header>
        <h2 id="heading">${this.heading}</h2>
        <button
          class="btn ghost icon small"
          type="button"
          aria-label=${t.common.close}
          ?disabled=${this.busy}
          @click=${() => this.leave()}
        >
          <claw-icon name="close"></claw-icon>
        </button>
      </header>
      <div class="body"><slot></slot></div>
    </dialog>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-dialog': ClawDialog;
  }
}
