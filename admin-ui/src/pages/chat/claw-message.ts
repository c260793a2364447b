/** One item of a thread. Emits `claw-resend` with the key of a message that failed. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import '../../components/claw-icon.ts';
import '../../components/claw-markdown.ts';
import '../../components/claw-time.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import './claw-tool-card.ts';
import type { AssistantItem, ImageView, Item, SystemItem, UserItem } from './transcript.ts';

@customElement('claw-message')
export class ClawMessage extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        padding: 10px 0;
      }
      article {
        display: grid;
        gap: 6px;
        min-width: 0;
      }
      .who {
        display: flex;
        align-items: baseline;
        gap: 8px;
        color: var(--claw-text-3);
        font-size: 0.75rem;
      }
      .who strong {
        color: var(--claw-text-2);
        font-weight: 600;
      }
      .user {
        justify-items: end;
      }
      .bubble {
        max-width: min(85%, 640px);
        padding: 9px 14px;
        border-radius: 14px 14px 4px 14px;
        background: var(--claw-accent-soft);
        overflow-wrap: anywhere;
        white-space: pre-wrap;
        line-height: 1.55;
      }
      .bubble.unsent {
        opacity: 0.75;
      }
      .images {
        display: flex;
        gap: 8px;
        flex-wrap: wrap;
        justify-content: flex-end;
      }
      .images img {
        max-width: 220px;
        max-height: 220px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
        object-fit: cover;
      }
      .stored {
        display: inline-flex;
        align-items: center;
        gap: 6px;
        padding: 6px 12px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
        color: var(--claw-text-2);
      }
      .note {
        display: flex;
        align-items: center;
        gap: 8px;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
        overflow-wrap: anywhere;
      }
      .note.problem {
        color: var(--claw-danger);
      }
      .tools {
        display: grid;
        gap: 6px;
      }
      .thinking summary {
        color: var(--claw-text-2);
        font-size: 0.8125rem;
        cursor: pointer;
      }
      .thinking div {
        margin-top: 6px;
        padding-left: 12px;
        border-left: 2px solid var(--claw-border);
        color: var(--claw-text-2);
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
      .system {
        justify-items: center;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
        text-align: center;
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
      .divider {
        display: flex;
        align-items: center;
        gap: 12px;
        color: var(--claw-text-3);
        font-size: 0.75rem;
      }
      .divider::before,
      .divider::after {
        flex: 1;
        border-top: 1px solid var(--claw-border);
        content: '';
      }
      .dots {
        display: inline-flex;
        gap: 4px;
      }
      .dots i {
        width: 6px;
        height: 6px;
        border-radius: 50%;
        background: var(--claw-text-3);
        animation: blink 1.2s infinite;
      }
      .dots i:nth-child(2) {
        animation-delay: 0.2s;
      }
      .dots i:nth-child(3) {
        animation-delay: 0.4s;
      }
      @keyframes blink {
        0%,
        80%,
        100% {
          opacity: 0.3;
        }
        40% {
          opacity: 1;
        }
      }
    `,
  ];

  @property({ attribute: false }) item!: Item;

  override render() {
    switch (this.item.kind) {
      case 'user':
        return this.renderUser(this.item);
      case 'assistant':
        return this.renderAssistant(this.item);
      case 'system':
        return this.renderSystem(this.item);
      case 'divider':
        return html`<div class="divider" role="separator" aria-label=${this.item.text}>
          <span>${this.item.text}</span>
        </div>`;
    }
  }

  private renderUser(item: UserItem) {
    return html`<article class="user" aria-label=${t.chat.you}>
      ${item.images.length > 0
        ? html`<div class="images">${item.images.map((image) => this.renderImage(image))}</div>`
        : nothing}
      ${item.text ? html`<div class="bubble ${item.delivery ? 'unsent' : ''}">${item.text}</div>` : nothing}
      ${this.renderDelivery(item)}
    </article>`;
  }

  private renderImage({ source }: ImageView) {
    if (source) return html`<img src=${source} alt=${t.chat.imageAlt} loading="lazy" />`;
    return html`<span class="stored"><claw-icon name="attach"></claw-icon>${t.chat.imageStored}</span>`;
  }

  private renderDelivery(item: UserItem) {
    if (item.delivery === 'sending') return html`<div class="note">${t.chat.sending}</div>`;
    if (item.delivery === 'queued') return html`<div class="note">${t.chat.queued}</div>`;
    if (item.delivery === 'failed') {
      return html`<div class="note problem" role="alert">
        <span>${t.chat.sendFailed}${item.problem ? `: ${item.problem}` : ''}</span>
        <button class="btn small" type="button" @click=${() => this.resend(item.key)}>${t.chat.resend}</button>
      </div>`;
    }
    return html`<div class="who"><claw-time .at=${item.at}></claw-time></div>`;
  }

  private renderAssistant(item: AssistantItem) {
    const waiting = item.state === 'live' && item.text === '';
    return html`<article aria-label=${t.chat.assistant} aria-busy=${item.state === 'live' ? 'true' : 'false'}>
      <div class="who">
        <strong>${t.chat.assistant}</strong>
        ${item.state === 'live' ? nothing : html`<claw-time .at=${item.at}></claw-time>`}
        ${item.model ? html`<span class="truncate">${item.model}</span>` : nothing}
      </div>
      ${item.thinking
        ? html`<details class="thinking">
            <summary>${t.chat.thinking}</summary>
            <div>${item.thinking}</div>
          </details>`
        : nothing}
      ${item.tools.length > 0
        ? html`<div class="tools">
            ${item.tools.map((tool) => html`<claw-tool-card .tool=${tool}></claw-tool-card>`)}
          </div>`
        : nothing}
      ${item.text ? html`<claw-markdown ?streaming=${item.state === 'live'} .text=${item.text}></claw-markdown>` : nothing}
      ${waiting
        ? html`<div class="note">
            <span class="dots" aria-hidden="true"><i></i><i></i><i></i></span>
            ${t.chat.phases[item.phase ?? ''] ?? t.chat.working}
          </div>`
        : nothing}
      ${item.state === 'aborted' ? html`<div class="note">${t.chat.aborted}</div>` : nothing}
      ${item.state === 'error'
        ? html`<div class="note problem"><claw-icon name="warning"></claw-icon>${item.problem || t.chat.failed}</div>`
        : nothing}
    </article>`;
  }

  private renderSystem(item: SystemItem) {
    return html`<article class="system" aria-label=${t.chat.system}>${item.text}</article>`;
  }

  private resend(key: string) {
    this.dispatchEvent(new CustomEvent<string>('claw-resend', { detail: key }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-message': ClawMessage;
  }
}
