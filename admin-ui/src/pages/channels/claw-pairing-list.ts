/** People who wrote to a bot and wait to be let in; and the code that links your own chat account. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property, state } from 'lit/decorators.js';
import type { Manifest } from '../../api/channels.ts';
import { approvePairing, createLinkCode, dismissPairing, listPairingRequests } from '../../api/pairing.ts';
import type { LinkCode, PairingRequest } from '../../api/pairing.ts';
import { shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import '../../components/claw-copy.ts';
import '../../components/claw-failure.ts';
import '../../components/claw-skeleton.ts';
import { relativeTime, t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

/** New requests appear without a reload. */
const REFRESH_MS = 15_000;

@customElement('claw-pairing-list')
export class ClawPairingList extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
        margin-top: 28px;
      }
      .none {
        padding: 16px;
      }
      .link {
        display: flex;
        align-items: center;
        gap: 16px;
        flex-wrap: wrap;
        padding: 16px;
      }
      claw-copy {
        width: min(260px, 100%);
      }
    `,
  ];

  @property({ attribute: false }) manifests: readonly Manifest[] = [];

  @consume({ context: shellContext }) private readonly shell!: Shell;
  @state() private busy: ReadonlySet<string> = new Set();
  @state() private code: LinkCode | undefined;

  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly requests = new Task(this, {
    task: (_, { signal }) => listPairingRequests(signal),
    args: () => [],
  });

  override connectedCallback() {
    super.connectedCallback();
    this.timer = setInterval(() => document.hidden || this.busy.size > 0 || void this.requests.run(), REFRESH_MS);
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  private async decide(request: PairingRequest, approve: boolean) {
    this.busy = new Set([...this.busy, request.id]);
    try {
      await (approve ? approvePairing(request.id) : dismissPairing(request.id));
      this.shell.toast(approve ? t.channels.pairingApproved(who(request)) : t.channels.pairingDismissed);
    } catch (error) {
      this.shell.toastError(error);
    }
    this.busy = new Set([...this.busy].filter((id) => id !== request.id));
    await this.requests.run();
  }

  private async makeCode() {
    try {
      this.code = await createLinkCode();
    } catch (error) {
      this.shell.toastError(error);
    }
  }

  override render() {
    const { value } = this.requests;
    return html`<section>
        <div class="section-head">
          <div>
            <h2>${t.channels.pairing}</h2>
            <p class="muted">${t.channels.pairingIntro}</p>
          </div>
        </div>
        <div class="card">
          ${this.requests.render({
            pending: () => (value ? this.renderRequests(value) : html`<claw-skeleton lines="2"></claw-skeleton>`),
            error: (error) =>
              html`<claw-failure .error=${error} @claw-retry=${() => this.requests.run()}></claw-failure>`,
            complete: (requests) => this.renderRequests(requests),
          })}
        </div>
      </section>
      ${this.manifests.some((manifest) => manifest.provesSender !== false) ? this.renderLink() : nothing}`;
  }

  private renderRequests(requests: PairingRequest[]) {
    if (requests.length === 0) return html`<p class="none muted">${t.channels.pairingEmpty}</p>`;
    return html`<ul class="list">
      ${requests.map((request) => this.renderRequest(request))}
    </ul>`;
  }

  private renderRequest(request: PairingRequest) {
    const name = who(request);
    const channel = this.manifests.find(({ id }) => id === request.channel)?.label ?? request.channel;
    const disabled = this.busy.has(request.id);
    return html`<li>
      <div class="grow">
        <div class="wrap-anywhere"><strong>${name}</strong></div>
        <div class="muted small-text wrap-anywhere">
          ${channel} · ${request.senderId} · ${t.channels.pairingCode(request.code)} ·
          ${t.channels.expires(relativeTime(request.expiresAt))}
        </div>
      </div>
      <button
        class="btn small primary"
        type="button"
        aria-label=${`${t.common.approve} ${name}`}
        ?disabled=${disabled}
        @click=${() => this.decide(request, true)}
      >
        ${t.common.approve}
      </button>
      <button
        class="btn small"
        type="button"
        aria-label=${`${t.common.dismiss} ${name}`}
        ?disabled=${disabled}
        @click=${() => this.decide(request, false)}
      >
        ${t.common.dismiss}
      </button>
    </li>`;
  }

  private renderLink() {
    return html`<section>
      <div class="section-head"><h2>${t.channels.link}</h2></div>
      <div class="card link">
        <p class="grow muted">${t.channels.linkIntro}</p>
        ${this.code
          ? html`<div role="status">
              <claw-copy label=${t.channels.copyCode} value=${this.code.code}></claw-copy>
              <p class="muted small-text">${t.channels.linkExpires(relativeTime(this.code.expiresAt))}</p>
            </div>`
          : html`<button class="btn" type="button" @click=${() => this.makeCode()}>${t.channels.linkCreate}</button>`}
      </div>
    </section>`;
  }
}

function who(request: PairingRequest): string {
  return request.senderName || request.senderId;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-pairing-list': ClawPairingList;
  }
}
