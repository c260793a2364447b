/** What a page shows when its data could not be loaded. Emits `claw-retry`. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { describeError } from '../i18n/errors.ts';
import { t } from '../i18n/index.ts';
import { sharedStyles } from '../styles/shared.ts';
import './claw-icon.ts';

@customElement('claw-failure')
export class ClawFailure extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }
      .box {
        display: grid;
        justify-items: center;
        gap: 12px;
        padding: 36px 20px;
        text-align: center;
      }
      claw-icon {
        width: 28px;
        height: 28px;
        color: var(--claw-danger);
      }
      p {
        max-width: 56ch;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @property({ attribute: false }) error: unknown = undefined;

  override render() {
    return html`<div class="box" role="alert">
      <claw-icon name="warning"></claw-icon>
      <p>${describeError(this.error)}</p>
      <button class="btn" type="button" @click=${() => this.dispatchEvent(new CustomEvent('claw-retry'))}>
        ${t.common.retry}
      </button>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-failure': ClawFailure;
  }
}
