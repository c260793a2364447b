/** Where a message is written. Emits `claw-send` `{text, attachments}` and `claw-stop`. */
import { LitElement, css, html, nothing } from 'lit';
import type { PropertyValues } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import type { Attachment } from '../../api/chat.ts';
import '../../components/claw-icon.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import { ACCEPT, DEFAULT_MAX_IMAGE_BYTES, readImages } from './attachments.ts';

export interface Draft {
  text: string;
  attachments: Attachment[];
}

@customElement('claw-composer')
export class ClawComposer extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        padding: 0 24px 16px;
      }
      form {
        max-width: 820px;
        margin: 0 auto;
      }
      .box {
        border: 1px solid var(--claw-border-strong);
        border-radius: 14px;
        background: var(--claw-surface);
        box-shadow: var(--claw-shadow-1);
      }
      .box:focus-within {
        border-color: var(--claw-accent);
        outline: 1px solid var(--claw-accent);
      }
      .box.drop {
        border-style: dashed;
        background: var(--claw-accent-soft);
      }
      textarea {
        display: block;
        width: 100%;
        max-height: 40dvh;
        min-height: 46px;
        padding: 12px 14px 4px;
        border: 0;
        background: transparent;
        color: inherit;
        font: inherit;
        line-height: 1.5;
        resize: none;
        field-sizing: content;
      }
      textarea:focus {
        outline: none;
      }
      textarea::placeholder {
        color: var(--claw-text-3);
        opacity: 1;
      }
      .bar {
        display: flex;
        align-items: center;
        gap: 6px;
        padding: 4px 8px 8px;
      }
      .hint {
        flex: 1;
        color: var(--claw-text-3);
        font-size: 0.75rem;
      }
      .attachments {
        display: flex;
        gap: 8px;
        flex-wrap: wrap;
        padding: 10px 12px 0;
      }
      .attachment {
        position: relative;
      }
      .attachment img {
        display: block;
        width: 56px;
        height: 56px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius-s);
        object-fit: cover;
      }
      .attachment button {
        position: absolute;
        top: -8px;
        right: -8px;
        display: grid;
        width: 24px;
        height: 24px;
        padding: 0;
        place-items: center;
        border: 1px solid var(--claw-border);
        border-radius: 50%;
        background: var(--claw-surface);
        color: var(--claw-text);
        cursor: pointer;
      }
      .attachment claw-icon {
        width: 12px;
        height: 12px;
      }
      .send {
        border-radius: 50%;
      }
      .problem {
        margin: 0 4px 6px;
        color: var(--claw-danger);
        font-size: 0.8125rem;
      }
      @media (max-width: 640px) {
        :host {
          padding: 0 10px 10px;
        }
        .hint {
          visibility: hidden;
        }
      }
    `,
  ];

  @property({ type: Boolean }) running = false;
  @property({ type: Boolean }) stopping = false;
  @property({ type: Number }) maxImageBytes = DEFAULT_MAX_IMAGE_BYTES;
  /** The conversation that is written to; drafts are kept per conversation. */
  @property() conversation = '';

  @state() private text = '';
  @state() private attachments: Attachment[] = [];
  @state() private problem = '';
  @state() private dropping = false;

  @query('textarea') private readonly area!: HTMLTextAreaElement;
  @query('input[type=file]') private readonly picker!: HTMLInputElement;

  private readonly drafts = new Map<string, Draft>();

  override focus() {
    this.area?.focus();
  }

  protected override willUpdate(changed: PropertyValues<this>) {
    if (!changed.has('conversation')) return;
    const previous = changed.get('conversation');
    if (previous) this.drafts.set(previous, { text: this.text, attachments: this.attachments });
    const draft = this.drafts.get(this.conversation);
    this.text = draft?.text ?? '';
    this.attachments = draft?.attachments ?? [];
    this.problem = '';
  }

  private get ready(): boolean {
    return this.text.trim() !== '' || this.attachments.length > 0;
  }

  private onKey(event: KeyboardEvent) {
    // While an input method composes, Enter belongs to it.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit();
  }

  private submit() {
    if (!this.ready) return;
    const detail: Draft = { text: this.text.trim(), attachments: this.attachments };
    this.text = '';
    this.attachments = [];
    this.problem = '';
    this.dispatchEvent(new CustomEvent<Draft>('claw-send', { detail }));
  }

  private async add(files: Iterable<File>) {
    this.problem = '';
    try {
      this.attachments = [...this.attachments, ...(await readImages(files, this.maxImageBytes))];
    } catch (error) {
      this.problem = error instanceof Error ? error.message : t.common.failed;
    }
  }

  private onPaste(event: ClipboardEvent) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    void this.add(files);
  }

  private onDrop(event: DragEvent) {
    event.preventDefault();
    this.dropping = false;
    void this.add([...(event.dataTransfer?.files ?? [])]);
  }

  private onPick() {
    void this.add([...(this.picker.files ?? [])]);
    this.picker.value = '';
  }

  private drop(attachment: Attachment) {
    this.attachments = this.attachments.filter((candidate) => candidate !== attachment);
    this.focus();
  }

  override render() {
    return html`<form
      @submit=${(event: Event) => {
        event.preventDefault();
        this.submit();
      }}
    >
      ${this.problem ? html`<p class="problem" role="alert">${this.problem}</p>` : nothing}
      <div
        class="box ${this.dropping ? 'drop' : ''}"
        @dragover=${(event: DragEvent) => {
          event.preventDefault();
          this.dropping = true;
        }}
        @dragleave=${() => (this.dropping = false)}
        @drop=${(event: DragEvent) => this.onDrop(event)}
      >
        ${this.attachments.length > 0
          ? html`<div class="attachments">${this.attachments.map((file) => this.renderAttachment(file))}</div>`
          : nothing}
        <textarea
          rows="1"
          aria-label=${t.chat.placeholder}
          aria-describedby="hint"
          placeholder=${this.dropping ? t.chat.dropHere : t.chat.placeholder}
          .value=${this.text}
          @input=${() => (this.text = this.area.value)}
          @keydown=${(event: KeyboardEvent) => this.onKey(event)}
          @paste=${(event: ClipboardEvent) => this.onPaste(event)}
        ></textarea>
        <div class="bar">
          <input type="file" hidden multiple accept=${ACCEPT} aria-label=${t.chat.attach} @change=${() => this.onPick()} />
          <button
            class="btn ghost icon"
            type="button"
            aria-label=${t.chat.attach}
            title=${t.chat.attach}
            @click=${() => this.picker.click()}
          >
            <claw-icon name="attach"></claw-icon>
          </button>
          <span class="hint" id="hint">${t.chat.composerHint}</span>
          ${this.running
            ? html`<button
                class="btn small"
                type="button"
                ?disabled=${this.stopping}
                @click=${() => this.dispatchEvent(new CustomEvent('claw-stop'))}
              >
                <claw-icon name="stop"></claw-icon>${t.chat.stop}
              </button>`
            : nothing}
          <button
            class="btn primary icon send"
            type="submit"
            aria-label=${t.chat.send}
            title=${t.chat.send}
            ?disabled=${!this.ready}
          >
            <claw-icon name="send"></claw-icon>
          </button>
        </div>
      </div>
    </form>`;
  }

  private renderAttachment(file: Attachment) {
    return html`<div class="attachment">
      <img src="data:${file.mimeType};base64,${file.content}" alt=${file.fileName} />
      <button type="button" aria-label=${t.chat.removeAttachment(file.fileName)} @click=${() => this.drop(file)}>
        <claw-icon name="close"></claw-icon>
      </button>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-composer': ClawComposer;
  }
}
