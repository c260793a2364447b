//! Recovery: finds work by its state, at the start and every few seconds, and hands it back to the tree.
//!
//! Nothing here decides what becomes of a row; it only makes sure that somebody looks at it. Never by a highest id.

use std::time::Duration;

use claw_entities::{PlatformTable, Scope, SessionKey, TenantId, UserId, first_id_at, inbox, outbox};
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::error::Result;
use crate::session::{blobs, budget, cron, overheard, subagent};
use crate::supervisor::directory::Directory;

/// Keys are kept at least 8 days, so that a platform's longest redelivery is still recognised.
const KEEP: Duration = Duration::from_secs(9 * 24 * 3600);
/// How often finished rows older than that are deleted, in sweeps, and how many in one statement.
const PRUNE_EVERY: u32 = 720;
const PRUNED_AT_ONCE: u64 = 1_000;
/// How often jobs are looked for that are held by mistake, in sweeps.
const RELEASE_EVERY: u32 = 12;

/// Wakes every session with open inbox rows and every conversation with open outbox rows that nobody touched since
/// `older_than_ms`. Returns how many were woken.
pub async fn scan(directory: &Directory, older_than_ms: i64) -> Result<usize> {
    let tx = directory.services().db.system_read().await?;
    let sessions: Vec<(TenantId, UserId, SessionKey)> = inbox::Entity::platform()
        .select_only()
        .columns([
            inbox::Column::TenantId,
            inbox::Column::UserId,
            inbox::Column::SessionKey,
        ])
        .filter(inbox::is_open())
        .filter(inbox::Column::UpdatedAt.lt(older_than_ms))
        .distinct()
        .into_tuple()
        .all(&*tx)
        .await?;
    let conversations: Vec<(TenantId, UserId, String)> = outbox::Entity::platform()
        .select_only()
        .columns([
            outbox::Column::TenantId,
            outbox::Column::UserId,
            outbox::Column::Conversation,
        ])
        .filter(outbox::is_open())
        .filter(outbox::Column::UpdatedAt.lt(older_than_ms))
        .distinct()
        .into_tuple()
        .all(&*tx)
        .await?;
    drop(tx);
    // What belongs to somebody who is locked out waits.
    let served =
        |tenant, user| Some(Scope::vouch(tenant, user)).filter(|scope| !directory.services().config.is_locked(scope));
    let mut found = 0;
    for (tenant, user, key) in sessions {
        if let Some(scope) = served(tenant, user) {
            directory.wake(&scope, &key);
            found += 1;
        }
    }
    for (tenant, user, conversation) in conversations {
        if let Some(scope) = served(tenant, user) {
            directory.delivery().kick(&scope, &conversation);
            found += 1;
        }
    }
    Ok(found)
}

/// Scans once for everything, then every `limits.sweep` for what was left behind, until `stop`.
pub async fn sweep(directory: Directory, stop: CancellationToken) {
    let every = directory.services().limits.sweep;
    let mut older_than = i64::MAX;
    let (mut rounds, mut more, mut files) = (0, false, false);
    loop {
        // Before turns run again, which need it.
        let services = directory.services();
        match budget::give_back(services, services.limits.lease).await {
            Ok(0) => {}
            Ok(calls) => tracing::info!(calls, "what lost calls had put aside was given back"),
            Err(error) => tracing::warn!(error = ?error, "lost calls were not looked for, it is tried again"),
        }
        match scan(&directory, older_than).await {
            Ok(0) => {}
            Ok(found) => tracing::info!(found, "unfinished work handed back"),
            Err(error) => tracing::warn!(error = ?error, "recovery scan failed, it is tried again"),
        }
        if rounds % RELEASE_EVERY == 0
            && let Err(error) = cron::release(&directory).await
        {
            tracing::warn!(error = ?error, "held jobs were not looked at");
        }
        if rounds % PRUNE_EVERY == 0
            && let Err(error) = prune(&directory).await
        {
            tracing::warn!(error = ?error, "old inbox rows were not pruned");
        }
        if let Err(error) = subagent::put_away(&directory).await {
            tracing::warn!(error = ?error, "ended sub-agents were not looked at");
        }
        if more || rounds % PRUNE_EVERY == 0 {
            more = cron::expire(&directory, now_ms()).await.unwrap_or_else(|error| {
                tracing::warn!(error = ?error, "old transcripts were not deleted");
                false
            });
        }
        if files || rounds % PRUNE_EVERY == 0 {
            files = blobs::expire(&directory, now_ms()).await.unwrap_or_else(|error| {
                tracing::warn!(error = ?error, "stored files were not looked at");
                false
            });
        }
        directory.lanes().unstick();
        rounds += 1;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        older_than = now_ms() - i64::try_from(every.as_millis()).unwrap_or(0);
    }
}

/// Deletes finished rows that nobody brings again, and what was said in groups that long ago and nobody asked about. In small steps: others want to write meanwhile.
async fn prune(directory: &Directory) -> Result<()> {
    let before = now_ms() - i64::try_from(KEEP.as_millis()).unwrap_or(0);
    loop {
        let tx = directory.services().db.system_write().await?;
        let old = inbox::Entity::platform()
            .select_only()
            .column(inbox::Column::Id)
            .filter(inbox::Column::Id.lt(first_id_at(before)))
            .filter(inbox::Column::State.is_in(["done", "skipped", overheard::STATE]))
            .order_by_asc(inbox::Column::Id)
            .limit(PRUNED_AT_ONCE)
            .into_query();
        let deleted = inbox::Entity::platform_delete()
            .filter(inbox::Column::Id.in_subquery(old))
            .exec(&*tx)
            .await?
            .rows_affected;
        tx.commit().await?;
        if deleted < PRUNED_AT_ONCE {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use claw_entities::{UserOwned, new_id};
    use sea_orm::{ActiveValue::Set, EntityTrait};

    use super::*;
    use crate::services::Limits;
    use crate::session::intake::own_row;
    use crate::testing::{ScriptedModel, Step, start};

    #[actix::test]
    async fn finished_rows_are_deleted_when_no_platform_brings_them_again() {
        let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
        let scope = runtime.owner("acme").await;
        let then = now_ms() - i64::try_from(KEEP.as_millis()).expect("fits");
        let long_ago = |count: usize| format!("{}{count:020}", first_id_at(then - 1));
        let mut rows: Vec<(String, &str)> = (0..2_500).map(|count| (long_ago(count), "done")).collect();
        rows.push((long_ago(2_500), "skipped"));
        rows.push((long_ago(2_501), "context"));
        let kept = [
            (long_ago(2_502), "dead"),
            (format!("{}{:020}", first_id_at(then + 3_600_000), 0), "done"),
            (new_id(), "skipped"),
        ];
        rows.extend(kept.clone());
        let tx = runtime.services.db.write(&scope).await.expect("writes");
        for some in rows.chunks(500) {
            let models = some.iter().map(|(id, state)| inbox::ActiveModel {
                id: Set(id.clone()),
                state: Set((*state).to_owned()),
                ..own_row(&scope, "cron", id, &"agent:main:main".into(), "{}".to_owned(), then)
            });
            inbox::Entity::insert_many(models)
                .exec_without_returning(&*tx)
                .await
                .expect("inserts");
        }
        tx.commit().await.expect("commits");
        prune(&runtime.directory).await.expect("prunes");
        let view = runtime.services.db.read(&scope).await.expect("reads");
        let mut left: Vec<String> = inbox::Entity::owned_by(&scope)
            .all(&*view)
            .await
            .expect("reads")
            .into_iter()
            .map(|row| row.id)
            .collect();
        left.sort();
        let mut wanted = kept.map(|(id, _)| id);
        wanted.sort();
        assert_eq!(left, wanted);
    }
}
