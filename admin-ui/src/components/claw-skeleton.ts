/** Grey lines while data is loading, announced once. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { t } from '../i18n/index.ts';

@customElement('claw-skeleton')
export class ClawSkeleton extends LitElement {
  static override styles = css`
    :host {
      display: block;
    }
    .box {
      display: grid;
      gap: 14px;
      padding: 18px 16px;
    }
    i {
      height: 12px;
      border-radius: 4px;
      background: var(--claw-surface-hover);
      animation: pulse 1.4s ease-in-out infinite;
    }
    i:nth-child(3n + 1) {
      width: 72%;
    }
    i:nth-child(3n + 2) {
      width: 48%;
    }
    i:nth-child(3n) {
      width: 60%;
    }
    span {
      position: absolute;
      width: 1px;
      height: 1px;
      overflow: hidden;
      clip-path: inset(50%);
    }
    @keyframes pulse {
      50% {
        opacity: 0.45;
      }
    }
    @media (prefers-reduced-motion: reduce) {
      i {
        animation: none;
      }
    }
  `;

  @property({ type: Number }) lines = 4;

  override render() {
    const lines = Array.from({ length: this.lines }, () => html`<i></i>`);
    return html`<div class="box" role="status"><span>${t.common.loading}</span>${lines}</div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-skeleton': ClawSkeleton;
  }
}
