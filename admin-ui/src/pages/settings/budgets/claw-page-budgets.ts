/** Settings → Budgets: what AI models may cost, and how much of it is used. */
import { consume } from '@lit/context';
import { Task } from '@lit/task';
import { LitElement, css, html, nothing } from 'lit';
import { customElement, state } from 'lit/decorators.js';
import { changeBudget, deleteBudget, listBudgets } from '../../../api/budgets.ts';
import type { Budget } from '../../../api/budgets.ts';
import { isAdmin } from '../../../api/session.ts';
import type { Session } from '../../../api/session.ts';
import { sessionContext, shellContext } from '../../../app/contexts.ts';
import type { Shell } from '../../../app/contexts.ts';
import '../../../components/claw-empty.ts';
import '../../../components/claw-failure.ts';
import '../../../components/claw-icon.ts';
import '../../../components/claw-page.ts';
import '../../../components/claw-skeleton.ts';
import { confirmAction } from '../../../components/confirm.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import './claw-budget-card.ts';
import './claw-budget-dialog.ts';
import { whose } from './words.ts';

@customElement('claw-page-budgets')
export class ClawPageBudgets extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .budgets {
        display: grid;
        grid-template-columns: minmax(0, 1fr);
        gap: 12px;
      }
    `,
  ];

  @consume({ context: sessionContext, subscribe: true }) @state() private session!: Session;
  @consume({ context: shellContext }) private readonly shell!: Shell;
  /** Open dialog: a limit, or `new`. */
  @state() private editing: Budget | 'new' | undefined;

  private readonly budgets = new Task(this, { task: (_, { signal }) => listBudgets(signal), args: () => [] });

  private async toggle(budget: Budget) {
    try {
      await changeBudget(budget.id, { enabled: !budget.enabled });
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.budgets.run();
  }

  private async forget(budget: Budget) {
    const name = whose(budget, this.session.user.id);
    if (!(await confirmAction(t.budgets.removeConfirm(name), t.common.remove))) return;
    try {
      await deleteBudget(budget.id);
      this.shell.toast(t.budgets.removed);
    } catch (error) {
      this.shell.toastError(error);
    }
    await this.budgets.run();
  }

  private closed() {
    this.editing = undefined;
    void this.budgets.run();
  }

  override render() {
    return html`<claw-page heading=${t.budgets.title} intro=${t.budgets.intro}>
        <button slot="actions" class="btn primary" type="button" @click=${() => (this.editing = 'new')}>
          <claw-icon name="plus"></claw-icon>${t.budgets.add}
        </button>
        ${this.budgets.render({
          pending: () =>
            this.budgets.value ? this.renderAll(this.budgets.value) : html`<claw-skeleton></claw-skeleton>`,
          error: (error) => html`<claw-failure .error=${error} @claw-retry=${() => this.budgets.run()}></claw-failure>`,
          complete: (budgets) => this.renderAll(budgets),
        })}
      </claw-page>
      ${this.editing === undefined
        ? nothing
        : html`<claw-budget-dialog
            .budget=${this.editing === 'new' ? undefined : this.editing}
            @claw-close=${() => this.closed()}
          ></claw-budget-dialog>`}`;
  }

  private renderAll(budgets: Budget[]) {
    if (budgets.length === 0) {
      const text = isAdmin(this.session) ? t.budgets.emptyText : t.budgets.emptyTextMember;
      return html`<div class="card">
        <claw-empty icon="budgets" heading=${t.budgets.empty} text=${text}></claw-empty>
      </div>`;
    }
    return html`<div class="budgets">
      ${budgets.map(
        (budget) =>
          html`<claw-budget-card
            .budget=${budget}
            me=${this.session.user.id}
            @claw-edit=${() => (this.editing = budget)}
            @claw-toggle=${() => this.toggle(budget)}
            @claw-remove=${() => this.forget(budget)}
          ></claw-budget-card>`,
      )}
    </div>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-page-budgets': ClawPageBudgets;
  }
}
