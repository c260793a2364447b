/** Settings → Audit log. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { listAudit } from '../../../api/audit.ts';
import type { AuditEntry } from '../../../api/audit.ts';
import { listUsers } from '../../../api/users.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-skeleton.ts';
import '../../../components/claw-time.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';

@customElement('claw-page-audit')
export class ClawPageAudit extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      td {
        vertical-align: top;
      }
      td.small-text {
        line-height: 1.6;
      }
      .when {
        white-space: nowrap;
      }
      .detail {
        max-width: 360px;
      }
      .more {
        padding: 12px 16px;
        border-top: 1px solid var(--claw-border);
        text-align: center;
      }
    `,
  ];

  @state() private entries: AuditEntry[] = [];
  @state() private status: 'loading' | 'ready' | 'failed' = 'loading';
  @state() private error: unknown;
  @state() private names: ReadonlyMap<string, string> = new Map();
  /** The last page was empty or held nothing new. */
  @state() private complete = false;

  override connectedCallback() {
    super.connectedCallback();
    this.entries = [];
    void this.loadMore();
    void this.loadNames();
  }

  /** Entries name people by id; without the names the ids are shown. */
  private async loadNames() {
    const members = await listUsers().catch(() => []);
    this.names = new Map(members.map((member) => [member.id, member.email]));
  }

  private actorName(actor: string | null): string {
    return actor === null ? t.audit.system : (this.names.get(actor) ?? actor);
  }

  private async loadMore() {
    this.status = 'loading';
    try {
      const page = await listAudit(this.entries.at(-1)?.seq);
      const known = new Set(this.entries.map((entry) => entry.seq));
      const fresh = page.filter((entry) => !known.has(entry.seq));
      this.complete = fresh.length === 0;
      this.entries = [...this.entries, ...fresh];
      this.status = 'ready';
    } catch (error) {
      this.error = error;
      this.status = 'failed';
    }
  }

  override render() {
    return html`<claw-page heading=${t.audit.title} intro=${t.audit.intro}>
      <div class="card">${this.renderContent()}</div>
    </claw-page>`;
  }

  private renderContent() {
    if (this.entries.length === 0) {
      if (this.status === 'loading') return html`<claw-skeleton lines="6"></claw-skeleton>`;
      if (this.status === 'ready') return html`<claw-empty icon="audit" heading=${t.audit.empty}></claw-empty>`;
    }
    return html`${this.entries.length > 0 ? this.renderTable() : nothing}
    ${this.status === 'failed'
      ? html`<claw-failure .error=${this.error} @claw-retry=${() => this.loadMore()}></claw-failure>`
      : nothing}
    ${this.complete || this.status === 'failed'
      ? nothing
      : html`<div class="more">
          <button
            class="btn small"
            type="button"
            ?disabled=${this.status === 'loading'}
            @click=${() => this.loadMore()}
          >
            ${t.audit.more}
          </button>
        </div>`}`;
  }

  private renderTable() {
    return html`<div class="table-scroll" tabindex="0" role="region" aria-label=${t.audit.title}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t.audit.when}</th>
            <th scope="col">${t.audit.who}</th>
            <th scope="col">${t.audit.what}</th>
            <th scope="col">${t.audit.target}</th>
            <th scope="col">${t.audit.detail}</th>
          </tr>
        </thead>
        <tbody>
          ${this.entries.map(
            (entry) =>
              html`<tr>
                <td class="when" data-label=${t.audit.when}><claw-time full .at=${entry.at}></claw-time></td>
                <td class="wrap-anywhere" data-label=${t.audit.who}>${this.actorName(entry.actor)}</td>
                <td data-label=${t.audit.what}><code>${entry.action}</code></td>
                ${cell(t.audit.target, entry.target === null ? null : (this.names.get(entry.target) ?? entry.target))}
                ${cell(t.audit.detail, entry.detail)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }
}

/** An empty cell stays empty, so that narrow screens leave it out. */
function cell(label: string, value: string | null) {
  if (value === null) return html`<td></td>`;
  return html`<td class="detail wrap-anywhere small-text muted" data-label=${label}>${value}</td>`;
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-audit': ClawPageAudit;
  }
}
