/** Spending limits, and what they can be for. */
import type { GatewayClient } from './gateway.ts';
import { request, segment } from './http.ts';

export type BudgetKind = 'tenant' | 'user' | 'agent' | 'cron';
export type BudgetUnit = 'tokens' | 'money';
export type BudgetPeriod = 'day' | 'week' | 'month' | 'total';

/** Amounts are tokens or US dollars, by `unit`. Times are epoch milliseconds. */
export interface Budget {
  id: string;
  kind: BudgetKind;
  user?: string | null;
  email?: string | null;
  /** Id of the agent or the job. */
  target?: string | null;
  targetName?: string | null;
  unit: BudgetUnit;
  amount: number;
  spent: number;
  /** Put aside for answers under way. */
  reserved: number;
  remaining: number;
  period: BudgetPeriod;
  timeZone: string;
  startsAt?: number | null;
  resetsAt?: number | null;
  origin: 'admin' | 'user';
  enabled: boolean;
  editable: boolean;
  createdAt: number;
}

export interface NewBudget {
  kind: BudgetKind;
  user?: string;
  target?: string;
  unit: BudgetUnit;
  amount: number;
  period: BudgetPeriod;
  timeZone?: string;
}

export async function listBudgets(signal?: AbortSignal): Promise<Budget[]> {
  const { budgets } = await request<{ budgets: Budget[] }>('GET', '/api/budgets', signal ? { signal } : {});
  return budgets;
}

export function createBudget(budget: NewBudget): Promise<Budget> {
  return request('POST', '/api/budgets', { body: budget });
}

export function changeBudget(id: string, change: { amount?: number; enabled?: boolean }): Promise<Budget> {
  return request('PATCH', `/api/budgets/${segment(id)}`, { body: change });
}

export function deleteBudget(id: string): Promise<void> {
  return request('DELETE', `/api/budgets/${segment(id)}`);
}

/** An agent or a scheduled job. */
export interface Target {
  id: string;
  name: string;
}

/** One's own agents. */
export async function listAgents(gateway: GatewayClient): Promise<Target[]> {
  const { agents } = await gateway.request<{ agents: { id: string; name?: string | null }[] }>('agents.list', {});
  return agents.map(({ id, name }) => ({ id, name: name || id }));
}

/** One's own scheduled jobs. */
export async function listJobs(gateway: GatewayClient): Promise<Target[]> {
  const { jobs } = await gateway.request<{ jobs: { id: string; name: string }[] }>('cron.list', {
    limit: 200,
    includeDisabled: true,
  });
  return jobs.map(({ id, name }) => ({ id, name }));
}
