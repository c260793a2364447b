//! `last-heartbeat` and `set-heartbeats`: what came of the agents' looks by themselves, and whether they look at all.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::config::document::UserSettings;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};
use crate::session::heartbeat::usual_prompt;

pub(super) fn register(methods: &mut Methods) {
    methods.add("last-heartbeat", Access::Scope(READ), last);
    methods.add("set-heartbeats", Access::Scope(ADMIN), set).write_limited();
}

/// The newest event, or null.
async fn last(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(call.state.services.config.last_heartbeat(call.scope()).await?)
}

#[derive(Deserialize)]
struct SetParams {
    enabled: Value,
}

async fn set(call: Call, params: SetParams) -> Result<Value, WireError> {
    let enabled = params
        .enabled
        .as_bool()
        .ok_or_else(|| WireError::invalid("invalid set-heartbeats params: enabled (boolean) required"))?;
    call.state.services.config.set_heartbeats(call.scope(), enabled).await?;
    Ok(json!({"ok": true, "enabled": enabled}))
}

/// An agent's heartbeat as `health` shows it.
pub(super) fn shown(settings: &UserSettings, agent: &str) -> Value {
    match settings.heartbeat(agent) {
        Some(beat) => json!({
            "enabled": true, "every": beat.every_text, "everyMs": every_ms(settings, agent),
            "prompt": beat.prompt.as_deref().unwrap_or(usual_prompt()), "target": beat.target.name(),
            "ackMaxChars": beat.ack_max_chars,
        }),
        None => json!({
            "enabled": false, "every": "0m", "everyMs": 0, "prompt": "", "target": "none", "ackMaxChars": 0,
        }),
    }
}

/// How often an agent looks, milliseconds; 0 = never.
pub(super) fn every_ms(settings: &UserSettings, agent: &str) -> u64 {
    settings
        .heartbeat(agent)
        .map_or(0, |beat| u64::try_from(beat.every.as_millis()).unwrap_or(u64::MAX))
}
