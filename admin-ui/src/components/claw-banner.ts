/** A message across the width of its container: information, warning or error. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import './claw-icon.ts';

@customElement('claw-banner')
export class ClawBanner extends LitElement {
  static override styles = css`
    :host {
      display: block;
    }
    :host([hidden]) {
      display: none;
    }
    div {
      display: flex;
      align-items: flex-start;
      gap: 10px;
      padding: 10px 14px;
      border-radius: var(--claw-radius);
      background: var(--claw-accent-soft);
      color: var(--claw-text);
      font-size: 0.875rem;
    }
    claw-icon {
      margin-top: 1px;
      color: var(--claw-accent);
    }
    .content {
      flex: 1;
      display: block;
      min-width: 0;
      padding: 0;
      overflow-wrap: anywhere;
    }
    .warn {
      background: var(--claw-warn-soft);
    }
    .warn claw-icon {
      color: var(--claw-warn);
    }
    .danger {
      background: var(--claw-danger-soft);
    }
    .danger claw-icon {
      color: var(--claw-danger);
    }
    .ok {
      background: var(--claw-ok-soft);
    }
    .ok claw-icon {
      color: var(--claw-ok);
    }
    ::slotted(a) {
      color: var(--claw-accent);
    }
  `;

  @property() tone: 'info' | 'warn' | 'danger' | 'ok' = 'info';

  override render() {
    const icon = this.tone === 'info' ? 'info' : this.tone === 'ok' ? 'check' : 'warning';
    return html`<div class=${this.tone} role=${this.tone === 'danger' ? 'alert' : 'status'}>
      <claw-icon name=${icon}></claw-icon>
      <span class="content"><slot></slot></span>
      <slot name="action"></slot>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-banner': ClawBanner;
  }
}
