//! Ends that nobody put on record: what a clock, a hook or another agent began is compared with the inbox.
//!
//! How a turn ended is read from its record at once when it ends in this process. This is the other way, for what
//! another process ended, or ended before it could say so. One pass looks at everything that is open, the oldest first.

use std::future::Future;

use claw_entities::{PlatformTable, Scope, TenantId, UserId, UserOwned, unsettled};
use futures::stream::{self, StreamExt};
use sea_orm::sea_query::{Expr, OnConflict, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, Select, Set};

use super::{cron, exchange, exec, heartbeat, hook, subagent};
use crate::error::Result;
use crate::supervisor::directory::Directory;

/// Rows looked at together, and settled at the same time.
const PAGE: u64 = 256;
const AT_ONCE: usize = 16;
/// Looks at an ended run that may fail: some minutes of them.
pub(super) const MOST_TRIES: i64 = 100;
/// What is on record of one that was given up.
pub(super) const GIVEN_UP: &str = "what came of it could not be stored";

/// Looks at everything that is open. What fails is tried again by the next pass.
pub(crate) async fn all(directory: &Directory) {
    let looks = [
        ("scheduled jobs", cron::reconcile(directory).await),
        ("hooks", hook::reconcile(directory).await),
        ("heartbeats", heartbeat::reconcile(directory).await),
        ("commands on nodes", exec::reconcile(directory).await),
        ("sub-agents", subagent::reconcile(directory).await),
        ("exchanges", exchange::reconcile(directory).await),
    ];
    for (what, looked) in looks {
        if let Err(error) = looked {
            tracing::warn!(what, error = ?error, "what is open was not looked at, it is tried again");
        }
    }
}

/// Nothing in the inbox goes on under the key `run_id`, which is SQL over the columns of `table`.
pub(super) fn is_over(table: &str, source: &str, run_id: &str) -> SimpleExpr {
    Expr::cust(format!(
        "NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.tenant_id = {table}.tenant_id AND inbox.source = '{source}' \
         AND inbox.account_id = {table}.user_id AND inbox.event_key = {run_id} \
         AND inbox.state IN ('pending', 'running'))"
    ))
}

/// The run of a count is over, or nobody knows it: it was settled as it ended, which leaves the count behind.
const IS_CLOSED: &str = "NOT EXISTS (SELECT 1 FROM cron_run WHERE cron_run.tenant_id = unsettled.tenant_id \
     AND cron_run.user_id = unsettled.user_id AND cron_run.ended_at IS NULL \
     AND 'cron:' || cron_run.job_id || ':' || CAST(cron_run.scheduled_at AS text) = unsettled.run_id) \
     AND NOT EXISTS (SELECT 1 FROM hook_run WHERE hook_run.tenant_id = unsettled.tenant_id \
     AND hook_run.user_id = unsettled.user_id AND hook_run.id = unsettled.run_id AND hook_run.ended_at IS NULL) \
     AND NOT EXISTS (SELECT 1 FROM heartbeat WHERE heartbeat.tenant_id = unsettled.tenant_id \
     AND heartbeat.user_id = unsettled.user_id AND heartbeat.running_at IS NOT NULL \
     AND 'heartbeat:' || heartbeat.agent_id || ':' || CAST(heartbeat.running_at AS text) = unsettled.run_id) \
     AND NOT EXISTS (SELECT 1 FROM subagent WHERE subagent.tenant_id = unsettled.tenant_id \
     AND subagent.user_id = unsettled.user_id AND subagent.id = unsettled.run_id AND subagent.state = 'running') \
     AND NOT EXISTS (SELECT 1 FROM exchange WHERE exchange.tenant_id = unsettled.tenant_id \
     AND exchange.user_id = unsettled.user_id AND exchange.run_id = unsettled.run_id) \
     AND NOT EXISTS (SELECT 1 FROM exec_run WHERE exec_run.tenant_id = unsettled.tenant_id \
     AND exec_run.user_id = unsettled.user_id AND exec_run.id = unsettled.run_id)";

/// Counts a look that came to nothing. Gives how many there were.
async fn count(directory: &Directory, scope: &Scope, run_id: &str) -> Result<i64> {
    let tx = directory.services().db.write(scope).await?;
    unsettled::Entity::delete_owned(scope)
        .filter(unsettled::Column::RunId.ne(run_id))
        .filter(Expr::cust(IS_CLOSED))
        .exec(&*tx)
        .await?;
    let tries = unsettled::Entity::owned_by(scope)
        .filter(unsettled::Column::RunId.eq(run_id))
        .one(&*tx)
        .await?
        .map_or(0, |row| row.tries);
    let row = unsettled::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        run_id: Set(run_id.to_owned()),
        tries: Set(tries + 1),
    };
    let key = [
        unsettled::Column::TenantId,
        unsettled::Column::UserId,
        unsettled::Column::RunId,
    ];
    let conflict = OnConflict::columns(key)
        .update_column(unsettled::Column::Tries)
        .to_owned();
    unsettled::Entity::insert(row)
        .on_conflict(conflict)
        .exec_without_returning(&*tx)
        .await?;
    tx.commit().await?;
    Ok(tries + 1)
}

/// Drops the run's count, and those of the user's runs that are over.
async fn forget(directory: &Directory, scope: &Scope, run_id: &str) -> Result<()> {
    let tx = directory.services().db.write(scope).await?;
    unsettled::Entity::delete_owned(scope)
        .filter(
            Condition::any()
                .add(unsettled::Column::RunId.eq(run_id))
                .add(Expr::cust(IS_CLOSED)),
        )
        .exec(&*tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Settles each row of `open`, which is in order; `run_id` is SQL over its table's columns. What fails too often is closed
/// by `give_up`. Gives how many were looked at.
pub(super) async fn pass<E, Settle, Settled, GiveUp, GivenUp>(
    directory: &Directory,
    table: &str,
    run_id: &str,
    open: Select<E>,
    (settle, give_up): (Settle, GiveUp),
) -> Result<usize>
where
    E: PlatformTable,
    Settle: Fn(Scope, String) -> Settled,
    Settled: Future<Output = Result<bool>>,
    GiveUp: Fn(Scope, String) -> GivenUp,
    GivenUp: Future<Output = Result<()>>,
{
    let open = open
        .select_only()
        .expr_as(Expr::cust(format!("{table}.tenant_id")), "tenant_id")
        .expr_as(Expr::cust(format!("{table}.user_id")), "user_id")
        .expr_as(Expr::cust(run_id.to_owned()), "run_id");
    let (mut found, mut left) = (0, 0);
    loop {
        let tx = directory.services().db.system_read().await?;
        // What could not be settled stands before nothing.
        let page = open.clone().offset(left).limit(PAGE);
        let rows: Vec<(TenantId, UserId, String)> = page.into_tuple().all(&*tx).await?;
        drop(tx);
        let full = rows.len() as u64 == PAGE;
        found += rows.len();
        let (settle, give_up) = (&settle, &give_up);
        let settled = stream::iter(rows).map(|(tenant, user, run_id)| async move {
            let scope = Scope::vouch(tenant, user);
            let error = match settle(scope.clone(), run_id.clone()).await {
                Ok(done) => {
                    // It may have failed before.
                    if done && let Err(error) = forget(directory, &scope, &run_id).await {
                        tracing::debug!(tenant.id = %scope.tenant(), error = ?error, "a count was left behind");
                    }
                    return done;
                }
                Err(error) => error,
            };
            tracing::warn!(
                tenant.id = %scope.tenant(), run.id = %run_id, error = ?error, "the end of a run was not stored"
            );
            // While the database is away nothing is counted.
            let given_up = async {
                if count(directory, &scope, &run_id).await? < MOST_TRIES {
                    return Ok(false);
                }
                give_up(scope.clone(), run_id.clone()).await?;
                forget(directory, &scope, &run_id).await.map(|()| true)
            };
            let given_up: Result<bool> = given_up.await;
            if let Ok(true) = given_up {
                tracing::error!(
                    tenant.id = %scope.tenant(), run.id = %run_id, error = ?error, "the end of a run was given up"
                );
            }
            given_up.unwrap_or(false)
        });
        let unsettled = settled
            .buffer_unordered(AT_ONCE)
            .filter(|done| std::future::ready(!done));
        left += unsettled.count().await as u64;
        if !full || directory.draining() {
            return Ok(found);
        }
    }
}
