//! Sub-agents that run: found by name, told something more, stopped.

use claw_entities::{Scope, SessionKey, UserOwned, inbox, subagent};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};

use super::{RUN_TIMEOUT, SOURCE, STAYS, below, duty, first_run, origin_of, stands};
use crate::Services;
use crate::clock::now_ms;
use crate::conversation::transcript;
use crate::db::Transaction;
use crate::error::{Error, Result};
use crate::session::exec::{self, Which};
use crate::session::intake::{self, ClientMessage, Relayed};
use crate::session::origin::Origin;
use crate::session::reach::Inner;
use crate::supervisor::directory::{AbortRequest, Directory};

/// Stopped ones are put away after this, milliseconds.
const KEPT_MS: i64 = 3_600_000;

/// The one that is meant among these: its place in the list, its session, run or label, or the beginning of its id.
pub(crate) fn find<'a>(rows: &'a [subagent::Model], target: &str) -> std::result::Result<&'a subagent::Model, String> {
    /// Shortest beginning of an id.
    const SHORTEST: usize = 6;
    let target = target.trim();
    if target == "last"
        && let Some(newest) = rows.iter().max_by_key(|row| row.created_at)
    {
        return Ok(newest);
    }
    if let Some(at) = target.parse::<usize>().ok().and_then(|number| number.checked_sub(1)) {
        return rows.get(at).ok_or_else(|| format!("There is no sub-agent {target}."));
    }
    let exact = rows
        .iter()
        .find(|row| row.child_key.as_str() == target || row.id == target || first_run(&row.id) == target);
    if let Some(row) = exact {
        return Ok(row);
    }
    let mut fitting = rows.iter().filter(|row| {
        row.label
            .as_deref()
            .is_some_and(|label| label.eq_ignore_ascii_case(target))
            || (target.len() >= SHORTEST && row.id.starts_with(target))
    });
    match (fitting.next(), fitting.next()) {
        (Some(row), None) => Ok(row),
        (Some(_), Some(_)) => Err(format!(
            "Several sub-agents are called {target}: use the session's key."
        )),
        (None, _) => Err(format!("There is no sub-agent called {target}.")),
    }
}

/// Stops these and what runs below them; their ends are not told. Gives how many were stopped.
pub(crate) async fn stop(directory: &Directory, scope: &Scope, rows: Vec<subagent::Model>) -> Result<usize> {
    let services = directory.services();
    let mut all = Vec::new();
    for row in rows {
        all.extend(below(services, scope, &row.child_key).await?);
        all.push(row);
    }
    // Another session may have given work to one whose session stays.
    all.retain(|row| row.state == "running" || stands(row));
    all.sort_by(|one, other| one.id.cmp(&other.id));
    all.dedup_by(|one, other| one.id == other.id);
    if all.is_empty() {
        return Ok(0);
    }
    let ids: Vec<String> = all.iter().map(|row| row.id.clone()).collect();
    let keys: Vec<SessionKey> = all.iter().map(|row| row.child_key.clone()).collect();
    let (scope_in, now) = (scope.clone(), now_ms());
    let stopped = services
        .writer
        .run(scope, move |tx| {
            let (scope, ids, keys) = (scope_in.clone(), ids.clone(), keys.clone());
            Box::pin(async move {
                let done = subagent::Entity::update_owned(&scope)
                    .col_expr(subagent::Column::State, Expr::value("killed"))
                    .col_expr(subagent::Column::Status, Expr::value("killed"))
                    .col_expr(subagent::Column::EndedAt, Expr::value(now))
                    .col_expr(subagent::Column::ClosesAt, Expr::value(now + KEPT_MS))
                    .filter(subagent::Column::Id.is_in(ids))
                    .filter(subagent::is_running())
                    .exec(tx)
                    .await?;
                // What a crash would hand back is not to run again.
                inbox::Entity::update_owned(&scope)
                    .col_expr(inbox::Column::State, Expr::value("skipped"))
                    .col_expr(inbox::Column::Reason, Expr::value("the sub-agent was stopped"))
                    .col_expr(inbox::Column::UpdatedAt, Expr::value(now))
                    .filter(inbox::Column::SessionKey.is_in(keys))
                    .filter(inbox::is_open())
                    .exec(tx)
                    .await?;
                Ok(done.rows_affected)
            })
        })
        .await?;
    for row in &all {
        let request = AbortRequest {
            session_key: row.child_key.clone(),
            run_id: None,
            requester: None,
            admin: true,
            stop_reason: "killed",
            clear_queue: true,
        };
        // On record as stopped already: an actor that cannot be asked has nothing that may go on.
        if let Err(error) = directory.abort(scope, request).await {
            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "a stopped sub-agent was not aborted at once");
        }
        // What it began on a node goes on behind its turns, and its session may sleep.
        let commands = Which::Session(row.child_key.clone());
        if let Err(error) = Box::pin(exec::stop(directory, scope, &commands, false)).await {
            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "commands of a stopped sub-agent were not stopped");
        }
    }
    Ok(usize::try_from(stopped).unwrap_or(usize::MAX))
}

/// Is it the session of a sub-agent that was stopped, or let go, since this time: nothing that it had begun wakes it again.
pub(crate) async fn is_stopped(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session: &SessionKey,
    since: i64,
) -> Result<bool> {
    let stopped = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::ChildKey.eq(session.clone()))
        .filter(subagent::Column::State.eq("killed"))
        .all(tx)
        .await?;
    Ok(stopped.iter().any(|row| {
        let let_go = row.closes_at.map(|at| at - KEPT_MS);
        row.ended_at.max(let_go).is_none_or(|at| at >= since)
    }))
}

/// Stops everything below a session whose turns a person stopped.
pub(crate) async fn stop_below(directory: &Directory, scope: &Scope, session: &SessionKey) -> Result<usize> {
    let rows = below(directory.services(), scope, session).await?;
    stop(directory, scope, rows).await
}

/// Lets go of sessions that stay (ids of rows): they are put away after a while, and told nothing more. Gives how many there were.
pub(crate) async fn dismiss(services: &Services, scope: &Scope, ids: Vec<String>) -> Result<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    let scope_in = scope.clone();
    let dismissed = services.writer.run(scope, move |tx| {
        let (scope, ids) = (scope_in.clone(), ids.clone());
        Box::pin(async move {
            let done = subagent::Entity::update_owned(&scope)
                .col_expr(subagent::Column::State, Expr::value("killed"))
                .col_expr(subagent::Column::ClosesAt, Expr::value(now_ms() + KEPT_MS))
                .filter(subagent::Column::Id.is_in(ids))
                .filter(subagent::Column::Cleanup.eq(STAYS))
                .filter(subagent::Column::State.eq("announced"))
                .exec(tx)
                .await?;
            Ok(done.rows_affected)
        })
    });
    Ok(usize::try_from(dismissed.await?).unwrap_or(usize::MAX))
}

/// Tells one something more: what it does now is cut off, and it goes on from there. One that has ended and whose session
/// stays runs again, within the limit of `most` that run of its session. Its end is told where this run answers. Gives the
/// run.
///
/// # Errors
/// `Conflict` when it has ended for good; `Invalid` when too many run or have followed each other, and where others read
/// along though it was begun for the user alone.
pub(crate) async fn steer(run: &Inner, row: &subagent::Model, message: &str, most: u64) -> Result<String> {
    let (directory, scope) = (&run.directory, &run.authority.scope);
    let run_id = format!("{}:{}", first_run(&row.id), uuid::Uuid::new_v4().simple());
    let before: Origin = serde_json::from_value(row.origin.clone()).unwrap_or_default();
    let mut origin = origin_of(run).await?;
    if origin.guest && !before.guest {
        return Err(Error::Invalid(
            "that sub-agent was begun for the user alone, and others read along here: begin another one".to_owned(),
        ));
    }
    // What others wrote is part of what it knows.
    origin.guest = before.guest;
    let told = serde_json::to_value(&origin).map_err(Error::internal)?;
    let child = directory.services().conversation.session(scope, &row.child_key).await?;
    let payload = ClientMessage {
        source: SOURCE.to_owned(),
        message: format!("[From the session that began you] {message}"),
        extra_system_prompt: Some(duty(&row.parent_key)),
        timeout_ms: child.and_then(|child| child.entry.get(RUN_TIMEOUT)?.as_u64()),
        queue_mode: Some("interrupt".to_owned()),
        background: true,
        relayed: Some(Relayed {
            shown: message.to_owned(),
            destination: None,
            guest: origin.guest,
            chain: origin.chain,
            room: origin.room,
        }),
        charge: origin.charge,
        ..ClientMessage::default()
    };
    let payload = serde_json::to_string(&payload).map_err(Error::internal)?;
    let asked = intake::own_row(scope, SOURCE, &run_id, &row.child_key, payload, now_ms());
    let (scope_in, row_in) = (scope.clone(), row.clone());
    directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, row, asked, told) = (scope_in.clone(), row_in.clone(), asked.clone(), told.clone());
            Box::pin(async move {
                let id = row.id.as_str();
                // Holds the row against its end being told at the same time.
                let held = subagent::Entity::update_owned(&scope)
                    .col_expr(subagent::Column::Origin, Expr::value(told.clone()))
                    .filter(subagent::Column::Id.eq(id))
                    .filter(subagent::is_running())
                    .exec(tx)
                    .await?;
                if held.rows_affected == 0 {
                    begin_again(tx, &scope, &row, (told, most)).await?;
                }
                inbox::Entity::insert(asked).exec_without_returning(tx).await?;
                Ok(())
            })
        })
        .await?;
    directory.wake(scope, &row.child_key);
    Ok(run_id)
}

/// One that has ended and whose session stays runs again.
async fn begin_again(
    tx: &Transaction,
    scope: &Scope,
    row: &subagent::Model,
    (told, most): (serde_json::Value, u64),
) -> Result<()> {
    let running = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::ParentKey.eq(row.parent_key.clone()))
        .filter(subagent::is_running())
        .count(tx)
        .await?;
    let stands = transcript::head(tx, scope, &row.child_key).await?.is_some();
    let again = subagent::Entity::update_owned(scope)
        .col_expr(subagent::Column::State, Expr::value("running"))
        .col_expr(subagent::Column::Origin, Expr::value(told))
        .col_expr(subagent::Column::Status, Expr::value(None::<String>))
        .col_expr(subagent::Column::EndedAt, Expr::value(None::<i64>))
        .filter(subagent::Column::Id.eq(row.id.as_str()))
        .filter(subagent::Column::Cleanup.eq(STAYS))
        .filter(subagent::Column::State.eq("announced"))
        .filter(subagent::Column::ClosesAt.is_null())
        .exec(tx)
        .await?;
    if again.rows_affected == 0 || !stands {
        return Err(Error::Conflict("the sub-agent has ended".to_owned()));
    }
    if running >= most {
        return Err(Error::Invalid(format!(
            "{running} sub-agents of this session are running already, the limit is {most}: wait for one to end"
        )));
    }
    Ok(())
}
