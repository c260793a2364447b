//! `health` and `status`.

use std::time::Instant;

use serde_json::{Value, json};

use super::{Nothing, heartbeat};
use crate::clock::now_ms;
use crate::config::document::UserSettings;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

/// Sessions listed as recent.
const RECENT: u64 = 5;

pub(super) fn register(methods: &mut Methods) {
    methods.add("health", Access::ScopeOrNode(READ), health);
    methods.add("status", Access::Scope(READ), status);
}

/// Health as hello carries it: what is known without asking the database about sessions.
pub(in crate::gateway) fn outline(settings: &UserSettings) -> Value {
    shape(settings, 0, 0, &[])
}

async fn health(call: Call, _: Nothing) -> Result<Value, WireError> {
    let started = Instant::now();
    let settings = call.state.services.config.settings(call.scope()).await?;
    if call.connection.node {
        return Ok(outline(&settings));
    }
    let (recent, total) = recent(&call).await?;
    Ok(shape(
        &settings,
        i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX),
        total,
        &recent,
    ))
}

async fn status(call: Call, _: Nothing) -> Result<Value, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let (recent, total) = recent(&call).await?;
    let agents: Vec<Value> = agent_ids(&settings)
        .into_iter()
        .map(|id| {
            let beat = heartbeat::shown(&settings, &id);
            json!({"agentId": id, "enabled": beat["enabled"], "every": beat["every"], "everyMs": beat["everyMs"],
                   "waitingForRoute": false})
        })
        .collect();
    Ok(json!({
        "runtimeVersion": call.state.services.replica.version,
        "heartbeat": {"defaultAgentId": settings.default_agent, "agents": agents},
        "channelSummary": [],
        "queuedSystemEvents": [],
        "degradedSecretOwners": [],
        "degradedPlugins": [],
        "tasks": {"total": 0, "active": 0, "terminal": 0, "failures": 0, "byStatus": {}, "byRuntime": {}},
        "taskAudit": {"total": 0, "warnings": 0, "errors": 0, "byCode": {}},
        "sessions": {
            "paths": [], "count": total, "defaults": {"model": null, "contextTokens": null},
            "recent": recent.iter().map(|row| {
                json!({"agentId": row["agentId"], "key": row["key"], "kind": "direct", "sessionId": row["sessionId"],
                       "updatedAt": row["updatedAt"], "age": row["age"], "flags": []})
            }).collect::<Vec<_>>(),
            "byAgent": [],
        },
    }))
}

async fn recent(call: &Call) -> Result<(Vec<Value>, u64), WireError> {
    let now = now_ms();
    let (rows, total) = call
        .state
        .services
        .conversation
        .list_sessions(call.scope(), RECENT, 0)
        .await?;
    let rows = rows
        .into_iter()
        .map(|row| {
            json!({"key": row.key, "agentId": row.agent_id, "sessionId": row.session_id,
                   "updatedAt": row.updated_at, "age": (now - row.updated_at).max(0)})
        })
        .collect();
    Ok((rows, total))
}

fn shape(settings: &UserSettings, duration_ms: i64, total: u64, recent: &[Value]) -> Value {
    let recent: Vec<Value> = recent
        .iter()
        .map(|row| json!({"key": row["key"], "updatedAt": row["updatedAt"], "age": row["age"]}))
        .collect();
    let sessions = json!({"path": "", "count": total, "recent": recent});
    let agents: Vec<Value> = agent_ids(settings)
        .into_iter()
        .map(|id| {
            let default = id == settings.default_agent;
            json!({
                "agentId": id, "isDefault": default,
                "heartbeat": heartbeat::shown(settings, &id),
                "sessions": if default { sessions.clone() } else { json!({"path": "", "count": 0, "recent": []}) },
            })
        })
        .collect();
    json!({
        "ok": true, "ts": now_ms(), "durationMs": duration_ms,
        "plugins": {"loaded": [], "errors": [], "unavailable": []},
        "channels": {}, "channelOrder": [], "channelLabels": {},
        "heartbeatSeconds": heartbeat::every_ms(settings, &settings.default_agent) / 1000,
        "defaultAgentId": settings.default_agent, "agents": agents, "sessions": sessions,
    })
}

/// The user's agents, the default one first; there is always that one.
pub(super) fn agent_ids(settings: &UserSettings) -> Vec<String> {
    let mut ids = vec![settings.default_agent.clone()];
    for agent in &settings.agents {
        if !ids.contains(&agent.id) {
            ids.push(agent.id.clone());
        }
    }
    ids
}
