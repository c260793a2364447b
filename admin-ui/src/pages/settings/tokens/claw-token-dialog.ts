/** Creates a token, then shows it this once. Emits `claw-close`. */
import { LitElement, html, nothing } from 'lit';
import { customElement, query, state } from 'lit/decorators.js';
import { createToken } from '../../../api/tokens.ts';
import type { NewToken } from '../../../api/tokens.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-copy.ts';
import '../../../components/claw-dialog.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

const ACCESS: Record<string, string[] | undefined> = {
  full: undefined,
  chat: ['operator.read', 'operator.write'],
  read: ['operator.read'],
};

@customElement('claw-token-dialog')
export class ClawTokenDialog extends LitElement {
  static override styles = sharedStyles;

  @state() private busy = false;
  @state() private error: unknown;
  @state() private created: NewToken | undefined;

  @query('#name') private readonly name!: HTMLInputElement;
  @query('#access') private readonly access!: HTMLSelectElement;

  private async submit(event: Event) {
    event.preventDefault();
    this.busy = true;
    this.error = undefined;
    try {
      this.created = await createToken(this.name.value.trim(), ACCESS[this.access.value]);
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    return html`<claw-dialog
      heading=${this.created ? t.tokens.createdTitle : t.tokens.createTitle}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      ${this.created ? this.renderCreated(this.created) : this.renderForm()}
    </claw-dialog>`;
  }

  private renderForm() {
    const choices: [string, string][] = [
      ['full', t.tokens.accessFull],
      ['chat', t.tokens.accessChat],
      ['read', t.tokens.accessRead],
    ];
    return html`<form class="stack" @submit=${(event: Event) => this.submit(event)}>
      ${this.error === undefined
        ? nothing
        : html`<claw-banner tone="danger">${describeError(this.error)}</claw-banner>`}
      <div class="field">
        <label for="name">${t.tokens.name}</label>
        <input
          class="input"
          id="name"
          required
          maxlength="64"
          pattern=".*\\S.*"
          autocomplete="off"
          placeholder=${t.tokens.namePlaceholder}
        />
      </div>
      <div class="field">
        <label for="access">${t.tokens.access}</label>
        <select class="input" id="access">
          ${choices.map(([value, label]) => html`<option value=${value}>${label}</option>`)}
        </select>
      </div>
      <div class="row end">
        <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
        <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.tokens.create}</button>
      </div>
    </form>`;
  }

  private renderCreated(token: NewToken) {
    return html`<div class="stack">
      <p>${t.tokens.createdText}</p>
      <claw-copy wrap label=${t.tokens.copyToken} value=${token.token}></claw-copy>
      <div class="row end">
        <button class="btn primary" type="button" @click=${() => this.close()}>${t.tokens.done}</button>
      </div>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-token-dialog': ClawTokenDialog;
  }
}
