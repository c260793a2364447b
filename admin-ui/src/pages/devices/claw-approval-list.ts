/** Commands that wait for the user's word. Shows nothing while there are none. */
import { consume } from '@lit/context';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { decideApproval, listApprovals } from '../../api/approvals.ts';
import type { Approval, Decision } from '../../api/approvals.ts';
import type { GatewayClient } from '../../api/gateway.ts';
import { gatewayContext, shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import { GatewaySubscriptions } from '../../app/subscriptions.ts';
import '../../components/claw-failure.ts';
import { relativeTime, t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-approval-list')
export class ClawApprovalList extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      :host {
        display: block;
      }
      .attention {
        border-color: var(--claw-accent);
      }
      .warn {
        color: var(--claw-warn);
      }
      pre {
        max-height: 16em;
        margin: 6px 0;
        padding: 8px;
        overflow: auto;
        border-radius: 4px;
        background: var(--claw-surface-2);
        white-space: pre-wrap;
        overflow-wrap: anywhere;
      }
    `,
  ];

  @consume({ context: gatewayContext }) private readonly gateway!: GatewayClient;
  @consume({ context: shellContext }) private readonly shell!: Shell;

  @state() private approvals: readonly Approval[] = [];
  @state() private error: unknown;
  @state() private busy: ReadonlySet<string> = new Set();

  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    super();
    const load = () => void this.load();
    new GatewaySubscriptions(
      this,
      () => this.gateway,
      { 'exec.approval.requested': load, 'exec.approval.resolved': load },
      load,
    );
  }

  override disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  private async load() {
    try {
      this.approvals = await listApprovals();
      this.error = undefined;
    } catch (error) {
      this.error = error;
    }
    this.forgetInTime();
  }

  /** The clock denies without an event. */
  private forgetInTime() {
    clearTimeout(this.timer);
    if (!this.isConnected || this.approvals.length === 0) return;
    const next = Math.min(...this.approvals.map(({ expiresAt }) => expiresAt));
    this.timer = setTimeout(
      () => {
        this.approvals = this.approvals.filter(({ expiresAt }) => expiresAt > Date.now());
        this.forgetInTime();
      },
      Math.max(next - Date.now(), 0) + 100,
    );
  }

  private async decide(approval: Approval, decision: Decision) {
    this.busy = new Set([...this.busy, approval.id]);
    try {
      await decideApproval(approval.id, decision);
      this.shell.toast(decision === 'deny' ? t.approvals.denied : t.approvals.allowed);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.load();
    this.busy = new Set([...this.busy].filter((id) => id !== approval.id));
  }

  override render() {
    if (this.error !== undefined) {
      return html`<div class="card">
        <claw-failure .error=${this.error} @claw-retry=${() => this.load()}></claw-failure>
      </div>`;
    }
    if (this.approvals.length === 0) return nothing;
    return html`<section>
      <div class="section-head">
        <div>
          <h2>${t.approvals.title}</h2>
          <p class="muted">${t.approvals.intro}</p>
        </div>
      </div>
      <ul class="card list attention" aria-live="polite">
        ${this.approvals.map((approval) => this.renderApproval(approval))}
      </ul>
    </section>`;
  }

  private renderApproval(approval: Approval) {
    const where = approval.nodeName ?? approval.nodeId?.slice(0, 12) ?? t.approvals.gateway;
    return html`<li>
      <div class="grow">
        <div class="wrap-anywhere">
          <strong>${where}</strong>
          ${approval.cwd ? html`<span class="muted small-text">${t.approvals.folder(approval.cwd)}</span>` : nothing}
        </div>
        <pre tabindex="0" aria-label=${t.approvals.command}><code>${approval.command}</code></pre>
        ${approval.warning ? html`<div class="small-text warn wrap-anywhere">${approval.warning}</div>` : nothing}
        ${approval.envKeys.length > 0
          ? html`<div class="muted small-text wrap-anywhere">${t.approvals.variables(approval.envKeys)}</div>`
          : nothing}
        <div class="muted small-text">${t.approvals.expires(relativeTime(approval.expiresAt))}</div>
      </div>
      ${approval.decisions.map(
        (decision) =>
          html`<button
            class="btn small ${decision === 'allow-once' ? 'primary' : ''}"
            type="button"
            aria-label=${`${t.approvals.decisions[decision]}: ${approval.command}`}
            ?disabled=${this.busy.has(approval.id)}
            @click=${() => this.decide(approval, decision)}
          >
            ${t.approvals.decisions[decision]}
          </button>`,
      )}
    </li>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-approval-list': ClawApprovalList;
  }
}
