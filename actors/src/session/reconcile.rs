//! Ends that nobody put on record: what a clock, a hook or another agent began is compared with the inbox.
//!
//! How a turn ended is read from its record at once when it ends in this process. This is the other way, for what
//! another process ended, or ended before it could say so. One pass looks at everything that is open, the oldest first.

use std::future::Future;

use claw_entities::{PlatformTable, Scope, TenantId, UserId};
use futures::stream::{self, StreamExt};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{QuerySelect, Select};

use super::{cron, exchange, heartbeat, hook, subagent};
use crate::error::Result;
use crate::supervisor::directory::Directory;

/// Rows looked at together, and settled at the same time.
const PAGE: u64 = 256;
const AT_ONCE: usize = 16;

/// Looks at everything that is open. What fails is tried again by the next pass.
pub(crate) async fn all(directory: &Directory) {
    let looks = [
        ("scheduled jobs", cron::reconcile(directory).await),
        ("hooks", hook::reconcile(directory).await),
        ("heartbeats", heartbeat::reconcile(directory).await),
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

/// Settles each row of `open`, which is in order; `run_id` is SQL over its table's columns. Gives how many were looked at.
pub(super) async fn pass<E, Settle, Settled>(
    directory: &Directory,
    table: &str,
    run_id: &str,
    open: Select<E>,
    settle: Settle,
) -> Result<usize>
where
    E: PlatformTable,
    Settle: Fn(Scope, String) -> Settled,
    Settled: Future<Output = Result<bool>>,
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
        let settle = &settle;
        let settled = stream::iter(rows).map(|(tenant, user, run_id)| async move {
            let scope = Scope::vouch(tenant, user);
            match settle(scope.clone(), run_id.clone()).await {
                Ok(done) => done,
                Err(error) => {
                    tracing::warn!(
                        tenant.id = %scope.tenant(), run.id = %run_id, error = ?error, "the end of a run was not stored"
                    );
                    false
                }
            }
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
