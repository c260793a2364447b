//! `health` and `status`.

use std::time::Instant;

use claw_entities::{Scope, SessionKey};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::channels::{self, Summary};
use super::{Nothing, heartbeat, sessions};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::UserSettings;
use crate::error::{Error, Result};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;
use crate::session::tasks::{self, Status};
use crate::session::{key, system_event};

/// Sessions that `health` lists as recent.
const RECENT: u64 = 5;
/// Sessions that `status` lists as recent, of all agents and of each, as the original.
const STATUS_RECENT: u64 = 10;
/// Highest share of a window that is told, in percent.
const MOST_USED: u64 = 999;

pub(super) fn register(methods: &mut Methods) {
    methods.add("health", Access::ScopeOrNode(READ), health);
    methods.add("status", Access::Scope(READ), status);
}

/// Health as hello carries it: what is known without asking the database about sessions.
pub(in crate::gateway) fn outline(settings: &UserSettings) -> Box<RawValue> {
    to_raw_value(&shape(settings, 0, 0, &[], Summary::default())).unwrap_or_default()
}

/// Health as it is told when it has changed.
pub(crate) async fn told(services: &Services, scope: &Scope) -> Result<Box<RawValue>> {
    let settings = services.config.settings(scope).await?;
    let user = services.config.user(scope.tenant_scope(), scope.user()).await?;
    let (recent, total) = recent(services, scope).await?;
    let channels = channels::summary(services, &user).await?;
    to_raw_value(&shape(&settings, 0, total, &recent, channels)).map_err(Error::internal)
}

async fn health(call: Call, _: Nothing) -> Result<Value, WireError> {
    let started = Instant::now();
    let settings = call.state.services.config.settings(call.scope()).await?;
    let ((recent, total), channels) = if call.connection.node {
        ((Vec::new(), 0), Summary::default())
    } else {
        let (services, user) = (&call.state.services, &call.identity.user);
        (
            recent(services, call.scope()).await?,
            channels::summary(services, user).await?,
        )
    };
    let took = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
    let took = if call.connection.node { 0 } else { took };
    Ok(serde_json::to_value(shape(&settings, took, total, &recent, channels)).map_err(Error::internal)?)
}

async fn status(call: Call, _: Nothing) -> Result<Value, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let (services, scope) = (&call.state.services, call.scope());
    let models = services.config.list_models(scope).await?;
    let default = sessions::default_model(&models);
    let now = now_ms();
    let (recent, total) = sessions::newest_shown(&call, &models, None, STATUS_RECENT).await?;
    let recent: Vec<Value> = recent.iter().map(|view| in_status(view, now)).collect();
    let mut by_agent = Vec::new();
    for id in agent_ids(&settings) {
        let (rows, count) = sessions::newest_shown(&call, &models, Some(&id), STATUS_RECENT).await?;
        let rows: Vec<Value> = rows.iter().map(|view| in_status(view, now)).collect();
        by_agent.push(json!({"agentId": id, "path": "", "count": count, "recent": rows}));
    }
    let channels = channels::summary(services, &call.identity.user).await?;
    let waiting = system_event::waiting(services, scope, &key::main(&settings.default_agent)).await?;
    let tasks = tasks::newest(services, scope).await?;
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
        "channelSummary": channels.lines,
        "queuedSystemEvents": waiting,
        "degradedSecretOwners": [],
        "degradedPlugins": [],
        "tasks": counted(&tasks),
        "taskAudit": {"total": 0, "warnings": 0, "errors": 0, "byCode": {}},
        "sessions": {
            "paths": [], "count": total,
            "defaults": {"model": default["model"], "contextTokens": default["contextTokens"]},
            "recent": recent, "byAgent": by_agent,
        },
    }))
}

/// A session's row in `status`: how it is set, and how much of its model's window it fills.
fn in_status(view: &Value, now: i64) -> Value {
    let used = view["totalTokens"].as_u64();
    let fresh = used.filter(|_| view["totalTokensFresh"] != false);
    let window = view["contextTokens"].as_u64().filter(|window| *window > 0);
    let filled = fresh.zip(window);
    let percent = |(used, window): (u64, u64)| {
        let rounded = used.saturating_mul(100).saturating_add(window / 2) / window;
        rounded.min(MOST_USED)
    };
    let updated = view["updatedAt"].as_i64().unwrap_or(now);
    let mut row = json!({
        "agentId": view["agentId"], "key": view["key"], "kind": view["kind"], "sessionId": view["sessionId"],
        "updatedAt": updated, "age": (now - updated).max(0), "totalTokens": used, "totalTokensFresh": fresh.is_some(),
        "remainingTokens": filled.map(|(used, window)| window.saturating_sub(used)),
        "percentUsed": filled.map(percent), "model": view["model"], "contextTokens": window, "flags": flags(view),
    });
    for name in [
        "thinkingLevel",
        "fastMode",
        "verboseLevel",
        "reasoningLevel",
        "abortedLastRun",
        "inputTokens",
        "outputTokens",
        "cacheRead",
        "cacheWrite",
    ] {
        if let Some(value) = view.get(name) {
            row[name] = value.clone();
        }
    }
    row
}

/// What is set for a session, in short.
fn flags(view: &Value) -> Vec<String> {
    let level = |field: &str, name: &str| view[field].as_str().map(|level| format!("{name}:{level}"));
    let fast = view["fastMode"].as_bool().map(|fast| {
        let word = if fast { "fast" } else { "fast:off" };
        word.to_owned()
    });
    let all = [
        level("thinkingLevel", "think"),
        level("verboseLevel", "verbose"),
        fast,
        level("reasoningLevel", "reasoning"),
        (view["abortedLastRun"] == true).then(|| "aborted".to_owned()),
        level("sessionId", "id"),
    ];
    all.into_iter().flatten().collect()
}

/// The newest tasks, counted.
fn counted(tasks: &[(&str, Status)]) -> Value {
    let of = |status: Status| tasks.iter().filter(|task| task.1 == status).count();
    let in_a = |kind: &str| tasks.iter().filter(|task| task.0 == kind).count();
    let (running, failed, timed_out) = (of(Status::Running), of(Status::Failed), of(Status::TimedOut));
    json!({
        "total": tasks.len(), "active": running, "terminal": tasks.len() - running, "failures": failed + timed_out,
        "byStatus": {
            "queued": 0, "running": running, "succeeded": of(Status::Completed), "failed": failed,
            "timed_out": timed_out, "cancelled": of(Status::Cancelled), "lost": 0,
        },
        "byRuntime": {"subagent": in_a("subagent"), "cron": in_a("cron"), "hook": in_a("hook")},
    })
}

async fn recent(services: &Services, scope: &Scope) -> Result<(Vec<Recent>, u64)> {
    let now = now_ms();
    let (rows, total) = services.conversation.list_sessions(scope, RECENT, 0).await?;
    let rows = rows
        .into_iter()
        .map(|row| Recent {
            age: (now - row.updated_at).max(0),
            key: row.key,
            updated_at: row.updated_at,
        })
        .collect();
    Ok((rows, total))
}

/// `health`'s answer. Every hello carries one, so it is written without values in between.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    ok: bool,
    ts: i64,
    duration_ms: i64,
    plugins: Plugins,
    channels: Map<String, Value>,
    channel_order: Vec<&'static str>,
    channel_labels: Map<String, Value>,
    heartbeat_seconds: u64,
    default_agent_id: &'a str,
    agents: Vec<Agent<'a>>,
    sessions: Sessions<'a>,
}

/// There are none in the product.
#[derive(Default, Serialize)]
struct Plugins {
    loaded: [&'static str; 0],
    errors: [&'static str; 0],
    unavailable: [&'static str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agent<'a> {
    agent_id: String,
    is_default: bool,
    heartbeat: Value,
    sessions: Sessions<'a>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Sessions<'a> {
    path: &'static str,
    count: u64,
    recent: &'a [Recent],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recent {
    key: SessionKey,
    updated_at: i64,
    /// Milliseconds.
    age: i64,
}

fn shape<'a>(
    settings: &'a UserSettings,
    duration_ms: i64,
    total: u64,
    recent: &'a [Recent],
    channels: Summary,
) -> Health<'a> {
    let sessions = Sessions {
        path: "",
        count: total,
        recent,
    };
    let agents = agent_ids(settings).into_iter().map(|id| {
        let is_default = id == settings.default_agent;
        Agent {
            heartbeat: heartbeat::shown(settings, &id),
            sessions: if is_default { sessions } else { Sessions::default() },
            agent_id: id,
            is_default,
        }
    });
    Health {
        ok: true,
        ts: now_ms(),
        duration_ms,
        plugins: Plugins::default(),
        channels: channels.channels,
        channel_order: channels.order,
        channel_labels: channels.labels,
        heartbeat_seconds: heartbeat::every_ms(settings, &settings.default_agent) / 1000,
        default_agent_id: &settings.default_agent,
        agents: agents.collect(),
        sessions,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_how_much_of_the_window_is_used() {
        for (used, fresh, window, remaining, percent) in [
            (json!(250), json!(true), json!(1000), json!(750), json!(25)),
            (json!(255), json!(true), json!(1000), json!(745), json!(26)),
            (json!(99_000), json!(true), json!(1000), json!(0), json!(999)),
            (json!(250), json!(false), json!(1000), json!(null), json!(null)),
            (json!(250), json!(true), json!(null), json!(null), json!(null)),
            (json!(null), json!(null), json!(1000), json!(null), json!(null)),
        ] {
            let view =
                json!({"totalTokens": used, "totalTokensFresh": fresh, "contextTokens": window, "updatedAt": 40});
            let row = in_status(&view, 100);
            assert_eq!(
                [&row["remainingTokens"], &row["percentUsed"]],
                [&remaining, &percent],
                "{view}"
            );
            assert_eq!((&row["totalTokens"], &row["age"]), (&used, &json!(60)), "{view}");
        }
    }

    #[test]
    fn flags_are_what_is_set() {
        let view = json!({"thinkingLevel": "high", "fastMode": false, "abortedLastRun": true, "sessionId": "s1"});
        assert_eq!(flags(&view), ["think:high", "fast:off", "aborted", "id:s1"]);
        assert!(flags(&json!({})).is_empty());
    }
}
