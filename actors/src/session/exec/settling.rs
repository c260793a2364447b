//! What becomes of a command that waited for a word, its run behind the turn, and its end told to the session.

use std::time::Duration;

use claw_entities::{PlatformTable, Scope, UserOwned, approval, exec_run, inbox};
use sea_orm::sea_query::{Condition, Expr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::performing::{RUN, Run};
use super::words::{self, Outcome};
use super::{Answer, Refusal, Work, perform, told};
use crate::clock::now_ms;
use crate::config::devices::approvals::{ALWAYS, reason};
use crate::error::{Error, Result};
use crate::gateway::exec_policy::Verdict;
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::session::intake::{self, ClientMessage};
use crate::session::origin::Origin;
use crate::session::own::Own;
use crate::session::reach::Chain;
use crate::session::reconcile::pass;
use crate::session::{forwarding, subagent, system_event};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::living;

/// Of the inbox rows that tell an end.
const SOURCE: &str = "exec";
/// Longest turn that an end is told in, milliseconds.
const TURN_MS: u64 = 10 * 60 * 1000;
/// How long a command runs before its session is told that it does, unless the configuration says otherwise, milliseconds.
const NOTICE_MS: u64 = 10_000;
/// Between two tries to store an end while the database is away: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Looks at commands that wait, and at those whose process is gone. Gives how many were looked at.
pub(crate) async fn reconcile(directory: &Directory) -> Result<usize> {
    let services = directory.services();
    let tx = services.db.system_read().await?;
    let alive = living(&*tx, &services.replica, services.limits.lease).await?;
    drop(tx);
    let open = exec_run::Entity::platform()
        .filter(
            Condition::any()
                .add(exec_run::Column::BootId.is_null())
                .add(exec_run::Column::BootId.is_not_in(alive)),
        )
        .order_by_asc(exec_run::Column::CreatedAt);
    let settle = |scope, id: String| async move { settle(directory, &scope, &id).await };
    let give_up = |scope: Scope, id: String| async move {
        let tx = directory.services().db.write(&scope).await?;
        exec_run::Entity::delete_owned(&scope)
            .filter(exec_run::Column::Id.eq(id))
            .exec(&*tx)
            .await?;
        Ok(tx.commit().await?)
    };
    pass(directory, "exec_run", "exec_run.id", open, (settle, give_up)).await
}

/// Settles a command as soon as it is decided or its time is over, in a task of its own.
pub(crate) fn watch(directory: &Directory, scope: &Scope, id: &str) {
    let (directory_in, scope, id) = (directory.clone(), scope.clone(), id.to_owned());
    directory.services().io.spawn(async move {
        let config = &directory_in.services().config;
        let done = async {
            directory_in.approvals().decision(config, &scope, &id).await?;
            settle(&directory_in, &scope, &id).await
        };
        if let Err(error) = done.await {
            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "a command that waits is looked at again later");
        }
    });
}

/// Does what is due: runs what was allowed, tells what was not, and what became of one whose process is gone. False
/// when nothing is, or somebody else did it.
///
/// # Errors
/// When the database is away.
pub(crate) async fn settle(directory: &Directory, scope: &Scope, id: &str) -> Result<bool> {
    let services = directory.services();
    let found = exec_run::Entity::owned_by(scope)
        .filter(exec_run::Column::Id.eq(id))
        .one(&services.db.glance(scope).await?)
        .await?;
    let Some(row) = found else { return Ok(false) };
    let Ok(work) = serde_json::from_value::<Work>(row.work.clone()) else {
        return Err(Error::internal(std::io::Error::other("a command cannot be read")));
    };
    match (row.state.as_str(), &row.boot_id) {
        (exec_run::WAITING, _) => decided(directory, scope, (&row, work)).await,
        (_, None) => over(directory, scope, (&row, &work), &Outcome::Cancelled).await,
        (_, Some(boot)) => {
            let tx = services.db.system_read().await?;
            let alive = living(&*tx, &services.replica, services.limits.lease).await?;
            drop(tx);
            if alive.contains(boot) {
                // Who has it run looks itself.
                directory.approvals().wake(scope, id);
                return Ok(false);
            }
            over(directory, scope, (&row, &work), &Outcome::Interrupted).await
        }
    }
}

/// What is to become of a command that waited.
enum Word {
    /// It runs: a person said so, or the policy lets it run when nobody says anything.
    Yes(Option<approval::Model>),
    No(Outcome),
    /// Nothing was said, and there is time.
    None,
}

async fn decided(directory: &Directory, scope: &Scope, (row, work): (&exec_run::Model, Work)) -> Result<bool> {
    let services = directory.services();
    if services.config.is_locked(scope) {
        return Ok(false);
    }
    let allowed = match word(directory, scope, (row, &work)).await? {
        Word::None => return Ok(false),
        Word::No(outcome) => return over(directory, scope, (row, &work), &outcome).await,
        Word::Yes(allowed) => allowed,
    };
    if !claim(directory, scope, &row.id).await? {
        return Ok(false);
    }
    let mut row = row.clone();
    row.state = exec_run::RUNNING.to_owned();
    row.boot_id = Some(services.replica.boot_id.clone());
    let (directory_in, scope) = (directory.clone(), scope.clone());
    services.io.spawn(async move {
        to_the_end(
            &directory_in,
            &scope,
            (row, work),
            Began::Allowed(allowed.map(Box::new)),
        )
        .await
    });
    Ok(true)
}

/// How a command came to run.
enum Began {
    /// It was waited for; with the approval, if there was a word.
    Allowed(Option<Box<approval::Model>>),
    /// A call waits for its end, for a while.
    Called(oneshot::Sender<Answer>),
}

/// Has a command run that was claimed with its row.
pub(super) fn has_run(
    directory: &Directory,
    scope: &Scope,
    row: exec_run::Model,
    handoff: oneshot::Sender<Answer>,
) -> Result<()> {
    let work: Work = serde_json::from_value(row.work.clone()).map_err(Error::internal)?;
    let (directory_in, scope) = (directory.clone(), scope.clone());
    directory
        .services()
        .io
        .spawn(async move { to_the_end(&directory_in, &scope, (row, work), Began::Called(handoff)).await });
    Ok(())
}

/// What was decided, and whether that still stands.
async fn word(directory: &Directory, scope: &Scope, (row, work): (&exec_run::Model, &Work)) -> Result<Word> {
    let (services, now) = (directory.services(), now_ms());
    let config = &services.config;
    let mut asked = config.approval(scope, &row.id).await?;
    if asked.as_ref().is_some_and(|asked| asked.resolved_at.is_none()) {
        if asked.as_ref().is_some_and(|asked| asked.expires_at > now) {
            return Ok(Word::None);
        }
        config.end_approval(scope, &row.id, reason::TIMEOUT, now).await?;
        asked = config.approval(scope, &row.id).await?;
    }
    let no = |why: &str, by_a_person: bool| {
        let why = why.to_owned();
        Ok(Word::No(Outcome::Denied { why, by_a_person }))
    };
    let Some(asked) = asked else {
        return no("the request is gone", false);
    };
    // Whoever decided has told the chats that were asked by then.
    forwarding::ended(directory, scope, &asked);
    match (asked.decision.as_deref(), asked.reason.as_deref()) {
        (Some("allow-once" | ALWAYS), _) => {
            // The rules may have become others while a person was asked.
            let policy = work.policy(services, scope).await?;
            match policy.verdict(work.program.as_deref()) {
                Verdict::Refuse(why) => no(why, true),
                Verdict::Run | Verdict::Ask => Ok(Word::Yes(Some(asked))),
            }
        }
        (Some(_), _) => no("the user said no", true),
        (None, Some(reason::WITHDRAWN)) => Ok(Word::No(Outcome::Cancelled)),
        (None, _) => {
            let policy = work.policy(services, scope).await?;
            let harmless = match work.variables(directory, scope).await {
                Ok(variables) => variables.harmless(),
                Err(_) => false,
            };
            if policy.runs_unanswered(work.program.as_deref(), harmless) {
                Ok(Word::Yes(None))
            } else {
                no("nobody answered in time", false)
            }
        }
    }
}

/// Takes it for this process, if it still waits.
async fn claim(directory: &Directory, scope: &Scope, id: &str) -> Result<bool> {
    let services = directory.services();
    let (scope_in, id, boot) = (scope.clone(), id.to_owned(), services.replica.boot_id.clone());
    services
        .writer
        .run(scope, move |tx| {
            let (scope, id, boot) = (scope_in.clone(), id.clone(), boot.clone());
            Box::pin(async move {
                let claimed = exec_run::Entity::update_owned(&scope)
                    .col_expr(exec_run::Column::State, Expr::value(exec_run::RUNNING))
                    .col_expr(exec_run::Column::BootId, Expr::value(boot))
                    .filter(exec_run::Column::Id.eq(id))
                    .filter(exec_run::Column::State.eq(exec_run::WAITING))
                    .exec(tx)
                    .await?;
                Ok(claimed.rows_affected == 1)
            })
        })
        .await
}

/// Has a claimed command run, and stores what came of it, however long the database is away.
async fn to_the_end(directory: &Directory, scope: &Scope, (row, work): (exec_run::Model, Work), began: Began) {
    let (allowed, handoff) = match began {
        Began::Allowed(allowed) => (allowed.map(|row| *row), None),
        Began::Called(handoff) => (None, Some(handoff)),
    };
    let (directory_in, scope_in, row_in, work_in) = (directory.clone(), scope.clone(), row.clone(), work.clone());
    let called = handoff.is_some();
    let running = directory
        .services()
        .io
        .spawn(async move { ran(&directory_in, &scope_in, (&row_in, &work_in), (allowed, called)).await });
    let end = running.await.unwrap_or_else(|panic| {
        tracing::error!(tenant.id = %scope.tenant(), panic = %panic, "having a command run panicked");
        End::Before(Outcome::Interrupted)
    });
    let outcome = match (end, handoff) {
        (End::Answer(answer), Some(handoff)) => match handoff.send(answer) {
            // Who waits tells it.
            Ok(()) => Outcome::Told,
            Err(answer) => outcome_of(&work, answer),
        },
        (End::Answer(answer), None) => outcome_of(&work, answer),
        (End::Before(outcome), _) => outcome,
    };
    let mut wait = FIRST_WAIT;
    while let Err(error) = over(directory, scope, (&row, &work), &outcome).await {
        tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "the end of a command was not stored, it is tried again");
        if directory.draining() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// How having a command run ended.
enum End {
    /// The call of the node came to this.
    Answer(Answer),
    /// It came to no call.
    Before(Outcome),
}

/// Runs it until it ends or is stopped. One that takes long is announced, where its turn did not see it begin.
async fn ran(
    directory: &Directory,
    scope: &Scope,
    (row, work): (&exec_run::Model, &Work),
    (allowed, seen): (Option<approval::Model>, bool),
) -> End {
    let denied = |why: Refusal| {
        End::Before(Outcome::Denied {
            why,
            by_a_person: false,
        })
    };
    let variables = match work.variables(directory, scope).await {
        Ok(variables) => variables,
        Err(why) => return denied(why),
    };
    if let Err(error) = nodes::check(directory, scope, &work.node_id, RUN).await {
        return denied(told(&work.node, &error));
    }
    let gone = CancellationToken::new();
    let run = Run {
        id: &row.id,
        key: format!("exec:{}", row.id),
        allowed: allowed.as_ref(),
    };
    let running = perform(directory, scope, (work, &variables), run, || (), &gone);
    let aside = async {
        let notice = async {
            if !seen {
                tokio::time::sleep(notice(directory, scope).await).await;
                if let Err(error) = announce(directory, scope, (row, work)).await {
                    tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "that a command runs was not told");
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = notice => {}
            () = stopped(directory, scope, &row.id) => gone.cancel(),
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = running => End::Answer(answer),
        () = aside => End::Before(Outcome::Interrupted),
    }
}

/// What the call of a node comes to.
fn outcome_of(work: &Work, answer: Answer) -> Outcome {
    answer.map_or_else(|error| failed(work, &error), Outcome::Finished)
}

/// What a failed call comes to.
fn failed(work: &Work, error: &WireError) -> Outcome {
    let code = error.details.as_ref().and_then(|details| details["code"].as_str());
    match code {
        Some("ABORTED") => Outcome::Stopped,
        Some("OUTCOME_UNKNOWN") => Outcome::Interrupted,
        Some(code) if code.starts_with("APPROVAL_") || code == "UNKNOWN_APPROVAL_ID" => Outcome::Denied {
            why: told(&work.node, error),
            by_a_person: false,
        },
        // The node's own rules.
        _ if error.message.contains("SYSTEM_RUN_DENIED") => Outcome::Denied {
            why: told(&work.node, error),
            by_a_person: false,
        },
        Some(_) | None => Outcome::Failed(told(&work.node, error)),
    }
}

async fn notice(directory: &Directory, scope: &Scope) -> Duration {
    let settings = directory.services().config.settings(scope).await;
    let chosen = settings.map(|settings| settings.tools.exec["approvalRunningNoticeMs"].as_u64());
    Duration::from_millis(chosen.ok().flatten().unwrap_or(NOTICE_MS))
}

/// A line for the session's next turn: the command goes on.
async fn announce(directory: &Directory, scope: &Scope, (row, work): (&exec_run::Model, &Work)) -> Result<()> {
    let services = directory.services();
    if Own::find(&services.config, scope, &row.session_key).await?.is_none() {
        return Ok(());
    }
    let line = words::started(&row.id, &work.node, &work.command());
    system_event::add(services, scope, &row.session_key, &line).await
}

/// Waits until somebody has the command stop.
async fn stopped(directory: &Directory, scope: &Scope, id: &str) {
    let look = || async move {
        let found = exec_run::Entity::owned_by(scope)
            .filter(exec_run::Column::Id.eq(id))
            .one(&directory.services().db.glance(scope).await?)
            .await?;
        Ok(found.is_none_or(|row| row.state != exec_run::RUNNING).then_some(()))
    };
    directory.approvals().until(scope, id, look).await;
}

/// Ends it, in one commit with what tells that. False when somebody else did.
async fn over(
    directory: &Directory,
    scope: &Scope,
    (row, work): (&exec_run::Model, &Work),
    outcome: &Outcome,
) -> Result<bool> {
    let services = directory.services();
    let own = Own::find(&services.config, scope, &row.session_key).await?;
    let said = words::end(&row.id, &work.node, &work.command(), outcome);
    let asked = if said.wakes {
        let zone = services.config.cron_zone(scope).await?;
        let line = system_event::line(now_ms(), zone, &said.line);
        let mut origin: Origin = serde_json::from_value(row.origin.clone()).unwrap_or_default();
        if said.by_a_person {
            origin.chain = Chain::default();
        }
        let message = ClientMessage {
            source: SOURCE.to_owned(),
            message: format!("{line}\n\n{}", said.rest),
            timeout_ms: Some(TURN_MS),
            queue_mode: Some("followup".to_owned()),
            background: true,
            charge: origin.charge.clone(),
            relayed: Some(origin.relayed(said.line.clone())),
            ..ClientMessage::default()
        };
        let payload = serde_json::to_string(&message).map_err(Error::internal)?;
        let key = format!("{SOURCE}:{}", row.id);
        Some(intake::own_row(
            scope,
            SOURCE,
            &key,
            &row.session_key,
            payload,
            now_ms(),
        ))
    } else {
        None
    };
    let (wakes, scope_in, row_in) = (asked.is_some(), scope.clone(), row.clone());
    let done = services
        .writer
        .run(scope, move |tx| {
            let (scope, row, own, asked) = (scope_in.clone(), row_in.clone(), own.clone(), asked.clone());
            let said_in = said.clone();
            Box::pin(async move {
                let current = exec_run::Entity::owned_by(&scope)
                    .filter(exec_run::Column::Id.eq(row.id.as_str()))
                    .one(tx)
                    .await?;
                let mut theirs = Condition::all().add(exec_run::Column::Id.eq(row.id.as_str()));
                theirs = match &row.boot_id {
                    Some(boot) => theirs.add(exec_run::Column::BootId.eq(boot.as_str())),
                    None => theirs
                        .add(exec_run::Column::BootId.is_null())
                        .add(exec_run::Column::State.eq(row.state.as_str())),
                };
                let gone = exec_run::Entity::delete_owned(&scope).filter(theirs).exec(tx).await?;
                if gone.rows_affected == 0 {
                    return Ok(false);
                }
                // Whoever had it stopped does not want to hear of it.
                if !said_in.heard
                    || current.is_some_and(|row| row.state == exec_run::DROPPED)
                    || subagent::is_stopped(tx, &scope, &row.session_key, row.created_at).await?
                {
                    return Ok(true);
                }
                match (asked, own) {
                    (Some(asked), _) => {
                        inbox::Entity::insert(asked).exec_without_returning(tx).await?;
                    }
                    (None, Some(own)) => system_event::put(tx, &scope, &own, &said_in.line).await?,
                    (None, None) => {}
                }
                Ok(true)
            })
        })
        .await?;
    if done && wakes {
        directory.wake(scope, &row.session_key);
    }
    Ok(done)
}
