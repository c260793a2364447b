//! `wake`: tells a session something that no person wrote, now or with its next turn.

use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{filled, session_key};
use crate::clock::now_ms;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::WRITE;
use crate::session::intake::{self, ClientMessage};
use crate::session::{heartbeat, key, system_event};

/// Longest text, bytes.
const LONGEST: usize = 16 * 1024;
/// Longest run for an event, milliseconds (`agent-runtime` §2.4).
const RUN_MS: u64 = 10 * 60 * 1000;

pub(super) fn register(methods: &mut Methods) {
    methods.add("wake", Access::Scope(WRITE), wake);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WakeParams {
    mode: String,
    text: String,
    session_key: Option<String>,
    agent_id: Option<String>,
}

async fn wake(call: Call, params: WakeParams) -> Result<Value, WireError> {
    filled("wake", "text", params.text.trim())?;
    if params.text.len() > LONGEST {
        return Err(WireError::invalid(
            "invalid wake params: at /text: is longer than 16 KiB",
        ));
    }
    let session = target(&call, &params).await?;
    let services = &call.state.services;
    match params.mode.as_str() {
        "next-heartbeat" => system_event::add(services, call.scope(), &session, &params.text).await?,
        // An agent that looks by itself looks now, and says what it finds where it says such things.
        "now" if heartbeat::wake(&call.state.directory, call.scope(), &session, &params.text).await? => {}
        "now" => {
            let zone = services.config.cron_zone(call.scope()).await?;
            let message = ClientMessage {
                source: "wake".to_owned(),
                message: system_event::prompt(now_ms(), zone, &params.text),
                timeout_ms: Some(RUN_MS),
                queue_mode: Some("followup".to_owned()),
                background: true,
                ..ClientMessage::default()
            };
            let id = uuid::Uuid::new_v4().to_string();
            intake::accept_client(&call.state.directory, call.scope(), session.as_str(), &id, message).await?;
        }
        _ => {
            return Err(WireError::invalid(
                "invalid wake params: at /mode: must be now or next-heartbeat",
            ));
        }
    }
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
