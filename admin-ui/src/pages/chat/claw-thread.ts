/**
 * The scrolling thread. Sticks to the end while the reader is there; keeps their place otherwise, and when older
 * messages are put in front. Emits `claw-older` near the top, `claw-resend`.
 */
import { LitElement, css, html, nothing } from 'lit';
import type { PropertyValues } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import '../../components/claw-icon.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import './claw-message-list.ts';
import type { Item } from './transcript.ts';

/** Closer to the end than this counts as reading the newest message. */
const END_PX = 64;
/** Closer to the top than this fetches older messages. */
const TOP_PX = 600;

@customElement('claw-thread')
export class ClawThread extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        position: relative;
        display: flex;
        min-height: 0;
      }
      .scroller {
        flex: 1;
        min-width: 0;
        overflow-y: auto;
        overscroll-behavior: contain;
      }
      .column {
        max-width: 820px;
        margin: 0 auto;
        padding: 12px 24px 20px;
      }
      .older {
        display: flex;
        justify-content: center;
        padding: 8px 0;
      }
      .jump {
        position: absolute;
        bottom: 12px;
        left: 50%;
        border-radius: 99px;
        box-shadow: var(--claw-shadow-2);
        transform: translateX(-50%);
      }
      @media (max-width: 640px) {
        .column {
          padding: 8px 14px 16px;
        }
      }
    `,
  ];

  @property({ attribute: false }) items: readonly Item[] = [];
  @property({ attribute: false }) liveItems: readonly Item[] = [];
  @property() label = '';
  @property({ type: Boolean }) hasOlder = false;
  @property({ type: Boolean }) loadingOlder = false;
  /** Read out by screen readers when it changes. */
  @property() announcement = '';

  @state() private atEnd = true;
  @query('.scroller') private readonly scroller!: HTMLElement;

  private anchor: { key: string; top: number } | undefined;
  private sizes: ResizeObserver | undefined;

  /** Scrolls to the newest message and stays there. */
  toEnd() {
    this.atEnd = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  override firstUpdated() {
    // Markdown, images and late layout change heights after an update.
    this.sizes = new ResizeObserver(() => this.atEnd && this.toEnd());
    for (const list of this.renderRoot.querySelectorAll('claw-message-list')) this.sizes.observe(list);
    this.sizes.observe(this.scroller);
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    this.sizes?.disconnect();
  }

  protected override willUpdate(changed: PropertyValues<this>) {
    if (!changed.has('items') || this.atEnd) return;
    const before = changed.get('items') ?? [];
    const first = before[0];
    if (first && this.items[0]?.key !== first.key) this.anchor = this.measure(first.key);
  }

  protected override updated(changed: PropertyValues<this>) {
    if (this.atEnd) this.toEnd();
    else if (this.anchor && changed.has('items')) void this.restore(this.anchor);
    this.anchor = undefined;
    if (changed.has('items') || changed.has('hasOlder')) void this.fill();
  }

  private rows(): NodeListOf<Element & { item: Item }> {
    return this.renderRoot.querySelector('claw-message-list')!.renderRoot.querySelectorAll('claw-message');
  }

  private measure(key: string): { key: string; top: number } | undefined {
    for (const row of this.rows()) if (row.item.key === key) return { key, top: row.getBoundingClientRect().top };
    return undefined;
  }

  /** Moves by as much as the anchor row was pushed down. */
  private async restore(anchor: { key: string; top: number }) {
    await this.renderRoot.querySelector('claw-message-list')!.updateComplete;
    const now = this.measure(anchor.key);
    if (now) this.scroller.scrollTop += now.top - anchor.top;
  }

  /** A page that does not fill the viewport asks for the one before; heights are known once the rows are there. */
  private async fill() {
    await this.renderRoot.querySelector('claw-message-list')!.updateComplete;
    this.maybeOlder();
  }

  private onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.atEnd = scrollHeight - scrollTop - clientHeight < END_PX;
    this.maybeOlder();
  }

  private maybeOlder() {
    if (!this.hasOlder || this.loadingOlder || !this.scroller) return;
    const fits = this.scroller.scrollHeight <= this.scroller.clientHeight;
    if (fits || (!this.atEnd && this.scroller.scrollTop < TOP_PX)) this.older();
  }

  private older() {
    this.dispatchEvent(new CustomEvent('claw-older'));
  }

  private resend(event: CustomEvent<string>) {
    this.dispatchEvent(new CustomEvent('claw-resend', { detail: event.detail }));
  }

  override render() {
    return html`<div class="scroller" tabindex="0" role="region" aria-label=${this.label} @scroll=${this.onScroll}>
        <div class="column">
          ${this.hasOlder
            ? html`<div class="older">
                <button class="btn small" type="button" ?disabled=${this.loadingOlder} @click=${this.older}>
                  ${this.loadingOlder ? t.chat.loadingEarlier : t.chat.loadEarlier}
                </button>
              </div>`
            : nothing}
          <claw-message-list .items=${this.items} @claw-resend=${this.resend}></claw-message-list>
          <claw-message-list .items=${this.liveItems} @claw-resend=${this.resend}></claw-message-list>
        </div>
      </div>
      <div class="visually-hidden" role="status">${this.announcement}</div>
      ${this.atEnd
        ? nothing
        : html`<button class="btn small jump" type="button" @click=${() => this.toEnd()}>
            <claw-icon name="down"></claw-icon>${t.chat.jumpToLatest}
          </button>`}`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-thread': ClawThread;
  }
}
