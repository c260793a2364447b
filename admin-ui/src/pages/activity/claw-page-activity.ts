/** Activity: dead letters and deliveries of uncertain fate, each with a retry. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { fetchActivity, retryInbox, retryOutbox } from '../../api/activity.ts';
import type { Activity, InboxRow, OutboxRow } from '../../api/activity.ts';
import { shellContext } from '../../app/contexts.ts';
import type { Shell } from '../../app/contexts.ts';
import '../../components/claw-empty.ts';
import '../../components/claw-failure.ts';
import '../../components/claw-page.ts';
import '../../components/claw-pill.ts';
import '../../components/claw-skeleton.ts';
import '../../components/claw-time.ts';
import { t } from '../../i18n/index.ts';
import { sharedStyles } from '../../styles/shared.ts';

@customElement('claw-page-activity')
export class ClawPageActivity extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .main {
        display: grid;
        gap: 2px;
      }
      .title {
        display: flex;
        align-items: center;
        gap: 8px;
        flex-wrap: wrap;
        font-weight: 500;
      }
    `,
  ];

  @consume({ context: shellContext }) private readonly shell!: Shell;

  /** Rows with a retry under way, as `inbox:<id>` and `outbox:<id>`. */
  @state() private busy: ReadonlySet<string> = new Set();

  private readonly activity = new Task(this, {
    task: (_, { signal }) => fetchActivity(signal),
    args: () => [],
  });

  private async retry(key: string, call: () => Promise<void>) {
    this.busy = new Set([...this.busy, key]);
    try {
      await call();
      this.shell.toast(t.activity.retried);
      await this.activity.run();
    } catch (error) {
      this.shell.toastError(error);
    } finally {
      this.busy = new Set([...this.busy].filter((other) => other !== key));
    }
  }

  override render() {
    return html`<claw-page heading=${t.activity.title} intro=${t.activity.intro}>
      <button slot="actions" class="btn" type="button" @click=${() => this.activity.run()}>
        ${t.activity.refresh}
      </button>
      ${this.activity.render({
        pending: () =>
          this.activity.value
            ? this.renderRows(this.activity.value)
            : html`<div class="card"><claw-skeleton></claw-skeleton></div>`,
        error: (error) =>
          html`<div class="card">
            <claw-failure .error=${error} @claw-retry=${() => this.activity.run()}></claw-failure>
          </div>`,
        complete: (activity) => this.renderRows(activity),
      })}
    </claw-page>`;
  }

  private renderRows({ inbox, outbox }: Activity) {
    if (inbox.length === 0 && outbox.length === 0) {
      return html`<div class="card">
        <claw-empty icon="check" heading=${t.activity.empty} text=${t.activity.emptyText}></claw-empty>
      </div>`;
    }
    return html`${inbox.length > 0
      ? html`<section>
          <div class="section-head"><h2>${t.activity.inbox}</h2></div>
          <ul class="card list">
            ${inbox.map((row) => this.renderInbox(row))}
          </ul>
        </section>`
      : nothing}
    ${outbox.length > 0
      ? html`<section>
          <div class="section-head"><h2>${t.activity.outbox}</h2></div>
          <ul class="card list">
            ${outbox.map((row) => this.renderOutbox(row))}
          </ul>
        </section>`
      : nothing}`;
  }

  private renderInbox(row: InboxRow) {
    return this.renderRow({
      key: `inbox:${row.id}`,
      name: `${row.source} · ${row.sessionKey}`,
      state: row.state,
      detail: `${row.reason || t.activity.noReason} · ${t.activity.attempts(row.attempts)}`,
      at: row.receivedAt,
      call: () => retryInbox(row.id),
    });
  }

  private renderOutbox(row: OutboxRow) {
    const unknown = row.state === 'unknown';
    return this.renderRow({
      key: `outbox:${row.id}`,
      name: row.conversation,
      state: row.state,
      detail: [row.error, unknown ? t.activity.unknownHelp : ''].filter(Boolean).join(' ') || t.activity.noReason,
      at: row.createdAt,
      call: () => retryOutbox(row.id),
    });
  }

  private renderRow(row: {
    key: string;
    name: string;
    state: string;
    detail: string;
    at: number;
    call: () => Promise<void>;
  }) {
    return html`<li>
      <div class="main grow">
        <div class="title">
          <span class="wrap-anywhere">${row.name}</span>
          <claw-pill tone=${row.state === 'unknown' ? 'warn' : 'danger'}
            >${t.activity.states[row.state] ?? row.state}</claw-pill
          >
        </div>
        <div class="muted small-text wrap-anywhere">${row.detail} · <claw-time .at=${row.at}></claw-time></div>
      </div>
      <button
        class="btn small"
        type="button"
        aria-label=${`${t.activity.retry}: ${row.name}`}
        ?disabled=${this.busy.has(row.key)}
        @click=${() => this.retry(row.key, row.call)}
      >
        ${t.activity.retry}
      </button>
    </li>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-activity': ClawPageActivity;
  }
}
