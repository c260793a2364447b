/** One channel account: status, identity, webhook address. Emits `claw-edit` and `claw-disconnect`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { ChannelAccount, Manifest } from '../../api/channels.ts';
import '../../components/claw-banner.ts';
import '../../components/claw-copy.ts';
import '../../components/claw-pill.ts';
import type { Tone } from '../../components/claw-pill.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-channel-card')
export class ClawChannelCard extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }
      .name {
        display: flex;
        align-items: center;
        gap: 8px;
        flex-wrap: wrap;
        font-weight: 600;
      }
      .card-body {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 10px;
      }
      .label {
        margin-bottom: 4px;
        color: var(--claw-text-2);
        font-size: 0.8125rem;
      }
    `,
  ];

  @property({ attribute: false }) account!: ChannelAccount;
  @property({ attribute: false }) manifest: Manifest | undefined;
  @property({ type: Boolean }) editable = false;

  private emit(name: string) {
    this.dispatchEvent(new CustomEvent(name));
  }

  override render() {
    const { account } = this;
    const label = this.manifest?.label ?? account.channel;
    const name = account.accountId === 'default' ? label : `${label} · ${account.accountId}`;
    const status = account.enabled ? account.status : 'disabled';
    const identity = describeIdentity(account.identity);
    return html`<article class="card" aria-label=${name}>
      <div class="card-head">
        <div class="grow">
          <div class="name">
            <span class="wrap-anywhere">${name}</span>
            <claw-pill tone=${statusTone(status)}>${t.channels.status[status] ?? status}</claw-pill>
          </div>
          ${identity ? html`<div class="muted small-text wrap-anywhere">${identity}</div>` : nothing}
        </div>
        ${this.editable
          ? html`<button
                class="btn small"
                type="button"
                aria-label=${`${t.common.edit} ${name}`}
                @click=${() => this.emit('claw-edit')}
              >
                ${t.common.edit}
              </button>
              <button
                class="btn small danger"
                type="button"
                aria-label=${`${t.channels.disconnect} ${name}`}
                @click=${() => this.emit('claw-disconnect')}
              >
                ${t.channels.disconnect}
              </button>`
          : nothing}
      </div>
      ${account.statusDetail || account.webhookUrl ? this.renderBody(account) : nothing}
    </article>`;
  }

  private renderBody({ statusDetail, webhookUrl, status }: ChannelAccount) {
    const tone = statusTone(status) === 'danger' ? 'danger' : 'warn';
    return html`<div class="card-body">
      ${statusDetail ? html`<claw-banner tone=${tone}>${statusDetail}</claw-banner>` : nothing}
      ${webhookUrl
        ? html`<div>
            <div class="label">${t.channels.webhook}</div>
            <claw-copy label=${t.channels.copyWebhook} value=${webhookUrl}></claw-copy>
          </div>`
        : nothing}
    </div>`;
  }
}

function statusTone(status: string): Tone {
  switch (status) {
    case 'ok':
    case 'connected':
    case 'running':
      return 'ok';
    case 'error':
    case 'failed':
      return 'danger';
    case 'disabled':
    case 'disconnected':
      return 'neutral';
    default:
      return 'warn';
  }
}

/** What the platform told about the bot, in a line. */
export function describeIdentity(identity: unknown): string {
  if (typeof identity === 'string') return identity;
  if (typeof identity !== 'object' || identity === null) return '';
  const record = identity as Record<string, unknown>;
  const words = ['name', 'username', 'handle', 'displayName', 'team', 'id']
    .map((key) => record[key])
    .filter((value): value is string | number => typeof value === 'string' || typeof value === 'number');
  return [...new Set(words)].slice(0, 3).join(' · ');
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-channel-card': ClawChannelCard;
  }
}
