/** A short state in a tinted pill. The word carries the meaning; the colour only supports it. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';

export type Tone = 'neutral' | 'ok' | 'warn' | 'danger' | 'accent';

@customElement('claw-pill')
export class ClawPill extends LitElement {
  static override styles = css`
    :host {
      display: inline-flex;
      flex: none;
    }
    span {
      display: inline-flex;
      align-items: center;
      gap: 6px;
      padding: 2px 9px;
      border-radius: 99px;
      background: var(--claw-surface-2);
      color: var(--claw-text-2);
      font-size: 0.75rem;
      font-weight: 500;
      line-height: 1.5;
      white-space: nowrap;
    }
    span::before {
      width: 6px;
      height: 6px;
      border-radius: 50%;
      background: currentColor;
      content: '';
    }
    .ok {
      background: var(--claw-ok-soft);
      color: var(--claw-ok);
    }
    .warn {
      background: var(--claw-warn-soft);
      color: var(--claw-warn);
    }
    .danger {
      background: var(--claw-danger-soft);
      color: var(--claw-danger);
    }
    .accent {
      background: var(--claw-accent-soft);
      color: var(--claw-accent);
    }
  `;

  @property() tone: Tone = 'neutral';

  override render() {
    return html`<span class=${this.tone}><slot></slot></span>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-pill': ClawPill;
  }
}
