//! What becomes of a job when one of its runs has ended (`agent-runtime` §17.4). Pure.

use claw_entities::cron_run;

use super::announce::Announcement;
use super::settle::{Ended, Told};
use crate::config::cron::Job;
use crate::config::cron::schedule::Schedule;
use crate::config::document::CronSettings;

/// Pauses after failures in a row, milliseconds.
const BACKOFF_MS: [i64; 5] = [30_000, 60_000, 300_000, 900_000, 3_600_000];
/// Shortest time from the end of a run to the next of a cron expression, milliseconds.
const REFIRE_GAP_MS: i64 = 2000;
/// Failures that may pass by themselves.
const PASSING: [&str; 5] = ["rate_limit", "overloaded", "network", "timeout", "server_error"];

/// The log entry's own columns.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) ended: Ended,
    pub(super) delivery: &'static str,
    pub(super) delivery_error: Option<String>,
    pub(super) next_run_at: Option<i64>,
}

/// What becomes of the job.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// It is gone already.
    Nothing,
    Delete(Job),
    Keep(Job),
}

/// Why an answer cannot go where the person said. That is a failure, unless they said that it need not arrive.
pub(super) fn undeliverable<'a>(
    job: &Job,
    answer: Option<&'a std::result::Result<Announcement, String>>,
) -> Option<&'a str> {
    let chosen = job.definition.delivery.as_ref()?;
    let why = answer?.as_ref().err()?;
    (chosen.target.channel().is_some() && chosen.best_effort != Some(true)).then_some(why)
}

/// Pure: the record, and the job after it (`agent-runtime` §17.4).
pub(super) fn outcome(
    open: &cron_run::Model,
    job: Option<Job>,
    mut ended: Ended,
    told: &Told,
    settings: &CronSettings,
    now: i64,
) -> (Record, After) {
    let (delivery, delivery_error) = match &told.answer {
        None if told.held => ("queued", None),
        None => ("not-requested", None),
        Some(Ok(_)) => ("queued", None),
        Some(Err(why)) => ("not-delivered", Some(why.clone())),
    };
    let Some(mut job) = job else {
        let record = Record {
            ended,
            delivery,
            delivery_error,
            next_run_at: None,
        };
        return (record, After::Nothing);
    };
    if let Some(why) = undeliverable(&job, told.answer.as_ref()).map(str::to_owned) {
        ended.status = "error";
        ended.error = Some(why);
        ended.class = Some("unclassified".to_owned());
    }
    let state = &mut job.state;
    state.last_run_at_ms = Some(ended.started_at);
    state.last_run_status = Some(ended.status.to_owned());
    state.last_error.clone_from(&ended.error);
    state.last_error_reason = ended.class.clone().filter(|_| ended.status == "error");
    state.last_duration_ms = Some(ended.duration_ms());
    state.last_delivery = Some(delivery.to_owned());
    state.last_delivery_error.clone_from(&delivery_error);
    state.last_scheduled_at = Some(open.scheduled_at);
    match ended.status {
        "error" => state.consecutive_errors += 1,
        _ => state.consecutive_errors = 0,
    }
    if told.alert {
        state.last_failure_alert_at_ms = Some(now);
    }
    job.running_at = None;
    let failed = ended.status == "error";
    let after = if open.manual {
        // The schedule goes on as if nothing had been.
        After::Keep(job)
    } else if job.definition.schedule.is_once() {
        once(job, failed, ended.class.as_deref(), settings, now)
    } else {
        After::Keep(again(job, failed, now))
    };
    let next_run_at = match &after {
        After::Keep(job) => job.next_run_at,
        After::Nothing | After::Delete(_) => None,
    };
    let record = Record {
        ended,
        delivery,
        delivery_error,
        next_run_at,
    };
    (record, after)
}

/// A one-shot job after it ran.
fn once(mut job: Job, failed: bool, class: Option<&str>, settings: &CronSettings, now: i64) -> After {
    // It was given another time while it ran.
    if job.enabled && job.next_run_at.is_some() {
        return After::Keep(job);
    }
    if !failed {
        if job.definition.delete_after_run == Some(true) {
            return After::Delete(job);
        }
        job.enabled = false;
        return After::Keep(job);
    }
    let failures = usize::try_from(job.state.consecutive_errors).unwrap_or(usize::MAX);
    let passing = class.is_some_and(|class| PASSING.contains(&class));
    if job.enabled && passing && failures <= settings.retry_attempts {
        let pauses = &settings.retry_backoff;
        let pause = pauses
            .get(failures.saturating_sub(1))
            .or(pauses.last())
            .copied()
            .unwrap_or_default();
        job.next_run_at = Some(now + i64::try_from(pause.as_millis()).unwrap_or(0));
    } else {
        job.enabled = false;
    }
    After::Keep(job)
}

/// A recurring job after it ran: its natural next time, later after failures.
fn again(mut job: Job, failed: bool, now: i64) -> Job {
    if !job.enabled {
        job.next_run_at = None;
        return job;
    }
    let gap = if matches!(job.definition.schedule, Schedule::Cron { .. }) {
        REFIRE_GAP_MS
    } else {
        0
    };
    // What came due while it ran is not made up for.
    if job.next_run_at.is_none_or(|at| at < now + gap) {
        job.next_run_at = match job.definition.schedule.next(&job.id, now + gap) {
            Ok(next) => next,
            Err(why) => {
                job.state.schedule_error_count += 1;
                job.state.last_error = Some(why);
                Some(now + BACKOFF_MS[0])
            }
        };
    }
    if failed {
        let failures = usize::try_from(job.state.consecutive_errors)
            .unwrap_or(usize::MAX)
            .max(1);
        let pause = BACKOFF_MS
            .get(failures - 1)
            .or(BACKOFF_MS.last())
            .copied()
            .unwrap_or_default();
        job.next_run_at = job.next_run_at.map(|at| at.max(now + pause));
    }
    job
}
