//! `chat.send`, `chat.abort`, `chat.inject`; what a chat shows is in [`history`].

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::deliver::DeliverParams;
use super::{filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{self, ADMIN, READ, WRITE};
use crate::session::edit;
use crate::session::intake::{self, Accepted, ClientMessage};
use crate::supervisor::directory::AbortRequest;

mod attachments;
mod history;
mod refers;

pub(super) use attachments::{AttachmentParams, store};

/// How long `chat.inject` waits to see its message in the transcript of a quiet session.
const INJECTED: Duration = Duration::from_secs(10);
/// Longest label of an injected message, as the original.
const MOST_LABEL: usize = 100;

pub(super) fn register(methods: &mut Methods) {
    methods.add("chat.send", Access::Scope(WRITE), send);
    methods.add("chat.history", Access::Scope(READ), history::history);
    methods.add("chat.startup", Access::Scope(READ), history::startup);
    methods.add("chat.metadata", Access::Scope(READ), history::metadata);
    methods.add("chat.message.get", Access::Scope(READ), history::message);
    methods.add("chat.abort", Access::Scope(WRITE), abort);
    methods.add("chat.inject", Access::Scope(ADMIN), inject).hidden();
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendParams {
    pub(super) session_key: String,
    pub(super) message: String,
    pub(super) idempotency_key: String,
    pub(super) thinking: Option<String>,
    /// `auto` is as if nothing was said.
    #[serde(default)]
    pub(super) fast_mode: Value,
    pub(super) queue_mode: Option<String>,
    #[serde(default)]
    pub(super) deliver: bool,
    pub(super) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(super) attachments: Vec<AttachmentParams>,
    /// The newest entry that the writer saw; null where there was none.
    #[serde(default, deserialize_with = "super::agents::present")]
    pub(super) expected_leaf_entry_id: Option<Option<String>>,
    /// The transcript that the writer saw.
    pub(super) session_id: Option<String>,
    pub(super) reply_to_id: Option<String>,
}

impl SendParams {
    /// Words in a session, as it is set.
    pub(super) fn plain(session: &str, message: String, run: String, attachments: Vec<AttachmentParams>) -> Self {
        Self {
            session_key: session.to_owned(),
            message,
            idempotency_key: run,
            thinking: None,
            fast_mode: Value::Null,
            queue_mode: None,
            deliver: false,
            timeout_ms: None,
            attachments,
            expected_leaf_entry_id: None,
            session_id: None,
            reply_to_id: None,
        }
    }
}

pub(super) async fn send(call: Call, params: SendParams) -> Result<Value, WireError> {
    filled("chat.send", "sessionKey", &params.session_key)?;
    filled("chat.send", "idempotencyKey", &params.idempotency_key)?;
    if let Some(mode) = &params.queue_mode
        && !["steer", "followup", "collect", "interrupt"].contains(&mode.as_str())
    {
        return Err(WireError::invalid(
            "invalid chat.send params: at /queueMode: must be equal to one of the allowed values",
        ));
    }
    let key = session_key(&call, &params.session_key).await?;
    refers::same_branch(&call, &key, &params).await?;
    let reply_to = refers::quoted(&call, &key, params.reply_to_id.as_deref()).await?;
    let deliver_to = DeliverParams::last(params.deliver)
        .read(&call, &params.session_key)
        .await?;
    let message = ClientMessage {
        source: "chat".to_owned(),
        message: params.message,
        attachments: store(&call, params.attachments).await?,
        thinking: params.thinking,
        fast: params.fast_mode.as_bool(),
        model: None,
        extra_system_prompt: None,
        timeout_ms: params.timeout_ms,
        queue_mode: params.queue_mode,
        reply_to,
        requester: Some(requester(&call)),
        approver: call.connection.has_scope(scopes::APPROVALS),
        deliver_to,
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
    if aborted.unauthorized {
        return Err(WireError::invalid("unauthorized"));
    }
    Ok(json!({"ok": true, "aborted": aborted.aborted, "runIds": aborted.run_ids}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InjectParams {
    session_key: String,
    message: String,
    label: Option<String>,
}

/// Says something in the agent's place. Stored before it is answered; it stands in the transcript at once, or after the
/// turn that runs.
async fn inject(call: Call, params: InjectParams) -> Result<Value, WireError> {
    filled("chat.inject", "sessionKey", &params.session_key)?;
    filled("chat.inject", "message", &params.message)?;
    let message = match params.label.as_deref().map(str::trim).filter(|label| !label.is_empty()) {
        Some(label) if label.chars().count() > MOST_LABEL => {
            return Err(WireError::invalid(format!(
                "invalid chat.inject params: at /label: must NOT have more than {MOST_LABEL} characters"
            )));
        }
        Some(label) => format!("[{label}]\n\n{}", params.message),
        None => params.message,
    };
    let key = session_key(&call, &params.session_key).await?;
    let directory = &call.state.directory;
    let stored = edit::accept_injection(directory, call.scope(), &key, message).await?;
    if directory.observe_session(call.scope(), &key).await?.in_flight.is_none() {
        let ended = directory.wait_run(call.scope(), &stored.run_id, INJECTED).await?;
        if ended.is_some_and(|ended| ended.status != "ok") {
            // Deleted in between.
            return Err(WireError::invalid("session not found"));
        }
    }
    Ok(json!({"ok": true, "messageId": stored.message_id}))
}
