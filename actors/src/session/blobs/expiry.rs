//! Stored files that nothing refers to any more go away (`limits.stored_unused_secs`), and uploads that were never finished.
//! A file is looked at when its time has come; one that is still referred to is looked at again as much later.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use claw_entities::{
    PlatformTable, Scope, TenantId, UserId, UserOwned, blob, inbox, outbox, session, skill_upload, transcript_entry,
    workspace_file,
};
use futures::stream::{self, StreamExt};
use sea_orm::sea_query::{Expr, ExprTrait, LikeExpr};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};

use super::PREFIX;
use crate::Services;
use crate::error::Result;
use crate::supervisor::directory::Directory;

/// Users looked after in one pass, and at the same time.
const USERS: u64 = 64;
const AT_ONCE: usize = 4;
/// Files of one user that are looked at together.
const FILES: u64 = 500;
/// Rows read at a time: each may be large.
const ROWS: u64 = 50;
/// How a part of a message begins to name a file.
const REFERENCE: &str = "%\"ref\":\"%";

/// Deletes what has expired at `now` (epoch milliseconds), of a bounded number of users. Says whether there is more.
pub(crate) async fn expire(directory: &Directory, now: i64) -> Result<bool> {
    let services = directory.services();
    let tx = services.db.system_read().await?;
    let uploads: Vec<(TenantId, UserId)> = skill_upload::Entity::platform()
        .select_only()
        .column(skill_upload::Column::TenantId)
        .column(skill_upload::Column::UserId)
        .distinct()
        .filter(skill_upload::Column::ExpiresAt.lte(now))
        .limit(USERS)
        .into_tuple()
        .all(&*tx)
        .await?;
    let files: Vec<(TenantId, UserId)> = blob::Entity::platform()
        .select_only()
        .column(blob::Column::TenantId)
        .column(blob::Column::UserId)
        .distinct()
        .filter(blob::Column::LookAt.lte(now))
        .limit(USERS)
        .into_tuple()
        .all(&*tx)
        .await?;
    drop(tx);
    for (tenant, user) in uploads {
        let scope = Scope::vouch(tenant, user);
        services.config.forget_expired_uploads(&scope).await?;
    }
    let full = files.len() as u64 == USERS;
    let more: Vec<Option<bool>> = stream::iter(files)
        .map(|(tenant, user)| async move {
            let scope = Scope::vouch(tenant, user);
            let looked = look(services, &scope, now).await;
            if let Err(error) = &looked {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "stored files were not looked at");
            }
            looked.ok()
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    // What failed is first again: it is not asked for at once.
    Ok(!more.contains(&None) && (full || more.contains(&Some(true))))
}

/// Looks at one user's files whose time has come. Says whether there are more of them.
pub(super) async fn look(services: &Services, scope: &Scope, now: i64) -> Result<bool> {
    let due: Vec<String> = blob::Entity::owned_by(scope)
        .select_only()
        .column(blob::Column::Id)
        .filter(blob::Column::LookAt.lte(now))
        .order_by_asc(blob::Column::LookAt)
        .limit(FILES)
        .into_tuple()
        .all(&services.db.glance(scope).await?)
        .await?;
    let full = due.len() as u64 == FILES;
    let mut unused: HashSet<String> = due.iter().cloned().collect();
    let heads = Arc::new(heads(&services.db.glance(scope).await?, scope).await?);
    take_used(services, scope, &mut unused).await?;
    let (gone, kept): (Vec<String>, Vec<String>) = due.into_iter().partition(|id| unused.contains(id));
    let keep = i64::try_from(services.limits.stored_unused.as_millis()).unwrap_or(i64::MAX / 2);
    let scope_in = scope.clone();
    services
        .writer
        .run(scope, move |tx| {
            let (scope, gone, mut kept) = (scope_in.clone(), gone.clone(), kept.clone());
            let heads = heads.clone();
            Box::pin(async move {
                // Somebody may have named one since.
                let mut unused: HashSet<String> = gone.iter().cloned().collect();
                take_since(tx, &scope, &heads, &mut unused).await?;
                let (gone, named): (Vec<String>, Vec<String>) = gone.into_iter().partition(|id| unused.contains(id));
                kept.extend(named);
                let deleted = blob::Entity::delete_owned(&scope)
                    .filter(blob::Column::Id.is_in(gone.clone()))
                    .filter(blob::Column::CreatedAt.lte(now - keep))
                    .exec(tx)
                    .await?;
                // What is younger than that stays until it is old enough.
                blob::Entity::update_owned(&scope)
                    .col_expr(
                        blob::Column::LookAt,
                        Expr::case(blob::Column::Id.is_in(kept.clone()), now + keep)
                            .finally(Expr::col(blob::Column::CreatedAt).add(keep))
                            .into(),
                    )
                    .filter(blob::Column::Id.is_in(gone.into_iter().chain(kept)))
                    .exec(tx)
                    .await?;
                if deleted.rows_affected > 0 {
                    tracing::debug!(
                        tenant.id = %scope.tenant(), files = deleted.rows_affected, "stored files that nothing used are gone"
                    );
                }
                Ok(())
            })
        })
        .await?;
    Ok(full)
}

/// Takes out of `unused` what transcripts, waiting messages, replies on their way and the workspace refer to.
async fn take_used(services: &Services, scope: &Scope, unused: &mut HashSet<String>) -> Result<()> {
    take_waiting(&services.db.glance(scope).await?, scope, unused).await?;
    let mut after: Option<(String, i64)> = None;
    while !unused.is_empty() {
        let rest = Condition::all();
        let Some(last) = take_said(&services.db.glance(scope).await?, scope, rest, after, unused).await? else {
            break;
        };
        after = Some(last);
    }
    Ok(())
}

/// Where the user's transcripts end, by their ids.
async fn heads(view: &impl ConnectionTrait, scope: &Scope) -> Result<HashMap<String, i64>> {
    let heads: Vec<(String, i64)> = session::Entity::owned_by(scope)
        .select_only()
        .column(session::Column::SessionId)
        .column(session::Column::NextSeq)
        .into_tuple()
        .all(view)
        .await?;
    Ok(heads.into_iter().collect())
}

/// Takes out of `unused` what has been referred to since the transcripts ended at `before`: what was said since, and all
/// that is no transcript.
async fn take_since(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    before: &HashMap<String, i64>,
    unused: &mut HashSet<String>,
) -> Result<()> {
    use transcript_entry::Column;
    if unused.is_empty() {
        return Ok(());
    }
    take_waiting(tx, scope, unused).await?;
    let now = heads(tx, scope).await?;
    let new = now
        .iter()
        .map(|(session, next)| (session, before.get(session).copied().unwrap_or(0), *next))
        .filter(|(_, from, next)| next > from);
    // One that was reset meanwhile may have grown before that.
    let ended = before
        .iter()
        .filter(|(session, _)| !now.contains_key(*session))
        .map(|(session, from)| (session, *from, i64::MAX));
    let grown: Vec<(&String, i64, i64)> = new.chain(ended).collect();
    for (session, from, _) in grown {
        let mut after: Option<(String, i64)> = None;
        while !unused.is_empty() {
            let rest = Condition::all()
                .add(Column::SessionId.eq(session.as_str()))
                .add(Column::Seq.gte(from));
            let Some(last) = take_said(tx, scope, rest, after, unused).await? else {
                break;
            };
            after = Some(last);
        }
    }
    Ok(())
}

/// Takes out of `unused` what is referred to outside of transcripts. What may be tried again counts: dead letters,
/// overheard talk, replies that failed or are uncertain.
async fn take_waiting(view: &impl ConnectionTrait, scope: &Scope, unused: &mut HashSet<String>) -> Result<()> {
    let waiting: Vec<String> = inbox::Entity::owned_by(scope)
        .select_only()
        .column(inbox::Column::Payload)
        .filter(Condition::any().add(inbox::is_open()).add(inbox::is_apart()))
        .filter(names(inbox::Column::Payload))
        .into_tuple()
        .all(view)
        .await?;
    let leaving: Vec<Option<String>> = outbox::Entity::owned_by(scope)
        .select_only()
        .column(outbox::Column::Media)
        .filter(Condition::any().add(outbox::is_open()).add(outbox::is_uncertain()))
        .filter(outbox::Column::Media.is_not_null())
        .into_tuple()
        .all(view)
        .await?;
    let notes: Vec<String> = workspace_file::Entity::owned_by(scope)
        .select_only()
        .column(workspace_file::Column::Content)
        .filter(names(workspace_file::Column::Content))
        .into_tuple()
        .all(view)
        .await?;
    for text in waiting.iter().chain(leaving.iter().flatten()).chain(&notes) {
        take_named(text, unused);
    }
    Ok(())
}

/// Reads some entries of transcripts that name files. Gives the last one's place, `None` when there are no more.
async fn take_said(
    view: &impl ConnectionTrait,
    scope: &Scope,
    of: Condition,
    after: Option<(String, i64)>,
    unused: &mut HashSet<String>,
) -> Result<Option<(String, i64)>> {
    use transcript_entry::Column;
    let place = after.map(|(session, seq)| {
        Condition::any()
            .add(Column::SessionId.gt(session.as_str()))
            .add(Column::SessionId.eq(session.as_str()).and(Column::Seq.gt(seq)))
    });
    let rows: Vec<(String, i64, String)> = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(Column::SessionId)
        .column(Column::Seq)
        .column(Column::Body)
        .filter(of)
        .filter(names(Column::Body))
        .filter(place.unwrap_or_else(Condition::all))
        .order_by_asc(Column::SessionId)
        .order_by_asc(Column::Seq)
        .limit(ROWS)
        .into_tuple()
        .all(view)
        .await?;
    let mut last = None;
    for (session, seq, body) in rows {
        take_named(&body, unused);
        last = Some((session, seq));
    }
    Ok(last)
}

/// May the text name a file.
fn names(column: impl ColumnTrait) -> Condition {
    Condition::any()
        .add(column.like(LikeExpr::new(REFERENCE)))
        .add(column.like(LikeExpr::new(format!("%{PREFIX}%"))))
}

fn take_named(text: &str, unused: &mut HashSet<String>) {
    for word in text.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        unused.remove(word);
    }
}
