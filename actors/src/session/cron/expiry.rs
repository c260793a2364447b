//! Transcripts of jobs' own sessions are deleted when they have been over for long enough (`cron.sessionRetention`,
//! `agent-runtime` §17.5). One-shot jobs never run again, so nothing else would take theirs away.

use claw_entities::{PlatformTable, Scope, UserOwned, cron_run, session, system_event, transcript_entry};
use futures::stream::{self, StreamExt};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::config::cron::store;
use crate::conversation::transcript;
use crate::db::Transaction;
use crate::error::Result;
use crate::session::subagent;
use crate::supervisor::directory::Directory;

/// Runs looked after in one pass, and at the same time.
const PAGE: u64 = 256;
const AT_ONCE: usize = 16;

/// Deletes what has expired at `now` (epoch milliseconds), a bounded number of transcripts. Says whether there are more.
pub(crate) async fn expire(directory: &Directory, now: i64) -> Result<bool> {
    let tx = directory.services().db.system_read().await?;
    let rows = cron_run::Entity::platform()
        .filter(cron_run::Column::ExpiresAt.lte(now))
        .order_by_asc(cron_run::Column::ExpiresAt)
        .limit(PAGE)
        .all(&*tx)
        .await?;
    drop(tx);
    let full = rows.len() as u64 == PAGE;
    let done: Vec<bool> = stream::iter(rows)
        .map(|row| async move {
            let scope = Scope::vouch(row.tenant_id.clone(), row.user_id.clone());
            let done = end(directory, &scope, row, now).await;
            if let Err(error) = &done {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "an old transcript was not deleted");
            }
            done.is_ok()
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // What failed is first again: it is not asked for at once.
    Ok(full && !done.contains(&false))
}

async fn end(directory: &Directory, scope: &Scope, row: cron_run::Model, now: i64) -> Result<()> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    // The user may have chosen anew since the run ended.
    let kept = settings
        .cron
        .session_retention
        .map(|kept| i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
    let scope_in = scope.clone();
    services
        .writer
        .run(scope, move |tx| {
            let (scope, row) = (scope_in.clone(), row.clone());
            Box::pin(async move {
                // Whoever goes on in the transcript at this moment is waited for, and seen.
                transcript::head_to_move(tx, &scope, &row.session_key).await?;
                let later = match kept {
                    None => None,
                    Some(kept) => {
                        let used = used_at(tx, &scope, &row).await?;
                        let over = used.saturating_add(kept);
                        if over <= now {
                            delete(tx, &scope, &row).await?;
                        }
                        (over > now).then_some(over)
                    }
                };
                let session = row.session_id.clone().filter(|_| kept.is_none() || later.is_some());
                cron_run::Entity::update_owned(&scope)
                    .col_expr(cron_run::Column::ExpiresAt, Expr::value(later))
                    .col_expr(cron_run::Column::SessionId, Expr::value(session))
                    .filter(cron_run::Column::JobId.eq(row.job_id.as_str()))
                    .filter(cron_run::Column::ScheduledAt.eq(row.scheduled_at))
                    .exec(tx)
                    .await?;
                Ok(())
            })
        })
        .await
}

/// When the transcript was last used: by the run, or by a person who went on in it.
async fn used_at(tx: &Transaction, scope: &Scope, row: &cron_run::Model) -> Result<i64> {
    let person: Option<i64> = session::Entity::owned_by(scope)
        .select_only()
        .column(session::Column::UpdatedAt)
        .filter(session::Column::Key.eq(row.session_key.clone()))
        .filter(session::Column::SessionId.eq(row.session_id.clone()))
        .into_tuple()
        .one(tx)
        .await?;
    Ok(person.max(row.ended_at).unwrap_or(0))
}

/// The transcript; the session too when its job is gone.
async fn delete(tx: &Transaction, scope: &Scope, row: &cron_run::Model) -> Result<()> {
    transcript_entry::Entity::delete_owned(scope)
        .filter(transcript_entry::Column::SessionId.eq(row.session_id.clone()))
        .exec(tx)
        .await?;
    let current = session::Column::SessionId.eq(row.session_id.clone());
    if store::find(tx, scope, &row.job_id).await?.is_some() {
        session::Entity::update_owned(scope)
            .col_expr(session::Column::LeafId, Expr::value(None::<String>))
            .filter(session::Column::Key.eq(row.session_key.clone()))
            .filter(current)
            .exec(tx)
            .await?;
        return Ok(());
    }
    let gone = session::Entity::delete_owned(scope)
        .filter(session::Column::Key.eq(row.session_key.clone()))
        .filter(current)
        .exec(tx)
        .await?;
    if gone.rows_affected > 0 {
        subagent::let_go(scope, &row.session_key).exec(tx).await?;
        system_event::Entity::delete_owned(scope)
            .filter(system_event::Column::SessionKey.eq(row.session_key.clone()))
            .exec(tx)
            .await?;
    }
    Ok(())
}
