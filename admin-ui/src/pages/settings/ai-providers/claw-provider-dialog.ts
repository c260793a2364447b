/** Adds or edits a provider. Emits `claw-close`, and `claw-saved` with its id. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { saveProvider } from '../../../api/providers.ts';
import type { Provider, ProviderModel } from '../../../api/providers.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-dialog.ts';
import '../../../components/claw-icon.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import { emptyModel, presets } from './presets.ts';

@customElement('claw-provider-dialog')
export class ClawProviderDialog extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      claw-dialog {
        --claw-dialog-width: 640px;
      }
      .pair {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
        gap: 16px;
      }
      fieldset {
        margin: 0;
        padding: 0;
        border: 0;
      }
      legend {
        padding: 0;
        font-weight: 500;
      }
      .models {
        display: grid;
        gap: 10px;
        margin: 10px 0;
      }
      .model {
        display: grid;
        gap: 10px;
        padding: 12px;
        border: 1px solid var(--claw-border);
        border-radius: var(--claw-radius);
      }
      .fields {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(150px, 1fr));
        gap: 10px;
      }
      .fields label {
        font-size: 0.8125rem;
      }
      .options {
        display: flex;
        align-items: center;
        gap: 18px;
        flex-wrap: wrap;
      }
      .options .btn {
        margin-left: auto;
      }
    `,
  ];

  /** The provider to edit; absent adds one. */
  @property({ attribute: false }) provider: Provider | undefined;
  @property({ attribute: false }) apis: readonly string[] = [];
  @property({ attribute: false }) takenIds: readonly string[] = [];

  @state() private providerId = '';
  @state() private api = '';
  @state() private baseUrl = '';
  @state() private enabled = true;
  @state() private models: ProviderModel[] = [emptyModel()];
  @state() private busy = false;
  @state() private error = '';

  @query('#key') private readonly key!: HTMLInputElement;

  override connectedCallback() {
    super.connectedCallback();
    if (this.provider) {
      const { id, api, baseUrl, enabled, models } = this.provider;
      Object.assign(this, { providerId: id, api, baseUrl, enabled, models: models.map((model) => ({ ...model })) });
    } else {
      this.api = this.apis[0] ?? 'openai-completions';
    }
  }

  private choosePreset(event: Event) {
    const preset = presets.find(({ id }) => id === (event.target as HTMLSelectElement).value);
    this.providerId = preset?.id ?? '';
    this.api = preset?.api ?? this.apis[0] ?? 'openai-completions';
    this.baseUrl = preset?.baseUrl ?? '';
  }

  private change(index: number, change: Partial<ProviderModel>) {
    this.models = this.models.map((model, at) => (at === index ? { ...model, ...change } : model));
  }

  /** An empty field leaves the choice to the server. */
  private setNumber(index: number, field: 'contextWindow' | 'maxTokens', value: number) {
    this.models = this.models.map((model, at) => {
      if (at !== index) return model;
      const next = { ...model };
      delete next[field];
      if (Number.isInteger(value) && value > 0) next[field] = value;
      return next;
    });
  }

  private problem(): string {
    if (!/^[a-z0-9][a-z0-9._-]*$/.test(this.providerId)) return t.providers.idProblem;
    if (!this.provider && this.takenIds.includes(this.providerId)) return t.providers.idTaken(this.providerId);
    if (!/^https?:\/\/\S+$/.test(this.baseUrl)) return t.providers.baseUrlProblem;
    if (!this.models.some((model) => model.id.trim() !== '')) return t.providers.modelProblem;
    return '';
  }

  private async submit(event: Event) {
    event.preventDefault();
    this.error = this.problem();
    if (this.error) {
      await this.updateComplete;
      this.renderRoot.querySelector('claw-banner')?.scrollIntoView({ block: 'nearest' });
      return;
    }
    this.busy = true;
    const apiKey = this.key.value.trim();
    try {
      await saveProvider(this.providerId, {
        api: this.api,
        baseUrl: this.baseUrl,
        enabled: this.enabled,
        models: this.models
          .filter((model) => model.id.trim() !== '')
          .map((model) => ({ ...model, id: model.id.trim(), name: model.name?.trim() || model.id.trim() })),
        ...(apiKey !== '' && { apiKey }),
      });
      this.dispatchEvent(new CustomEvent('claw-saved', { detail: this.providerId }));
    } catch (error) {
      this.error = describeError(error);
    } finally {
      this.busy = false;
    }
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    const apis = this.api && !this.apis.includes(this.api) ? [...this.apis, this.api] : this.apis;
    return html`<claw-dialog
      heading=${this.provider ? t.providers.editTitle(this.provider.id) : t.providers.addTitle}
      ?busy=${this.busy}
      @claw-close=${() => this.close()}
    >
      <form class="stack" novalidate @submit=${(event: Event) => this.submit(event)}>
        ${this.error ? html`<claw-banner tone="danger">${this.error}</claw-banner>` : nothing}
        ${this.provider ? nothing : this.renderChoice()}
        <div class="pair">
          <div class="field">
            <label for="api">${t.providers.api}</label>
            <select class="input" id="api" @change=${(e: Event) => (this.api = (e.target as HTMLSelectElement).value)}>
              ${apis.map((api) => html`<option value=${api} ?selected=${api === this.api}>${api}</option>`)}
            </select>
          </div>
          <div class="field">
            <label for="base-url">${t.providers.baseUrl}</label>
            <input
              class="input"
              id="base-url"
              type="url"
              autocomplete="off"
              .value=${this.baseUrl}
              @input=${(e: Event) => (this.baseUrl = (e.target as HTMLInputElement).value.trim())}
            />
          </div>
        </div>
        <div class="field">
          <label for="key">${t.providers.apiKey}</label>
          <input class="input" id="key" type="password" autocomplete="off" spellcheck="false" aria-describedby="key-help" />
          <span class="help" id="key-help">${this.provider?.keySet ? t.providers.keyKept : t.providers.keyHelp}</span>
        </div>
        ${this.renderModels()}
        <label class="check">
          <input
            type="checkbox"
            .checked=${this.enabled}
            @change=${(e: Event) => (this.enabled = (e.target as HTMLInputElement).checked)}
          />
          ${t.providers.enabled}
        </label>
        <div class="row end">
          <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>
            ${t.common.cancel}
          </button>
          <button class="btn primary" type="submit" ?disabled=${this.busy}>${t.common.save}</button>
        </div>
      </form>
    </claw-dialog>`;
  }

  private renderChoice() {
    return html`<div class="pair">
      <div class="field">
        <label for="preset">${t.providers.preset}</label>
        <select class="input" id="preset" @change=${(event: Event) => this.choosePreset(event)}>
          <option value="">${t.providers.custom}</option>
          ${presets
            .filter(({ api }) => this.apis.length === 0 || this.apis.includes(api))
            .map(({ id, label }) => html`<option value=${id}>${label}</option>`)}
        </select>
      </div>
      <div class="field">
        <label for="id">${t.providers.id}</label>
        <input
          class="input"
          id="id"
          autocomplete="off"
          spellcheck="false"
          aria-describedby="id-help"
          .value=${this.providerId}
          @input=${(e: Event) => (this.providerId = (e.target as HTMLInputElement).value.trim())}
        />
        <span class="help" id="id-help">${t.providers.idHelp}</span>
      </div>
    </div>`;
  }

  private renderModels() {
    return html`<fieldset>
      <legend>${t.providers.models}</legend>
      <p class="muted small-text">${t.providers.modelsHelp}</p>
      <div class="models">${this.models.map((model, index) => this.renderModel(model, index))}</div>
      <button class="btn small" type="button" @click=${() => (this.models = [...this.models, emptyModel()])}>
        <claw-icon name="plus"></claw-icon>${t.providers.addModel}
      </button>
    </fieldset>`;
  }

  private renderModel(model: ProviderModel, index: number) {
    const text = (field: 'id' | 'name', label: string) =>
      html`<div class="field">
        <label for="${field}-${index}">${label}</label>
        <input
          class="input"
          id="${field}-${index}"
          autocomplete="off"
          spellcheck="false"
          .value=${model[field] ?? ''}
          @input=${(e: Event) => this.change(index, { [field]: (e.target as HTMLInputElement).value })}
        />
      </div>`;
    const number = (field: 'contextWindow' | 'maxTokens', label: string) =>
      html`<div class="field">
        <label for="${field}-${index}">${label}</label>
        <input
          class="input"
          id="${field}-${index}"
          type="number"
          min="1"
          step="1"
          placeholder=${t.providers.automatic}
          .value=${String(model[field] ?? '')}
          @change=${(e: Event) => this.setNumber(index, field, (e.target as HTMLInputElement).valueAsNumber)}
        />
      </div>`;
    return html`<div class="model">
      <div class="fields">
        ${text('id', t.providers.modelId)} ${text('name', t.providers.modelName)}
        ${number('contextWindow', t.providers.contextWindow)} ${number('maxTokens', t.providers.maxTokens)}
      </div>
      <div class="options">
        <label class="check small-text">
          <input
            type="checkbox"
            .checked=${model.input?.includes('image') ?? false}
            @change=${(e: Event) =>
              this.change(index, { input: (e.target as HTMLInputElement).checked ? ['text', 'image'] : ['text'] })}
          />
          ${t.providers.images}
        </label>
        <label class="check small-text">
          <input
            type="checkbox"
            .checked=${model.reasoning ?? false}
            @change=${(e: Event) => this.change(index, { reasoning: (e.target as HTMLInputElement).checked })}
          />
          ${t.providers.reasoning}
        </label>
        ${this.models.length > 1
          ? html`<button
              class="btn ghost icon small"
              type="button"
              aria-label=${t.providers.removeModel(model.id || String(index + 1))}
              @click=${() => (this.models = this.models.filter((_, at) => at !== index))}
            >
              <claw-icon name="trash"></claw-icon>
            </button>`
          : nothing}
      </div>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-provider-dialog': ClawProviderDialog;
  }
}
