//! What runs have used: sums over the run records, by session, day and model.

use claw_entities::{Scope, SessionKey, UserOwned, run, transcript_entry};
use sea_orm::sea_query::{Expr, ExprTrait, Func, SimpleExpr};
use sea_orm::{ColumnTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};

use crate::Services;
use crate::error::Result;

/// Milliseconds of a day.
pub(crate) const DAY: i64 = 86_400_000;
/// Transcripts whose messages one statement counts.
const AT_ONCE: usize = 200;

/// Runs that began in `[from, until)`, days counted at `offset` from UTC. All in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) until: i64,
    pub(crate) offset: i64,
}

/// Which runs a report is about: ended ones that called a model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs<'a> {
    pub(crate) span: Span,
    /// Of this session alone.
    pub(crate) key: Option<&'a SessionKey>,
    /// Of this agent's sessions alone.
    pub(crate) agent: Option<&'a str>,
    /// Of these sessions alone.
    pub(crate) keys: Option<&'a [&'a str]>,
}

/// What the database sums runs by. What is left out is empty in [`Spent`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct By {
    pub(crate) session: bool,
    pub(crate) transcript: bool,
    pub(crate) day: bool,
    pub(crate) model: bool,
}

/// Sums of some runs that have in common what they were summed by.
#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct Spent {
    pub(crate) session_key: SessionKey,
    pub(crate) session_id: String,
    /// Days since the epoch, in the span's offset.
    pub(crate) day: i64,
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) runs: i64,
    pub(crate) errors: i64,
    pub(crate) input: i64,
    pub(crate) output: i64,
    pub(crate) cache_read: i64,
    pub(crate) cache_write: i64,
    pub(crate) cost_input: f64,
    pub(crate) cost_output: f64,
    pub(crate) cost_cache_read: f64,
    pub(crate) cost_cache_write: f64,
    /// Epoch milliseconds.
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Messages of one transcript in the span, or of several.
#[derive(Clone, Debug, Default, FromQueryResult)]
pub(crate) struct Said {
    /// Empty for several.
    pub(crate) session_id: String,
    pub(crate) user: i64,
    pub(crate) assistant: i64,
    pub(crate) tool_results: i64,
}

impl Runs<'_> {
    fn all(&self, scope: &Scope) -> Select<run::Entity> {
        let mut query = run::Entity::owned_by(scope)
            .filter(run::Column::StartedAt.gte(self.span.from))
            .filter(run::Column::StartedAt.lt(self.span.until))
            .filter(run::Column::EndedAt.is_not_null())
            .filter(run::Column::Provider.is_not_null())
            .filter(run::Column::Model.is_not_null())
            .filter(run::Column::Model.ne(""));
        if let Some(key) = self.key {
            query = query.filter(run::Column::SessionKey.eq(key.clone()));
        }
        if let Some(agent) = self.agent {
            // LIKE does not tell letters' case on SQLite, and an order of texts is the database's.
            let prefix = format!("agent:{agent}:");
            let length = i32::try_from(prefix.chars().count()).unwrap_or(i32::MAX);
            let beginning = Func::cust("substr").args([
                Expr::col((run::Entity, run::Column::SessionKey)),
                Expr::value(1),
                Expr::value(length),
            ]);
            query = query.filter(Expr::expr(beginning).eq(prefix));
        }
        if let Some(keys) = self.keys {
            query = query.filter(run::Column::SessionKey.is_in(keys.iter().copied()));
        }
        query
    }
}

/// What the runs have used. The sums are the database's: one row for each group that is asked for.
pub(crate) async fn spent(services: &Services, scope: &Scope, runs: Runs<'_>, by: By) -> Result<Vec<Spent>> {
    let day = || Expr::cust(format!(r#"("run"."started_at" + {}) / {DAY}"#, runs.span.offset));
    let mut query = runs
        .all(scope)
        .select_only()
        .column_as(Expr::cust("COUNT(*)"), "runs")
        .column_as(
            Expr::cust(r#"CAST(SUM(CASE WHEN "run"."status" = 'error' THEN 1 ELSE 0 END) AS bigint)"#),
            "errors",
        )
        .column_as(run::Column::StartedAt.min(), "first")
        .column_as(run::Column::EndedAt.max(), "last");
    for (wanted, column, name) in [
        (by.session, run::Column::SessionKey, "session_key"),
        (by.transcript, run::Column::SessionId, "session_id"),
        (by.model, run::Column::Provider, "provider"),
        (by.model, run::Column::Model, "model"),
    ] {
        query = if wanted {
            query.column_as(column, name).group_by(column)
        } else {
            query.column_as(Expr::cust("''"), name)
        };
    }
    query = if by.day {
        query.column_as(day(), "day").group_by(day())
    } else {
        query.column_as(Expr::cust("CAST(0 AS bigint)"), "day")
    };
    for (field, name) in [
        ("input", "input"),
        ("output", "output"),
        ("cacheRead", "cache_read"),
        ("cacheWrite", "cache_write"),
    ] {
        query = query.column_as(tokens(field), name);
    }
    for (field, name) in [
        ("input", "cost_input"),
        ("output", "cost_output"),
        ("cacheRead", "cost_cache_read"),
        ("cacheWrite", "cost_cache_write"),
    ] {
        query = query.column_as(cost(field), name);
    }
    let rows = query
        .into_model::<Spent>()
        .all(&services.db.glance(scope).await?)
        .await?;
    // Without a group there is one row of nothing where there were no runs.
    Ok(rows.into_iter().filter(|row| row.runs > 0).collect())
}

/// Both databases read a field of JSON this way. `field` is one of ours.
fn tokens(field: &str) -> SimpleExpr {
    Expr::cust(format!(
        r#"CAST(COALESCE(SUM(CAST("run"."usage"->>'{field}' AS bigint)), 0) AS bigint)"#
    ))
}

fn cost(field: &str) -> SimpleExpr {
    Expr::cust(format!(
        r#"CAST(COALESCE(SUM(CAST("run"."usage"->'cost'->>'{field}' AS double precision)), 0) AS double precision)"#
    ))
}

/// The column that counts messages of a role. The body begins with the role, always: see `MessageBody`.
fn count(role: &str) -> SimpleExpr {
    Expr::cust(format!(
        r#"CAST(COALESCE(SUM(CASE WHEN "transcript_entry"."body" LIKE '{{"message":{{"role":"{role}"%' THEN 1 ELSE 0 END), 0) AS bigint)"#
    ))
}

fn messages(scope: &Scope, span: Span) -> Select<transcript_entry::Entity> {
    transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column_as(count("user"), "user")
        .column_as(count("assistant"), "assistant")
        .column_as(count("toolResult"), "tool_results")
        .filter(transcript_entry::Column::Kind.eq("message"))
        .filter(transcript_entry::Column::CreatedAt.gte(span.from))
        .filter(transcript_entry::Column::CreatedAt.lt(span.until))
}

/// How many messages of each kind stand in each of these transcripts.
pub(crate) async fn said(services: &Services, scope: &Scope, span: Span, transcripts: &[String]) -> Result<Vec<Said>> {
    let rows = services.db.glance(scope).await?;
    let mut all = Vec::new();
    for some in transcripts.chunks(AT_ONCE) {
        let found = messages(scope, span)
            .column(transcript_entry::Column::SessionId)
            .filter(transcript_entry::Column::SessionId.is_in(some.iter().map(String::as_str)))
            .group_by(transcript_entry::Column::SessionId)
            .into_model::<Said>()
            .all(&rows)
            .await?;
        all.extend(found);
    }
    Ok(all)
}

/// How many messages of each kind stand in the transcripts of these runs, all together.
pub(crate) async fn said_in_all(services: &Services, scope: &Scope, runs: Runs<'_>) -> Result<Said> {
    let transcripts = runs.all(scope).select_only().column(run::Column::SessionId).distinct();
    let found = messages(scope, runs.span)
        .column_as(Expr::cust("''"), "session_id")
        .filter(transcript_entry::Column::SessionId.in_subquery(transcripts.into_query()))
        .into_model::<Said>()
        .one(&services.db.glance(scope).await?)
        .await?;
    Ok(found.unwrap_or_default())
}

/// What one run has used.
#[derive(Clone, Copy, Debug, PartialEq, FromQueryResult)]
pub(crate) struct Point {
    /// Its end, epoch milliseconds.
    pub(crate) at: i64,
    pub(crate) input: i64,
    pub(crate) output: i64,
    pub(crate) cache_read: i64,
    pub(crate) cache_write: i64,
    /// Of all of it.
    pub(crate) cost: f64,
}

/// Runs of one report.
const MOST_POINTS: u64 = 10_000;

/// What each of the newest runs of a transcript has used, the oldest first.
pub(crate) async fn points(
    services: &Services,
    scope: &Scope,
    key: &SessionKey,
    session_id: &str,
) -> Result<Vec<Point>> {
    let mut query = run::Entity::owned_by(scope)
        .select_only()
        .column_as(run::Column::EndedAt, "at")
        .filter(run::Column::SessionKey.eq(key.clone()))
        .filter(run::Column::SessionId.eq(session_id))
        .filter(run::Column::EndedAt.is_not_null())
        .filter(run::Column::Model.is_not_null())
        .filter(run::Column::Model.ne(""));
    for (field, name) in [
        ("input", "input"),
        ("output", "output"),
        ("cacheRead", "cache_read"),
        ("cacheWrite", "cache_write"),
    ] {
        let read = format!(r#"COALESCE(CAST("run"."usage"->>'{field}' AS bigint), 0)"#);
        query = query.column_as(Expr::cust(read), name);
    }
    let cost = ["input", "output", "cacheRead", "cacheWrite"]
        .map(|field| format!(r#"COALESCE(CAST("run"."usage"->'cost'->>'{field}' AS double precision), 0)"#));
    let mut points = query
        .column_as(Expr::cust(cost.join(" + ")), "cost")
        .order_by_desc(run::Column::EndedAt)
        .order_by_desc(run::Column::Id)
        .limit(MOST_POINTS)
        .into_model::<Point>()
        .all(&services.db.glance(scope).await?)
        .await?;
    points.reverse();
    Ok(points)
}
