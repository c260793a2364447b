/** One limit: whose, how much of it is used, and what can be done with it. Emits `claw-edit`, `-toggle`, `-remove`. */
import { LitElement, css, html, nothing } from 'lit';
import { customElement, property } from 'lit/decorators.js';
import type { Budget } from '../../../api/budgets.ts';
import '../../../components/claw-pill.ts';
import type { Tone } from '../../../components/claw-pill.ts';
import '../../../components/claw-time.ts';
import { t } from '../../../i18n/index.ts';
import { sharedStyles } from '../../../styles/shared.ts';
import { amount, shares, standing, whose } from './words.ts';
import type { Standing } from './words.ts';

const TONES: Record<Standing, Tone> = { off: 'neutral', 'used-up': 'danger', nearly: 'warn', fine: 'ok' };

@customElement('claw-budget-card')
export class ClawBudgetCard extends LitElement {
  static override styles = [
    sharedStyles,
    css`
      .body {
        display: grid;
        gap: 10px;
        padding: 16px 18px;
      }
      .head {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px 10px;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-left: auto;
      }
      .meter {
        width: 100%;
        height: 8px;
        border-radius: 99px;
        background: var(--claw-surface-2);
        overflow: hidden;
      }
      .spent {
        fill: var(--claw-accent-fill);
      }
      .nearly .spent {
        fill: var(--claw-warn);
      }
      .used-up .spent {
        fill: var(--claw-danger-fill);
      }
      .off .spent,
      .off .held {
        fill: var(--claw-border-strong);
      }
      .held {
        fill: var(--claw-border-strong);
        opacity: 0.6;
      }
    `,
  ];

  @property({ attribute: false }) budget!: Budget;
  /** Id of the person who looks. */
  @property() me = '';

  private button(label: string, event: string, kind = '') {
    return html`<button
      class="btn small ${kind}"
      type="button"
      aria-label=${`${label}: ${whose(this.budget, this.me)}`}
      @click=${() => this.dispatchEvent(new CustomEvent(event))}
    >
      ${label}
    </button>`;
  }

  override render() {
    const { budget } = this;
    const state = standing(budget);
    const name = whose(budget, this.me);
    const written = (value: number) => amount(value, budget.unit, budget.amount);
    const used = t.budgets.used(written(budget.spent), written(budget.amount));
    return html`<article class="card">
      <div class="body">
        <div class="head">
          <h2 class="wrap-anywhere">${name}</h2>
          <claw-pill tone=${TONES[state]}>${t.budgets.standing[state]}</claw-pill>
          <div class="buttons">
            ${budget.editable
              ? html`${this.button(t.common.edit, 'claw-edit')}
                ${this.button(budget.enabled ? t.budgets.disable : t.budgets.enable, 'claw-toggle')}
                ${this.button(t.common.remove, 'claw-remove', 'danger')}`
              : html`<span class="small-text muted">${t.budgets.setByAdmin}</span>`}
          </div>
        </div>
        <p>${written(budget.amount)} ${t.budgets.per[budget.period]}</p>
        ${this.renderMeter(name, used, state)}
        <p class="small-text muted">
          ${used}${budget.reserved > 0 ? html` · ${t.budgets.held(written(budget.reserved))}` : nothing} ·
          ${budget.resetsAt
            ? html`${t.budgets.resets} <claw-time .at=${budget.resetsAt}></claw-time>`
            : t.budgets.never}
        </p>
      </div>
    </article>`;
  }

  private renderMeter(name: string, used: string, state: Standing) {
    const { spent, held } = shares(this.budget);
    return html`<svg
      class="meter ${state}"
      role="meter"
      aria-label=${t.budgets.meter(name)}
      aria-valuemin="0"
      aria-valuemax="100"
      aria-valuenow=${Math.floor(spent)}
      aria-valuetext=${used}
      viewBox="0 0 100 8"
      preserveAspectRatio="none"
    >
      <rect class="spent" width=${spent} height="8"></rect>
      <rect class="held" x=${spent} width=${held} height="8"></rect>
    </svg>`;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    'claw-budget-card': ClawBudgetCard;
  }
}
