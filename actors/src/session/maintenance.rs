//! Sessions that nobody uses any more go away, as far as the settings ask for it (`agent-runtime` §6.7). Looked at after a
//! run of the user's, once in a while: who does nothing gathers nothing.

use std::time::Duration;

use claw_entities::{Scope, SessionKey, UserOwned, cron_run, inbox, session, system_event, transcript_entry};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use super::key::{self, Kind};
use super::subagent;
use super::system_event::aside;
use crate::clock::now_ms;
use crate::config::document::MaintenanceSettings;
use crate::error::Result;
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::fenced;

/// How often one user's sessions are looked at.
pub(crate) const EVERY: Duration = Duration::from_secs(3600);
/// Sessions looked at in one reading, and readings of one pass.
const PAGE: u64 = 512;
const PAGES: u64 = 20;
/// Both databases read a field this way, and a null as NULL.
const PINNED: &str = r#"("session"."entry"->>'pinnedAt') IS NOT NULL"#;
/// Transcripts deleted in one commit.
const AT_ONCE: usize = 20;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tended {
    /// Sessions that are over: deleted, or only counted.
    pub(crate) sessions: usize,
}

/// Looks after one user's sessions.
pub(crate) async fn tend(directory: &Directory, scope: &Scope) -> Result<Tended> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let settings = &settings.session.maintenance;
    let over = over(directory, scope, settings).await?;
    if !settings.enforce {
        if !over.is_empty() {
            tracing::info!(
                tenant.id = %scope.tenant(), user.id = %scope.user(), sessions = over.len(),
                "sessions would be deleted if session.maintenance.mode were enforce"
            );
        }
        return Ok(Tended { sessions: over.len() });
    }
    let mut deleted = 0;
    for session in over {
        if delete(directory, scope, &session).await? {
            services.conversation.forget(scope, &session.key);
            deleted += 1;
        }
    }
    if let Some(kept) = settings.archive {
        forget_archives(directory, scope, kept).await?;
    }
    Ok(Tended { sessions: deleted })
}

/// A session that is over, as it was seen.
#[derive(Clone, Debug)]
struct Over {
    key: SessionKey,
    session_id: String,
    updated_at: i64,
}

/// Sessions that nobody used for too long, or that are too many.
async fn over(directory: &Directory, scope: &Scope, settings: &MaintenanceSettings) -> Result<Vec<Over>> {
    let view = directory.services().db.glance(scope).await?;
    let before = now_ms() - millis(settings.prune_after);
    let count = session::Entity::owned_by(scope).count(&view).await?;
    let too_many = count.saturating_sub(settings.max_entries as u64);
    let mut over = Vec::new();
    // Pages of sessions that stay are passed over. What one pass does not reach waits for the next.
    for page in 0..PAGES {
        let rows: Vec<(SessionKey, String, i64, bool)> = session::Entity::owned_by(scope)
            .select_only()
            .column(session::Column::Key)
            .column(session::Column::SessionId)
            .column(session::Column::UpdatedAt)
            .column_as(Expr::cust(PINNED), "pinned")
            .order_by_asc(session::Column::UpdatedAt)
            .order_by_asc(session::Column::Key)
            .offset(page * PAGE)
            .limit(PAGE)
            .into_tuple()
            .all(&view)
            .await?;
        let last = (rows.len() as u64) < PAGE;
        for (key, session_id, updated_at, pinned) in rows {
            let stale = updated_at < before;
            if over.len() as u64 >= PAGE || (!stale && over.len() as u64 >= too_many) {
                return Ok(over);
            }
            // Jobs and sub-agents have rules of their own.
            let kind = key::parse(key.as_str()).map(|parsed| parsed.kind);
            let stays = matches!(kind, Some(Kind::Main | Kind::Global | Kind::Cron | Kind::Subagent));
            if !pinned && !stays {
                over.push(Over {
                    key,
                    session_id,
                    updated_at,
                });
            }
        }
        if last {
            break;
        }
    }
    Ok(over)
}

/// Deletes a session with its transcript, unless somebody wrote to it meanwhile.
async fn delete(directory: &Directory, scope: &Scope, session: &Over) -> Result<bool> {
    let work = |epoch| {
        let (scope_in, session) = (scope.clone(), session.clone());
        directory.services().writer.run(scope, move |tx| {
            let scope = scope_in.clone();
            let Over {
                key,
                session_id,
                updated_at,
            } = session.clone();
            Box::pin(async move {
                fenced(tx, &scope, epoch).await?.run(tx).await?;
                let open = inbox::Entity::owned_by(&scope)
                    .filter(inbox::Column::SessionKey.eq(key.as_str()))
                    .filter(inbox::is_open())
                    .count(tx)
                    .await?;
                if open > 0 {
                    return Ok(false);
                }
                let gone = session::Entity::delete_owned(&scope)
                    .filter(session::Column::Key.eq(key.clone()))
                    .filter(session::Column::SessionId.eq(session_id.as_str()))
                    .filter(session::Column::UpdatedAt.eq(updated_at))
                    .exec(tx)
                    .await?;
                if gone.rows_affected == 0 {
                    return Ok(false);
                }
                transcript_entry::Entity::delete_owned(&scope)
                    .filter(transcript_entry::Column::SessionId.eq(session_id))
                    .exec(tx)
                    .await?;
                subagent::let_go(&scope, &key).exec(tx).await?;
                let places = [key.clone(), aside(&key)];
                system_event::Entity::delete_owned(&scope)
                    .filter(system_event::Column::SessionKey.is_in(places))
                    .exec(tx)
                    .await?;
                Ok(true)
            })
        })
    };
    directory.leases().under(scope, work).await
}

/// Deletes what was said before sessions started over, where nothing was added for too long.
async fn forget_archives(directory: &Directory, scope: &Scope, kept: Duration) -> Result<()> {
    let before = now_ms() - millis(kept);
    let old: Vec<String> = {
        let view = directory.services().db.glance(scope).await?;
        transcript_entry::Entity::owned_by(scope)
            .select_only()
            .column(transcript_entry::Column::SessionId)
            .filter(unused(scope))
            .group_by(transcript_entry::Column::SessionId)
            .having(Expr::col(transcript_entry::Column::CreatedAt).max().lt(before))
            .limit(PAGE)
            .into_tuple()
            .all(&view)
            .await?
    };
    for some in old.chunks(AT_ONCE) {
        let work = |epoch| {
            let (scope_in, some) = (scope.clone(), some.to_vec());
            directory.services().writer.run(scope, move |tx| {
                let (scope, some) = (scope_in.clone(), some.clone());
                Box::pin(async move {
                    fenced(tx, &scope, epoch).await?.run(tx).await?;
                    transcript_entry::Entity::delete_owned(&scope)
                        .filter(transcript_entry::Column::SessionId.is_in(some))
                        .filter(unused(&scope))
                        .exec(tx)
                        .await?;
                    Ok(())
                })
            })
        };
        directory.leases().under(scope, work).await?;
    }
    Ok(())
}

/// Transcripts of no session and no job's run.
fn unused(scope: &Scope) -> Condition {
    let current = session::Entity::owned_by(scope)
        .select_only()
        .column(session::Column::SessionId)
        .into_query();
    let jobs = cron_run::Entity::owned_by(scope)
        .select_only()
        .column(cron_run::Column::SessionId)
        .filter(cron_run::Column::SessionId.is_not_null())
        .into_query();
    Condition::all()
        .add(transcript_entry::Column::SessionId.not_in_subquery(current))
        .add(transcript_entry::Column::SessionId.not_in_subquery(jobs))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests;
