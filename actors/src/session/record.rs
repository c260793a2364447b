//! What is on record of runs: how they ended, which go on, and what waits for its own.

use std::collections::HashMap;

use claw_entities::{Scope, SessionKey, UserOwned, inbox, run};
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::intake::ClientMessage;
use crate::Services;
use crate::error::Result;
use crate::supervisor::directory::RunEnded;

/// How the run ended; `None` while it runs or when there is no such run.
pub(crate) async fn ended(services: &Services, scope: &Scope, run_id: &str) -> Result<Option<RunEnded>> {
    let view = services.db.glance(scope).await?;
    let row = run::Entity::owned_by(scope)
        .filter(run::Column::Id.eq(run_id))
        .one(&view)
        .await?;
    Ok(row.and_then(|row| {
        let ended_at = row.ended_at?;
        Some(RunEnded {
            run_id: row.id,
            status: row.status,
            started_at: row.started_at,
            ended_at,
            error: row.error_message,
            error_class: row.error_class,
            stop_reason: row.stop_reason,
            result: row.result,
        })
    }))
}

/// Begun runs one look finds; more go on only where something is very wrong.
const MOST_ACTIVE: u64 = 1_000;
/// Messages that wait, of one look: as many as the original shows.
const MOST_PENDING: u64 = 20;

/// A client's message that waits for its turn.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) id: String,
    pub(crate) run_id: String,
    /// Epoch milliseconds.
    pub(crate) accepted_at: i64,
    /// Said by an operator in the agent's place.
    pub(crate) injected: bool,
    pub(crate) text: String,
}

/// Sessions of the user that work on something now, with their runs.
pub(crate) async fn active(services: &Services, scope: &Scope) -> Result<HashMap<SessionKey, Vec<String>>> {
    let rows: Vec<(SessionKey, Option<String>)> = inbox::Entity::owned_by(scope)
        .select_only()
        .column(inbox::Column::SessionKey)
        .column(inbox::Column::RunId)
        .filter(inbox::is_open())
        .filter(inbox::Column::State.eq("running"))
        .distinct()
        .limit(MOST_ACTIVE)
        .into_tuple()
        .all(&services.db.glance(scope).await?)
        .await?;
    let mut active: HashMap<SessionKey, Vec<String>> = HashMap::new();
    for (key, run_id) in rows {
        active.entry(key).or_default().extend(run_id);
    }
    Ok(active)
}

/// Clients' messages that wait for their turn in this session, oldest first, and how many there are in all.
pub(crate) async fn pending(services: &Services, scope: &Scope, key: &SessionKey) -> Result<(Vec<Pending>, u64)> {
    let view = services.db.glance(scope).await?;
    let waiting = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(key.clone()))
        .filter(inbox::is_open())
        .filter(inbox::Column::State.eq("pending"))
        .filter(inbox::Column::AccountId.eq(scope.user().as_str()));
    let rows = waiting
        .clone()
        .order_by_asc(inbox::Column::Id)
        .limit(MOST_PENDING)
        .all(&view)
        .await?;
    let total = if (rows.len() as u64) < MOST_PENDING {
        rows.len() as u64
    } else {
        waiting.count(&view).await?
    };
    let items = rows.into_iter().filter_map(|row| {
        let message: ClientMessage = serde_json::from_str(&row.payload).ok()?;
        Some(Pending {
            id: row.id,
            run_id: row.event_key,
            accepted_at: row.received_at,
            injected: row.source == super::edit::INJECT,
            text: message.message,
        })
    });
    Ok((items.collect(), total))
}

/// The session in which something accepted under this run id waits or goes on.
pub(crate) async fn session_of(services: &Services, scope: &Scope, run_id: &str) -> Result<Option<SessionKey>> {
    let found = inbox::Entity::owned_by(scope)
        .select_only()
        .column(inbox::Column::SessionKey)
        .filter(inbox::Column::AccountId.eq(scope.user().as_str()))
        .filter(inbox::Column::EventKey.eq(run_id))
        .filter(inbox::is_open())
        .into_tuple()
        .one(&services.db.glance(scope).await?)
        .await?;
    Ok(found)
}

/// Was anything accepted under this run id before.
pub(crate) async fn is_known(services: &Services, scope: &Scope, run_id: &str) -> Result<bool> {
    let found: Option<String> = inbox::Entity::owned_by(scope)
        .select_only()
        .column(inbox::Column::Id)
        .filter(inbox::Column::AccountId.eq(scope.user().as_str()))
        .filter(inbox::Column::EventKey.eq(run_id))
        .into_tuple()
        .one(&services.db.glance(scope).await?)
        .await?;
    Ok(found.is_some())
}

/// The session that a run on record was of.
pub(crate) async fn session_of_run(services: &Services, scope: &Scope, run_id: &str) -> Result<Option<SessionKey>> {
    let found = run::Entity::owned_by(scope)
        .select_only()
        .column(run::Column::SessionKey)
        .filter(run::Column::Id.eq(run_id))
        .into_tuple()
        .one(&services.db.glance(scope).await?)
        .await?;
    Ok(found)
}
