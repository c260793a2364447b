/** A run of items. Separate from the thread, so that a streaming reply does not walk through the history again. */
import { LitElement, css, html } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { repeat } from 'lit/directives/repeat.js';
import './claw-message.ts';
import type { Item } from './transcript.ts';

@customElement('claw-message-list')
export class ClawMessageList extends LitElement {
  static override styles = css`
    :host {
      display: block;
    }
    /* Rows far from the viewport are neither laid out nor painted: long conversations stay fast. */
    claw-message {
      content-visibility: auto;
      contain-intrinsic-size: auto 110px;
    }
  `;

  @property({ attribute: false }) items: readonly Item[] = [];

  override render() {
    return repeat(
      this.items,
      (item) => item.key,
      (item) =>
        html`<claw-message
          .item=${item}
          @claw-resend=${(event: CustomEvent<string>) =>
            this.dispatchEvent(new CustomEvent('claw-resend', { detail: event.detail }))}
        ></claw-message>`,
    );
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-message-list': ClawMessageList;
  }
}
