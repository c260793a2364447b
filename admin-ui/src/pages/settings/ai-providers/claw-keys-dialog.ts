/** The keys of a provider: added, ordered, tried again, removed. Each step is saved at once. Emits `claw-close`, `claw-changed`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { deleteKey, orderKeys, retryKey, saveKey } from '../../../api/providers.ts';
import type { Provider, ProviderKey } from '../../../api/providers.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-dialog.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-pill.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { describeError } from '../../../i18n/errors.ts';
import { fullTime, relativeTime, t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

const NAME = /^[\w.@-]{1,64}$/;

@customElement('claw-keys-dialog')
export class ClawKeysDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      claw-dialog {
        --claw-dialog-width: 620px;
      }
      .name {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 4px 8px;
        font-weight: 600;
      }
      ul.list > li {
        padding: 10px 12px;
      }
      .keys {
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
      }
      li > .grow {
        flex: 1 1 220px;
      }
      .moves {
        display: flex;
        margin-left: auto;
      }
      form .row {
        margin-top: 16px;
      }
      .up {
        transform: rotate(180deg);
      }
      .order {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        justify-content: space-between;
        gap: 8px;
      }
      .order p {
        flex: 1 1 260px;
      }
      .add {
        display: grid;
        grid-template-columns: minmax(0, 2fr) minmax(0, 3fr);
        gap: 10px;
      }
      h3 {
        margin-bottom: 8px;
      }
      @media (max-width: 640px) {
        .add {
          grid-template-columns: minmax(0, 1fr);
        }
      }
    `,
  ];

  @property({ attribute: false }) provider!: Provider;
  @state() private busy = false;
  @state() private error = '';
  @state() private done = '';
  @state() private label = '';

  @query('#key-label') private readonly labelInput!: HTMLInputElement;
  @query('#key-value') private readonly valueInput!: HTMLInputElement;

  private get fixed(): boolean {
    return this.provider.keyOrder.length > 0;
  }

  /** In the order they are tried; those that are left out of it last. */
  private get keys(): ProviderKey[] {
    const { keys, keyOrder } = this.provider;
    const place = (key: ProviderKey) => {
      const at = keyOrder.indexOf(key.name);
      return at < 0 ? keyOrder.length : at;
    };
    return [...keys].sort((one, other) => place(one) - place(other));
  }

  /** One change at a time; its answer is the provider as it is now. */
  private async change(work: () => Promise<Provider | undefined>, done = '') {
    this.busy = true;
    this.error = '';
    this.done = '';
    try {
      const provider = await work();
      if (provider) this.provider = provider;
      this.done = done;
      this.dispatchEvent(new CustomEvent('claw-changed'));
      return true;
    } catch (error) {
      this.error = describeError(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  private async move(name: string, by: number) {
    const names = this.keys.map((key) => key.name);
    const at = names.indexOf(name);
    names.splice(at, 1);
    names.splice(at + by, 0, name);
    await this.change(() => orderKeys(this.provider.id, names));
  }

  private async drop(name: string) {
    if (!(await confirmAction(t.providers.keyRemoveConfirm(name), t.common.remove))) return;
    await this.change(async () => {
      await deleteKey(this.provider.id, name);
      const { keys, keyOrder } = this.provider;
      return {
        ...this.provider,
        keys: keys.filter((key) => key.name !== name),
        keyOrder: keyOrder.filter((listed) => listed !== name),
        keySet: keys.length > 1,
      };
    });
  }

  private async add(event: Event) {
    event.preventDefault();
    const name = this.label.trim();
    const value = this.valueInput.value.trim();
    if (!NAME.test(name)) return void (this.error = t.providers.keyNameProblem);
    if (value === '') return void (this.error = t.providers.keyProblem);
    const { id, keys } = this.provider;
    const isNew = !keys.some((key) => key.name === name);
    const saved = await this.change(async () => {
      const provider = await saveKey(id, name, value);
      // An order that leaves the new key out would never use it.
      return this.fixed && isNew ? orderKeys(id, [...provider.keyOrder, name]) : provider;
    });
    if (!saved) return;
    this.label = '';
    this.valueInput.value = '';
    this.labelInput.focus();
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    const { keys } = this;
    return html`<claw-dialog
      heading=${t.providers.keysOf(this.provider.id)}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      <div class="stack">
        ${this.error ? html`<claw-banner tone="danger">${this.error}</claw-banner>` : nothing}
        <p class="muted">${t.providers.keysIntro}</p>
        <p class="visually-hidden" role="status">${this.done}</p>
        ${keys.length === 0
          ? html`<p>${t.providers.keysNone}</p>`
          : html`<ul class="list keys">
              ${keys.map((key, at) => this.renderKey(key, at, keys.length))}
            </ul>`}
        ${keys.length > 1 ? this.renderOrder() : nothing}
        <form @submit=${(event: Event) => this.add(event)}>
          <h3>${t.providers.addKey}</h3>
          <div class="add">
            <div class="field">
              <label for="key-label">${t.providers.keyName}</label>
              <input
                class="input"
                id="key-label"
                maxlength="64"
                autocomplete="off"
                spellcheck="false"
                placeholder=${t.providers.keyNamePlaceholder}
                .value=${this.label}
                @input=${(event: Event) => (this.label = (event.target as HTMLInputElement).value)}
              />
            </div>
            <div class="field">
              <label for="key-value">${t.providers.apiKey}</label>
              <input class="input" id="key-value" type="password" autocomplete="off" spellcheck="false" />
            </div>
          </div>
          ${keys.some((key) => key.name === this.label.trim())
            ? html`<p class="small-text muted">${t.providers.keyNameTaken(this.label.trim())}</p>`
            : nothing}
          <div class="row end">
            <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.close}</button>
            <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.providers.addKey}</button>
          </div>
        </form>
      </div>
    </claw-dialog>`;
  }

  private renderOrder() {
    return html`<div class="order">
      <p class="small-text muted">${this.fixed ? t.providers.orderFixed : t.providers.orderAutomatic}</p>
      ${this.fixed
        ? html`<button
            class="btn small"
            type="button"
            ?disabled=${this.busy}
            @click=${() => this.change(() => orderKeys(this.provider.id, []))}
          >
            ${t.providers.useAutomatic}
          </button>`
        : nothing}
    </div>`;
  }

  private renderKey(key: ProviderKey, at: number, count: number) {
    const rests = key.restsUntil !== undefined && key.restsUntil > Date.now();
    const left = this.fixed && !this.provider.keyOrder.includes(key.name);
    const move = (by: number, label: string, icon: string) =>
      html`<button
        class="btn ghost icon small"
        type="button"
        aria-label=${label}
        ?disabled=${this.busy || at + by < 0 || at + by >= count}
        @click=${() => this.move(key.name, by)}
      >
        <claw-icon name="down" class=${icon}></claw-icon>
      </button>`;
    return html`<li>
      <div class="grow">
        <div class="name">
          <span class="wrap-anywhere">${key.name}</span>
          ${rests
            ? html`<claw-pill tone="warn">${reason(key)}</claw-pill>`
            : left
              ? html`<claw-pill>${t.providers.keyUnused}</claw-pill>`
              : html`<claw-pill tone="ok">${t.providers.keyReady}</claw-pill>`}
        </div>
        <div class="muted small-text">
          ${rests
            ? t.providers.keyRests(fullTime(key.restsUntil ?? 0), key.model)
            : key.lastUsedAt
              ? t.providers.keyUsed(relativeTime(key.lastUsedAt))
              : t.providers.keyNeverUsed}
        </div>
      </div>
      ${rests
        ? html`<button
            class="btn small"
            type="button"
            aria-label=${t.providers.keyRetryOf(key.name)}
            ?disabled=${this.busy}
            @click=${() => this.change(() => retryKey(this.provider.id, key.name), t.providers.keyRetried(key.name))}
          >
            ${t.providers.keyRetry}
          </button>`
        : nothing}
      <div class="moves">
        ${count > 1 ? [move(-1, t.providers.keyUp(key.name), 'up'), move(1, t.providers.keyDown(key.name), '')] : nothing}
        <button
          class="btn ghost icon small"
          type="button"
          aria-label=${t.providers.keyRemove(key.name)}
          ?disabled=${this.busy}
          @click=${() => this.drop(key.name)}
        >
          <claw-icon name="trash"></claw-icon>
        </button>
      </div>
    </li>`;
  }
}

function reason(key: ProviderKey): string {
  return t.providers.keyReasons[key.reason ?? ''] ?? key.reason ?? '';
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-keys-dialog': ClawKeysDialog;
  }
}
