import { expect, it } from 'vitest';
import type { Budget } from '../../../api/budgets.ts';
import { amount, shares, standing, whose } from './words.ts';

const budget: Budget = {
  id: 'b1',
  kind: 'user',
  user: 'u1',
  email: 'ada@acme.test',
  unit: 'money',
  amount: 5,
  spent: 1,
  reserved: 0,
  remaining: 4,
  period: 'month',
  timeZone: 'UTC',
  origin: 'admin',
  enabled: true,
  editable: true,
  createdAt: 0,
};

it('names whose a limit is', () => {
  expect(whose(budget, 'u1')).toBe('You');
  expect(whose(budget, 'u2')).toBe('ada@acme.test');
  expect(whose({ ...budget, email: null }, 'u2')).toBe('A user who is gone');
  expect(whose({ ...budget, kind: 'tenant' }, 'u1')).toBe('All users together');
  expect(whose({ ...budget, kind: 'agent', target: 'work' }, 'u1')).toBe('Agent work');
  expect(whose({ ...budget, kind: 'cron', target: 'j1', targetName: 'News' }, 'u1')).toBe('Scheduled job News');
  expect(whose({ ...budget, kind: 'cron', target: 'j1' }, 'u1')).toBe('Scheduled job j1');
});

it('writes amounts as exact as they must be, and never rounds up', () => {
  expect(amount(5, 'money')).toBe('5.00 USD');
  expect(amount(4.999999, 'money', 5)).toBe('4.99 USD');
  expect(amount(0.29, 'money', 5)).toBe('0.29 USD');
  expect(amount(1234.5, 'money')).toBe('1,234.50 USD');
  expect(amount(0.0015, 'money')).toBe('0.0015 USD');
  expect(amount(0.001499, 'money', 0.0015)).toBe('0.001499 USD');
  expect(amount(1, 'tokens')).toBe('1 token');
  expect(amount(2_000_000, 'tokens')).toBe('2,000,000 tokens');
});

it('fills the meter with what is spent and held, and no further', () => {
  expect(shares({ ...budget, reserved: 2 })).toEqual({ spent: 20, held: 40 });
  expect(shares({ ...budget, spent: 4, reserved: 2 })).toEqual({ spent: 80, held: 20 });
  expect(shares({ ...budget, spent: 9, reserved: 2 })).toEqual({ spent: 100, held: 0 });
});

it('says how it stands', () => {
  expect(standing(budget)).toBe('fine');
  expect(standing({ ...budget, spent: 4 })).toBe('nearly');
  expect(standing({ ...budget, spent: 5 })).toBe('used-up');
  expect(standing({ ...budget, spent: 5, enabled: false })).toBe('off');
});
