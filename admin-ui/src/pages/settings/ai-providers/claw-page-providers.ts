/** Settings → AI providers. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { deleteProvider, listModels, listProviders } from '../../../api/providers.ts';
import type { Model, Provider, ProviderList } from '../../../api/providers.ts';
import { shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-pill.ts';
import '../../../components/claw-skeleton.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import './claw-keys-dialog.ts';
import './claw-provider-dialog.ts';

interface Data extends ProviderList {
  models: Model[];
}

@customElement('claw-page-providers')
export class ClawPageProviders extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .name {
        display: flex;
        align-items: center;
        gap: 8px;
        flex-wrap: wrap;
        font-weight: 600;
      }
      .default {
        margin-top: 14px;
      }
    `,
  ];

  @consume({ context: shellContext }) private readonly shell!: Shell;
  /** Open dialog: a provider, or `new`. */
  @state() private editing: Provider | 'new' | undefined;
  /** Whose keys are shown, by id. */
  @state() private keysOf: string | undefined;

  private readonly data = new Task(this, {
    task: async (_, { signal }): Promise<Data> => {
      const list = await listProviders(signal);
      // The page is useful without the default model.
      const models = await listModels(signal).catch(() => []);
      return { ...list, models };
    },
    args: () => [],
  });

  private async saved() {
    this.editing = undefined;
    this.shell.toast(t.common.saved);
    await this.refresh();
  }

  private async deleteProvider(provider: Provider) {
    if (!(await confirmAction(t.providers.deleteConfirm(provider.id), t.common.remove))) return;
    try {
      await deleteProvider(provider.id);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.refresh();
  }

  /** The session says whether the demo provider answers. */
  private async refresh() {
    await this.data.run();
    await this.shell.refreshSession().catch(() => undefined);
  }

  override render() {
    return html`<claw-page heading=${t.providers.title} intro=${t.providers.intro}>
        <button slot="actions" class="btn primary" type="button" @click=${() => (this.editing = 'new')}>
          <claw-icon name="plus"></claw-icon>${t.providers.add}
        </button>
        ${this.data.render({
          pending: () =>
            this.data.value
              ? this.renderList(this.data.value)
              : html`<div class="card"><claw-skeleton></claw-skeleton></div>`,
          error: (error) =>
            html`<div class="card">
              <claw-failure .error=${error} @claw-retry=${() => this.data.run()}></claw-failure>
            </div>`,
          complete: (data) => this.renderList(data),
        })}
      </claw-page>
      ${this.editing ? this.renderDialog(this.editing) : nothing} ${this.renderKeys()}`;
  }

  private renderKeys() {
    const provider = this.data.value?.providers.find(({ id }) => id === this.keysOf);
    if (!provider) return nothing;
    return html`<claw-keys-dialog
      .provider=${provider}
      @claw-changed=${() => this.refresh()}
      @claw-close=${() => (this.keysOf = undefined)}
    ></claw-keys-dialog>`;
  }

  private renderDialog(editing: Provider | 'new') {
    return html`<claw-provider-dialog
      .provider=${editing === 'new' ? undefined : editing}
      .apis=${this.data.value?.apis ?? []}
      .takenIds=${this.data.value?.providers.map(({ id }) => id) ?? []}
      @claw-close=${() => (this.editing = undefined)}
      @claw-saved=${() => this.saved()}
    ></claw-provider-dialog>`;
  }

  private renderList({ providers, models }: Data) {
    if (providers.length === 0) {
      return html`<div class="card">
        <claw-empty icon="providers" heading=${t.providers.empty} text=${t.providers.emptyText}></claw-empty>
      </div>`;
    }
    const chosen = models.find((model) => model.default);
    return html`<ul class="card list">
        ${providers.map((provider) => this.renderProvider(provider))}
      </ul>
      ${chosen
        ? html`<p class="muted small-text default">${t.providers.defaultModel}: <code>${chosen.ref}</code></p>`
        : nothing}`;
  }

  private renderProvider(provider: Provider) {
    return html`<li>
      <div class="grow">
        <div class="name">
          <span class="wrap-anywhere">${provider.id}</span>
          ${provider.enabled
            ? html`<claw-pill tone="ok">${t.providers.active}</claw-pill>`
            : html`<claw-pill>${t.providers.disabled}</claw-pill>`}
          ${renderHealth(provider)}
        </div>
        <div class="muted small-text wrap-anywhere">
          ${provider.api} · ${provider.baseUrl} · ${t.providers.modelCount(provider.models.length)}
        </div>
      </div>
      <button
        class="btn small"
        type="button"
        aria-label=${t.providers.keysOf(provider.id)}
        @click=${() => (this.keysOf = provider.id)}
      >
        ${t.providers.keys}
      </button>
      <button
        class="btn small"
        type="button"
        aria-label=${`${t.common.edit} ${provider.id}`}
        @click=${() => (this.editing = provider)}
      >
        ${t.common.edit}
      </button>
      <button
        class="btn small danger"
        type="button"
        aria-label=${`${t.common.remove} ${provider.id}`}
        @click=${() => this.deleteProvider(provider)}
      >
        ${t.common.remove}
      </button>
    </li>`;
  }
}

/** How the keys stand, in a word. */
function renderHealth({ keys }: Provider) {
  if (keys.length === 0) return html`<claw-pill>${t.providers.keyMissing}</claw-pill>`;
  const resting = keys.filter((key) => (key.restsUntil ?? 0) > Date.now()).length;
  if (resting === 0) return keys.length > 1 ? html`<claw-pill>${t.providers.keyCount(keys.length)}</claw-pill>` : nothing;
  return html`<claw-pill tone=${resting === keys.length ? 'danger' : 'warn'}>${t.providers.keysRest(resting, keys.length)}</claw-pill>`;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-providers': ClawPageProviders;
  }
}
