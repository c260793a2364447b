//! The end of a sub-agent: told to the session that began it, in one commit with the mark that it was.

use claw_entities::{PlatformTable, Scope, SessionKey, UserOwned, exec_run, inbox, run, subagent};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

use super::{SOURCE, STAYS, first_run};
use crate::clock::now_ms;
use crate::config::document::SubagentSettings;
use crate::conversation::display;
use crate::conversation::transcript::{self, SessionHead};
use crate::db::Transaction;
use crate::error::{Error, Result};
use crate::ports::channel::FileAbout;
use crate::session::blobs::PREFIX;
use crate::session::cron::announce;
use crate::session::intake::{self, ClientMessage};
use crate::session::key;
use crate::session::origin::Origin;
use crate::session::own::Own;
use crate::session::reach::sessions::last_text;
use crate::session::reconcile::{GIVEN_UP, pass};
use crate::session::{system_event, untrusted};
use crate::supervisor::directory::Directory;

/// Characters of a result.
const RESULT: usize = 40_000;
/// Characters of a task's name.
const NAME: usize = 120;

/// Tells the ends of sub-agents that nobody told. Gives how many were looked at.
pub(crate) async fn reconcile(directory: &Directory) -> Result<usize> {
    let open = subagent::Entity::platform()
        .filter(subagent::is_running())
        .filter(Expr::cust(
            "NOT EXISTS (SELECT 1 FROM inbox WHERE inbox.tenant_id = subagent.tenant_id \
             AND inbox.user_id = subagent.user_id AND inbox.session_key = subagent.child_key \
             AND inbox.state IN ('pending', 'running'))",
        ))
        // It ends after those it began.
        .filter(Expr::cust(
            "NOT EXISTS (SELECT 1 FROM subagent AS below WHERE below.tenant_id = subagent.tenant_id \
             AND below.user_id = subagent.user_id AND below.parent_key = subagent.child_key \
             AND below.state = 'running')",
        ))
        // And after its commands on nodes.
        .filter(Expr::cust(
            "NOT EXISTS (SELECT 1 FROM exec_run WHERE exec_run.tenant_id = subagent.tenant_id \
             AND exec_run.user_id = subagent.user_id AND exec_run.session_key = subagent.child_key)",
        ))
        .order_by_asc(subagent::Column::CreatedAt);
    let settle = |scope, id: String| async move { settle(directory, &scope, &id).await };
    let give_up = |scope, id: String| async move { give_up(directory, &scope, &id).await };
    pass(directory, "subagent", "subagent.id", open, (settle, give_up)).await
}

/// Ends a sub-agent whose end cannot be told. Its session hears that, where it can hear anything.
async fn give_up(directory: &Directory, scope: &Scope, id: &str) -> Result<()> {
    let services = directory.services();
    let row = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::Id.eq(id))
        .one(&services.db.glance(scope).await?)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let parent = Own::find(&services.config, scope, &row.parent_key).await?;
    let tx = services.db.write(scope).await?;
    let ended = subagent::Entity::update_owned(scope)
        .col_expr(subagent::Column::State, Expr::value("announced"))
        .col_expr(subagent::Column::Status, Expr::value("error"))
        .col_expr(subagent::Column::EndedAt, Expr::value(now_ms()))
        .filter(subagent::Column::Id.eq(id))
        .filter(subagent::is_running())
        .exec(&*tx)
        .await?;
    if let Some(parent) = parent.filter(|_| ended.rows_affected > 0) {
        let name = row.label.as_deref().unwrap_or(&row.id);
        let line = format!("Sub-agent {name} ended, and {GIVEN_UP}.");
        system_event::put(&tx, scope, &parent, &line).await?;
    }
    Ok(tx.commit().await?)
}

/// Tells the end of a sub-agent, if it has ended and nobody told it. Gives whether it did.
pub(crate) async fn settle(directory: &Directory, scope: &Scope, id: &str) -> Result<bool> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let (scope_in, id) = (scope.clone(), id.to_owned());
    let told = services
        .writer
        .run(scope, move |tx| {
            let (scope, id, settings) = (scope_in.clone(), id.clone(), settings.clone());
            Box::pin(async move {
                let Some(row) = claimed(tx, &scope, &id).await? else {
                    return Ok(None);
                };
                let Some(end) = ended(tx, &scope, &row).await? else {
                    return Ok(None);
                };
                let rules = settings.subagents(key::agent_of(&row.parent_key));
                let gone = is_gone(tx, &scope, &row.parent_key).await?;
                let stays = !gone && end.head.is_some();
                close(tx, &scope, &row, (end.status, stays), rules).await?;
                if gone {
                    return Ok(Some(None));
                }
                let origin: Origin = serde_json::from_value(row.origin.clone()).unwrap_or_default();
                let message = message(&row, &end, origin);
                let payload = serde_json::to_string(&message).map_err(Error::internal)?;
                let key = announcement(tx, &scope, &row).await?;
                let asked = intake::own_row(&scope, SOURCE, &key, &row.parent_key, payload, now_ms());
                inbox::Entity::insert(asked).exec_without_returning(tx).await?;
                Ok(Some(Some(row.parent_key)))
            })
        })
        .await?;
    if let Some(Some(parent)) = &told {
        directory.wake(scope, parent);
    }
    Ok(told.is_some())
}

/// The run that tells of its end: another one each time it has ended.
async fn announcement(tx: &Transaction, scope: &Scope, row: &subagent::Model) -> Result<String> {
    let first = format!("announce:{}", row.id);
    // What was told of one whose session stays may be forgotten by the time that it ends again.
    if row.cleanup == STAYS {
        return Ok(format!("{first}:{}", uuid::Uuid::new_v4().simple()));
    }
    let told = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::Source.eq(SOURCE))
        .filter(inbox::Column::EventKey.eq(first.as_str()))
        .count(tx)
        .await?;
    Ok(if told == 0 {
        first
    } else {
        format!("{first}:{}", uuid::Uuid::new_v4().simple())
    })
}

/// The row, held until the commit, while its end is not told.
async fn claimed(tx: &Transaction, scope: &Scope, id: &str) -> Result<Option<subagent::Model>> {
    let held = subagent::Entity::update_owned(scope)
        .col_expr(subagent::Column::State, Expr::value("running"))
        .filter(subagent::Column::Id.eq(id))
        .filter(subagent::is_running())
        .exec(tx)
        .await?;
    if held.rows_affected == 0 {
        return Ok(None);
    }
    Ok(subagent::Entity::owned_by(scope)
        .filter(subagent::Column::Id.eq(id))
        .one(tx)
        .await?)
}

/// How a sub-agent ended.
struct End {
    status: &'static str,
    text: String,
    /// Files that its answer showed.
    files: Vec<FileAbout>,
    duration_ms: i64,
    head: Option<SessionHead>,
}

/// How it ended; `None` while anything of it or below it goes on.
async fn ended(tx: &Transaction, scope: &Scope, row: &subagent::Model) -> Result<Option<End>> {
    let waiting = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::SessionKey.eq(row.child_key.clone()))
        .filter(inbox::is_open())
        .count(tx)
        .await?;
    let below = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::ParentKey.eq(row.child_key.clone()))
        .filter(subagent::is_running())
        .count(tx)
        .await?;
    let commands = exec_run::Entity::owned_by(scope)
        .filter(exec_run::Column::SessionKey.eq(row.child_key.clone()))
        .count(tx)
        .await?;
    if waiting + below + commands > 0 {
        return Ok(None);
    }
    let last = run::Entity::owned_by(scope)
        .filter(run::Column::SessionKey.eq(row.child_key.clone()))
        // What a person asked of its session by a command is no result.
        .filter(
            Condition::any()
                .add(run::Column::StopReason.is_null())
                .add(run::Column::StopReason.ne("command")),
        )
        .order_by_desc(run::Column::StartedAt)
        .order_by_desc(run::Column::EndedAt)
        .one(tx)
        .await?;
    let head = transcript::head(tx, scope, &row.child_key).await?;
    let now = now_ms();
    let Some(last) = last else {
        // It never ran: its message says why.
        let asked = inbox::Entity::owned_by(scope)
            .filter(inbox::Column::Source.eq(SOURCE))
            .filter(inbox::Column::EventKey.eq(first_run(&row.id)))
            .one(tx)
            .await?;
        let why = asked.and_then(|asked| asked.reason);
        return Ok(Some(End {
            status: "error",
            text: why.unwrap_or_else(|| "it could not be run".to_owned()),
            files: Vec::new(),
            duration_ms: now - row.created_at,
            head,
        }));
    };
    // A session that stays may have rested for days.
    let from = if row.cleanup == STAYS {
        last.started_at
    } else {
        row.created_at
    };
    let files = announce::files_of(&last.result);
    let (status, text) = match (last.status.as_str(), last.stop_reason.as_deref()) {
        ("ok", _) => (
            "ok",
            last_text(&last.result).unwrap_or_else(|| {
                let none = if files.is_empty() { "(no answer)" } else { "(no words)" };
                none.to_owned()
            }),
        ),
        (_, Some("timeout")) => ("timeout", "it took too long".to_owned()),
        (other, _) => {
            let why = last.error_message.unwrap_or_else(|| format!("the run was {other}"));
            ("error", why)
        }
    };
    Ok(Some(End {
        status,
        text,
        files,
        duration_ms: last.ended_at.unwrap_or(now) - from,
        head,
    }))
}

/// `stays`: its session does, if it is one of those.
async fn close(
    tx: &Transaction,
    scope: &Scope,
    row: &subagent::Model,
    (status, stays): (&str, bool),
    rules: &SubagentSettings,
) -> Result<()> {
    let now = now_ms();
    let minutes = i64::try_from(rules.archive_minutes).unwrap_or(i64::MAX);
    let closes_at = match row.cleanup.as_str() {
        "delete" => Some(now),
        STAYS => (!stays).then_some(now),
        _ => (minutes > 0).then(|| now.saturating_add(minutes.saturating_mul(60_000))),
    };
    subagent::Entity::update_owned(scope)
        .col_expr(subagent::Column::State, Expr::value("announced"))
        .col_expr(subagent::Column::Status, Expr::value(status))
        .col_expr(subagent::Column::EndedAt, Expr::value(now))
        .col_expr(subagent::Column::ClosesAt, Expr::value(closes_at))
        .filter(subagent::Column::Id.eq(row.id.as_str()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Is there nobody to tell: the session was deleted, or is a sub-agent that was stopped.
async fn is_gone(tx: &Transaction, scope: &Scope, parent: &SessionKey) -> Result<bool> {
    if transcript::head(tx, scope, parent).await?.is_none() {
        return Ok(true);
    }
    let stopped = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::ChildKey.eq(parent.clone()))
        .filter(subagent::Column::State.eq("killed"))
        .count(tx)
        .await?;
    Ok(stopped > 0)
}

fn message(row: &subagent::Model, end: &End, origin: Origin) -> ClientMessage {
    let named = row.label.as_deref().unwrap_or(&row.task);
    let name: String = named.split_whitespace().collect::<Vec<_>>().join(" ");
    let name: String = name.chars().take(NAME).collect();
    let status = match end.status {
        "ok" => "completed".to_owned(),
        "timeout" => "timed out".to_owned(),
        _ => "failed".to_owned(),
    };
    let mut result = display::cut(&end.text, RESULT);
    for file in &end.files {
        result.push_str(&format!(
            "\nFile {} ({}): {PREFIX}{}",
            file.name, file.mime_type, file.blob
        ));
    }
    let result = untrusted::wrap("result of a sub-agent", &result);
    let sends_on = if end.files.is_empty() {
        ""
    } else {
        "\n\nA file of the result is sent on by a line of your answer that is only MEDIA: and its name, which begins with \
         blob:. Tools that read files take that name too."
    };
    // Of a job that began one, only this is sent.
    let unsent = if origin.unsaid {
        " What your scheduled turn said was not sent: the user has only what you say now. If other sub-agents of that turn \
         have not ended, wait for the last of them with NO_REPLY."
    } else {
        ""
    };
    ClientMessage {
        source: SOURCE.to_owned(),
        message: format!(
            "[Internal event: a sub-agent has ended]\ntask: {name}\nsession: {}\nstatus: {status}\n\n\
             Result:\n{result}{sends_on}\n\nStats: {}\n\nNo person wrote this. Tell the user what came of it in your own words, and keep this event and \
             its numbers to yourself. If there is nothing to tell now, answer NO_REPLY.{unsent}",
            row.child_key,
            stats(end)
        ),
        // Nobody's own rule may cut off what runs, or fold this away.
        queue_mode: Some("followup".to_owned()),
        background: true,
        charge: origin.charge.clone(),
        relayed: Some(origin.relayed(format!("Sub-agent {status}: {name}"))),
        ..ClientMessage::default()
    }
}

fn stats(end: &End) -> String {
    let count = |name: &str| {
        let entry = end.head.as_ref().map(|head| &head.entry);
        entry
            .and_then(|entry| entry.get(name))
            .and_then(serde_json::Value::as_f64)
            .unwrap_or(0.0)
    };
    format!(
        "runtime {} s, tokens {} in and {} out, cost ${:.4}",
        end.duration_ms.max(0) / 1000,
        count("inputTokens"),
        count("outputTokens"),
        count("costUsd")
    )
}
