/** Sets a limit, or changes the amount of one. Emits `claw-close`. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, html, nothing } from 'lit';
import { customElement, property, query, state } from 'lit/decorators.js';
import { changeBudget, createBudget, listAgents, listJobs } from '../../../api/budgets.ts';
import type { Budget, BudgetKind, BudgetPeriod, BudgetUnit } from '../../../api/budgets.ts';
import type { GatewayClient } from '../../../api/gateway.ts';
import { isAdmin } from '../../../api/session.ts';
import type { Session } from '../../../api/session.ts';
import { listUsers } from '../../../api/users.ts';
import { gatewayContext, sessionContext } from '../../../app/contexts.ts';
import '../../../components/claw-banner.ts';
import '../../../components/claw-dialog.ts';
import { describeError } from '../../../i18n/errors.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import { whose } from './words.ts';

const UNITS: BudgetUnit[] = ['money', 'tokens'];
const PERIODS: BudgetPeriod[] = ['month', 'week', 'day', 'total'];

@customElement('claw-budget-dialog')
export class ClawBudgetDialog extends LitElement {
  static override styles = sharedStyles;

  @consume({ context: sessionContext, subscribe: true }) @state() private session!: Session;
  @consume({ context: gatewayContext }) private readonly gateway!: GatewayClient;
  /** The one whose amount is changed; absent: a new one. */
  @property({ attribute: false }) budget: Budget | undefined;

  @state() private kind: BudgetKind = 'user';
  @state() private unit: BudgetUnit = 'money';
  @state() private period: BudgetPeriod = 'month';
  @state() private busy = false;
  @state() private error: unknown;

  @query('#target') private readonly target!: HTMLSelectElement | null;
  @query('#amount') private readonly amount!: HTMLInputElement;

  /** What there is to choose from for the kind. */
  private readonly targets = new Task(this, {
    task: async ([kind, gateway], { signal }) => {
      if (kind === 'agent') return listAgents(gateway);
      if (kind === 'cron') return listJobs(gateway);
      if (kind === 'tenant' || !isAdmin(this.session)) return [];
      const users = await listUsers(signal);
      return users.map(({ id, email }) => ({ id, name: email }));
    },
    args: () => [this.budget ? ('tenant' as const) : this.kind, this.gateway] as const,
  });

  private readonly zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  private async submit(event: Event) {
    event.preventDefault();
    this.busy = true;
    this.error = undefined;
    try {
      const amount = this.amount.valueAsNumber;
      if (this.budget) {
        await changeBudget(this.budget.id, { amount });
      } else {
        const { kind, unit, period } = this;
        const chosen = this.target?.value;
        await createBudget({
          ...{ kind, unit, period, amount },
          ...(chosen && (kind === 'user' ? { user: chosen } : { target: chosen })),
          ...(this.zone && { timeZone: this.zone }),
        });
      }
      this.close();
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }

  private close() {
    this.dispatchEvent(new CustomEvent('claw-close'));
  }

  override render() {
    const { budget } = this;
    const heading = budget ? t.budgets.editTitle(whose(budget, this.session.user.id)) : t.budgets.addTitle;
    return html`<claw-dialog heading=${heading} ?busy=${this.busy} @claw-close=${() => this.close()}>
      <form class="stack" @submit=${(event: Event) => this.submit(event)}>
        ${this.error === undefined
          ? nothing
          : html`<claw-banner tone="danger">${describeError(this.error)}</claw-banner>`}
        ${budget ? nothing : this.renderKind()}
        ${this.renderAmount(budget?.unit ?? this.unit)}
        ${budget ? nothing : this.renderPeriod()}
        <div class="row end">
          <button class="btn" type="button" ?disabled=${this.busy} @click=${() => this.close()}>${t.common.cancel}</button>
          <button class="btn primary" type="submit" ?disabled=${this.busy || this.lacksTarget()}>
            ${budget ? t.common.save : t.budgets.submit}
          </button>
        </div>
      </form>
    </claw-dialog>`;
  }

  /** An agent or a job is needed, and there is none to choose. */
  private lacksTarget(): boolean {
    return !this.budget && (this.kind === 'agent' || this.kind === 'cron') && !this.targets.value?.length;
  }

  private renderKind() {
    const admin = isAdmin(this.session);
    const kinds: BudgetKind[] = admin ? ['tenant', 'user', 'agent', 'cron'] : ['user', 'agent', 'cron'];
    return html`<div class="field">
        <label for="kind">${t.budgets.kind}</label>
        <select
          class="input"
          id="kind"
          @change=${(event: Event) => (this.kind = (event.target as HTMLSelectElement).value as BudgetKind)}
        >
          ${kinds.map(
            (kind) =>
              html`<option value=${kind} ?selected=${kind === this.kind}>
                ${kind === 'user' && !admin ? t.budgets.yourself : t.budgets.kinds[kind]}
              </option>`,
          )}
        </select>
      </div>
      ${this.kind === 'tenant' || (this.kind === 'user' && !admin) ? nothing : this.renderTargets()}`;
  }

  private renderTargets() {
    const label =
      this.kind === 'user' ? t.budgets.person : this.kind === 'agent' ? t.budgets.whichAgent : t.budgets.whichJob;
    return html`<div class="field">
      <label for="target">${label}</label>
      <select class="input" id="target">
        ${this.targets.value?.map(
          ({ id, name }) =>
            html`<option value=${id} ?selected=${this.kind === 'user' && id === this.session.user.id}>${name}</option>`,
        )}
      </select>
      ${this.targets.render({
        error: (error) => html`<span class="problem">${describeError(error)}</span>`,
        complete: (targets) => (targets.length === 0 ? html`<span class="help">${t.budgets.noTargets}</span>` : nothing),
      })}
    </div>`;
  }

  private renderAmount(unit: BudgetUnit) {
    const money = unit === 'money';
    return html`${this.budget
        ? nothing
        : html`<div class="field">
            <label for="unit">${t.budgets.unit}</label>
            <select
              class="input"
              id="unit"
              aria-describedby="unit-help"
              @change=${(event: Event) => (this.unit = (event.target as HTMLSelectElement).value as BudgetUnit)}
            >
              ${UNITS.map(
                (one) => html`<option value=${one} ?selected=${one === unit}>${t.budgets.units[one]}</option>`,
              )}
            </select>
            <span class="help" id="unit-help">${t.budgets.unitHelp[unit]}</span>
          </div>`}
      <div class="field">
        <label for="amount">${t.budgets.amount} (${t.budgets.units[unit]})</label>
        <input
          class="input"
          id="amount"
          type="number"
          required
          min=${money ? 0.000001 : 1}
          max=${money ? 1_000_000_000 : 1_000_000_000_000_000}
          step=${money ? 0.000001 : 1}
          inputmode=${money ? 'decimal' : 'numeric'}
          .value=${this.budget ? String(this.budget.amount) : ''}
        />
      </div>`;
  }

  private renderPeriod() {
    return html`<div class="field">
      <label for="period">${t.budgets.period}</label>
      <select
        class="input"
        id="period"
        aria-describedby="period-help"
        @change=${(event: Event) => (this.period = (event.target as HTMLSelectElement).value as BudgetPeriod)}
      >
        ${PERIODS.map(
          (period) =>
            html`<option value=${period} ?selected=${period === this.period}>${t.budgets.periods[period]}</option>`,
        )}
      </select>
      <span class="help" id="period-help">${t.budgets.midnight(this.zone || 'UTC')}</span>
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-budget-dialog': ClawBudgetDialog;
  }
}
