//! `chat.send`, `chat.history`, `chat.abort`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{self, ADMIN, READ, WRITE};
use crate::session::intake::{self, Accepted, ClientMessage};
use crate::supervisor::directory::AbortRequest;

mod attachments;

pub(super) use attachments::{AttachmentParams, store};

/// Messages of `chat.history` without `limit`.
const HISTORY: u64 = 200;
const MOST_HISTORY: u64 = 1000;

pub(super) fn register(methods: &mut Methods) {
    methods.add("chat.send", Access::Scope(WRITE), send);
    methods.add("chat.history", Access::Scope(READ), history);
    methods.add("chat.abort", Access::Scope(WRITE), abort);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendParams {
    session_key: String,
    message: String,
    idempotency_key: String,
    thinking: Option<String>,
    queue_mode: Option<String>,
    #[serde(default)]
    deliver: bool,
    timeout_ms: Option<u64>,
    #[serde(default)]
    attachments: Vec<AttachmentParams>,
}

async fn send(call: Call, params: SendParams) -> Result<Value, WireError> {
    filled("chat.send", "sessionKey", &params.session_key)?;
    filled("chat.send", "idempotencyKey", &params.idempotency_key)?;
    if let Some(mode) = &params.queue_mode
        && !["steer", "followup", "collect", "interrupt"].contains(&mode.as_str())
    {
        return Err(WireError::invalid(
            "invalid chat.send params: at /queueMode: must be equal to one of the allowed values",
        ));
    }
    let message = ClientMessage {
        source: "chat".to_owned(),
        message: params.message,
        attachments: store(&call, params.attachments).await?,
        thinking: params.thinking,
        model: None,
        extra_system_prompt: None,
        timeout_ms: params.timeout_ms,
        queue_mode: params.queue_mode,
        requester: Some(requester(&call)),
        deliver: params.deliver,
        ..ClientMessage::default()
    };
    let directory = &call.state.directory;
    let accepted = intake::accept_client(
        directory,
        call.scope(),
        &params.session_key,
        &params.idempotency_key,
        message,
    )
    .await?;
    Ok(match accepted {
        Accepted::Started { run_id, .. } => json!({"runId": run_id, "status": "started"}),
        Accepted::InFlight { run_id, .. } => json!({"runId": run_id, "status": "in_flight"}),
        Accepted::Ended { run_id, status, .. } => json!({"runId": run_id, "status": status}),
    })
}

/// Who may abort what this call starts: the device, or everything of the person that has none.
pub(super) fn requester(call: &Call) -> String {
    let device = call.connection.device_id.clone();
    device.unwrap_or_else(|| call.scope().user().as_str().to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryParams {
    session_key: String,
    limit: Option<u64>,
}

async fn history(call: Call, params: HistoryParams) -> Result<Value, WireError> {
    filled("chat.history", "sessionKey", &params.session_key)?;
    let limit = params.limit.unwrap_or(HISTORY);
    if !(1..=MOST_HISTORY).contains(&limit) {
        return Err(WireError::invalid(format!(
            "invalid chat.history params: at /limit: must be between 1 and {MOST_HISTORY}"
        )));
    }
    let key = session_key(&call, &params.session_key).await?;
    let conversation = &call.state.services.conversation;
    let page = conversation.history(call.scope(), &key, limit).await?;
    let info = conversation.session(call.scope(), &key).await?;
    let defaults = super::sessions::defaults(&call).await?;
    Ok(json!({
        "sessionKey": key, "sessionId": page.session_id, "messages": page.messages,
        "hasMore": page.has_more, "totalMessages": page.total, "defaults": defaults,
        "sessionInfo": info.map(|row| super::sessions::row(&row)),
        "pendingInputs": {"items": [], "total": 0}, "thinkingLevel": "off",
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AbortParams {
    session_key: String,
    run_id: Option<String>,
}

async fn abort(call: Call, params: AbortParams) -> Result<Value, WireError> {
    filled("chat.abort", "sessionKey", &params.session_key)?;
    let request = AbortRequest {
        session_key: session_key(&call, &params.session_key).await?,
        run_id: params.run_id,
        requester: Some(requester(&call)),
        admin: scopes::holds(&call.connection.scopes, ADMIN),
        stop_reason: "rpc",
        clear_queue: false,
    };
    let aborted = call.state.directory.abort(call.scope(), request).await?;
    Ok(json!({"ok": true, "aborted": aborted.aborted, "runIds": aborted.run_ids}))
}
