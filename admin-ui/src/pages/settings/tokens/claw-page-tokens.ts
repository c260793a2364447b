/** Settings → Tokens and hooks: what programs prove themselves with. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { deleteHookToken, deleteToken, listHookTokens, listTokens } from '../../../api/tokens.ts';
import type { HookToken, HookTokens, Token } from '../../../api/tokens.ts';
import { shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-copy.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-skeleton.ts';
import '../../../components/claw-time.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import './claw-hook-dialog.ts';
import './claw-token-dialog.ts';

@customElement('claw-page-tokens')
export class ClawPageTokens extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .section-head p {
        max-width: 640px;
      }
      .address {
        display: grid;
        gap: 4px;
        padding: 12px 16px;
        border-bottom: 1px solid var(--claw-border);
      }
      claw-banner {
        margin-bottom: 10px;
      }
    `,
  ];

  @consume({ context: shellContext }) private readonly shell!: Shell;
  /** Open dialog. */
  @state() private creating: 'token' | 'hook' | undefined;

  private readonly tokens = new Task(this, { task: (_, { signal }) => listTokens(signal), args: () => [] });
  private readonly hooks = new Task(this, { task: (_, { signal }) => listHookTokens(signal), args: () => [] });

  private async revoke(name: string, revoke: () => Promise<void>) {
    if (!(await confirmAction(t.tokens.revokeConfirm(name), t.tokens.revoke))) return;
    try {
      await revoke();
      this.shell.toast(t.tokens.revoked);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.refresh();
  }

  private closed() {
    this.creating = undefined;
    void this.refresh();
  }

  private refresh() {
    return Promise.all([this.tokens.run(), this.hooks.run()]);
  }

  override render() {
    const hooks = this.hooks.value;
    return html`<claw-page heading=${t.tokens.title} intro=${t.tokens.intro}>
        <section>
          <div class="section-head">
            <div>
              <h2>${t.tokens.personal}</h2>
              <p class="muted small-text">${t.tokens.personalIntro}</p>
            </div>
            <button class="btn primary" type="button" @click=${() => (this.creating = 'token')}>
              <claw-icon name="plus"></claw-icon>${t.tokens.create}
            </button>
          </div>
          <div class="card">
            ${this.tokens.render({
              pending: () =>
                this.tokens.value ? this.renderTokens(this.tokens.value) : html`<claw-skeleton></claw-skeleton>`,
              error: (error) =>
                html`<claw-failure .error=${error} @claw-retry=${() => this.tokens.run()}></claw-failure>`,
              complete: (tokens) => this.renderTokens(tokens),
            })}
          </div>
        </section>
        <section>
          <div class="section-head">
            <div>
              <h2>${t.tokens.hooks}</h2>
              <p class="muted small-text">${t.tokens.hooksIntro}</p>
            </div>
            <button
              class="btn primary"
              type="button"
              ?disabled=${!hooks}
              @click=${() => (this.creating = 'hook')}
            >
              <claw-icon name="plus"></claw-icon>${t.tokens.createHook}
            </button>
          </div>
          ${hooks && !hooks.enabled ? html`<claw-banner tone="warn">${t.tokens.hooksOff}</claw-banner>` : nothing}
          <div class="card">
            ${this.hooks.render({
              pending: () => (hooks ? this.renderHooks(hooks) : html`<claw-skeleton></claw-skeleton>`),
              error: (error) =>
                html`<claw-failure .error=${error} @claw-retry=${() => this.hooks.run()}></claw-failure>`,
              complete: (found) => this.renderHooks(found),
            })}
          </div>
        </section>
      </claw-page>
      ${this.creating === 'token'
        ? html`<claw-token-dialog @claw-close=${() => this.closed()}></claw-token-dialog>`
        : nothing}
      ${this.creating === 'hook'
        ? html`<claw-hook-dialog .hooks=${hooks?.hooks ?? []} @claw-close=${() => this.closed()}></claw-hook-dialog>`
        : nothing}`;
  }

  private renderTokens(tokens: Token[]) {
    if (tokens.length === 0) {
      return html`<claw-empty icon="tokens" heading=${t.tokens.empty} text=${t.tokens.emptyText}></claw-empty>`;
    }
    return this.renderTable(
      t.tokens.personal,
      t.tokens.scopes,
      tokens.map((token) => ({ token, about: scopes(token), revoke: () => deleteToken(token.id) })),
    );
  }

  private renderHooks({ hookTokens }: HookTokens) {
    if (hookTokens.length === 0) {
      return html`<claw-empty icon="tokens" heading=${t.tokens.emptyHooks} text=${t.tokens.emptyHooksText}></claw-empty>`;
    }
    return html`<div class="address small-text">
        <span class="muted">${t.tokens.hookAddress}</span>
        <claw-copy wrap label=${t.tokens.copyAddress} value=${`${location.origin}/hooks/<hook>`}></claw-copy>
      </div>
      ${this.renderTable(
        t.tokens.hooks,
        t.tokens.opens,
        hookTokens.map((token) => ({
          token,
          about: token.hook ?? t.tokens.allHooks,
          revoke: () => deleteHookToken(token.id),
        })),
      )}`;
  }

  private renderTable(label: string, about: string, rows: Row[]) {
    return html`<div class="table-scroll" tabindex="0" role="region" aria-label=${label}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t.tokens.name}</th>
            <th scope="col">${about}</th>
            <th scope="col">${t.tokens.created}</th>
            <th scope="col">${t.tokens.lastUsed}</th>
            <th scope="col"><span class="visually-hidden">${t.tokens.revoke}</span></th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ token, about: text, revoke }) =>
              html`<tr>
                <td class="wrap-anywhere" data-label=${t.tokens.name}>${token.name}</td>
                <td class="small-text muted wrap-anywhere" data-label=${about}>${text}</td>
                <td data-label=${t.tokens.created}><claw-time .at=${token.createdAt}></claw-time></td>
                <td data-label=${t.tokens.lastUsed}>${token.lastUsedAt ? html`<claw-time .at=${token.lastUsedAt}></claw-time>` : t.common.never}</td>
                <td class="actions">
                  <button
                    class="btn small danger"
                    type="button"
                    aria-label=${`${t.tokens.revoke} ${token.name}`}
                    @click=${() => this.revoke(token.name, revoke)}
                  >
                    ${t.tokens.revoke}
                  </button>
                </td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }
}

/** One token of either kind. */
interface Row {
  token: Token | HookToken;
  about: string;
  revoke: () => Promise<void>;
}

function scopes(token: Token): string {
  const list = token.scopes ?? [];
  return list.length === 0 || list.includes('operator.admin') ? t.tokens.allScopes : list.join(', ');
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-tokens': ClawPageTokens;
  }
}
