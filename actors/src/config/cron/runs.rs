//! The log of a user's scheduled runs.

use std::collections::HashMap;

use claw_entities::{Scope, UserOwned, cron_run, outbox};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{ColumnTrait, Condition, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::job::{Job, run_id};
use super::schedule;
use crate::config::ConfigService;
use crate::error::Result;

/// Which runs are asked for, and which of them.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub job_id: Option<String>,
    /// Planned time: one run of a job.
    pub scheduled_at: Option<i64>,
    pub agent_id: Option<String>,
    /// `ok`, `error`, `skipped`; empty = all.
    pub statuses: Vec<String>,
    /// Part of the job's name, the summary or the error.
    pub query: Option<String>,
    pub oldest_first: bool,
    pub limit: u64,
    pub offset: u64,
}

/// Did the answer of a run reach its chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// `delivered`, `not-delivered`, `unknown` or `not-requested`.
    pub status: &'static str,
    pub error: Option<String>,
}

impl Delivered {
    fn new(status: &'static str, error: Option<String>) -> Self {
        Self { status, error }
    }
}

impl ConfigService {
    /// Ended runs, and how many there are in all.
    pub async fn cron_runs(&self, scope: &Scope, filter: &RunFilter) -> Result<(Vec<cron_run::Model>, u64)> {
        let mut rows = cron_run::Entity::owned_by(scope).filter(cron_run::Column::EndedAt.is_not_null());
        if let Some(job) = &filter.job_id {
            rows = rows.filter(cron_run::Column::JobId.eq(job));
        }
        if let Some(at) = filter.scheduled_at {
            rows = rows.filter(cron_run::Column::ScheduledAt.eq(at));
        }
        if let Some(agent) = &filter.agent_id {
            rows = rows.filter(cron_run::Column::AgentId.eq(agent));
        }
        if !filter.statuses.is_empty() {
            rows = rows.filter(cron_run::Column::Status.is_in(filter.statuses.clone()));
        }
        if let Some(query) = filter.query.as_deref().filter(|query| !query.is_empty()) {
            let part = like(query);
            let holds = |column: cron_run::Column| Expr::expr(Func::lower(Expr::col(column))).like(part.clone());
            rows = rows.filter(
                Condition::any()
                    .add(holds(cron_run::Column::JobName))
                    .add(holds(cron_run::Column::Summary))
                    .add(holds(cron_run::Column::Error)),
            );
        }
        let view = self.db.read(scope).await?;
        let total = rows.clone().count(&*view).await?;
        let rows = if filter.oldest_first {
            rows.order_by_asc(cron_run::Column::EndedAt)
                .order_by_asc(cron_run::Column::ScheduledAt)
        } else {
            rows.order_by_desc(cron_run::Column::EndedAt)
                .order_by_desc(cron_run::Column::ScheduledAt)
        };
        let rows = rows.limit(filter.limit).offset(filter.offset).all(&*view).await?;
        Ok((rows, total))
    }

    /// What became of the answers of these runs, by run id. The outbox is asked: it goes on after the run has ended.
    pub async fn cron_deliveries(&self, scope: &Scope, rows: &[cron_run::Model]) -> Result<HashMap<String, Delivered>> {
        let known = rows.iter().map(|row| Known {
            run_id: run_id(&row.job_id, row.scheduled_at),
            delivery: &row.delivery,
            error: row.delivery_error.as_deref(),
        });
        self.delivered(scope, known.collect()).await
    }

    /// What became of the newest answer of each of these jobs, by job id.
    pub async fn cron_job_deliveries(&self, scope: &Scope, jobs: &[Job]) -> Result<HashMap<String, Delivered>> {
        let mut by_run = HashMap::new();
        let mut known = Vec::new();
        for job in jobs {
            if let (Some(delivery), Some(at)) = (&job.state.last_delivery, job.state.last_scheduled_at) {
                by_run.insert(run_id(&job.id, at), job.id.clone());
                known.push(Known {
                    run_id: run_id(&job.id, at),
                    delivery,
                    error: job.state.last_delivery_error.as_deref(),
                });
            }
        }
        let found = self.delivered(scope, known).await?;
        Ok(found
            .into_iter()
            .filter_map(|(run, delivered)| Some((by_run.remove(&run)?, delivered)))
            .collect())
    }

    async fn delivered(&self, scope: &Scope, runs: Vec<Known<'_>>) -> Result<HashMap<String, Delivered>> {
        let queued: Vec<&String> = runs
            .iter()
            .filter(|run| run.delivery == "queued")
            .map(|run| &run.run_id)
            .collect();
        let mut sent: HashMap<String, Vec<(String, Option<String>)>> = HashMap::new();
        if !queued.is_empty() {
            let rows: Vec<(Option<String>, String, Option<String>)> = outbox::Entity::owned_by(scope)
                .select_only()
                .columns([outbox::Column::RunId, outbox::Column::State, outbox::Column::Error])
                .filter(outbox::Column::RunId.is_in(queued))
                .filter(outbox::Column::Kind.eq("announce"))
                .into_tuple()
                .all(&self.db.glance(scope).await?)
                .await?;
            for (run, state, error) in rows {
                sent.entry(run.unwrap_or_default()).or_default().push((state, error));
            }
        }
        Ok(runs
            .into_iter()
            .map(|run| {
                let delivered = match run.delivery {
                    "queued" => pieces(sent.get(&run.run_id).map(Vec::as_slice).unwrap_or_default()),
                    "not-delivered" => Delivered::new("not-delivered", run.error.map(str::to_owned)),
                    _ => Delivered::new("not-requested", None),
                };
                (run.run_id, delivered)
            })
            .collect())
    }
}

struct Known<'a> {
    run_id: String,
    delivery: &'a str,
    error: Option<&'a str>,
}

/// Holds this text somewhere, whatever its case.
fn like(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('\\')
}

/// The worst of an answer's pieces decides.
fn pieces(pieces: &[(String, Option<String>)]) -> Delivered {
    let with = |wanted: &str| pieces.iter().find(|(state, _)| state == wanted);
    if let Some((_, error)) = with("failed") {
        return Delivered::new("not-delivered", error.clone());
    }
    if let Some((_, error)) = with("unknown") {
        return Delivered::new("unknown", error.clone());
    }
    if !pieces.is_empty() && pieces.iter().all(|(state, _)| state == "sent") {
        return Delivered::new("delivered", None);
    }
    Delivered::new("unknown", None)
}

/// The earliest time any of these jobs is due.
pub fn next_wake(jobs: &[Job]) -> Option<i64> {
    let planned = jobs.iter().filter_map(|job| job.next_run_at);
    planned.min().filter(|at| *at <= schedule::LATEST_MS)
}
