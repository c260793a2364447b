//! Writes the end of a scheduled run: log entry, job, what goes to chats. One commit.

use claw_entities::{Scope, UserOwned, cron_job, cron_run};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;

use super::claim;
use super::outcome::{After, Record};
use super::settle::{SUMMARY, Told};
use crate::Services;
use crate::config::cron::job::run_id;
use crate::config::cron::store;
use crate::db::{Batch, Transaction};
use crate::error::{Error, Result};
use crate::session::excerpt::beginning;
use crate::session::own::Own;
use crate::session::system_event;
use crate::session::turn::insert_pieces;

/// Longest line for the main session, characters.
const SHORT: usize = 200;

/// Writes it all. False when the run is on record already; `Conflict` when the job was changed since it was read.
pub(super) async fn store_end(
    services: &Services,
    scope: &Scope,
    open: &cron_run::Model,
    record: &Record,
    after: After,
    told: Told,
) -> Result<bool> {
    let settings = services.config.settings(scope).await?;
    let own = record.ended.session_id.is_some() && open.session_key == claim::own_session(&open.job_id, &open.agent_id);
    let expires_at = settings.cron.session_retention.filter(|_| own).map(|kept| {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        record.ended.ended_at.saturating_add(kept)
    });
    let gone = match &after {
        After::Nothing | After::Delete(_) => true,
        After::Keep(_) => false,
    };
    let (scope_in, open, record) = (scope.clone(), open.clone(), record.clone());
    services
        .writer
        .run(scope, move |tx| {
            let (scope, open, record) = (scope_in.clone(), open.clone(), record.clone());
            let (after, told) = (after.clone(), told.clone());
            Box::pin(async move {
                if !close_run(tx, &scope, &open, &record, expires_at).await? {
                    return Ok(false);
                }
                close_job(tx, &scope, &after).await?;
                let run_id = run_id(&open.job_id, open.scheduled_at);
                let mut batch = Batch::new(tx);
                let answer = told.answer.as_ref().and_then(|answer| answer.as_ref().ok());
                for announcement in answer.into_iter().chain(&told.failure) {
                    let authority = announcement.authority(&scope, &open);
                    insert_pieces(&mut batch, &authority, Some(&run_id), &announcement.pieces)?;
                }
                batch.run(tx).await?;
                if let (Some(_), Some(text)) = (answer.filter(|_| !told.quiet), &record.ended.text)
                    && open.session_key != crate::session::key::main(&open.agent_id)
                {
                    let line = format!("Cron ({}): {}", open.job_name, beginning(text, SHORT));
                    let main = Own::main(&open.agent_id);
                    system_event::put(tx, &scope, &main, &line).await?;
                }
                forget(tx, &scope, &open, gone).await?;
                Ok(true)
            })
        })
        .await
}

async fn close_run(
    tx: &Transaction,
    scope: &Scope,
    open: &cron_run::Model,
    record: &Record,
    expires_at: Option<i64>,
) -> Result<bool> {
    let ended = &record.ended;
    let done = cron_run::Entity::update_owned(scope)
        .col_expr(cron_run::Column::StartedAt, Expr::value(ended.started_at))
        .col_expr(cron_run::Column::EndedAt, Expr::value(ended.ended_at))
        .col_expr(cron_run::Column::Status, Expr::value(ended.status))
        .col_expr(cron_run::Column::Error, Expr::value(ended.error.clone()))
        .col_expr(
            cron_run::Column::Summary,
            Expr::value(ended.text.as_deref().map(|text| beginning(text, SUMMARY))),
        )
        .col_expr(cron_run::Column::Delivery, Expr::value(record.delivery))
        .col_expr(
            cron_run::Column::DeliveryError,
            Expr::value(record.delivery_error.clone()),
        )
        .col_expr(cron_run::Column::SessionId, Expr::value(ended.session_id.clone()))
        .col_expr(cron_run::Column::Provider, Expr::value(ended.provider.clone()))
        .col_expr(cron_run::Column::Model, Expr::value(ended.model.clone()))
        .col_expr(cron_run::Column::Usage, Expr::value(ended.usage.clone()))
        .col_expr(cron_run::Column::NextRunAt, Expr::value(record.next_run_at))
        .col_expr(cron_run::Column::ExpiresAt, Expr::value(expires_at))
        .filter(cron_run::Column::JobId.eq(open.job_id.as_str()))
        .filter(cron_run::Column::ScheduledAt.eq(open.scheduled_at))
        .filter(cron_run::is_open())
        .exec(tx)
        .await?;
    Ok(done.rows_affected == 1)
}

async fn close_job(tx: &Transaction, scope: &Scope, after: &After) -> Result<()> {
    let changed = match after {
        After::Nothing => return Ok(()),
        After::Delete(job) => {
            cron_job::Entity::delete_owned(scope)
                .filter(cron_job::Column::Id.eq(job.id.as_str()))
                .filter(cron_job::Column::Epoch.eq(job.epoch))
                .exec(tx)
                .await?
                .rows_affected
        }
        After::Keep(job) => {
            cron_job::Entity::update_owned(scope)
                .col_expr(cron_job::Column::RunningAt, Expr::value(None::<i64>))
                .col_expr(
                    cron_job::Column::NextRunAt,
                    Expr::value(job.next_run_at.filter(|_| job.enabled)),
                )
                .col_expr(cron_job::Column::Enabled, Expr::value(job.enabled))
                .col_expr(cron_job::Column::State, Expr::value(json!(job.state)))
                .col_expr(cron_job::Column::Epoch, Expr::value(job.epoch + 1))
                .filter(cron_job::Column::Id.eq(job.id.as_str()))
                .filter(cron_job::Column::Epoch.eq(job.epoch))
                .exec(tx)
                .await?
                .rows_affected
        }
    };
    if changed == 1 {
        return Ok(());
    }
    // Removed meanwhile is as good; changed is not.
    let id = match after {
        After::Delete(job) | After::Keep(job) => &job.id,
        After::Nothing => return Ok(()),
    };
    match store::find(tx, scope, id).await? {
        None => Ok(()),
        Some(_) => Err(Error::Conflict("the job was changed".to_owned())),
    }
}

/// Log entries beyond what is kept.
async fn forget(tx: &Transaction, scope: &Scope, open: &cron_run::Model, gone: bool) -> Result<()> {
    if gone {
        return store::trim_log(tx, scope).await;
    }
    let oldest: Option<i64> = cron_run::Entity::owned_by(scope)
        .select_only()
        .column(cron_run::Column::ScheduledAt)
        .filter(cron_run::Column::JobId.eq(open.job_id.as_str()))
        .order_by_desc(cron_run::Column::ScheduledAt)
        .offset(store::LOG_KEPT)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    if let Some(oldest) = oldest {
        cron_run::Entity::delete_owned(scope)
            .filter(cron_run::Column::JobId.eq(open.job_id.as_str()))
            .filter(cron_run::Column::ScheduledAt.lte(oldest))
            .filter(cron_run::Column::EndedAt.is_not_null())
            .filter(cron_run::Column::ExpiresAt.is_null())
            .exec(tx)
            .await?;
    }
    Ok(())
}
