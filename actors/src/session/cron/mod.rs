//! Scheduled jobs run: what is due is claimed, accepted through the inbox, and its end put on record.
//!
//! One task per process; any process may claim. A claim, the inbox row and the next time are one commit, and the claim's
//! row is unique by job and time: a firing is neither missed nor doubled, whoever dies when. The inbox does the rest.
//! How a run ended is read from its record, at once when it ends here and again by a look at what is still open.

pub(super) mod announce;
mod claim;
mod expiry;
mod outcome;
mod record;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use claw_entities::{PlatformTable, Scope, TenantId, UserId, UserOwned, cron_job, cron_run};
use futures::stream::{self, StreamExt};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::config::cron::job::{DeliveryMode, Job, firing_of};
use crate::error::Result;
use crate::gateway::messages::Event;
use crate::ports::channel::Destination;
use crate::session::heartbeat;
use crate::session::reconcile::{self, GIVEN_UP, is_over, pass};
use crate::supervisor::directory::Directory;

pub(crate) use claim::run_now;
pub use claim::{Asked, Started};
pub(crate) use expiry::expire;
pub(crate) use settle::{record_of, settle};

/// Jobs looked at together, and claimed at the same time.
const PAGE: u64 = 256;
const AT_ONCE: usize = 64;
/// How far ahead the index is looked at; also the longest sleep, so that a job another process added is seen in time.
pub(super) const AHEAD_MS: i64 = 1000;
/// How often runs that are not on record as ended are compared with the inbox.
const RECONCILE_MS: i64 = 5000;
/// Overdue by more than this is missed: the process was away.
const MISSED_MS: i64 = 60_000;
/// Missed jobs of one user that are started at once, and the pause between the others.
const CATCH_UP: usize = 5;
const CATCH_UP_PAUSE_MS: i64 = 5000;

/// The chat in which the job whose run this is announces its answer: what it began announces its own there.
pub(super) async fn place_of(
    directory: &Directory,
    scope: &Scope,
    agent: &str,
    run_id: &str,
) -> Result<Option<Destination>> {
    let Some((job_id, _)) = firing_of(run_id) else {
        return Ok(None);
    };
    let job = directory.services().config.cron_job(scope, job_id).await?;
    let delivery = job.and_then(|job| job.definition.delivery);
    let Some(delivery) = delivery.filter(|delivery| delivery.mode == DeliveryMode::Announce) else {
        return Ok(None);
    };
    let found = announce::find(directory, scope, agent, &delivery.target).await?;
    Ok(found.ok().map(|(_, destination)| destination))
}

/// Claims what is due until `stop`: scheduled jobs, and heartbeats.
pub async fn run(directory: Directory, stop: CancellationToken) {
    let mut reconciled_at = i64::MIN;
    while !directory.draining() {
        let now = now_ms();
        if now.saturating_sub(reconciled_at) >= RECONCILE_MS {
            reconciled_at = now;
            reconcile::all(&directory).await;
        }
        let wait = match round(&directory, now).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(error = ?error, "due cron jobs were not read, it is tried again");
                AHEAD_MS
            }
        };
        let wait = match heartbeat::round(&directory, now).await {
            Ok(beats) => wait.min(beats),
            Err(error) => {
                tracing::warn!(error = ?error, "due heartbeats were not read, it is tried again");
                wait
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = directory.cron_changed().notified() => {}
            () = tokio::time::sleep(Duration::from_millis(u64::try_from(wait).unwrap_or(0))) => {}
        }
    }
}

/// Claims what is due at `now` (epoch milliseconds). Gives how long nothing more is due, milliseconds.
pub(crate) async fn round(directory: &Directory, now: i64) -> Result<i64> {
    let tx = directory.services().db.system_read().await?;
    let rows = cron_job::Entity::platform()
        .filter(cron_job::is_waiting())
        .filter(cron_job::Column::NextRunAt.lte(now + AHEAD_MS))
        .order_by_asc(cron_job::Column::NextRunAt)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    drop(tx);
    let full = rows.len() as u64 == PAGE;
    let (due, soon): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.next_run_at <= Some(now));
    let soonest = soon.iter().filter_map(|row| row.next_run_at).min();
    let any_due = !due.is_empty();
    let mut missed: HashMap<(TenantId, UserId), usize> = HashMap::new();
    let jobs = due.into_iter().map(|row| {
        let late = row.next_run_at.is_some_and(|at| at < now - MISSED_MS);
        let before = if late {
            let count = missed.entry((row.tenant_id.clone(), row.user_id.clone())).or_default();
            *count += 1;
            *count
        } else {
            0
        };
        async move {
            let scope = Scope::vouch(row.tenant_id.clone(), row.user_id.clone());
            let id = row.id.clone();
            let done = if before > CATCH_UP {
                let more = i64::try_from(before - CATCH_UP).unwrap_or(1);
                claim::put_off(directory, &scope, &row.id, row.epoch, now + more * CATCH_UP_PAUSE_MS).await
            } else {
                claim::due(directory, &scope, row, now).await
            };
            if let Err(error) = done {
                tracing::warn!(tenant.id = %scope.tenant(), cron.job = %id, error = ?error, "a due job was not claimed");
                return false;
            }
            true
        }
    });
    let claimed: Vec<bool> = stream::iter(jobs).buffer_unordered(AT_ONCE).collect().await;
    Ok(pause(&claimed, full || any_due, soonest.map(|at| at - now)))
}

/// How long nothing more is due after a round, milliseconds: there may be `more` at once, or the soonest is so far off.
pub(super) fn pause(claimed: &[bool], more: bool, soonest: Option<i64>) -> i64 {
    // What could not be claimed is not asked for again at once.
    if claimed.contains(&false) {
        return AHEAD_MS;
    }
    if more {
        return 0;
    }
    soonest.map_or(AHEAD_MS, |wait| wait.clamp(1, AHEAD_MS))
}

/// Puts the end of runs on record whose inbox rows are settled. Gives how many there were.
pub(crate) async fn reconcile(directory: &Directory) -> Result<usize> {
    const RUN_ID: &str = "'cron:' || cron_run.job_id || ':' || CAST(cron_run.scheduled_at AS text)";
    let open = cron_run::Entity::platform()
        .filter(cron_run::is_open())
        .filter(is_over("cron_run", "cron", RUN_ID))
        .order_by_asc(cron_run::Column::StartedAt);
    let settle = |scope, run_id: String| async move { settle(directory, &scope, &run_id).await };
    let give_up = |scope, run_id: String| async move { give_up(directory, &scope, &run_id).await };
    pass(directory, "cron_run", RUN_ID, open, (settle, give_up)).await
}

/// Closes a firing whose end cannot be stored, and frees its job.
async fn give_up(directory: &Directory, scope: &Scope, run_id: &str) -> Result<()> {
    let Some((job, at)) = firing_of(run_id) else {
        return Ok(());
    };
    let tx = directory.services().db.write(scope).await?;
    let closed = cron_run::Entity::update_owned(scope)
        .col_expr(cron_run::Column::EndedAt, Expr::value(now_ms()))
        .col_expr(cron_run::Column::Status, Expr::value("error"))
        .col_expr(cron_run::Column::Error, Expr::value(GIVEN_UP))
        .filter(cron_run::Column::JobId.eq(job))
        .filter(cron_run::Column::ScheduledAt.eq(at))
        .filter(cron_run::is_open())
        .exec(&*tx)
        .await?;
    if closed.rows_affected > 0 {
        cron_job::Entity::update_owned(scope)
            .col_expr(cron_job::Column::RunningAt, Expr::value(None::<i64>))
            .col_expr(cron_job::Column::Epoch, Expr::cust("epoch + 1"))
            .filter(cron_job::Column::Id.eq(job))
            .exec(&*tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

/// Lets go what is held although nobody is locked out, some at a time: a claim and the end of the lock-out may miss each
/// other. Gives how many there were.
pub(crate) async fn release(directory: &Directory) -> Result<usize> {
    let free = || Condition::not(Condition::all().add(Expr::cust(claim::LOCKED)));
    let services = directory.services();
    let tx = services.db.system_read().await?;
    let held: Vec<(TenantId, UserId, String)> = cron_job::Entity::platform()
        .select_only()
        .columns([
            cron_job::Column::TenantId,
            cron_job::Column::UserId,
            cron_job::Column::Id,
        ])
        .filter(cron_job::Column::Held.eq(true))
        .filter(free())
        .limit(PAGE)
        .into_tuple()
        .all(&*tx)
        .await?;
    drop(tx);
    let found = held.len();
    for (tenant, user, id) in held {
        let scope = Scope::vouch(tenant, user);
        let tx = services.db.write(&scope).await?;
        cron_job::Entity::update_owned(&scope)
            .col_expr(cron_job::Column::Held, Expr::value(false))
            .filter(cron_job::Column::Id.eq(id))
            .filter(free())
            .exec(&*tx)
            .await?;
        tx.commit().await?;
    }
    if found > 0 {
        directory.cron_changed().notify_one();
    }
    Ok(found)
}

/// Tells the user's connections, and the scheduler, that a job was `added` or `updated`.
pub(crate) fn changed(directory: &Directory, scope: &Scope, action: &str, job: &Job) {
    let mut payload = json!({"jobId": job.id, "action": action, "job": job.event(None)});
    if let Some(next) = job.next_run_at {
        payload["nextRunAtMs"] = json!(next);
    }
    publish(directory, scope, &payload);
    directory.cron_changed().notify_one();
}

/// Removes a job and tells the user's connections. False when there is none.
pub(crate) async fn remove(directory: &Directory, scope: &Scope, id: &str) -> Result<bool> {
    let removed = directory.services().config.remove_cron_job(scope, id).await?;
    if let Some(job) = &removed {
        let payload = json!({"jobId": job.id, "action": "removed", "job": job.event(None)});
        publish(directory, scope, &payload);
    }
    Ok(removed.is_some())
}

/// Tells the user's connections.
fn publish(directory: &Directory, scope: &Scope, payload: &serde_json::Value) {
    directory.publish(scope, Event::new("cron", payload).droppable());
}
