/** A point in time, relative ("5 min. ago"), with the full date as a tooltip. */
import { LitElement, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { fullTime, relativeTime } from '../i18n/index.ts';

@customElement('claw-time')
export class ClawTime extends LitElement {
  /** Epoch milliseconds. */
  @property({ type: Number }) at = 0;
  /** Show the full date instead. */
  @property({ type: Boolean }) full = false;

  override render() {
    if (!this.at) return nothing;
    const date = fullTime(this.at);
    return html`<time datetime=${new Date(this.at).toISOString()} title=${date}
      >${this.full ? date : relativeTime(this.at)}</time
    >`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-time': ClawTime;
  }
}
