/** Connects a channel or changes one. The form follows the platform's manifest. Emits `claw-close`, `claw-saved`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import { saveChannel, secretIsSet } from '../../api/channels.ts';
import type { ChannelAccount, ConfigField, Manifest, SavedChannel, SecretField } from '../../api/channels.ts';
import type { Member } from '../../api/users.ts';
import '../../components/claw-banner.ts';
import '../../components/claw-copy.ts';
import '../../components/claw-dialog.ts';
import { describeError } from '../../i18n/errors.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';
import { renderAccess } from './access-fields.ts';
import { readAccess, writeAccess } from './access.ts';
import type { Access } from './access.ts';

/** Where the platform's API lives, in the account's configuration. */
const API_BASE = 'apiBaseUrl';

@customElement('claw-channel-dialog')
export class ClawChannelDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      details {
        border-top: 1px solid var(--claw-border);
        padding-top: 12px;
      }
      summary {
        color: var(--claw-text-2);
        cursor: pointer;
      }
      details .stack {
        margin-top: 14px;
      }
      .generated {
        padding: 8px 10px;
        border: 1px dashed var(--claw-border);
        border-radius: var(--claw-radius-s);
        color: var(--claw-text-2);
        font-size: 0.8125rem;
      }
    `,
  ];

  @property({ attribute: false }) manifests: readonly Manifest[] = [];
  /** The account to edit; absent connects a new one. */
  @property({ attribute: false }) account: ChannelAccount | undefined;
  @property({ attribute: false }) accounts: readonly ChannelAccount[] = [];
  /** For the choice of owner; empty hides it. */
  @property({ attribute: false }) members: readonly Member[] = [];
  @property() self = '';

  @state() private channel = '';
  @state() private access: Access = readAccess(undefined);
  @state() private busy = false;
  @state() private error = '';
  @state() private saved: SavedChannel | undefined;

  override connectedCallback() {
    super.connectedCallback();
    this.channel = this.account?.channel ?? '';
    this.access = readAccess(this.account?.config);
  }

  private get manifest(): Manifest | undefined {
    return this.manifests.find(({ id }) => id === this.channel);
  }

  private async submit(event: Event) {
    event.preventDefault();
    const { manifest } = this;
    if (!manifest) return;
    const data = new FormData(event.target as HTMLFormElement);
    const text = (name: string) => {
      const value = data.get(name);
      return typeof value === 'string' ? value.trim() : '';
    };
    const accountId = this.account?.accountId ?? (text('account') || 'default');
    this.error = /^[A-Za-z0-9._-]+$/.test(accountId) ? '' : t.channels.accountIdProblem;
    if (this.error) return;
    this.busy = true;
    try {
      const saved = await saveChannel(manifest.id, accountId, {
        enabled: data.get('enabled') !== null,
        config: this.config(manifest, text),
        secrets: typedSecrets(manifest, text),
        ...(text('owner') !== '' && { owner: text('owner') }),
      });
      if (saved.warnings.length > 0) this.saved = saved;
      else this.finish(saved);
    } catch (error) {
      this.error = describeError(error);
      await this.updateComplete;
      this.renderRoot.querySelector('claw-banner')?.scrollIntoView({ block: 'nearest' });
    } finally {
      this.busy = false;
    }
  }

  /** The stored configuration with what the form shows put over it. */
  private config(manifest: Manifest, text: (name: string) => string): Record<string, unknown> {
    const config: Record<string, unknown> = { ...this.account?.config };
    for (const name of [API_BASE, ...(manifest.config ?? []).map((field) => field.name)]) {
      const value = text(`config-${name}`);
      if (value === '') delete config[name];
      else config[name] = value;
    }
    return writeAccess(config, this.access);
  }

  private finish(saved: SavedChannel) {
    this.dispatchEvent(new CustomEvent<SavedChannel>('claw-saved', { detail: saved }));
  }

  private close() {
    if (this.saved) this.finish(this.saved);
    else this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    const label = this.manifest?.label;
    const heading = this.account
      ? t.channels.editTitle(label ?? this.account.channel)
      : label
        ? t.channels.connectTitle(label)
        : t.channels.addTitle;
    return html`<claw-dialog heading=${heading} ?busy=${this.busy} @claw-close=${() => this.close()}>
      ${this.saved ? this.renderWarnings(this.saved) : this.renderForm()}
    </claw-dialog>`;
  }

  private renderWarnings(saved: SavedChannel) {
    const { account, warnings } = saved;
    return html`<div class="stack">
      <claw-banner tone="warn">
        <strong>${t.channels.savedWarnings}</strong>
        <ul>
          ${warnings.map((warning) => html`<li>${warning}</li>`)}
        </ul>
      </claw-banner>
      ${account.webhookUrl
        ? html`<div class="field">
            <span class="label">${t.channels.webhook}</span>
            <claw-copy label=${t.channels.copyWebhook} value=${account.webhookUrl}></claw-copy>
          </div>`
        : nothing}
      <div class="row end">
        <button class="btn primary" type="button" @click=${() => this.finish(saved)}>${t.common.close}</button>
      </div>
    </div>`;
  }

  private renderForm() {
    return html`<form class="stack" @submit=${(event: Event) => this.submit(event)}>
      ${this.error ? html`<claw-banner tone="danger">${this.error}</claw-banner>` : nothing}
      ${this.account ? nothing : this.renderChoice()}
      ${this.manifest ? this.renderFields(this.manifest) : nothing}
      <div class="row end">
        <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>
          ${t.common.cancel}
        </button>
        <button class="btn primary" type="submit" ?disabled=${this.busy || !this.manifest}>
          ${this.busy ? t.channels.saving : t.channels.save}
        </button>
      </div>
    </form>`;
  }

  private renderChoice() {
    return html`<div class="field">
      <label for="channel">${t.channels.platform}</label>
      <select
        class="input"
        id="channel"
        @change=${(event: Event) => {
          this.channel = (event.target as HTMLSelectElement).value;
          this.error = '';
        }}
      >
        <option value="">${t.channels.choose}</option>
        ${this.manifests.map(
          ({ id, label }) => html`<option value=${id} ?selected=${id === this.channel}>${label}</option>`,
        )}
      </select>
    </div>`;
  }

  private renderFields(manifest: Manifest) {
    const owner = this.account?.owner ?? this.self;
    return html`${manifest.secrets.map((field) => this.renderSecret(field))}
      ${(manifest.config ?? []).map((field) => this.renderConfig(field))}
      ${this.members.length > 1
        ? html`<div class="field">
            <label for="owner">${t.channels.owner}</label>
            <select class="input" id="owner" name="owner">
              ${this.members.map(
                (member) =>
                  html`<option value=${member.id} ?selected=${member.id === owner}>
                    ${member.name || member.email}
                  </option>`,
              )}
            </select>
          </div>`
        : nothing}
      ${renderAccess(this.access, (access) => (this.access = access))}
      <label class="check">
        <input type="checkbox" name="enabled" ?checked=${this.account?.enabled ?? true} />
        <span>${t.channels.enabled} <span class="muted small-text">${t.channels.enabledHelp}</span></span>
      </label>
      <details>
        <summary>${t.channels.advanced}</summary>
        <div class="stack">
          ${this.account ? nothing : this.renderAccountId(manifest)}
          ${this.renderConfig({
            name: API_BASE,
            label: t.channels.apiBase,
            ...(manifest.defaultApiBase && { help: t.channels.apiBaseHelp(manifest.defaultApiBase) }),
          })}
        </div>
      </details>`;
  }

  private renderAccountId(manifest: Manifest) {
    const taken = this.accounts.some((account) => account.channel === manifest.id && account.accountId === 'default');
    return html`<div class="field">
      <label for="account">${t.channels.accountId}</label>
      <input
        class="input"
        id="account"
        name="account"
        autocomplete="off"
        placeholder=${taken ? '' : 'default'}
        aria-describedby="account-help"
      />
      <span class="help" id="account-help">${t.channels.accountIdHelp}</span>
    </div>`;
  }

  private renderSecret(field: SecretField) {
    const stored = this.account !== undefined && secretIsSet(this.account, field.name);
    if (field.generated) {
      return html`<div class="generated"><strong>${field.label}</strong>: ${t.channels.generated}</div>`;
    }
    const id = `secret-${field.name}`;
    return html`<div class="field">
      <label for=${id}
        >${field.label} ${field.required ? nothing : html`<span class="optional">(${t.common.optional})</span>`}</label
      >
      <input
        class="input"
        id=${id}
        name=${id}
        type="password"
        autocomplete="off"
        spellcheck="false"
        ?required=${field.required && !stored}
        aria-describedby="${id}-help"
      />
      <span class="help wrap-anywhere" id="${id}-help"
        >${stored ? t.channels.secretSet : nothing} ${field.help}</span
      >
    </div>`;
  }

  private renderConfig(field: ConfigField) {
    const id = `config-${field.name}`;
    const value = this.account?.config?.[field.name];
    return html`<div class="field">
      <label for=${id}
        >${field.label} ${field.required ? nothing : html`<span class="optional">(${t.common.optional})</span>`}</label
      >
      <input
        class="input"
        id=${id}
        name=${id}
        autocomplete="off"
        ?required=${field.required ?? false}
        .value=${typeof value === 'string' ? value : ''}
        aria-describedby="${id}-help"
      />
      <span class="help wrap-anywhere" id="${id}-help">${field.help ?? ''}</span>
    </div>`;
  }
}

function typedSecrets(manifest: Manifest, text: (name: string) => string): Record<string, string> {
  const secrets: Record<string, string> = {};
  for (const { name } of manifest.secrets) {
    const value = text(`secret-${name}`);
    if (value !== '') secrets[name] = value;
  }
  return secrets;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-channel-dialog': ClawChannelDialog;
  }
}
