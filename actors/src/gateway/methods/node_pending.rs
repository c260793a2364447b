//! `node.pending.*`: what a node that slept comes for.

use std::time::Duration;

use claw_entities::{Scope, node_pending};
use serde::Deserialize;
use serde_json::{Value, json};

use super::node::callable;
use super::{Nothing, filled};
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::devices::pending::{ACTIONS, NewPending, WORK};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::WRITE;

/// How long a put-off call waits for its node.
const ACTION_LIFE: Duration = Duration::from_secs(10 * 60);
const MOST_DRAINED: usize = 10;
/// Without `maxItems`.
const DRAINED: usize = 4;
const SHORTEST_MS: i64 = 1_000;
const LONGEST_MS: i64 = 86_400_000;

pub(super) fn register(methods: &mut Methods) {
    methods.add("node.pending.enqueue", Access::Scope(WRITE), enqueue);
    methods.add("node.pending.drain", Access::Node, drain);
    methods.add("node.pending.pull", Access::Node, pull);
    methods.add("node.pending.ack", Access::Node, ack);
}

#[derive(Clone, Copy, Deserialize)]
enum Kind {
    #[serde(rename = "status.request")]
    Status,
    #[serde(rename = "location.request")]
    Location,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Priority {
    Normal,
    High,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnqueueParams {
    node_id: String,
    #[serde(rename = "type")]
    kind: Kind,
    priority: Option<Priority>,
    expires_in_ms: Option<i64>,
}

/// Of each type at most one waits. There is no push service here, so nothing is woken.
async fn enqueue(call: Call, params: EnqueueParams) -> Result<Value, WireError> {
    filled("node.pending.enqueue", "nodeId", &params.node_id)?;
    if params
        .expires_in_ms
        .is_some_and(|life| !(SHORTEST_MS..=LONGEST_MS).contains(&life))
    {
        return Err(WireError::invalid(format!(
            "invalid node.pending.enqueue params: at /expiresInMs: must be {SHORTEST_MS} to {LONGEST_MS}"
        )));
    }
    let config = &call.state.services.config;
    let node = config.node(call.scope(), &params.node_id).await?;
    let kind = match params.kind {
        Kind::Status => "status.request",
        Kind::Location => "location.request",
    };
    let now = now_ms();
    let new = NewPending {
        node_id: node.device.id,
        queue: WORK,
        name: kind.to_owned(),
        high: matches!(params.priority, Some(Priority::High)),
        params_json: None,
        key: kind.to_owned(),
        expires_at: params.expires_in_ms.map(|life| now + life),
    };
    let (row, _) = config.put_pending(call.scope(), new, now).await?;
    Ok(json!({"nodeId": row.node_id, "revision": now, "queued": work(&row), "wakeTriggered": false}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DrainParams {
    max_items: Option<usize>,
}

/// `revision` grows with every answer: it is the server's clock.
async fn drain(call: Call, params: DrainParams) -> Result<Value, WireError> {
    let most = params.max_items.unwrap_or(DRAINED);
    if !(1..=MOST_DRAINED).contains(&most) {
        return Err(WireError::invalid(format!(
            "invalid node.pending.drain params: at /maxItems: must be 1 to {MOST_DRAINED}"
        )));
    }
    let (node_id, now) = (own_id(&call)?, now_ms());
    let config = &call.state.services.config;
    let (rows, more) = config.take_work(call.scope(), node_id, most, now).await?;
    let items: Vec<Value> = rows.iter().map(work).collect();
    Ok(json!({"nodeId": node_id, "revision": now, "items": items, "hasMore": more}))
}

/// Only what may be called on the node today: an approval can have been taken back since.
async fn pull(call: Call, _: Nothing) -> Result<Value, WireError> {
    let node_id = own_id(&call)?;
    let config = &call.state.services.config;
    let node = config.node(call.scope(), node_id).await?;
    let settings = config.settings(call.scope()).await?;
    let allowed = callable(&node, Some(&call.connection), &settings.nodes);
    let rows = config.pending(call.scope(), node_id, ACTIONS, now_ms()).await?;
    let actions: Vec<Value> = rows
        .iter()
        .filter(|row| allowed.contains(&row.name))
        .map(|row| {
            json!({
                "id": row.id, "command": row.name, "paramsJSON": row.params_json, "enqueuedAtMs": row.created_at,
            })
        })
        .collect();
    Ok(json!({"nodeId": node_id, "actions": actions}))
}

#[derive(Deserialize)]
struct AckParams {
    ids: Vec<String>,
}

async fn ack(call: Call, params: AckParams) -> Result<Value, WireError> {
    if params.ids.is_empty() {
        return Err(WireError::invalid(
            "invalid node.pending.ack params: at /ids: must NOT have fewer than 1 items",
        ));
    }
    let node_id = own_id(&call)?;
    let config = &call.state.services.config;
    let (done, left) = config.ack_actions(call.scope(), node_id, &params.ids, now_ms()).await?;
    Ok(json!({"nodeId": node_id, "ackedIds": done, "remainingCount": left}))
}

/// Keeps a call for when the phone is in the foreground again. Gives what its caller is told.
pub(in crate::gateway) async fn put_off(
    config: &ConfigService,
    scope: &Scope,
    node_id: &str,
    command: &str,
    params: &Value,
    idempotency_key: &str,
) -> Result<WireError, WireError> {
    let now = now_ms();
    let new = NewPending {
        node_id: node_id.to_owned(),
        queue: ACTIONS,
        name: command.to_owned(),
        high: false,
        params_json: (!params.is_null()).then(|| params.to_string()),
        key: idempotency_key.to_owned(),
        expires_at: Some(now.saturating_add(i64::try_from(ACTION_LIFE.as_millis()).unwrap_or(i64::MAX))),
    };
    let (row, _) = config.put_pending(scope, new, now).await?;
    let mut told = WireError::unavailable("node command queued until iOS returns to foreground").details(json!({
        "code": "QUEUED_UNTIL_FOREGROUND", "queuedActionId": row.id, "nodeId": node_id, "command": command,
    }));
    told.retryable = Some(true);
    Ok(told)
}

fn work(row: &node_pending::Model) -> Value {
    json!({
        "id": row.id, "type": row.name, "priority": row.priority, "createdAtMs": row.created_at,
        "expiresAtMs": row.expires_at,
    })
}

fn own_id(call: &Call) -> Result<&str, WireError> {
    let id = call.connection.device_id.as_deref();
    id.ok_or_else(|| WireError::invalid("a connected device identity is required"))
}
