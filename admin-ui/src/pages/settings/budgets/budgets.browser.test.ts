import { afterEach, expect, it, vi } from 'vitest';
import { page } from 'vitest/browser';
import { expectAccessible, fakeServer, mount } from '../../../testing/mount.ts';
import './claw-page-budgets.ts';

afterEach(() => vi.unstubAllGlobals());

const budget = (more: object) => ({
  kind: 'user',
  user: 'u1',
  email: 'ada@acme.test',
  unit: 'money',
  amount: 5,
  spent: 4.25,
  reserved: 0.5,
  remaining: 0.25,
  period: 'month',
  timeZone: 'UTC',
  resetsAt: Date.now() + 3 * 86_400_000,
  origin: 'admin',
  enabled: true,
  editable: true,
  createdAt: 1,
  ...more,
});

const people = { users: [{ id: 'u1', email: 'ada@acme.test', role: 'owner' }, { id: 'u2', email: 'bob@acme.test', role: 'member' }] };

it('shows how much of a limit is used', async () => {
  const budgets = [
    budget({ id: 'b1', kind: 'tenant', user: null, email: null }),
    budget({ id: 'b2', unit: 'tokens', amount: 1000, spent: 1000, reserved: 0, period: 'total', resetsAt: null, editable: false }),
  ];
  fakeServer({ 'GET /api/budgets': () => ({ body: { budgets } }) });
  await mount('claw-page-budgets');
  const meter = page.getByRole('meter', { name: 'Used part of the limit of All users together' });
  await expect.element(meter).toHaveAttribute('aria-valuenow', '85');
  await expect.element(meter).toHaveAttribute('aria-valuetext', '4.25 USD of 5.00 USD used');
  await expect.element(page.getByText('0.50 USD put aside for answers under way')).toBeVisible();
  await expect.element(page.getByText('Nearly used up')).toBeVisible();
  await expect.element(page.getByText('1,000 tokens in total')).toBeVisible();
  await expect.element(page.getByText('does not start anew by itself')).toBeVisible();
  await expect.element(page.getByText('Set by an administrator')).toBeVisible();
  expect(page.getByRole('button', { name: 'Remove: You' }).query()).toBeNull();
  await expectAccessible();
});

it('sets a limit for somebody, changes it, turns it off and removes it', async () => {
  let budgets: ReturnType<typeof budget>[] = [];
  const server = fakeServer({
    'GET /api/budgets': () => ({ body: { budgets } }),
    'GET /api/users': () => ({ body: people }),
    'POST /api/budgets': (body) => {
      budgets = [budget({ id: 'b1', email: 'bob@acme.test', spent: 0, reserved: 0, ...(body as object) })];
      return { status: 201, body: budgets[0] };
    },
    'PATCH /api/budgets/b1': (body) => {
      Object.assign(budgets[0]!, body);
      return { body: budgets[0] };
    },
    'DELETE /api/budgets/b1': () => {
      budgets = [];
      return { status: 204 };
    },
  });
  const { shell } = await mount('claw-page-budgets');
  await expect.element(page.getByText('No limits yet')).toBeVisible();
  await expectAccessible();
  await page.getByRole('button', { name: 'Set a limit' }).click();
  await expectAccessible();
  await page.getByLabelText('Person').selectOptions('bob@acme.test');
  await page.getByLabelText('Amount').fill('2.50');
  await page.getByLabelText('Starts anew').selectOptions('every day');
  await page.getByRole('button', { name: 'Set limit' }).click();
  await expect.element(page.getByText('2.50 USD a day')).toBeVisible();
  const [set] = server.of('POST /api/budgets');
  expect(set?.body).toMatchObject({ kind: 'user', user: 'u2', unit: 'money', amount: 2.5, period: 'day' });
  await page.getByRole('button', { name: 'Edit: bob@acme.test' }).click();
  await page.getByLabelText('Amount').fill('7');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect.element(page.getByText('7.00 USD a day')).toBeVisible();
  await page.getByRole('button', { name: 'Turn off: bob@acme.test' }).click();
  await expect.element(page.getByText('Off', { exact: true })).toBeVisible();
  expect(server.of('PATCH /api/budgets/b1').map(({ body }) => body)).toEqual([{ amount: 7 }, { enabled: false }]);
  await page.getByRole('button', { name: 'Remove: bob@acme.test' }).click();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await expect.element(page.getByText('No limits yet')).toBeVisible();
  expect(shell.toast).toHaveBeenLastCalledWith('The limit is removed');
});

it('offers a member their own agents, and says what the server refuses', async () => {
  const server = fakeServer({
    'GET /api/budgets': () => ({ body: { budgets: [] } }),
    'POST /api/budgets': () => ({ status: 409, body: { error: { code: 'conflict', message: 'there is a limit of this kind already' } } }),
  });
  const user = { id: 'u2', email: 'bob@acme.test', name: 'Bob', role: 'member' as const, timeZone: null };
  const { socket } = await mount('claw-page-budgets', ['agents.list'], { user });
  await page.getByRole('button', { name: 'Set a limit' }).click();
  const kind = page.getByLabelText('What is it for?');
  await expect.element(kind).toHaveTextContent('Yourself');
  expect(kind.element().textContent).not.toContain('All users together');
  await kind.selectOptions('One of your agents');
  await vi.waitFor(() => socket.answer('agents.list', { agents: [{ id: 'main' }, { id: 'work', name: 'Work' }] }));
  await page.getByLabelText('Agent').selectOptions('Work');
  await page.getByLabelText('Counted in').selectOptions('Tokens');
  await page.getByLabelText('Amount').fill('1000');
  await page.getByRole('button', { name: 'Set limit' }).click();
  await expect.element(page.getByText('there is a limit of this kind already')).toBeVisible();
  expect(server.of('POST /api/budgets')[0]?.body).toMatchObject({ kind: 'agent', target: 'work', unit: 'tokens', amount: 1000 });
});
