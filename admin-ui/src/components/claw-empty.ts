/** What a list shows when it has nothing to show: what it is for, and the next step in the slot. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import './claw-icon.ts';
import type { IconName } from './claw-icon.ts';

@customElement('claw-empty')
export class ClawEmpty extends LitElement {
  static override styles = css`
    :host {
      display: block;
    }
    div {
      display: grid;
      justify-items: center;
      gap: 6px;
      padding: 40px 20px;
      text-align: center;
    }
    claw-icon {
      width: 28px;
      height: 28px;
      margin-bottom: 6px;
      color: var(--claw-text-3);
    }
    p {
      margin: 0;
      max-width: 46ch;
      color: var(--claw-text-2);
    }
    .heading {
      color: var(--claw-text);
      font-weight: 600;
    }
    ::slotted(*) {
      margin-top: 12px;
    }
  `;

  @property() icon: IconName = 'list';
  @property() heading = '';
  @property() text = '';

  override render() {
    return html`<div>
      <claw-icon name=${this.icon}></claw-icon>
      <p class="heading">${this.heading}</p>
      ${this.text ? html`<p>${this.text}</p>` : nothing}
      <slot></slot>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-empty': ClawEmpty;
  }
}
