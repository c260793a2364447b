//! The end of a scheduled run: its log entry, what the job plans next, and where the answer goes. One commit.

use claw_entities::{Scope, UserOwned, cron_run, inbox, run, subagent};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::{Value, json};

use super::announce::{self, Announcement};
use super::outcome::{After, Record, outcome, undeliverable};
use super::publish;
use super::record::store_end;
use crate::Services;
use crate::clock::now_ms;
use crate::config::cron::job::{DeliveryMode, FailureAlert, FailureTarget, Job, Payload, firing_of, run_id};
use crate::error::{Error, Result};
use crate::ports::channel::FileAbout;
use crate::session::excerpt::beginning;
use crate::session::turn::Piece;
use crate::session::{heartbeat, repeats, reply};
use crate::supervisor::directory::Directory;

/// Failures in a row before somebody is told, and how long it is quiet then, milliseconds.
const ALERT_AFTER: i64 = 2;
const ALERT_COOLDOWN_MS: i64 = 3_600_000;
/// Longest summary in the log, characters.
pub(super) const SUMMARY: usize = 2000;
/// How often the end is tried when the job is changed meanwhile.
const TRIES: usize = 5;

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// `ok`, `error` or `skipped`.
    pub(super) status: &'static str,
    pub(super) error: Option<String>,
    pub(super) class: Option<String>,
    /// The last text of the answer, whole.
    pub(super) text: Option<String>,
    /// Files that the answer showed.
    pub(super) files: Vec<FileAbout>,
    pub(super) started_at: i64,
    pub(super) ended_at: i64,
    pub(super) session_id: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) model: Option<String>,
    pub(super) usage: Value,
}

/// Puts the end of a run on record, if it has ended and is not on record yet. Gives whether it did.
pub(crate) async fn settle(directory: &Directory, scope: &Scope, run_id: &str) -> Result<bool> {
    let Some((job_id, scheduled_at)) = firing_of(run_id) else {
        return Ok(false);
    };
    let services = directory.services();
    let Some(open) = open_run(services, scope, job_id, scheduled_at).await? else {
        return Ok(false);
    };
    let Some(ended) = ended(services, scope, &open, run_id).await? else {
        return Ok(false);
    };
    for _ in 0..TRIES {
        let job = services.config.cron_job(scope, job_id).await?;
        let told = announcements(directory, scope, &open, job.as_ref(), &ended).await?;
        let settings = services.config.settings(scope).await?;
        let (record, after) = outcome(&open, job, ended.clone(), &told, &settings.cron, now_ms());
        match store_end(services, scope, &open, &record, after.clone(), told.clone()).await {
            Ok(true) => {
                finished(directory, scope, &open, &record, after, &told);
                return Ok(true);
            }
            // Somebody else put it on record.
            Ok(false) => return Ok(false),
            // The job was changed in between: its next time may be another.
            Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::Conflict("the job is being changed".to_owned()))
}

impl Ended {
    pub(super) fn duration_ms(&self) -> i64 {
        (self.ended_at - self.started_at).max(0)
    }
}

async fn open_run(services: &Services, scope: &Scope, job_id: &str, at: i64) -> Result<Option<cron_run::Model>> {
    Ok(cron_run::Entity::owned_by(scope)
        .filter(cron_run::Column::JobId.eq(job_id))
        .filter(cron_run::Column::ScheduledAt.eq(at))
        .filter(cron_run::is_open())
        .one(&services.db.glance(scope).await?)
        .await?)
}

/// What is on record of a turn that a clock began (its inbox row has `source`); `None` while it goes on. Inbox row and run
/// are written in one commit, so they agree.
pub(crate) async fn record_of(
    services: &Services,
    scope: &Scope,
    source: &str,
    run_id: &str,
) -> Result<Option<(Option<inbox::Model>, Option<run::Model>)>> {
    let view = services.db.read(scope).await?;
    let row = inbox::Entity::owned_by(scope)
        .filter(inbox::Column::Source.eq(source))
        .filter(inbox::Column::AccountId.eq(scope.user().as_str()))
        .filter(inbox::Column::EventKey.eq(run_id))
        .one(&*view)
        .await?;
    if row
        .as_ref()
        .is_some_and(|row| matches!(row.state.as_str(), "pending" | "running"))
    {
        return Ok(None);
    }
    let ran = run::Entity::owned_by(scope)
        .filter(run::Column::Id.eq(run_id))
        .one(&*view)
        .await?;
    Ok(Some((row, ran)))
}

/// How the run ended; `None` while it goes on.
async fn ended(services: &Services, scope: &Scope, open: &cron_run::Model, run_id: &str) -> Result<Option<Ended>> {
    let Some((row, ran)) = record_of(services, scope, "cron", run_id).await? else {
        return Ok(None);
    };
    let now = now_ms();
    let mut ended = Ended {
        status: "ok",
        error: None,
        class: None,
        text: None,
        files: Vec::new(),
        started_at: open.started_at,
        ended_at: now,
        session_id: None,
        provider: None,
        model: None,
        usage: Value::Null,
    };
    let Some(ran) = ran else {
        match row {
            Some(row) if row.state == "done" => {}
            Some(row) => {
                ended.status = if row.state == "skipped" { "skipped" } else { "error" };
                ended.error = row.reason;
            }
            None => {
                ended.status = "error";
                ended.error = Some("the firing is not on record any more".to_owned());
            }
        }
        return Ok(Some(ended));
    };
    ended.started_at = ran.started_at;
    ended.ended_at = ran.ended_at.unwrap_or(now);
    ended.session_id = Some(ran.session_id).filter(|id| !id.is_empty());
    ended.provider = ran.provider.filter(|name| !name.is_empty());
    ended.model = ran.model.filter(|name| !name.is_empty());
    ended.usage = ran.usage;
    if ran.status != "ok" {
        ended.status = "error";
        ended.error = Some(
            ran.error_message
                .unwrap_or_else(|| format!("the run was {}", ran.status)),
        );
        ended.class = ran.error_class.or(Some(ran.status));
    }
    let payloads = ran.result["payloads"].as_array().map(Vec::as_slice).unwrap_or_default();
    ended.text = payloads
        .iter()
        .rev()
        .filter_map(|payload| payload["text"].as_str())
        .find_map(|text| reply::shape(text).text);
    ended.files = announce::files_of(&ran.result);
    Ok(Some(ended))
}

/// What goes to chats: the answer, or the failure.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) answer: Option<std::result::Result<Announcement, String>>,
    pub(super) failure: Option<Announcement>,
    /// The answer is kept back: sub-agents that the run began have the last word.
    pub(super) held: bool,
    /// The answer goes to a program: the main session is not told.
    pub(super) quiet: bool,
    /// The failure alert among them, which starts its quiet time.
    pub(super) alert: bool,
}

async fn announcements(
    directory: &Directory,
    scope: &Scope,
    open: &cron_run::Model,
    job: Option<&Job>,
    ended: &Ended,
) -> Result<Told> {
    let mut told = Told::default();
    let Some(job) = job else { return Ok(told) };
    let definition = &job.definition;
    let name = definition.name.as_str();
    let delivery = definition.delivery.as_ref();
    if ended.status == "ok"
        && let Some(delivery) = delivery.filter(|delivery| delivery.mode == DeliveryMode::Announce)
        && matches!(definition.payload, Payload::AgentTurn { .. })
        && (ended.text.is_some() || !ended.files.is_empty())
    {
        let answer = (ended.text.as_deref(), ended.files.as_slice());
        let said = announce::answer(directory, scope, &open.agent_id, &delivery.target, answer).await?;
        let run_id = run_id(&open.job_id, open.scheduled_at);
        told.answer = Some(match said {
            Ok(mut said) => {
                let (files, words): (Vec<Piece>, Vec<Piece>) =
                    said.pieces.into_iter().partition(|piece| piece.media.is_some());
                // The run wrote it there itself.
                let repeats = repeats::was_sent(directory.services(), scope, &run_id, &words).await?;
                let held = has_begun(directory.services(), scope, open, ended).await?;
                said.pieces = if repeats || held { Vec::new() } else { words };
                said.pieces.extend(files);
                told.held = held && said.pieces.is_empty();
                Ok(said)
            }
            Err(why) => Err(why),
        });
        if told.held {
            told.answer = None;
        }
    }
    if ended.status == "ok"
        && let Some(delivery) = delivery.filter(|delivery| delivery.mode == DeliveryMode::Webhook)
        && ended.text.is_some()
    {
        told.answer = Some(Ok(announce::posted(
            scope,
            &delivery.target,
            &finished_event(open, ended),
        )));
        told.quiet = true;
    }
    // An event for the main session is said where the agent says what it finds by itself.
    if ended.status == "ok"
        && matches!(definition.payload, Payload::SystemEvent { .. })
        && (ended.text.is_some() || !ended.files.is_empty())
        && let Some(place) = heartbeat::place_of(directory, scope, &open.agent_id).await?
    {
        let answer = (ended.text.as_deref(), ended.files.as_slice());
        told.answer = announce::answer_at(directory, place, answer).ok().map(Ok);
    }
    let lost = undeliverable(job, told.answer.as_ref()).map(str::to_owned);
    if ended.status != "error" && lost.is_none() {
        return Ok(told);
    }
    let failed = Ended {
        status: "error",
        error: lost.or_else(|| ended.error.clone()),
        ..ended.clone()
    };
    let error = failed.error.as_deref().unwrap_or("unknown error");
    let in_a_row = job.state.consecutive_errors + 1;
    if let Some(target) = delivery.and_then(|delivery| delivery.failure_destination.as_ref()) {
        let text = format!("⚠️ Cron job \"{name}\" failed: {error}");
        told.failure = failure(directory, scope, (open, &failed), target, &text).await?;
    } else if let Some(FailureAlert::After { after, cooldown_ms, to }) = &definition.failure_alert {
        let quiet = job
            .state
            .last_failure_alert_at_ms
            .is_some_and(|at| at + cooldown_ms.unwrap_or(ALERT_COOLDOWN_MS) > now_ms());
        if in_a_row >= after.unwrap_or(ALERT_AFTER) && !quiet {
            let text = format!("Cron job \"{name}\" failed {in_a_row} times\nLast error: {error}");
            told.failure = failure(directory, scope, (open, &failed), to, &text).await?;
            told.alert = told.failure.is_some();
        }
    }
    Ok(told)
}

/// Did the run begin sub-agents whose end is told where its answer would be. What it says itself is not the result then.
async fn has_begun(services: &Services, scope: &Scope, open: &cron_run::Model, ended: &Ended) -> Result<bool> {
    let begun = subagent::Entity::owned_by(scope)
        .filter(subagent::Column::ParentKey.eq(open.session_key.clone()))
        .filter(subagent::Column::CreatedAt.between(ended.started_at, ended.ended_at))
        .filter(subagent::Column::State.ne("killed"))
        .all(&services.db.glance(scope).await?)
        .await?;
    Ok(begun.iter().any(|row| row.origin["unsaid"] == true))
}

/// The failure as it is told: in a chat, or as the run's event to a web address. `None` where there is no such chat.
async fn failure(
    directory: &Directory,
    scope: &Scope,
    (open, failed): (&cron_run::Model, &Ended),
    to: &FailureTarget,
    text: &str,
) -> Result<Option<Announcement>> {
    if to.is_posted() {
        let mut event = finished_event(open, failed);
        event["jobName"] = json!(open.job_name);
        event["message"] = json!(text);
        return Ok(Some(announce::posted(scope, &to.target, &event)));
    }
    let said = announce::to(directory, scope, &open.agent_id, &to.target, text).await?;
    Ok(said.ok())
}

/// The run as its event tells it.
fn finished_event(open: &cron_run::Model, ended: &Ended) -> Value {
    let mut payload = json!({
        "jobId": open.job_id, "action": "finished", "runId": run_id(&open.job_id, open.scheduled_at),
        "runAtMs": ended.started_at, "durationMs": ended.duration_ms(),
        "status": ended.status,
        "completionStatus": if ended.status == "ok" { "succeeded" } else { "failed" },
    });
    if let Some(text) = &ended.text {
        payload["summary"] = json!(beginning(text, SUMMARY));
    }
    if let Some(error) = &ended.error {
        payload["error"] = json!(error);
    }
    payload
}

/// Tells the clients, and sends what was put into the outbox.
fn finished(directory: &Directory, scope: &Scope, open: &cron_run::Model, record: &Record, after: After, told: &Told) {
    let answer = told.answer.as_ref().and_then(|answer| answer.as_ref().ok());
    for announcement in answer.into_iter().chain(&told.failure) {
        directory.delivery().kick(scope, &announcement.conversation);
    }
    let ended = &record.ended;
    let delivery = match record.delivery {
        "queued" => "unknown",
        other => other,
    };
    let mut payload = finished_event(open, ended);
    payload["deliveryStatus"] = json!(delivery);
    if let Some(next) = record.next_run_at {
        payload["nextRunAtMs"] = json!(next);
    }
    let removed = match after {
        After::Keep(job) => {
            payload["job"] = job.event(Some(delivery));
            false
        }
        After::Delete(job) => {
            payload["job"] = job.event(Some(delivery));
            true
        }
        After::Nothing => false,
    };
    publish(directory, scope, &payload);
    if removed {
        publish(directory, scope, &json!({"jobId": open.job_id, "action": "removed"}));
    }
    metrics::counter!("claw_cron_runs_total", "status" => ended.status).increment(1);
    directory.cron_changed().notify_one();
}
