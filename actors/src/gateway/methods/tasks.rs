//! `tasks.list`, `tasks.get` and `tasks.cancel`: what goes on in the background.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{filled, session_key};
use crate::config::devices::without_nulls;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{READ, WRITE};
use crate::session::tasks::{self, Task, Wanted};

/// Tasks of a list without `limit`, and at most.
const TASKS: usize = 100;
const MOST_TASKS: usize = 500;
const GONE: &str = "invalid or expired tasks.list cursor; restart pagination without a cursor";
/// What a task can be; none here waits without being on record as running.
const STATUSES: [&str; 6] = ["queued", "running", "completed", "failed", "cancelled", "timed_out"];

pub(super) fn register(methods: &mut Methods) {
    methods.add("tasks.list", Access::Scope(READ), list);
    methods.add("tasks.get", Access::Scope(READ), get);
    methods.add("tasks.cancel", Access::Scope(WRITE), cancel);
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    status: Option<OneOrMore>,
    agent_id: Option<String>,
    session_key: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskParams {
    task_id: String,
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    let statuses = match params.status {
        None => Vec::new(),
        Some(OneOrMore::One(one)) => vec![one],
        Some(OneOrMore::More(more)) => more,
    };
    if statuses.iter().any(|status| !STATUSES.contains(&status.as_str())) {
        return Err(WireError::invalid(
            "invalid tasks.list params: at /status: must be equal to one of the allowed values",
        ));
    }
    let after = match params.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(place(cursor).ok_or_else(|| WireError::invalid(GONE))?),
    };
    let session = match &params.session_key {
        None => None,
        Some(given) => Some(session_key(&call, given).await?),
    };
    let wanted = Wanted {
        statuses,
        agent_id: params.agent_id,
        session,
        limit: params.limit.unwrap_or(TASKS).clamp(1, MOST_TASKS),
        after,
    };
    let (found, next) = tasks::list(&call.state.services, call.scope(), &wanted).await?;
    let shown: Vec<Value> = found.iter().map(|task| shown(task, false)).collect();
    let mut page = json!({"tasks": shown});
    if let Some((at, id)) = next {
        page["nextCursor"] = json!(format!("{at}:{id}"));
    }
    Ok(page)
}

fn place(cursor: &str) -> Option<(i64, String)> {
    let (at, id) = cursor.split_once(':')?;
    Some((at.parse().ok()?, id.to_owned()))
}

async fn get(call: Call, params: TaskParams) -> Result<Value, WireError> {
    filled("tasks.get", "taskId", &params.task_id)?;
    let found = tasks::get(&call.state.services, call.scope(), &params.task_id).await?;
    let task = found.ok_or_else(|| WireError::invalid(format!("task not found: {}", params.task_id)))?;
    Ok(json!({"task": shown(&task, true)}))
}

async fn cancel(call: Call, params: TaskParams) -> Result<Value, WireError> {
    filled("tasks.cancel", "taskId", &params.task_id)?;
    let (services, scope) = (&call.state.services, call.scope());
    let Some(task) = tasks::get(services, scope, &params.task_id).await? else {
        return Ok(json!({"found": false, "cancelled": false, "reason": "Task not found."}));
    };
    let cancelled = tasks::cancel(&call.state.directory, scope, &task).await?;
    let now = tasks::get(services, scope, &params.task_id).await?.unwrap_or(task);
    let mut answer = json!({"found": true, "cancelled": cancelled, "task": shown(&now, false)});
    if !cancelled {
        answer["reason"] = json!("Task is already over.");
    }
    Ok(answer)
}

/// `whole`: with what was asked.
fn shown(task: &Task, whole: bool) -> Value {
    let status = task.status.name();
    without_nulls(json!({
        "id": task.id, "taskId": task.id, "kind": task.kind, "runtime": task.kind, "status": status,
        "title": task.title, "agentId": task.agent_id, "sessionKey": task.session, "ownerKey": task.session,
        "childSessionKey": task.works_in, "runId": task.id, "sourceId": task.source_id,
        "createdAt": task.created_at, "startedAt": task.created_at, "endedAt": task.ended_at,
        "updatedAt": task.ended_at.unwrap_or(task.created_at),
        "terminalSummary": task.ended_at.map(|_| task.summary.as_deref().unwrap_or(status)),
        "error": task.error, "deliveryStatus": task.delivery,
        "prompt": task.prompt.as_ref().filter(|_| whole),
    }))
}
