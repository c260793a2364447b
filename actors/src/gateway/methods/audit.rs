//! `audit.list`: the user's runs as events, newest first. Metadata only: no text, no arguments, no addresses.

use claw_entities::{UserOwned, run};
use sea_orm::sea_query::Condition;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;
use serde_json::{Value, json};

use super::agent_of;
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

const PAGE: u64 = 100;
const LARGEST_PAGE: u64 = 500;

pub(super) fn register(methods: &mut Methods) {
    methods.add("audit.list", Access::Scope(READ), list);
    methods.add("audit.activity.list", Access::Scope(READ), activity);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    agent_id: Option<String>,
    session_key: Option<String>,
    run_id: Option<String>,
    kind: Option<String>,
    status: Option<String>,
    /// Epoch milliseconds of the run's start.
    after: Option<i64>,
    before: Option<i64>,
    limit: Option<u64>,
    /// Start and id of the last run of the page before.
    cursor: Option<String>,
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    page("audit.list", call, params, event).await
}

/// The same runs as `audit.list`, in the newer form.
async fn activity(call: Call, params: ListParams) -> Result<Value, WireError> {
    page("audit.activity.list", call, params, activity_event).await
}

async fn page(
    method: &str,
    call: Call,
    params: ListParams,
    shown: fn(&run::Model) -> Value,
) -> Result<Value, WireError> {
    if params.kind.as_deref().is_some_and(|kind| kind != "agent_run") {
        return Err(WireError::invalid(format!(
            "invalid {method} params: at /kind: only agent_run is recorded here"
        )));
    }
    let limit = params.limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE);
    let mut query = run::Entity::owned_by(call.scope());
    if let Some(agent) = &params.agent_id {
        query = query.filter(run::Column::SessionKey.starts_with(format!("agent:{agent}:")));
    }
    if let Some(key) = &params.session_key {
        query = query.filter(run::Column::SessionKey.eq(super::session_key(&call, key).await?));
    }
    if let Some(id) = &params.run_id {
        query = query.filter(run::Column::Id.eq(id.as_str()));
    }
    if let Some(status) = &params.status {
        query = query.filter(run::Column::Status.is_in(stored(status).iter().copied()));
    }
    if let Some(after) = params.after {
        query = query.filter(run::Column::StartedAt.gte(after));
    }
    if let Some(before) = params.before {
        query = query.filter(run::Column::StartedAt.lt(before));
    }
    if let Some(cursor) = &params.cursor {
        let (at, id) = cursor
            .split_once(':')
            .and_then(|(at, id)| Some((at.parse::<i64>().ok()?, id)))
            .ok_or_else(|| WireError::invalid(format!("invalid {method} params: at /cursor: unknown cursor")))?;
        let same_moment = Condition::all()
            .add(run::Column::StartedAt.eq(at))
            .add(run::Column::Id.lt(id));
        query = query.filter(Condition::any().add(run::Column::StartedAt.lt(at)).add(same_moment));
    }
    let tx = call.state.services.db.read(call.scope()).await.map_err(Error::from)?;
    let mut rows = query
        .order_by_desc(run::Column::StartedAt)
        .order_by_desc(run::Column::Id)
        .limit(limit + 1)
        .all(&*tx)
        .await
        .map_err(Error::from)?;
    drop(tx);
    let page = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > page;
    rows.truncate(page);
    let mut answer = json!({"events": rows.iter().map(shown).collect::<Vec<_>>()});
    if let Some(last) = rows.last().filter(|_| more) {
        answer["nextCursor"] = json!(format!("{}:{}", last.started_at, last.id));
    }
    Ok(answer)
}

/// Which stored states a status of the wire means.
fn stored(status: &str) -> &'static [&'static str] {
    match status {
        "started" => &["queued", "running"],
        "succeeded" => &["ok"],
        "failed" => &["error"],
        "cancelled" => &["aborted"],
        "unknown" => &["interrupted"],
        _ => &[],
    }
}

/// A run as the event of its latest state.
fn event(row: &run::Model) -> Value {
    let (status, error_code) = match row.status.as_str() {
        "queued" | "running" => ("started", None),
        "ok" => ("succeeded", None),
        "error" => ("failed", Some("run_failed")),
        "aborted" => ("cancelled", Some("run_cancelled")),
        _ => ("unknown", None),
    };
    let finished = status != "started";
    let agent = agent_of(&row.session_key);
    let phase = if finished { "finished" } else { "started" };
    let mut event = json!({
        "eventId": format!("{}:{phase}", row.id), "sequence": row.started_at.max(1),
        "sourceSequence": if finished { 2 } else { 1 }, "occurredAt": row.ended_at.unwrap_or(row.started_at),
        "kind": "agent_run", "action": format!("agent.run.{phase}"), "status": status,
        "actor": {"type": "agent", "id": agent}, "agentId": agent, "sessionKey": row.session_key,
        "sessionId": row.session_id, "runId": row.id, "redaction": "metadata_only",
    });
    if let Some(code) = error_code {
        event["errorCode"] = json!(code);
    }
    event
}

/// In this form a run that a crash cut off has failed: the schema knows no other word.
fn activity_event(row: &run::Model) -> Value {
    let mut event = event(row);
    event["schemaVersion"] = json!(1);
    event["eventType"] = json!("agent_run");
    if event["status"] == "unknown" {
        event["status"] = json!("failed");
        event["errorCode"] = json!("run_failed");
    }
    event
}
