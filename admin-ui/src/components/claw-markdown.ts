/** Markdown text, sanitised. Re-renders at most once per frame, so that a fast stream does not stall the page. */
import { LitElement, css, html } from 'lit';
import type { PropertyValues } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import { unsafeHTML } from 'lit/directives/unsafe-html.js';
import { sharedStyles } from '../styles/shared.ts';
import { settled } from './markdown-tail.ts';
import { renderMarkdown } from './markdown.ts';

@customElement('claw-markdown')
export class ClawMarkdown extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        min-width: 0;
        overflow-wrap: anywhere;
        line-height: 1.6;
      }
      p,
      ul,
      ol,
      pre,
      blockquote,
      table {
        margin: 0 0 0.7em;
      }
      ul,
      ol {
        padding-left: 1.5em;
      }
      li {
        margin: 0.15em 0;
      }
      h3,
      h4,
      h5,
      h6 {
        margin: 1em 0 0.4em;
        font-size: 1em;
        font-weight: 650;
      }
      h3 {
        font-size: 1.0625em;
      }
      div > :first-child {
        margin-top: 0;
      }
      div > :last-child {
        margin-bottom: 0;
      }
      code {
        padding: 0.1em 0.35em;
        border-radius: 4px;
        background: var(--claw-surface-2);
      }
      pre {
        padding: 10px 12px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius-s);
        background: var(--claw-code-bg);
        overflow-x: auto;
      }
      pre code {
        padding: 0;
        background: none;
        overflow-wrap: normal;
        white-space: pre;
      }
      blockquote {
        margin-left: 0;
        padding-left: 12px;
        border-left: 3px solid var(--claw-border);
        color: var(--claw-text-2);
      }
      hr {
        border: 0;
        border-top: 1px solid var(--claw-border);
      }
      table {
        display: block;
        width: max-content;
        max-width: 100%;
        overflow-x: auto;
      }
      th,
      td {
        padding: 4px 10px;
        border: 1px solid var(--claw-border);
      }
    `,
  ];

  @property() text = '';
  /** More of it is still to come. */
  @property({ type: Boolean }) streaming = false;

  protected override async scheduleUpdate() {
    if (this.hasUpdated) await new Promise<void>((resolve) => this.nextFrame(resolve));
    void super.scheduleUpdate();
  }

  /** Hidden tabs get no frames; they update at once. */
  private nextFrame(done: () => void) {
    if (document.hidden) done();
    else requestAnimationFrame(done);
  }

  override shouldUpdate(changed: PropertyValues<this>) {
    return changed.has('text') || changed.has('streaming') || !this.hasUpdated;
  }

  override render() {
    return html`<div>${unsafeHTML(renderMarkdown(this.streaming ? settled(this.text) : this.text))}</div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-markdown': ClawMarkdown;
  }
}
