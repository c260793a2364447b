/** What a limit is called and how its numbers read. */
import type { Budget, BudgetUnit } from '../../../api/budgets.ts';
import { locale, t } from '../../../i18n/index.ts';

/** Whose it is. */
export function whose(budget: Budget, me: string): string {
  const person = budget.user === me ? t.budgets.you : (budget.email ?? t.budgets.gone);
  switch (budget.kind) {
    case 'tenant':
      return t.budgets.everybody;
    case 'user':
      return person;
    case 'agent':
      return t.budgets.agent(budget.target ?? '');
    case 'cron':
      return t.budgets.job(budget.targetName ?? budget.target ?? '');
  }
}

/** `5.00 USD`, `0.0015 USD`, `1,000 tokens`. Cut, never rounded up: 4.999 of 5 are not 5. */
export function amount(value: number, unit: BudgetUnit, whole = value): string {
  if (unit === 'tokens') return t.budgets.tokens(new Intl.NumberFormat(locale).format(value), value);
  const digits = whole >= 1 ? 2 : 6;
  // Decimal fractions are not exact in binary: the smallest amount is a millionth.
  const scale = 10 ** digits;
  const cut = Math.floor(value * scale + 1e-6) / scale;
  return `${new Intl.NumberFormat(locale, { minimumFractionDigits: 2, maximumFractionDigits: digits }).format(cut)} USD`;
}

/** The used part, 0 to 100, and what calls under way hold besides. */
export function shares({ amount: whole, spent, reserved }: Budget): { spent: number; held: number } {
  const used = Math.min(100, (100 * spent) / whole);
  return { spent: used, held: Math.min(100 - used, (100 * reserved) / whole) };
}

export type Standing = 'off' | 'used-up' | 'nearly' | 'fine';

/** How much of it is left, in a word. */
export function standing(budget: Budget): Standing {
  if (!budget.enabled) return 'off';
  if (budget.spent >= budget.amount) return 'used-up';
  return budget.spent >= 0.8 * budget.amount ? 'nearly' : 'fine';
}
