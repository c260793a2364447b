//! What clients ask about speech: which model reads aloud, whether answers are, and a text read aloud.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nothing, filled};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{READ, TALK_SECRETS, WRITE};
use crate::ports::speech::AudioFormat;
use crate::session::speech::{self, Voice};

pub(super) fn register(methods: &mut Methods) {
    methods.add("tts.status", Access::Scope(READ), tts_status);
    methods.add("tts.providers", Access::Scope(READ), tts_providers);
    methods.add("tts.enable", Access::Scope(WRITE), tts_enable);
    methods.add("tts.disable", Access::Scope(WRITE), tts_disable);
    methods.add("tts.setProvider", Access::Scope(WRITE), tts_set_provider);
    methods.add("tts.convert", Access::Scope(WRITE), tts_convert);
    methods.add("talk.config", Access::Scope(READ), talk_config);
}

async fn tts_status(call: Call, _: Nothing) -> Result<Value, WireError> {
    let services = &call.state.services;
    let voices = speech::voices(services, call.scope()).await?;
    let auto = services.config.settings(call.scope()).await?.speech.auto;
    let chosen = voices.first();
    let states: Vec<Value> = voices
        .iter()
        .map(|voice| json!({"id": voice.provider, "label": voice.provider, "configured": voice.ready}))
        .collect();
    Ok(json!({
        "enabled": auto != "off" && chosen.is_some_and(|voice| voice.ready), "auto": auto,
        "provider": chosen.map(|voice| &voice.provider), "persona": null, "personas": [],
        "fallbackProvider": null, "fallbackProviders": [], "prefsPath": "", "providerStates": states,
    }))
}

async fn tts_providers(call: Call, _: Nothing) -> Result<Value, WireError> {
    let voices = speech::voices(&call.state.services, call.scope()).await?;
    let active = voices.first().filter(|voice| voice.ready);
    let active = active.map_or("", |voice| voice.provider.as_str());
    let one = |voice: &Voice| json!({"id": voice.provider, "name": voice.provider, "configured": voice.ready, "models": [], "voices": []});
    Ok(json!({"providers": voices.iter().map(one).collect::<Vec<_>>(), "active": active}))
}

async fn tts_enable(call: Call, _: Nothing) -> Result<Value, WireError> {
    speech::enable(&call.state.services, call.scope(), true).await?;
    Ok(json!({"enabled": true}))
}

async fn tts_disable(call: Call, _: Nothing) -> Result<Value, WireError> {
    speech::enable(&call.state.services, call.scope(), false).await?;
    Ok(json!({"enabled": false}))
}

#[derive(Deserialize)]
struct ProviderParams {
    #[serde(default)]
    provider: String,
}

async fn tts_set_provider(call: Call, params: ProviderParams) -> Result<Value, WireError> {
    let chosen = speech::choose(&call.state.services, call.scope(), &params.provider).await?;
    Ok(json!({"provider": chosen}))
}

#[derive(Deserialize)]
struct ConvertParams {
    #[serde(default)]
    text: String,
    channel: Option<String>,
}

/// `audioPath` is where this service serves the sound to its owner.
async fn tts_convert(call: Call, params: ConvertParams) -> Result<Value, WireError> {
    filled("tts.convert", "text", &params.text)?;
    let services = &call.state.services;
    let channel = params
        .channel
        .as_deref()
        .and_then(|channel| services.ports.channel(channel.trim()));
    let voice = channel
        .and_then(|channel| channel.files())
        .is_some_and(|files| files.has_voice());
    let format = if voice { AudioFormat::Opus } else { AudioFormat::Mp3 };
    let spoken = speech::spoken(services, call.scope(), &params.text, format).await?;
    Ok(json!({
        "audioPath": format!("/api/blobs/{}", spoken.about.blob), "provider": spoken.provider,
        "outputFormat": format.name(), "voiceCompatible": format == AudioFormat::Opus,
    }))
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
