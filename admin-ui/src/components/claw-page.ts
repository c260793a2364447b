/** The frame of a settings-like page: heading, introduction, actions, content in a readable width. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';

@customElement('claw-page')
export class ClawPage extends LitElement {
  static override styles = css`
    :host {
      display: block;
      width: 100%;
      max-width: 1000px;
      margin: 0 auto;
      padding: 28px 28px 64px;
    }
    header {
      display: flex;
      align-items: flex-start;
      justify-content: space-between;
      gap: 16px;
      flex-wrap: wrap;
      margin-bottom: 24px;
    }
    h1 {
      margin: 0;
      font-size: 1.375rem;
      font-weight: 650;
      letter-spacing: -0.01em;
      line-height: 1.3;
    }
    p {
      max-width: 68ch;
      margin: 4px 0 0;
      color: var(--claw-text-2);
    }
    @media (max-width: 640px) {
      :host {
        padding: 20px 16px 48px;
      }
      header {
        margin-bottom: 18px;
      }
    }
  `;

  @property() heading = '';
  @property() intro = '';

  override render() {
    return html`<header>
        <div>
          <h1>${this.heading}</h1>
          ${this.intro ? html`<p>${this.intro}</p>` : nothing}
        </div>
        <slot name="actions"></slot>
      </header>
      <slot></slot>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page': ClawPage;
  }
}
