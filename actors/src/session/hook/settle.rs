//! The end of a hook's run: the answer goes to a chat, a line to the main session. One commit.

use claw_entities::{PlatformTable, Scope, UserOwned, hook_run};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder};

use super::{Delivers, SOURCE};
use crate::clock::now_ms;
use crate::db::Batch;
use crate::error::Result;
use crate::session::budget::Charge;
use crate::session::cron::announce::{self, Announcement};
use crate::session::cron::record_of;
use crate::session::excerpt::beginning;
use crate::session::own::Own;
use crate::session::reconcile::{is_over, pass};
use crate::session::turn::{Authority, insert_pieces};
use crate::session::{asking, heartbeat, key, reply, system_event};
use crate::supervisor::directory::{Directory, RunEnded};

/// Longest line for the main session, characters.
const SHORT: usize = 500;
/// How long an ended run is on record, milliseconds: as long as its key keeps it from coming twice.
const KEPT_MS: i64 = 8 * 24 * 60 * 60 * 1000;

/// What came of a run.
#[derive(Clone)]
struct Outcome {
    status: &'static str,
    /// For the main session.
    line: Option<String>,
    /// The inner error says why it cannot go anywhere.
    said: Option<std::result::Result<Announcement, String>>,
}

/// Passes on what came of a run, if it has ended and that was not done yet. Gives whether it was.
pub(crate) async fn settle(directory: &Directory, scope: &Scope, run_id: &str) -> Result<bool> {
    let services = directory.services();
    let open = hook_run::Entity::owned_by(scope)
        .filter(hook_run::Column::Id.eq(run_id))
        .filter(hook_run::is_open())
        .one(&services.db.glance(scope).await?)
        .await?;
    let Some(open) = open else { return Ok(false) };
    let Some((row, ran)) = record_of(services, scope, SOURCE, run_id).await? else {
        return Ok(false);
    };
    let ended = ran.map(|ran| RunEnded {
        run_id: ran.id,
        status: ran.status,
        started_at: ran.started_at,
        ended_at: ran.ended_at.unwrap_or_default(),
        error: ran.error_message,
        error_class: ran.error_class,
        stop_reason: ran.stop_reason,
        result: ran.result,
    });
    let skipped = row.and_then(|row| row.reason);
    let outcome = outcome(directory, scope, &open, ended, skipped).await?;
    if !store(directory, scope, &open, outcome.clone()).await? {
        return Ok(false);
    }
    if let Some(Ok(said)) = &outcome.said {
        directory.delivery().kick(scope, &said.conversation);
    }
    // The line is stored; that it is looked at at once is a kindness.
    if open.wakes && outcome.line.is_some() {
        heartbeat::nudge(directory, scope, &key::main(&open.agent_id)).await?;
    }
    Ok(true)
}

async fn outcome(
    directory: &Directory,
    scope: &Scope,
    open: &hook_run::Model,
    ended: Option<RunEnded>,
    skipped: Option<String>,
) -> Result<Outcome> {
    let name = &open.name;
    let Some(ended) = ended else {
        return Ok(Outcome {
            status: "skipped",
            line: skipped.map(|why| format!("Hook {name} was not run: {why}")),
            said: None,
        });
    };
    if ended.status != "ok" {
        let why = ended.error.as_deref().unwrap_or("it was not finished");
        return Ok(Outcome {
            status: "error",
            line: Some(format!("Hook {name} failed: {}", beginning(why, SHORT))),
            said: None,
        });
    }
    let text = reply::shape(&asking::answer_of(&ended)).text;
    let files = announce::files_of(&ended.result);
    let delivers: Delivers = serde_json::from_value(open.target.clone()).unwrap_or_default();
    let said = if delivers.deliver && (text.is_some() || !files.is_empty()) {
        let answer = (text.as_deref(), files.as_slice());
        Some(announce::answer(directory, scope, &open.agent_id, &delivers.target, answer).await?)
    } else {
        None
    };
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let told = text.or_else(|| (!names.is_empty()).then(|| names.join(", ")));
    Ok(Outcome {
        status: "ok",
        line: told.map(|told| format!("Hook {name}: {}", beginning(&told, SHORT))),
        said,
    })
}

/// False when it was done already.
async fn store(directory: &Directory, scope: &Scope, open: &hook_run::Model, outcome: Outcome) -> Result<bool> {
    let (scope_in, open) = (scope.clone(), open.clone());
    directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, open, outcome) = (scope_in.clone(), open.clone(), outcome.clone());
            Box::pin(async move {
                let (delivery, error) = match &outcome.said {
                    None => ("not-requested", None),
                    Some(Ok(_)) => ("queued", None),
                    Some(Err(why)) => ("not-delivered", Some(why.clone())),
                };
                let now = now_ms();
                let done = hook_run::Entity::update_owned(&scope)
                    .col_expr(hook_run::Column::EndedAt, Expr::value(now))
                    .col_expr(hook_run::Column::Status, Expr::value(outcome.status))
                    .col_expr(hook_run::Column::Delivery, Expr::value(delivery))
                    .col_expr(hook_run::Column::DeliveryError, Expr::value(error))
                    .filter(hook_run::Column::Id.eq(open.id.as_str()))
                    .filter(hook_run::is_open())
                    .exec(tx)
                    .await?;
                if done.rows_affected == 0 {
                    return Ok(false);
                }
                if let Some(Ok(said)) = &outcome.said {
                    // Nothing of a session is written, so no epoch is held.
                    let authority = Authority {
                        scope: scope.clone(),
                        key: open.session_key.clone(),
                        agent_id: open.agent_id.clone(),
                        epoch: 0,
                        charge: Charge::default(),
                    };
                    let mut batch = Batch::new(tx);
                    insert_pieces(&mut batch, &authority, Some(&open.id), &said.pieces)?;
                    batch.run(tx).await?;
                }
                let main = Own::main(&open.agent_id);
                if let Some(line) = outcome.line.as_deref().filter(|_| open.session_key != *main.key()) {
                    system_event::put(tx, &scope, &main, line).await?;
                }
                hook_run::Entity::delete_owned(&scope)
                    .filter(hook_run::Column::EndedAt.lt(now - KEPT_MS))
                    .exec(tx)
                    .await?;
                Ok(true)
            })
        })
        .await
}

/// Passes on what came of runs whose inbox rows are settled. Gives how many were looked at.
pub(crate) async fn reconcile(directory: &Directory) -> Result<usize> {
    let open = hook_run::Entity::platform()
        .filter(hook_run::is_open())
        .filter(is_over("hook_run", SOURCE, "hook_run.id"))
        .order_by_asc(hook_run::Column::StartedAt);
    let settle = |scope, run_id: String| async move { settle(directory, &scope, &run_id).await };
    let give_up = |scope, run_id: String| async move { give_up(directory, &scope, &run_id).await };
    pass(directory, "hook_run", "hook_run.id", open, (settle, give_up)).await
}

/// Closes a run whose end cannot be passed on.
async fn give_up(directory: &Directory, scope: &Scope, run_id: &str) -> Result<()> {
    let tx = directory.services().db.write(scope).await?;
    hook_run::Entity::update_owned(scope)
        .col_expr(hook_run::Column::EndedAt, Expr::value(now_ms()))
        .col_expr(hook_run::Column::Status, Expr::value("error"))
        .col_expr(hook_run::Column::Delivery, Expr::value("not-delivered"))
        .col_expr(
            hook_run::Column::DeliveryError,
            Expr::value("what came of it could not be passed on"),
        )
        .filter(hook_run::Column::Id.eq(run_id))
        .filter(hook_run::is_open())
        .exec(&*tx)
        .await?;
    Ok(tx.commit().await?)
}
