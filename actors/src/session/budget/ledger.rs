//! The counters: put aside, settled, given back. Each is one transaction over all limits of a call.
//!
//! Invariant: `budget_use.reserved` is the sum of its holds. A hold is taken out in the transaction that counts what was
//! spent, so nothing is settled twice. Counters are locked in the order of their budgets' ids.

use std::cmp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_entities::{
    PlatformTable, Scope, TenantId, TenantOwned, TenantScope, UserId, budget, budget_hold, budget_use,
};
use futures::future::BoxFuture;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, OnConflict};
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::estimate::{Ask, Used};
use crate::Services;
use crate::clock::now_ms;
use crate::config::budgets::{Budget, Unit};
use crate::db::{Batch, Transaction, past_deadlocks};
use crate::error::{Error, Result};
use crate::supervisor::lease::living;

/// No call takes as long, in milliseconds: whoever made it forgot it.
const LONGEST: i64 = 24 * 3_600_000;
/// How long counters of ended spans are kept, in milliseconds.
const KEEP: i64 = 400 * 24 * 3_600_000;
/// Calls of one statement that gives back.
const AT_ONCE: usize = 200;

/// A limit of which a call has put something aside.
#[derive(Clone, Debug)]
pub(super) struct Share {
    budget: String,
    unit: Unit,
}

impl Share {
    pub(super) fn of(budget: &Budget) -> Self {
        Self {
            budget: budget.id.clone(),
            unit: budget.unit,
        }
    }
}

/// The limit that does not hold the call.
#[derive(Clone, Debug)]
pub(super) struct Shortage {
    pub(super) budget: Arc<Budget>,
    pub(super) spent: i64,
    pub(super) reserved: i64,
    /// Epoch milliseconds.
    pub(super) ends_at: Option<i64>,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Taken {
    /// With the tokens that the answer may have. Of nothing, where all the limits are gone.
    Held {
        shares: Vec<Share>,
        output: u64,
    },
    Short(Box<Shortage>),
}

/// Puts aside what the call may cost of all limits, or of none.
pub(super) async fn take(
    services: &Services,
    scope: &Scope,
    call: &str,
    limits: Vec<Arc<Budget>>,
    ask: &Ask,
) -> Result<Taken> {
    let taking = Taking {
        tenant: scope.tenant_scope().clone(),
        user: scope.user().clone(),
        call: call.to_owned(),
        boot_id: services.replica.boot_id.clone(),
        limits,
        ask: ask.clone(),
    };
    let taking = Arc::new(taking);
    write(services, scope.tenant_scope(), move |tx| {
        let taking = Arc::clone(&taking);
        Box::pin(async move { taking.within(tx).await })
    })
    .await
}

struct Taking {
    tenant: TenantScope,
    user: UserId,
    call: String,
    boot_id: String,
    limits: Vec<Arc<Budget>>,
    ask: Ask,
}

impl Taking {
    async fn within(&self, tx: &Transaction) -> Result<Taken> {
        let limits = self.current(tx).await?;
        if limits.is_empty() {
            let (shares, output) = (Vec::new(), self.ask.most);
            return Ok(Taken::Held { shares, output });
        }
        let counters = self.counters(tx, &limits).await?;
        let output = match self.allowed(&counters) {
            Ok(output) => output,
            Err(shortage) => return Ok(Taken::Short(shortage)),
        };
        let (mut shares, mut holds) = (Vec::new(), Vec::new());
        let mut batch = Batch::new(tx);
        for counter in &counters {
            let amount = self.ask.cost(counter.budget.unit, output);
            let take = budget_use::Entity::update_of_tenant(&self.tenant)
                .col_expr(
                    budget_use::Column::Reserved,
                    Expr::col(budget_use::Column::Reserved).add(amount),
                )
                .filter(budget_use::Column::BudgetId.eq(counter.budget.id.as_str()))
                .filter(budget_use::Column::StartsAt.eq(counter.starts_at))
                .filter(
                    Expr::col(budget_use::Column::Spent)
                        .add(Expr::col(budget_use::Column::Reserved))
                        .add(amount)
                        .lte(counter.budget.amount),
                );
            batch.add(&take);
            holds.push(budget_hold::ActiveModel {
                tenant_id: Set(self.tenant.tenant().clone()),
                id: Set(self.call.clone()),
                budget_id: Set(counter.budget.id.clone()),
                user_id: Set(self.user.clone()),
                starts_at: Set(counter.starts_at),
                amount: Set(amount),
                prompt: Set(cmp::min(self.ask.cost(counter.budget.unit, 0), amount)),
                boot_id: Set(self.boot_id.clone()),
                created_at: Set(self.ask.now),
            });
            shares.push(Share::of(&counter.budget));
        }
        let all = (counters.len() + holds.len()) as u64;
        batch.add(&budget_hold::Entity::insert_many(holds));
        // They were looked at under the lock that is still held.
        if batch.run(tx).await? != all {
            return Err(Error::Conflict("a budget was changed meanwhile".to_owned()));
        }
        Ok(Taken::Held { shares, output })
    }

    /// The limits as they are now: those known to this process may have been changed or taken away by another.
    async fn current(&self, tx: &Transaction) -> Result<Vec<Arc<Budget>>> {
        let ids = self.limits.iter().map(|budget| budget.id.as_str());
        let amounts: Vec<(String, i64)> = budget::Entity::of_tenant(&self.tenant)
            .select_only()
            .column(budget::Column::Id)
            .column(budget::Column::Amount)
            .filter(budget::Column::Id.is_in(ids))
            .filter(budget::Column::Enabled.eq(true))
            .into_tuple()
            .all(tx)
            .await?;
        let amounts: BTreeMap<String, i64> = amounts.into_iter().collect();
        let current = self.limits.iter().filter_map(|budget| {
            let amount = *amounts.get(&budget.id)?;
            if amount == budget.amount {
                return Some(Arc::clone(budget));
            }
            let mut changed = Budget::clone(budget);
            changed.amount = amount;
            Some(Arc::new(changed))
        });
        Ok(current.collect())
    }

    /// The counters of now, locked. Those that are missing are made before any is locked: all calls lock in one order.
    async fn counters(&self, tx: &Transaction, limits: &[Arc<Budget>]) -> Result<Vec<Counter>> {
        let mut counters: Vec<Counter> = limits.iter().map(|budget| Counter::of(budget, self.ask.now)).collect();
        let mut found = self.read(tx, &counters, false).await?;
        let missing: Vec<_> = counters
            .iter()
            .filter(|counter| !found.contains_key(&counter.key()))
            .map(|counter| budget_use::ActiveModel {
                tenant_id: Set(self.tenant.tenant().clone()),
                budget_id: Set(counter.budget.id.clone()),
                starts_at: Set(counter.starts_at),
                spent: Set(0),
                reserved: Set(0),
            })
            .collect();
        let lock = tx.get_database_backend() == DbBackend::Postgres;
        let complete = missing.is_empty();
        if !complete {
            let there = OnConflict::columns([
                budget_use::Column::TenantId,
                budget_use::Column::BudgetId,
                budget_use::Column::StartsAt,
            ])
            .do_nothing()
            .to_owned();
            let mut batch = Batch::new(tx);
            batch.add(&budget_use::Entity::insert_many(missing).on_conflict(there));
            let ids = limits.iter().map(|budget| budget.id.as_str());
            let old = budget_use::Entity::delete_of_tenant(&self.tenant)
                .filter(budget_use::Column::BudgetId.is_in(ids))
                .filter(budget_use::Column::StartsAt.between(1, self.ask.now - KEEP));
            batch.add(&old);
            batch.run(tx).await?;
        }
        if lock || !complete {
            found = self.read(tx, &counters, lock).await?;
        }
        for counter in &mut counters {
            let row = found.get(&counter.key());
            (counter.spent, counter.reserved) = row.copied().unwrap_or_default();
        }
        Ok(counters)
    }

    async fn read(
        &self,
        tx: &Transaction,
        counters: &[Counter],
        lock: bool,
    ) -> Result<BTreeMap<(String, i64), (i64, i64)>> {
        let wanted = counters.iter().fold(Condition::any(), |any, counter| {
            let one = Condition::all()
                .add(budget_use::Column::BudgetId.eq(counter.budget.id.as_str()))
                .add(budget_use::Column::StartsAt.eq(counter.starts_at));
            any.add(one)
        });
        let mut query = budget_use::Entity::of_tenant(&self.tenant)
            .filter(wanted)
            .order_by_asc(budget_use::Column::BudgetId);
        if lock {
            query = query.lock_exclusive();
        }
        let rows = query.all(tx).await?.into_iter();
        Ok(rows
            .map(|row| ((row.budget_id, row.starts_at), (row.spent, row.reserved)))
            .collect())
    }

    /// Tokens of the answer that all limits allow. Near a limit an answer takes half of what is left, so that the
    /// others under way find some too.
    fn allowed(&self, counters: &[Counter]) -> std::result::Result<u64, Box<Shortage>> {
        let mut output = self.ask.most;
        for counter in counters {
            let room = counter
                .budget
                .amount
                .saturating_sub(counter.spent)
                .saturating_sub(counter.reserved);
            // With the whole of it spent not even a call that costs nothing is made.
            let affordable = Some(room)
                .filter(|room| *room > 0)
                .and_then(|room| self.ask.affordable(counter.budget.unit, room));
            match affordable.filter(|tokens| *tokens >= self.ask.least) {
                Some(tokens) => output = cmp::min(output, tokens),
                None => return Err(counter.short()),
            }
        }
        if output < self.ask.most {
            output = cmp::max(output / 2, self.ask.least);
        }
        Ok(output)
    }
}

/// One limit's counter.
struct Counter {
    budget: Arc<Budget>,
    starts_at: i64,
    ends_at: Option<i64>,
    spent: i64,
    reserved: i64,
}

impl Counter {
    fn of(budget: &Arc<Budget>, now: i64) -> Self {
        let span = budget.period.span(budget.zone, now);
        Self {
            budget: Arc::clone(budget),
            starts_at: span.starts_at,
            ends_at: span.ends_at,
            spent: 0,
            reserved: 0,
        }
    }

    fn key(&self) -> (String, i64) {
        (self.budget.id.clone(), self.starts_at)
    }

    fn short(&self) -> Box<Shortage> {
        Box::new(Shortage {
            budget: Arc::clone(&self.budget),
            spent: self.spent,
            reserved: self.reserved,
            ends_at: self.ends_at,
        })
    }
}

/// Counts what the call used in the place of what it had put aside. Nothing happens when that was done already.
pub(super) async fn settle(
    services: &Services,
    tenant: &TenantScope,
    call: &str,
    shares: &Arc<[Share]>,
    used: Used,
) -> Result<()> {
    let (tenant_in, call, shares) = (tenant.clone(), call.to_owned(), Arc::clone(shares));
    write(services, tenant, move |tx| {
        let (tenant, call, shares) = (tenant_in.clone(), call.clone(), Arc::clone(&shares));
        Box::pin(async move {
            let holds = budget_hold::Entity::of_tenant(&tenant)
                .filter(budget_hold::Column::Id.eq(call.as_str()))
                .order_by_asc(budget_hold::Column::BudgetId)
                .lock_exclusive()
                .all(tx)
                .await?;
            if holds.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new(tx);
            for hold in holds {
                let share = shares.iter().find(|share| share.budget == hold.budget_id);
                let used = share.map_or(0, |share| used.in_unit(share.unit));
                // Of a call that was given up its prompt is counted already.
                let spent = if hold.amount == 0 { used - hold.prompt } else { used };
                batch.add(&moved(&tenant, (&hold.budget_id, hold.starts_at), hold.amount, spent));
            }
            let over = budget_hold::Entity::delete_of_tenant(&tenant).filter(budget_hold::Column::Id.eq(call.as_str()));
            batch.add(&over);
            batch.run(tx).await?;
            Ok(())
        })
    })
    .await
}

/// Takes `held` out of what is put aside and adds `spent`.
fn moved(
    tenant: &TenantScope,
    (budget, starts_at): (&str, i64),
    held: i64,
    spent: i64,
) -> sea_orm::UpdateMany<budget_use::Entity> {
    budget_use::Entity::update_of_tenant(tenant)
        .col_expr(
            budget_use::Column::Reserved,
            Expr::col(budget_use::Column::Reserved).sub(held),
        )
        .col_expr(
            budget_use::Column::Spent,
            Expr::col(budget_use::Column::Spent).add(spent),
        )
        .filter(budget_use::Column::BudgetId.eq(budget))
        .filter(budget_use::Column::StartsAt.eq(starts_at))
}

/// Gives back what processes that are gone had put aside, but for the prompts of their calls: the provider has taken those.
/// Their holds stay for a day with nothing in them: a process that was only away still counts what it used instead. Gives
/// how many calls were forgotten.
pub(crate) async fn give_back(services: &Services, lease: Duration) -> Result<usize> {
    let tx = services.db.system_read().await?;
    let gone = Gone {
        living: living(&*tx, &services.replica, lease).await?,
        now: now_ms(),
    };
    let tenants: Vec<TenantId> = budget_hold::Entity::platform()
        .select_only()
        .column(budget_hold::Column::TenantId)
        .filter(gone.condition())
        .distinct()
        .into_tuple()
        .all(&*tx)
        .await?;
    drop(tx);
    let mut calls = 0;
    for tenant in tenants {
        let (tenant, gone) = (TenantScope::vouch(tenant), gone.clone());
        let scope = tenant.clone();
        calls += write(services, &scope, move |tx| {
            let (tenant, gone) = (tenant.clone(), gone.clone());
            Box::pin(async move { gone.give_back(tx, &tenant).await })
        })
        .await?;
    }
    Ok(calls)
}

#[derive(Clone, Debug)]
struct Gone {
    living: Vec<String>,
    now: i64,
}

impl Gone {
    fn condition(&self) -> Condition {
        let forgotten = budget_hold::Column::CreatedAt.lt(self.now - LONGEST);
        let orphaned = Condition::all()
            .add(budget_hold::Column::Amount.gt(0))
            .add(budget_hold::Column::BootId.is_not_in(self.living.iter().map(String::as_str)));
        Condition::any().add(forgotten).add(orphaned)
    }

    async fn give_back(&self, tx: &Transaction, tenant: &TenantScope) -> Result<usize> {
        let holds = budget_hold::Entity::of_tenant(tenant)
            .filter(self.condition())
            .order_by_asc(budget_hold::Column::Id)
            .order_by_asc(budget_hold::Column::BudgetId)
            .lock_exclusive()
            .all(tx)
            .await?;
        let mut sums: BTreeMap<(&str, i64), (i64, i64)> = BTreeMap::new();
        // One with nothing in it is counted.
        for hold in holds.iter().filter(|hold| hold.amount > 0) {
            let (held, spent) = sums.entry((&hold.budget_id, hold.starts_at)).or_default();
            *held += hold.amount;
            *spent += hold.prompt;
        }
        let mut batch = Batch::new(tx);
        for (key, (held, spent)) in sums {
            batch.add(&moved(tenant, key, held, spent));
        }
        // Those that were locked, and no other: what was put aside since then is not in the sums.
        let mut forgotten: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut emptied: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for hold in &holds {
            let over = hold.created_at < self.now - LONGEST;
            let put = if over { &mut forgotten } else { &mut emptied };
            put.entry(&hold.budget_id).or_default().push(&hold.id);
        }
        for (budget, ids) in rows(&forgotten) {
            batch.add(&budget_hold::Entity::delete_of_tenant(tenant).filter(these(budget, ids)));
        }
        for (budget, ids) in rows(&emptied) {
            batch.add(
                &budget_hold::Entity::update_of_tenant(tenant)
                    .col_expr(budget_hold::Column::Amount, Expr::value(0_i64))
                    .filter(these(budget, ids)),
            );
        }
        batch.run(tx).await?;
        Ok(holds.iter().filter(|hold| hold.amount > 0).count())
    }
}

/// A budget's calls, so many in one statement.
fn rows<'a>(of: &'a BTreeMap<&'a str, Vec<&'a str>>) -> impl Iterator<Item = (&'a str, &'a [&'a str])> {
    of.iter()
        .flat_map(|(budget, ids)| ids.chunks(AT_ONCE).map(move |ids| (*budget, ids)))
}

/// What these calls hold of the budget.
fn these(budget: &str, calls: &[&str]) -> Condition {
    Condition::all()
        .add(budget_hold::Column::BudgetId.eq(budget))
        .add(budget_hold::Column::Id.is_in(calls.iter().copied()))
}

/// One write. On SQLite it is committed with its group. On PostgreSQL it has a transaction of its own: counters are
/// shared by users, and in a group of other jobs they would be locked for longer, in any order.
async fn write<T, F>(services: &Services, tenant: &TenantScope, work: F) -> Result<T>
where
    T: Send + 'static,
    F: for<'a> Fn(&'a Transaction) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
{
    if services.db.backend() != DbBackend::Postgres {
        return services.writer.run(tenant, work).await;
    }
    past_deadlocks(|| write_alone(services, tenant, &work)).await
}

async fn write_alone<T, F>(services: &Services, tenant: &TenantScope, work: &F) -> Result<T>
where
    T: Send + 'static,
    F: for<'a> Fn(&'a Transaction) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
{
    let tx = services.db.write(tenant).await?;
    let done = work(&tx).await?;
    tx.commit().await?;
    Ok(done)
}
