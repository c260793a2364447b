//! `sessions.create`, `sessions.send` and `sessions.abort`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::{entry, expected_text, field, resolved};
use crate::conversation::history::SessionRow;
use crate::crypto::token;
use crate::gateway::methods::agents::known_agent;
use crate::gateway::methods::chat::{self, AttachmentParams, SendParams};
use crate::gateway::methods::{agent_of, filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::gateway::scopes::{self, ADMIN};
use crate::session::edit::{self, Patch};
use crate::session::events::session_changed;
use crate::session::{key, record};
use crate::supervisor::directory::AbortRequest;

/// Settings of a new session that `sessions.patch` knows too.
const SETTINGS: [&str; 5] = ["label", "category", "model", "thinkingLevel", "fastMode"];
/// What says how a session is made, or is no wish at all when null or false.
const MAKING: [&str; 12] = [
    "key",
    "idempotencyKey",
    "agentId",
    "displayName",
    "parentSessionKey",
    "spawnDepth",
    "emitCommandHooks",
    "succeedsParent",
    "task",
    "message",
    "attachments",
    "catalogId",
];

/// Makes a session, or changes the one with this key, and says the first words in it. One idempotency key makes one.
pub(super) async fn create(call: Call, params: Map<String, Value>) -> Result<Value, WireError> {
    let text = |name: &str| expected_text("sessions.create", name, params.get(name));
    for (name, value) in &params {
        let none = matches!(value, Value::Null | Value::Bool(false));
        let ours = SETTINGS.contains(&name.as_str()) || MAKING.contains(&name.as_str());
        if !none && (!ours || name == "catalogId") {
            return Err(WireError::invalid(format!(
                "invalid sessions.create params: at /{name}: this server does not support it"
            )));
        }
    }
    let settings = call.state.services.config.settings(call.scope()).await?;
    let agent = text("agentId")?.unwrap_or_else(|| settings.default_agent.clone());
    if !settings.has_agent(&agent) {
        return Err(WireError::invalid(format!("Unknown agent id \"{agent}\"")));
    }
    let repeats = text("idempotencyKey")?;
    let session = match text("key")? {
        Some(named) => {
            let full = key::resolve(&named, &agent)?;
            if params.contains_key("agentId") && agent_of(&full) != agent {
                return Err(WireError::invalid(format!(
                    "agent \"{agent}\" does not match session key agent \"{}\"",
                    agent_of(&full)
                )));
            }
            known_agent(&call, agent_of(&full)).await?;
            full
        }
        None => {
            let id = match &repeats {
                Some(given) => token::hash(given).chars().take(32).collect(),
                None => uuid::Uuid::new_v4().to_string(),
            };
            key::under(&agent, &format!("dashboard:{id}"))
        }
    };
    let mut patch = Patch::default();
    for name in SETTINGS {
        if let Some(value) = params.get(name).filter(|value| !value.is_null()) {
            field(&call, &session, &mut patch, name, value).await?;
        }
    }
    if patch.label.is_none()
        && let Some(name) = params.get("displayName").filter(|value| !value.is_null())
    {
        field(&call, &session, &mut patch, "label", name).await?;
    }
    let main = key::main(agent_of(&session));
    let parent = match text("parentSessionKey")? {
        None => main,
        Some(named) => {
            let parent = session_key(&call, &named).await?;
            let found = call.state.services.conversation.session(call.scope(), &parent).await?;
            if found.is_none() && parent != main {
                return Err(WireError::invalid(format!("unknown parent session: {named}")));
            }
            parent
        }
    };
    if parent != session {
        patch.fields.insert("parentSessionKey".to_owned(), json!(parent));
    }
    patch.fields.insert("createdVia".to_owned(), json!("operator"));
    let attachments: Vec<AttachmentParams> = match params.get("attachments") {
        None | Some(Value::Null) => Vec::new(),
        Some(given) => serde_json::from_value(given.clone())
            .map_err(|error| WireError::invalid(format!("invalid sessions.create params: at /attachments: {error}")))?,
    };
    let words = |name: &str| {
        params
            .get(name)
            .and_then(Value::as_str)
            .filter(|words| !words.is_empty())
    };
    let message = words("message").or(words("task")).map(str::to_owned);
    let head = edit::patch(&call.state.directory, call.scope(), &session, patch).await?;
    let row = SessionRow::from(&head);
    let event = session_changed(&session, &head.agent_id, "create", Some(&row), None);
    call.state.directory.publish(call.scope(), event);
    let mut made = json!({
        "ok": true, "key": session, "sessionId": row.session_id, "entry": entry(&row), "runStarted": false,
        "resolved": resolved(&call, &row).await?,
    });
    if message.is_some() || !attachments.is_empty() {
        let run = repeats.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let first = SendParams::plain(session.as_str(), message.unwrap_or_default(), run, attachments);
        let sent = chat::send(call, first).await?;
        made["runStarted"] = json!(true);
        made["runId"] = sent["runId"].clone();
    }
    Ok(made)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionSendParams {
    key: String,
    message: String,
    thinking: Option<String>,
    #[serde(default)]
    attachments: Vec<AttachmentParams>,
    timeout_ms: Option<u64>,
    idempotency_key: Option<String>,
}

/// Says something in a session there is.
pub(super) async fn send(call: Call, params: SessionSendParams) -> Result<Value, WireError> {
    said("sessions.send", call, params, None).await
}

/// Says something that is read at once: what runs is stopped for it.
pub(super) async fn steer(call: Call, params: SessionSendParams) -> Result<Value, WireError> {
    said("sessions.steer", call, params, Some("interrupt".to_owned())).await
}

async fn said(
    method: &str,
    call: Call,
    params: SessionSendParams,
    queue_mode: Option<String>,
) -> Result<Value, WireError> {
    filled(method, "key", &params.key)?;
    let session = session_key(&call, &params.key).await?;
    let found = call.state.services.conversation.session(call.scope(), &session).await?;
    if found.is_none() {
        return Err(WireError::invalid(format!("session not found: {}", params.key)));
    }
    let given = params.idempotency_key.filter(|given| !given.is_empty());
    let run = given.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let said = SendParams {
        thinking: params.thinking,
        queue_mode,
        timeout_ms: params.timeout_ms,
        ..SendParams::plain(session.as_str(), params.message, run, params.attachments)
    };
    chat::send(call, said).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionAbortParams {
    key: Option<String>,
    run_id: Option<String>,
    #[serde(default)]
    clear_queued: bool,
}

/// Stops what runs in a session, or one run wherever it is.
pub(super) async fn abort(call: Call, params: SessionAbortParams) -> Result<Value, WireError> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (named, run_id) = (filled(params.key), filled(params.run_id));
    let session = match (&named, &run_id) {
        (Some(named), _) => Some(session_key(&call, named).await?),
        (None, Some(run)) => record::session_of(&call.state.services, call.scope(), run).await?,
        (None, None) => {
            return Err(WireError::invalid("key required"));
        }
    };
    let (mut aborted, mut any) = (None, false);
    if let Some(session_key) = session {
        let request = AbortRequest {
            session_key,
            run_id,
            requester: Some(chat::requester(&call)),
            admin: scopes::holds(&call.connection.scopes, ADMIN),
            stop_reason: "rpc",
            clear_queue: params.clear_queued,
        };
        let done = call.state.directory.abort(call.scope(), request).await?;
        if done.unauthorized {
            return Err(WireError::invalid("unauthorized"));
        }
        any = done.aborted;
        aborted = done.run_ids.into_iter().next();
    }
    let status = if any { "aborted" } else { "no-active-run" };
    Ok(json!({"ok": true, "abortedRunId": aborted, "status": status}))
}
