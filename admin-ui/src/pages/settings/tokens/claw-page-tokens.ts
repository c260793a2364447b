/** Settings → API tokens. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { deleteToken, listTokens } from '../../../api/tokens.ts';
import type { Token } from '../../../api/tokens.ts';
import { shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-skeleton.ts';
import '../../../components/claw-time.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import './claw-token-dialog.ts';

@customElement('claw-page-tokens')
export class ClawPageTokens extends LitElement {
  static override styles = sharedStyles;

  @consume({ context: shellContext }) private readonly shell!: Shell;
  @state() private creating = false;

  private readonly tokens = new Task(this, { task: (_, { signal }) => listTokens(signal), args: () => [] });

  private async revoke(token: Token) {
    if (!(await confirmAction(t.tokens.revokeConfirm(token.name), t.tokens.revoke))) return;
    try {
      await deleteToken(token.id);
      this.shell.toast(t.tokens.revoked);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.tokens.run();
  }

  private closed() {
    this.creating = false;
    void this.tokens.run();
  }

  override render() {
    return html`<claw-page heading=${t.tokens.title} intro=${t.tokens.intro}>
        <button slot="actions" class="btn primary" type="button" @click=${() => (this.creating = true)}>
          <claw-icon name="plus"></claw-icon>${t.tokens.create}
        </button>
        <div class="card">
          ${this.tokens.render({
            pending: () => (this.tokens.value ? this.renderTable(this.tokens.value) : html`<claw-skeleton></claw-skeleton>`),
            error: (error) =>
              html`<claw-failure .error=${error} @claw-retry=${() => this.tokens.run()}></claw-failure>`,
            complete: (tokens) => this.renderTable(tokens),
          })}
        </div>
      </claw-page>
      ${this.creating ? html`<claw-token-dialog @claw-close=${() => this.closed()}></claw-token-dialog>` : nothing}`;
  }

  private renderTable(tokens: Token[]) {
    if (tokens.length === 0) {
      return html`<claw-empty icon="tokens" heading=${t.tokens.empty} text=${t.tokens.emptyText}></claw-empty>`;
    }
    return html`<div class="table-scroll" tabindex="0" role="region" aria-label=${t.tokens.title}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t.tokens.name}</th>
            <th scope="col">${t.tokens.scopes}</th>
            <th scope="col">${t.tokens.created}</th>
            <th scope="col">${t.tokens.lastUsed}</th>
            <th scope="col"><span class="visually-hidden">${t.tokens.revoke}</span></th>
          </tr>
        </thead>
        <tbody>
          ${tokens.map(
            (token) =>
              html`<tr>
                <td class="wrap-anywhere" data-label=${t.tokens.name}>${token.name}</td>
                <td class="small-text muted" data-label=${t.tokens.scopes}>${scopes(token)}</td>
                <td data-label=${t.tokens.created}><claw-time .at=${token.createdAt}></claw-time></td>
                <td data-label=${t.tokens.lastUsed}>${token.lastUsedAt ? html`<claw-time .at=${token.lastUsedAt}></claw-time>` : t.common.never}</td>
                <td class="actions">
                  <button
                    class="btn small danger"
                    type="button"
                    aria-label=${`${t.tokens.revoke} ${token.name}`}
                    @click=${() => this.revoke(token)}
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

function scopes(token: Token): string {
  const list = token.scopes ?? [];
  return list.length === 0 || list.includes('operator.admin') ? t.tokens.allScopes : list.join(', ');
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-tokens': ClawPageTokens;
  }
}
