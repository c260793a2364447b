//! `agent` (accepted, then the result under the same id) and `agent.wait`.

use std::time::Duration;

use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::{self, AttachmentParams};
use super::deliver::DeliverParams;
use super::{agent_of, filled};
use crate::clock::now_ms;
use crate::config::devices::without_nulls;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, APPROVALS, WRITE};
use crate::session::intake::{self, Accepted, ClientMessage};
use crate::supervisor::directory::RunEnded;

/// How long the second answer of `agent` is waited for.
const LONGEST_RUN: Duration = Duration::from_secs(6 * 3600);
/// `agent.wait` without `timeoutMs`.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

pub(super) fn register(methods: &mut Methods) {
    methods.add("agent", Access::Scope(WRITE), agent).waits();
    methods.add("agent.wait", Access::Scope(WRITE), wait).waits();
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentParams {
    message: String,
    idempotency_key: String,
    agent_id: Option<String>,
    session_key: Option<String>,
    session_id: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    thinking: Option<String>,
    #[serde(flatten)]
    deliver: DeliverParams,
    /// Seconds.
    timeout: Option<u64>,
    extra_system_prompt: Option<String>,
    #[serde(default)]
    attachments: Vec<AttachmentParams>,
}

async fn agent(call: Call, params: AgentParams) -> Result<Value, WireError> {
    let (run_id, session_key) = accept(&call, params).await?;
    call.answer_early(&json!({
        "runId": run_id, "sessionKey": session_key, "agentId": agent_of(&session_key),
        "status": "accepted", "acceptedAt": now_ms(),
    }))
    .await?;
    match call
        .state
        .directory
        .wait_run(call.scope(), &run_id, LONGEST_RUN)
        .await?
    {
        Some(ended) if ended.status == "ok" => Ok(json!({
            "runId": run_id, "status": "ok", "summary": "completed", "result": ended.result,
        })),
        Some(ended) => {
            let error = failure(&ended);
            Err(WireError::unavailable(error).details(json!({"runId": run_id, "status": ended.status})))
        }
        None => Err(WireError::unavailable("the run did not end in time").details(json!({"runId": run_id}))),
    }
}

/// Stores the message. Gives the run and its session; nothing else of the parameters is kept while the run goes on.
async fn accept(call: &Call, params: AgentParams) -> Result<(String, SessionKey), WireError> {
    filled("agent", "message", &params.message)?;
    filled("agent", "idempotencyKey", &params.idempotency_key)?;
    let command = params.message.split_whitespace().next().unwrap_or_default();
    if ["/new", "/reset"].contains(&command) {
        call.require(ADMIN)?;
    }
    let key = target(call, &params).await?;
    let deliver_to = params.deliver.read(call, &key).await?;
    let model = params.model.map(|model| match params.provider {
        Some(provider) => format!("{provider}/{model}"),
        None => model,
    });
    let message = ClientMessage {
        source: "agent".to_owned(),
        message: params.message,
        attachments: chat::store(call, params.attachments).await?,
        thinking: params.thinking,
        model,
        extra_system_prompt: params.extra_system_prompt,
        timeout_ms: params.timeout.map(|seconds| seconds.saturating_mul(1000)),
        queue_mode: None,
        requester: Some(chat::requester(call)),
        approver: call.connection.has_scope(APPROVALS),
        deliver_to,
        ..ClientMessage::default()
    };
    let directory = &call.state.directory;
    let accepted = intake::accept_client(directory, call.scope(), &key, &params.idempotency_key, message).await?;
    let (Accepted::Started { run_id, session_key }
    | Accepted::InFlight { run_id, session_key }
    | Accepted::Ended {
        run_id, session_key, ..
    }) = accepted;
    Ok((run_id, session_key))
}

/// The session the call is for: named, by its transcript, or the main one of the agent.
async fn target(call: &Call, params: &AgentParams) -> Result<String, WireError> {
    if let Some(key) = params.session_key.as_ref().filter(|key| !key.is_empty()) {
        return Ok(key.clone());
    }
    if let Some(id) = &params.session_id {
        return match super::sessions::by_session_id(call, id).await? {
            Some(row) => Ok(row.key.into()),
            None => Err(WireError::invalid(format!("No session found: {id}"))),
        };
    }
    Ok(match &params.agent_id {
        Some(agent) => format!("agent:{agent}:main"),
        None => "main".to_owned(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitParams {
    run_id: String,
    timeout_ms: Option<u64>,
}

async fn wait(call: Call, params: WaitParams) -> Result<Value, WireError> {
    filled("agent.wait", "runId", &params.run_id)?;
    let timeout = params
        .timeout_ms
        .map_or(DEFAULT_WAIT, Duration::from_millis)
        .min(LONGEST_RUN);
    let ended = call
        .state
        .directory
        .wait_run(call.scope(), &params.run_id, timeout)
        .await?;
    Ok(match ended {
        None => json!({"runId": params.run_id, "status": "timeout"}),
        Some(ended) => without_nulls(json!({
            "runId": params.run_id,
            "status": if ended.status == "ok" { "ok" } else { "error" },
            "startedAt": ended.started_at, "endedAt": ended.ended_at, "stopReason": ended.stop_reason,
            "error": (ended.status != "ok").then(|| failure(&ended)),
        })),
    })
}

fn failure(ended: &RunEnded) -> String {
    let fallback = || {
        format!(
            "the run was {}",
            if ended.status == "error" {
                "not finished"
            } else {
                &ended.status
            }
        )
    };
    ended.error.clone().unwrap_or_else(fallback)
}
