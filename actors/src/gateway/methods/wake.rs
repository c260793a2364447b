//! `wake` and `system-event`: tell a session something that no person wrote, now or with its next turn.

use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{filled, session_key};
use crate::gateway::beacon::Beacon;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, WRITE};
use crate::session::{key, wake};

/// Longest text, bytes.
const LONGEST: usize = 16 * 1024;

pub(super) fn register(methods: &mut Methods) {
    methods.add("wake", Access::Scope(WRITE), wake_up);
    methods.add("system-event", Access::Scope(ADMIN), system_event);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WakeParams {
    mode: String,
    text: String,
    session_key: Option<String>,
    agent_id: Option<String>,
}

async fn wake_up(call: Call, params: WakeParams) -> Result<Value, WireError> {
    filled("wake", "text", params.text.trim())?;
    if params.text.len() > LONGEST {
        return Err(WireError::invalid(
            "invalid wake params: at /text: is longer than 16 KiB",
        ));
    }
    let session = target(&call, &params).await?;
    let now = match params.mode.as_str() {
        "next-heartbeat" => false,
        "now" => true,
        _ => {
            return Err(WireError::invalid(
                "invalid wake params: at /mode: must be now or next-heartbeat",
            ));
        }
    };
    wake::tell(&call.state.directory, call.scope(), &session, &params.text, now).await?;
    Ok(json!({"ok": true}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SystemEventParams {
    session_key: Option<String>,
    /// Look now instead of with the next turn.
    #[serde(default)]
    wake: bool,
    #[serde(flatten)]
    beacon: Beacon,
}

/// A program says something of itself (a text that begins with `Node:`), which presence shows, or of the world, which
/// the session hears.
async fn system_event(call: Call, params: SystemEventParams) -> Result<Value, WireError> {
    let text = params.beacon.text.trim().to_owned();
    filled("system-event", "text", &text)?;
    let about_itself = text.starts_with("Node:");
    let tells_too_much = if about_itself {
        params.beacon.too_long()
    } else {
        (text.len() > LONGEST).then_some("text")
    };
    if let Some(field) = tells_too_much {
        return Err(WireError::invalid(format!(
            "invalid system-event params: at /{field}: is too long"
        )));
    }
    if about_itself {
        let directory = &call.state.directory;
        let conn_id = call.connection.conn_id.clone();
        directory.describe(call.scope(), conn_id, params.beacon).await?;
        return Ok(json!({"ok": true}));
    }
    let named = params.session_key.as_deref().filter(|given| !given.is_empty());
    let session = session_key(&call, named.unwrap_or("main")).await?;
    wake::tell(&call.state.directory, call.scope(), &session, &text, params.wake).await?;
    Ok(json!({"ok": true}))
}

/// The session that is told: the named one, or the main one of the agent.
async fn target(call: &Call, params: &WakeParams) -> Result<SessionKey, WireError> {
    if let Some(given) = params.session_key.as_deref().filter(|given| !given.is_empty()) {
        return session_key(call, given).await;
    }
    match params.agent_id.as_deref().filter(|agent| !agent.is_empty()) {
        Some(agent) => {
            let settings = call.state.services.config.settings(call.scope()).await?;
            if agent != settings.default_agent && settings.agent(agent).is_none() {
                return Err(WireError::invalid(format!("unknown agent id \"{agent}\"")));
            }
            Ok(key::main(agent))
        }
        None => session_key(call, "main").await,
    }
}
