//! What runs have used: sums over the run records, by session, day and model.

use claw_entities::{Scope, SessionKey, UserOwned, run, transcript_entry};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, FromQueryResult, QueryFilter, QuerySelect};

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

/// Sums of one session's runs on one day with one model. Runs that called no model are left out.
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

/// Messages of one transcript in the span.
#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct Said {
    pub(crate) session_id: String,
    pub(crate) user: i64,
    pub(crate) assistant: i64,
    pub(crate) tool_results: i64,
}

/// What the user's runs have used, of one session or of all.
pub(crate) async fn spent(
    services: &Services,
    scope: &Scope,
    span: Span,
    key: Option<&SessionKey>,
) -> Result<Vec<Spent>> {
    let day = || Expr::cust(format!(r#"("run"."started_at" + {}) / {DAY}"#, span.offset));
    let mut query = run::Entity::owned_by(scope)
        .select_only()
        .column(run::Column::SessionKey)
        .column(run::Column::SessionId)
        .column(run::Column::Provider)
        .column(run::Column::Model)
        .column_as(day(), "day")
        .column_as(Expr::cust("COUNT(*)"), "runs")
        .column_as(
            Expr::cust(r#"CAST(SUM(CASE WHEN "run"."status" = 'error' THEN 1 ELSE 0 END) AS bigint)"#),
            "errors",
        )
        .column_as(run::Column::StartedAt.min(), "first")
        .column_as(run::Column::EndedAt.max(), "last");
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
    query = query
        .filter(run::Column::StartedAt.gte(span.from))
        .filter(run::Column::StartedAt.lt(span.until))
        .filter(run::Column::EndedAt.is_not_null())
        .filter(run::Column::Provider.is_not_null())
        .filter(run::Column::Model.is_not_null())
        .filter(run::Column::Model.ne(""))
        .group_by(run::Column::SessionKey)
        .group_by(run::Column::SessionId)
        .group_by(run::Column::Provider)
        .group_by(run::Column::Model)
        .group_by(day());
    if let Some(key) = key {
        query = query.filter(run::Column::SessionKey.eq(key.clone()));
    }
    let rows = query
        .into_model::<Spent>()
        .all(&services.db.glance(scope).await?)
        .await?;
    Ok(rows)
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

/// How many messages of each kind stand in these transcripts.
pub(crate) async fn said(services: &Services, scope: &Scope, span: Span, transcripts: &[String]) -> Result<Vec<Said>> {
    let rows = services.db.glance(scope).await?;
    // The body begins with the role, always: see `MessageBody`.
    let count = |role: &str| {
        Expr::cust(format!(
            r#"CAST(SUM(CASE WHEN "transcript_entry"."body" LIKE '{{"message":{{"role":"{role}"%' THEN 1 ELSE 0 END) AS bigint)"#
        ))
    };
    let mut all = Vec::new();
    for some in transcripts.chunks(AT_ONCE) {
        let found = transcript_entry::Entity::owned_by(scope)
            .select_only()
            .column(transcript_entry::Column::SessionId)
            .column_as(count("user"), "user")
            .column_as(count("assistant"), "assistant")
            .column_as(count("toolResult"), "tool_results")
            .filter(transcript_entry::Column::SessionId.is_in(some.iter().map(String::as_str)))
            .filter(transcript_entry::Column::Kind.eq("message"))
            .filter(transcript_entry::Column::CreatedAt.gte(span.from))
            .filter(transcript_entry::Column::CreatedAt.lt(span.until))
            .group_by(transcript_entry::Column::SessionId)
            .into_model::<Said>()
            .all(&rows)
            .await?;
        all.extend(found);
    }
    Ok(all)
}
