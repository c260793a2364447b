/** One tool call, collapsed: name and state; open: arguments and result. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import '../../components/claw-icon.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import type { ToolView } from './transcript.ts';

/** Longer results are cut: the thread is not the place to read a megabyte. */
const MAX_SHOWN = 20_000;

@customElement('claw-tool-card')
export class ClawToolCard extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }
      details {
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius-s);
        background: var(--claw-surface);
      }
      summary {
        display: flex;
        align-items: center;
        gap: 8px;
        padding: 6px 10px;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
        list-style: none;
        cursor: pointer;
      }
      summary::-webkit-details-marker {
        display: none;
      }
      claw-icon {
        width: 15px;
        height: 15px;
      }
      .name {
        color: var(--claw-text);
        font-family: var(--claw-mono);
      }
      .chevron {
        margin-left: auto;
        transition: transform 0.12s;
      }
      details[open] .chevron {
        transform: rotate(90deg);
      }
      .failed {
        color: var(--claw-danger);
      }
      .content {
        display: grid;
        gap: 8px;
        padding: 4px 10px 10px;
      }
      .label {
        color: var(--claw-text-2);
        font-size: 0.75rem;
      }
      pre {
        max-height: 320px;
        margin: 2px 0 0;
        padding: 8px 10px;
        border-radius: var(--claw-radius-s);
        background: var(--claw-code-bg);
        font: 0.8125rem/1.5 var(--claw-mono);
        white-space: pre-wrap;
        overflow-wrap: anywhere;
        overflow-y: auto;
      }
    `,
  ];

  @property({ attribute: false }) tool!: ToolView;
  @state() private open = false;

  private block(label: string, text: string) {
    const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
    return html`<div>
      <div class="label">${label}</div>
      <pre tabindex="0">${shown}</pre>
    </div>`;
  }

  override render() {
    const { name, state: toolState, result } = this.tool;
    const word = { running: t.chat.toolRunning, done: t.chat.toolDone, failed: t.chat.toolFailed }[toolState];
    const args = show(this.tool.arguments);
    return html`<details @toggle=${(event: Event) => (this.open = (event.target as HTMLDetailsElement).open)}>
      <summary>
        <claw-icon name="tool"></claw-icon>
        <span class="name truncate">${name}</span>
        <span class=${toolState}>${word}</span>
        <claw-icon class="chevron" name="chevron"></claw-icon>
      </summary>
      ${this.open
        ? html`<div class="content">
            ${args ? this.block(t.chat.toolArguments, args) : nothing}
            ${this.block(t.chat.toolResult, result ?? t.chat.toolNoResult)}
          </div>`
        : nothing}
    </details>`;
  }
}

function show(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-tool-card': ClawToolCard;
  }
}
