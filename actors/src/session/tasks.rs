//! Background tasks as one list: sub-agents, runs of scheduled jobs and of hooks. Each is known by its run.

use claw_entities::{Scope, SessionKey, UserOwned, cron_run, hook_run, subagent};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::subagent as agents;
use crate::Services;
use crate::config::cron::job::{firing_of, run_id};
use crate::error::Result;
use crate::supervisor::directory::{AbortRequest, Directory};

/// Rows of each kind that one look reads: a sub-agent's holds its whole task.
const PAGE: u64 = 200;
/// Characters of a title.
const TITLE: usize = 120;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Completed,
    Failed,
    Cancelled,
    TimedOut,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }

    /// Of a run on record; `None` while it goes on.
    fn of(status: Option<&str>) -> Self {
        match status {
            None => Self::Running,
            Some("ok") => Self::Completed,
            Some("timeout") => Self::TimedOut,
            Some("skipped" | "killed") => Self::Cancelled,
            Some(_) => Self::Failed,
        }
    }
}

/// One task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The run's.
    pub(crate) id: String,
    /// `subagent`, `cron` or `hook`.
    pub(crate) kind: &'static str,
    pub(crate) status: Status,
    pub(crate) title: String,
    pub(crate) agent_id: String,
    /// The session it belongs to: of a sub-agent the one that began it.
    pub(crate) session: SessionKey,
    /// The session it works in.
    pub(crate) works_in: SessionKey,
    /// The job's or the sub-agent's.
    pub(crate) source_id: String,
    /// Epoch milliseconds, as the next two.
    pub(crate) created_at: i64,
    pub(crate) ended_at: Option<i64>,
    pub(crate) summary: Option<String>,
    pub(crate) error: Option<String>,
    /// As the protocol calls it.
    pub(crate) delivery: &'static str,
    /// What was asked.
    pub(crate) prompt: Option<String>,
}

impl From<subagent::Model> for Task {
    fn from(row: subagent::Model) -> Self {
        let running = row.state == "running";
        let status = Status::of(if running { None } else { row.status.as_deref() });
        Self {
            id: agents::first_run(&row.id),
            kind: "subagent",
            status,
            title: title(row.label.as_deref().unwrap_or(&row.task)),
            agent_id: row.agent_id,
            session: row.parent_key,
            works_in: row.child_key,
            source_id: row.id,
            created_at: row.created_at,
            ended_at: row.ended_at,
            summary: None,
            error: None,
            delivery: match status {
                Status::Running => "pending",
                Status::Cancelled => "not_applicable",
                Status::Completed | Status::Failed | Status::TimedOut => "session_queued",
            },
            prompt: Some(row.task),
        }
    }
}

impl From<cron_run::Model> for Task {
    fn from(row: cron_run::Model) -> Self {
        Self {
            id: run_id(&row.job_id, row.scheduled_at),
            kind: "cron",
            status: Status::of(row.status.as_deref()),
            title: title(&row.job_name),
            agent_id: row.agent_id,
            session: row.session_key.clone(),
            works_in: row.session_key,
            source_id: row.job_id,
            created_at: row.started_at,
            ended_at: row.ended_at,
            summary: row.summary,
            error: row.error,
            delivery: delivery(&row.delivery),
            prompt: None,
        }
    }
}

impl From<hook_run::Model> for Task {
    fn from(row: hook_run::Model) -> Self {
        Self {
            source_id: row.id.clone(),
            id: row.id,
            kind: "hook",
            status: Status::of(row.status.as_deref()),
            title: title(&row.name),
            agent_id: row.agent_id,
            session: row.session_key.clone(),
            works_in: row.session_key,
            created_at: row.started_at,
            ended_at: row.ended_at,
            summary: None,
            error: row.delivery_error,
            delivery: delivery(&row.delivery),
            prompt: None,
        }
    }
}

fn title(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(TITLE).collect()
}

/// How an answer for a chat stands, in the protocol's words.
fn delivery(stored: &str) -> &'static str {
    match stored {
        "queued" => "pending",
        "not-delivered" => "failed",
        _ => "not_applicable",
    }
}

/// Which tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Names; empty: all.
    pub(crate) statuses: Vec<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) session: Option<SessionKey>,
    pub(crate) limit: usize,
    /// Only what stands behind this one: when it was created, and its id.
    pub(crate) after: Option<(i64, String)>,
}

/// Tasks, newest first, and where the next page begins.
pub(crate) async fn list(
    services: &Services,
    scope: &Scope,
    wanted: &Wanted,
) -> Result<(Vec<Task>, Option<(i64, String)>)> {
    let before = wanted.after.as_ref().map_or(i64::MAX, |(at, _)| *at);
    let view = services.db.glance(scope).await?;
    let mut all: Vec<Task> = Vec::new();
    // As far back as every kind has been read.
    let mut horizon = i64::MIN;
    let mut take = |rows: Vec<Task>| {
        if rows.len() as u64 == PAGE {
            horizon = rows
                .iter()
                .map(|task| task.created_at)
                .min()
                .unwrap_or(horizon)
                .max(horizon);
        }
        all.extend(rows);
    };
    let rows = page(subagent::Entity::owned_by(scope), subagent::Column::CreatedAt, before);
    take(rows.all(&view).await?.into_iter().map(Task::from).collect());
    let rows = page(cron_run::Entity::owned_by(scope), cron_run::Column::StartedAt, before);
    take(rows.all(&view).await?.into_iter().map(Task::from).collect());
    let rows = page(hook_run::Entity::owned_by(scope), hook_run::Column::StartedAt, before);
    take(rows.all(&view).await?.into_iter().map(Task::from).collect());
    all.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
    let place = |task: &Task| (task.created_at, task.id.clone());
    all.retain(|task| {
        task.created_at >= horizon
            && wanted
                .after
                .as_ref()
                .is_none_or(|after| (task.created_at, &task.id) < (after.0, &after.1))
    });
    let oldest = all.last().map(place).filter(|_| horizon > i64::MIN);
    all.retain(|task| {
        (wanted.statuses.is_empty() || wanted.statuses.iter().any(|status| status == task.status.name()))
            && wanted.agent_id.as_ref().is_none_or(|agent| *agent == task.agent_id)
            && wanted
                .session
                .as_ref()
                .is_none_or(|session| [&task.session, &task.works_in].contains(&session))
    });
    let more = all.len() > wanted.limit;
    all.truncate(wanted.limit);
    let next = if more { all.last().map(place) } else { oldest };
    Ok((all, next))
}

/// Kind and state of the newest tasks of each kind.
pub(crate) async fn newest(services: &Services, scope: &Scope) -> Result<Vec<(&'static str, Status)>> {
    let view = services.db.glance(scope).await?;
    let rows = page(subagent::Entity::owned_by(scope), subagent::Column::CreatedAt, i64::MAX)
        .select_only()
        .columns([subagent::Column::State, subagent::Column::Status]);
    let agents: Vec<(String, Option<String>)> = rows.into_tuple().all(&view).await?;
    let rows = page(cron_run::Entity::owned_by(scope), cron_run::Column::StartedAt, i64::MAX)
        .select_only()
        .column(cron_run::Column::Status);
    let jobs: Vec<Option<String>> = rows.into_tuple().all(&view).await?;
    let rows = page(hook_run::Entity::owned_by(scope), hook_run::Column::StartedAt, i64::MAX)
        .select_only()
        .column(hook_run::Column::Status);
    let hooks: Vec<Option<String>> = rows.into_tuple().all(&view).await?;
    let agents = agents.into_iter().map(|(state, status)| {
        let ended = status.filter(|_| state != "running");
        ("subagent", Status::of(ended.as_deref()))
    });
    let jobs = jobs.iter().map(|status| ("cron", Status::of(status.as_deref())));
    let hooks = hooks.iter().map(|status| ("hook", Status::of(status.as_deref())));
    Ok(agents.chain(jobs).chain(hooks).collect())
}

fn page<E: EntityTrait>(rows: Select<E>, at: E::Column, before: i64) -> Select<E> {
    rows.filter(at.lte(before)).order_by_desc(at).limit(PAGE)
}

/// The task of a run.
pub(crate) async fn get(services: &Services, scope: &Scope, id: &str) -> Result<Option<Task>> {
    let view = services.db.glance(scope).await?;
    if let Some(agent) = agents::of_run(id) {
        let row = subagent::Entity::owned_by(scope)
            .filter(subagent::Column::Id.eq(agent))
            .one(&view)
            .await?;
        return Ok(row.map(Task::from));
    }
    if let Some((job, at)) = firing_of(id) {
        let row = cron_run::Entity::owned_by(scope)
            .filter(cron_run::Column::JobId.eq(job))
            .filter(cron_run::Column::ScheduledAt.eq(at))
            .one(&view)
            .await?;
        return Ok(row.map(Task::from));
    }
    let row = hook_run::Entity::owned_by(scope)
        .filter(hook_run::Column::Id.eq(id))
        .one(&view)
        .await?;
    Ok(row.map(Task::from))
}

/// Stops a task. Gives whether there was anything to stop.
pub(crate) async fn cancel(directory: &Directory, scope: &Scope, task: &Task) -> Result<bool> {
    if task.status != Status::Running {
        return Ok(false);
    }
    if task.kind == "subagent" {
        let rows = subagent::Entity::owned_by(scope)
            .filter(subagent::Column::Id.eq(task.source_id.as_str()))
            .all(&directory.services().db.glance(scope).await?)
            .await?;
        return Ok(agents::stop(directory, scope, rows).await? > 0);
    }
    let request = AbortRequest {
        session_key: task.works_in.clone(),
        run_id: Some(task.id.clone()),
        requester: None,
        admin: true,
        stop_reason: "rpc",
        clear_queue: false,
    };
    Ok(directory.abort(scope, request).await?.aborted)
}
