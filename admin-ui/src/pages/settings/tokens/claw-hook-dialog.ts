/** Creates a token of a hook, then shows it this once with an example of its use. Emits `claw-close`. */
import { LitElement, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { createHookToken } from '../../../api/tokens.ts';
import type { Hook, NewHookToken } from '../../../api/tokens.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-copy.ts';
import '../../../components/claw-dialog.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import { curl, hookUrl } from './curl.ts';

@customElement('claw-hook-dialog')
export class ClawHookDialog extends LitElement {
  static override styles = sharedStyles;

  @property({ attribute: false }) hooks: Hook[] = [];
  @state() private busy = false;
  @state() private error: unknown;
  @state() private created: NewHookToken | undefined;

  @query('#name') private readonly name!: HTMLInputElement;
  @query('#hook') private readonly hook!: HTMLSelectElement;

  private async submit(event: Event) {
    event.preventDefault();
    this.busy = true;
    this.error = undefined;
    try {
      this.created = await createHookToken(this.name.value.trim(), this.hook.value || undefined);
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
      heading=${this.created ? t.tokens.createdTitle : t.tokens.createHookTitle}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      ${this.created ? this.renderCreated(this.created) : this.renderForm()}
    </claw-dialog>`;
  }

  private renderForm() {
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
          maxlength="100"
          pattern=".*\\S.*"
          autocomplete="off"
          placeholder=${t.tokens.hookNamePlaceholder}
        />
      </div>
      <div class="field">
        <label for="hook">${t.tokens.opens}</label>
        <select class="input" id="hook">
          ${this.hooks.map(
            ({ name, action }) =>
              html`<option value=${name} ?selected=${name === 'agent'}>${t.tokens.hookChoice(name, action)}</option>`,
          )}
          <option value="">${t.tokens.allHooks}</option>
        </select>
      </div>
      <div class="row end">
        <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
        <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.tokens.createHook}</button>
      </div>
    </form>`;
  }

  private renderCreated(token: NewHookToken) {
    const hook = this.hooks.find(({ name }) => name === token.hook);
    return html`<div class="stack">
      <p>${t.tokens.createdText}</p>
      <claw-copy wrap label=${t.tokens.copyToken} value=${token.token}></claw-copy>
      <div class="field">
        <span class="label">${t.tokens.hookAddress}</span>
        <claw-copy wrap label=${t.tokens.copyAddress} value=${hookUrl(location.origin, hook)}></claw-copy>
      </div>
      <div class="field">
        <span class="label">${t.tokens.example}</span>
        <claw-copy wrap label=${t.tokens.copyExample} value=${curl(location.origin, hook, token.token)}></claw-copy>
      </div>
      <div class="row end">
        <button class="btn primary" type="button" @click=${() => this.close()}>${t.tokens.done}</button>
      </div>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-hook-dialog': ClawHookDialog;
  }
}
