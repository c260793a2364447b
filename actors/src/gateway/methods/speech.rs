//! What clients ask about speech. This service has none yet, and says so.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{READ, TALK_SECRETS};

pub(super) fn register(methods: &mut Methods) {
    methods.add("tts.status", Access::Scope(READ), tts_status);
    methods.add("tts.providers", Access::Scope(READ), tts_providers);
    methods.add("talk.config", Access::Scope(READ), talk_config);
}

async fn tts_status(_: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({
        "enabled": false, "auto": "off", "provider": "", "persona": null, "personas": [], "fallbackProvider": null,
        "fallbackProviders": [], "prefsPath": "", "providerStates": [],
    }))
}

async fn tts_providers(_: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({"providers": [], "active": ""}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TalkParams {
    #[serde(default)]
    include_secrets: bool,
}

/// What of the configuration concerns talking apps: the main session and the color. There are no speech providers.
async fn talk_config(call: Call, params: TalkParams) -> Result<Value, WireError> {
    if params.include_secrets {
        call.require(TALK_SECRETS)?;
    }
    let document = call.state.services.config.document(call.scope()).await?;
    let mut config = json!({"session": {"mainKey": "main"}});
    if let Some(color) = document.doc.pointer("/ui/seamColor").and_then(Value::as_str) {
        config["ui"] = json!({"seamColor": color});
    }
    Ok(json!({"config": config}))
}
