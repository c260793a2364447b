/** Question and the two answers of `confirmAction`. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { sharedStyles } from '../styles/shared.ts';

@customElement('claw-confirm-body')
export class ClawConfirmBody extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: grid;
        gap: 20px;
      }
    `,
  ];

  @property() question = '';
  @property() action = '';
  @property() cancel = '';

  private answer(name: 'claw-confirm' | 'claw-cancel') {
    this.dispatchEvent(new CustomEvent(name));
  }

  override render() {
    return html`<p class="wrap-anywhere">${this.question}</p>
      <div class="row end">
        <button class="btn" type="button" @click=${() => this.answer('claw-cancel')}>${this.cancel}</button>
        <button class="btn danger solid" type="button" @click=${() => this.answer('claw-confirm')}>
          ${this.action}
        </button>
      </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-confirm-body': ClawConfirmBody;
  }
}
