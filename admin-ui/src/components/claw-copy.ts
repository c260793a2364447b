/** A value to be taken elsewhere: selectable text and a button that copies it. */
import { LitElement, css, html } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { t } from '../i18n/index.ts';
import { sharedStyles } from '../styles/shared.ts';
import './claw-icon.ts';

@customElement('claw-copy')
export class ClawCopy extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        min-width: 0;
      }
      .box {
        display: flex;
        align-items: center;
        gap: 4px;
        padding: 3px 3px 3px 10px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius-s);
        background: var(--claw-code-bg);
      }
      code {
        flex: 1;
        min-width: 0;
        overflow-x: auto;
        white-space: nowrap;
        user-select: all;
      }
      :host([wrap]) code {
        white-space: pre-wrap;
        overflow-wrap: anywhere;
        padding: 4px 0;
      }
    `,
  ];

  @property() value = '';
  /** Names the button: "Copy webhook address". */
  @property() label: string = t.common.copy;
  @property({ type: Boolean, reflect: true }) wrap = false;

  @state() private note = '';

  private async copy() {
    try {
      await navigator.clipboard.writeText(this.value);
      this.note = t.common.copied;
    } catch {
      this.note = t.common.copyFailed;
    }
    setTimeout(() => (this.note = ''), 4_000);
  }

  override render() {
    const copied = this.note === t.common.copied;
    return html`<div class="box">
        <code tabindex="0" role="textbox" aria-readonly="true" aria-label=${this.label}>${this.value}</code>
        <button
          class="btn ghost icon small"
          type="button"
          aria-label=${this.label}
          title=${this.label}
          @click=${() => this.copy()}
        >
          <claw-icon name=${copied ? 'check' : 'copy'}></claw-icon>
        </button>
      </div>
      <span role="status" class=${copied ? 'visually-hidden' : 'small-text muted'}>${this.note}</span>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-copy': ClawCopy;
  }
}
