//! Claims: a firing becomes a row of its own and an inbox row, once.

use std::borrow::Cow;

use claw_entities::{Scope, SessionKey, UserOwned, cron_job, cron_run, inbox};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set};
use serde_json::{Value, json};

use super::publish;
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::cron::job::{Definition, Job, Payload, WakeMode, run_id};
use crate::db::Batch;
use crate::error::{Error, Result};
use crate::session::intake::{self, ClientMessage, Relayed, Scheduled};
use crate::session::own::Own;
use crate::session::reach::Chain;
use crate::session::{key, system_event, untrusted};
use crate::supervisor::directory::Directory;

/// Longest runs without a limit of their own: an agent's turn and an event's, milliseconds.
const TURN_MS: u64 = 60 * 60 * 1000;
const EVENT_MS: u64 = 10 * 60 * 1000;
/// How long a job that cannot be run at all is put off, milliseconds.
const BROKEN_MS: i64 = 15 * 60 * 1000;
/// As above while the user has switched scheduled jobs off.
const OFF_MS: i64 = 60_000;
/// Schedules that cannot be computed this often end the job.
const SCHEDULE_ERRORS: i64 = 3;

/// Which runs a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Now, whatever the schedule says.
    Force,
    /// Now, unless the job is switched off.
    IfEnabled,
    /// Only when it is due.
    Due,
}

/// What asking for a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    Run(String),
    /// `already-running`, `not-due` or `disabled`.
    Not(&'static str),
}

/// Runs a job because a person asked, or with `chain` an agent: its turn carries on counting there.
///
/// # Errors
/// `NotFound` when there is no such job.
pub(crate) async fn run_now(
    directory: &Directory,
    scope: &Scope,
    id: &str,
    asked: Asked,
    chain: Option<Chain>,
) -> Result<Started> {
    if directory.draining() {
        return Err(Error::Busy {
            message: "the service is restarting".to_owned(),
            retry_after: std::time::Duration::from_secs(1),
        });
    }
    let config = &directory.services().config;
    let job = config
        .cron_job(scope, id)
        .await?
        .ok_or(Error::NotFound { what: "cron job" })?;
    let now = now_ms();
    if job.running_at.is_some() {
        return Ok(Started::Not("already-running"));
    }
    match asked {
        Asked::IfEnabled if !job.enabled => return Ok(Started::Not("disabled")),
        Asked::Due if job.next_run_at.is_none_or(|at| at > now) => return Ok(Started::Not("not-due")),
        Asked::Force | Asked::IfEnabled | Asked::Due => {}
    }
    let due = job.next_run_at.filter(|at| *at <= now && asked == Asked::Due);
    match Box::pin(fire(directory, scope, job, (due, chain), now)).await? {
        Some(run_id) => Ok(Started::Run(run_id)),
        None => Ok(Started::Not("already-running")),
    }
}

/// Claims a job that is due, if it may run. One that cannot be run at all is put off, so that it does not hold up the
/// others.
pub(super) async fn due(directory: &Directory, scope: &Scope, row: cron_job::Model, now: i64) -> Result<()> {
    let (id, epoch) = (row.id.clone(), row.epoch);
    match claim(directory, scope, row, now).await {
        Err(error @ (Error::Storage(_) | Error::Busy { .. } | Error::Fenced)) => Err(error),
        Err(error) => {
            tracing::error!(tenant.id = %scope.tenant(), cron.job = %id, error = ?error, "a job cannot be run");
            put_off(directory, scope, &id, epoch, now + BROKEN_MS).await
        }
        Ok(()) => Ok(()),
    }
}

async fn claim(directory: &Directory, scope: &Scope, row: cron_job::Model, now: i64) -> Result<()> {
    let config = &directory.services().config;
    if config.is_locked(scope) && hold(directory, scope, &row.id, row.epoch).await? {
        return Ok(());
    }
    if !config.settings(scope).await?.cron.enabled {
        return put_off(directory, scope, &row.id, row.epoch, now + OFF_MS).await;
    }
    let scheduled_at = row.next_run_at;
    let job = Job::try_from(row).map_err(Error::internal)?;
    Box::pin(fire(directory, scope, job, (scheduled_at, None), now))
        .await
        .map(|_| ())
}

/// Moves a job's next time, unless it was changed since it was read.
pub(super) async fn put_off(directory: &Directory, scope: &Scope, id: &str, epoch: i64, to: i64) -> Result<()> {
    let (scope_in, id) = (scope.clone(), id.to_owned());
    directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, id) = (scope_in.clone(), id.clone());
            Box::pin(async move {
                cron_job::Entity::update_owned(&scope)
                    .col_expr(cron_job::Column::NextRunAt, Expr::value(to))
                    .col_expr(cron_job::Column::Epoch, Expr::value(epoch + 1))
                    .filter(cron_job::Column::Id.eq(id))
                    .filter(cron_job::Column::Epoch.eq(epoch))
                    .exec(tx)
                    .await?;
                Ok(())
            })
        })
        .await
}

/// Is the job's user locked out, as the database has it.
pub(super) const LOCKED: &str = "(EXISTS (SELECT 1 FROM \"user\" WHERE \"user\".tenant_id = cron_job.tenant_id \
     AND \"user\".id = cron_job.user_id AND \"user\".status <> 'active') \
     OR EXISTS (SELECT 1 FROM tenant WHERE tenant.id = cron_job.tenant_id AND tenant.status <> 'active'))";

/// Passes over a due job of somebody who is locked out, until they are let in again. False when they just were.
async fn hold(directory: &Directory, scope: &Scope, id: &str, epoch: i64) -> Result<bool> {
    let (scope_in, id) = (scope.clone(), id.to_owned());
    let held = directory
        .services()
        .writer
        .run(scope, move |tx| {
            let (scope, id) = (scope_in.clone(), id.clone());
            Box::pin(async move {
                Ok(cron_job::Entity::update_owned(&scope)
                    .col_expr(cron_job::Column::Held, Expr::value(true))
                    .col_expr(cron_job::Column::Epoch, Expr::value(epoch + 1))
                    .filter(cron_job::Column::Id.eq(id))
                    .filter(cron_job::Column::Epoch.eq(epoch))
                    // Asked where it is decided: whoever lets them in releases what is held by then. On PostgreSQL the
                    // two may miss each other, and the sweep releases it.
                    .filter(Expr::cust(LOCKED))
                    .exec(tx)
                    .await?)
            })
        })
        .await?;
    Ok(held.rows_affected == 1)
}

/// What a firing writes.
#[derive(Clone)]
struct Firing {
    job: Job,
    scheduled_at: i64,
    manual: bool,
    now: i64,
    agent_id: String,
    session_key: SessionKey,
    does: Does,
    /// The next time, and whether it could be computed.
    next: Option<i64>,
    broken: Option<String>,
}

#[derive(Clone)]
enum Does {
    /// JSON of a [`ClientMessage`].
    Ask(String),
    /// Leaves a line in the job's session and is over.
    Note(Own, String),
}

/// Claims the firing at `due` (`None`: somebody asked for one now) and hands it to its session. `None` when somebody
/// else was faster or the job changed.
async fn fire(
    directory: &Directory,
    scope: &Scope,
    job: Job,
    (due, chain): (Option<i64>, Option<Chain>),
    now: i64,
) -> Result<Option<String>> {
    let services = directory.services();
    let settings = services.config.settings(scope).await?;
    let agent_id = job.agent(&settings.default_agent).to_owned();
    let session_key = session_of(&services.config, scope, &job, &agent_id).await?;
    let zone = settings.zone();
    let does = match &job.definition.payload {
        Payload::SystemEvent { text } if job.definition.wake_mode == WakeMode::NextHeartbeat => {
            let own = Own::expect(&services.config, scope, &session_key).await?;
            Does::Note(own, text_of(&job.definition, &session_key, text).into_owned())
        }
        Payload::SystemEvent { .. } | Payload::AgentTurn { .. } => {
            let mut message = message(&job, &session_key, now, zone);
            message.charge.job = Some(job.id.clone());
            message.relayed = chain.map(|chain| Relayed {
                shown: message.message.clone(),
                chain,
                ..Relayed::default()
            });
            Does::Ask(serde_json::to_string(&message).map_err(Error::internal)?)
        }
    };
    let (next, broken) = match (due, job.definition.schedule.next(&job.id, now)) {
        // A run somebody asked for leaves the schedule alone.
        (None, _) => (job.next_run_at, None),
        (Some(_), Ok(next)) => (next, None),
        (Some(_), Err(why)) => (Some(now + 60_000), Some(why)),
    };
    let firing = Firing {
        scheduled_at: due.unwrap_or(now),
        manual: due.is_none(),
        now,
        agent_id,
        session_key,
        does,
        next,
        broken,
        job,
    };
    let run_id = run_id(&firing.job.id, firing.scheduled_at);
    let (scope_in, kept) = (scope.clone(), firing.clone());
    let claimed = services
        .writer
        .run(scope, move |tx| {
            let (scope, firing) = (scope_in.clone(), kept.clone());
            Box::pin(async move { store(tx, &scope, firing).await })
        })
        .await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        // It has fired at this time before, and was given the same time again: it fires as of now.
        Err(Error::Conflict(_)) if due.is_some() => {
            put_off(directory, scope, &firing.job.id, firing.job.epoch, now).await?;
            return Ok(None);
        }
        Err(Error::Conflict(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !claimed {
        return Ok(None);
    }
    tracing::debug!(tenant.id = %scope.tenant(), run.id = %run_id, "cron job claimed");
    metrics::counter!("claw_cron_claims_total").increment(1);
    let mut job = firing.job;
    (job.running_at, job.next_run_at) = (Some(now), firing.next);
    publish(
        directory,
        scope,
        &json!({"jobId": job.id, "action": "started", "runAtMs": now, "job": job.event(None)}),
    );
    match firing.does {
        Does::Ask(_) => directory.wake(scope, &firing.session_key),
        Does::Note(..) => {
            super::settle(directory, scope, &run_id).await?;
        }
    }
    Ok(Some(run_id))
}

/// Claim, firing and inbox row in one transaction. False when the job was changed or claimed since it was read.
async fn store(tx: &crate::db::Transaction, scope: &Scope, firing: Firing) -> Result<bool> {
    let Firing { job, now, .. } = &firing;
    let mut state = job.state.clone();
    let mut enabled = job.enabled;
    if firing.broken.is_some() {
        state.schedule_error_count += 1;
        state.last_error.clone_from(&firing.broken);
        enabled = enabled && state.schedule_error_count < SCHEDULE_ERRORS;
    }
    let claimed = cron_job::Entity::update_owned(scope)
        .col_expr(cron_job::Column::RunningAt, Expr::value(*now))
        .col_expr(
            cron_job::Column::NextRunAt,
            Expr::value(firing.next.filter(|_| enabled)),
        )
        .col_expr(cron_job::Column::Enabled, Expr::value(enabled))
        .col_expr(cron_job::Column::State, Expr::value(json!(state)))
        .col_expr(cron_job::Column::Epoch, Expr::value(job.epoch + 1))
        .filter(cron_job::Column::Id.eq(job.id.as_str()))
        .filter(cron_job::Column::Epoch.eq(job.epoch))
        .filter(cron_job::Column::RunningAt.is_null())
        .exec(tx)
        .await?;
    if claimed.rows_affected == 0 {
        return Ok(false);
    }
    if let Does::Note(own, text) = &firing.does {
        system_event::put(tx, scope, own, text).await?;
    }
    let mut batch = Batch::new(tx);
    batch.add(&cron_run::Entity::insert(cron_run::ActiveModel {
        tenant_id: Set(scope.tenant().clone()),
        user_id: Set(scope.user().clone()),
        job_id: Set(job.id.clone()),
        scheduled_at: Set(firing.scheduled_at),
        job_name: Set(job.definition.name.clone()),
        agent_id: Set(firing.agent_id.clone()),
        session_key: Set(firing.session_key.clone()),
        manual: Set(firing.manual),
        started_at: Set(*now),
        ended_at: Set(None),
        status: Set(None),
        error: Set(None),
        summary: Set(None),
        delivery: Set("not-requested".to_owned()),
        delivery_error: Set(None),
        session_id: Set(None),
        provider: Set(None),
        model: Set(None),
        usage: Set(Value::Null),
        next_run_at: Set(None),
        expires_at: Set(None),
    }));
    let (state, payload) = match &firing.does {
        Does::Ask(payload) => ("pending", payload.clone()),
        // On record like every firing, and done: the line waits for the session's next turn.
        Does::Note(..) => ("done", "{}".to_owned()),
    };
    let key = run_id(&job.id, firing.scheduled_at);
    batch.add(&inbox::Entity::insert(inbox::ActiveModel {
        state: Set(state.to_owned()),
        ..intake::own_row(scope, "cron", &key, &firing.session_key, payload, *now)
    }));
    batch.run(tx).await?;
    Ok(true)
}

/// The session a job runs in.
async fn session_of(config: &ConfigService, scope: &Scope, job: &Job, agent: &str) -> Result<SessionKey> {
    let definition: &Definition = &job.definition;
    if let Some(named) = definition.session_target.strip_prefix("session:") {
        return key::resolve(named, agent);
    }
    if definition.session_target == "isolated" {
        return Ok(own_session(&job.id, agent));
    }
    let Some(named) = &definition.session_key else {
        return Ok(key::main(agent));
    };
    let own = Own::find(config, scope, &key::resolve(named, agent)?).await?;
    Ok(own.unwrap_or_else(|| Own::main(agent)).key().clone())
}

/// The session of a job's own.
pub(super) fn own_session(job_id: &str, agent: &str) -> SessionKey {
    key::under(agent, &format!("cron:{job_id}"))
}

/// Do a hook's session and the job belong together: what it says came from a stranger, or may have.
fn is_a_hooks(definition: &Definition, session: &SessionKey) -> bool {
    key::is_hook(session.as_str()) || definition.session_key.as_deref().is_some_and(key::is_hook)
}

/// A job's text, marked as a stranger's where it may be one's.
fn text_of<'a>(definition: &Definition, session: &SessionKey, text: &'a str) -> Cow<'a, str> {
    if is_a_hooks(definition, session) && !definition.trusts_strangers() {
        Cow::Owned(untrusted::wrap("a scheduled job of a hook", text))
    } else {
        Cow::Borrowed(text)
    }
}

/// What the session is asked.
fn message(job: &Job, session: &SessionKey, now: i64, zone: chrono_tz::Tz) -> ClientMessage {
    let definition = &job.definition;
    match &definition.payload {
        Payload::SystemEvent { text } => ClientMessage {
            source: "cron".to_owned(),
            message: system_event::prompt(now, zone, &text_of(definition, session, text)),
            timeout_ms: Some(EVENT_MS),
            queue_mode: Some("followup".to_owned()),
            background: true,
            ..ClientMessage::default()
        },
        Payload::AgentTurn {
            message,
            model,
            thinking,
            timeout_seconds,
            tools_allow,
            fallbacks,
            light_context,
            allow_unsafe_external_content: _,
        } => {
            let asked = text_of(definition, session, message);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked when the job was saved"
            )]
            let timeout = timeout_seconds.map(|seconds| (seconds * 1000.0).ceil() as u64);
            let tools = tools_allow
                .clone()
                .filter(|tools| !tools.iter().any(|tool| tool == "*"));
            ClientMessage {
                source: "cron".to_owned(),
                message: format!(
                    "[cron:{} {}] {asked}\nCurrent time: {} ({})",
                    job.id,
                    definition.name,
                    system_event::wall_time(now, zone),
                    zone.name()
                ),
                model: model.clone(),
                thinking: thinking.clone(),
                timeout_ms: Some(timeout.unwrap_or(TURN_MS)),
                queue_mode: Some("followup".to_owned()),
                background: true,
                scheduled: Some(Scheduled {
                    fresh: definition.session_target == "isolated",
                    tools,
                    fallbacks: fallbacks.clone(),
                    light_context: *light_context == Some(true),
                }),
                ..ClientMessage::default()
            }
        }
    }
}
