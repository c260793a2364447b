//! Small reads that clients make on their way: presence, identity of the server, commands.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::clock::now_ms;
use crate::crypto::{signature, token};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};
use crate::session::commands::COMMANDS;
use crate::session::skills::calls;

pub(super) fn register(methods: &mut Methods) {
    methods.add("system-presence", Access::Scope(READ), presence);
    methods.add("gateway.identity.get", Access::Scope(READ), identity);
    methods.add("commands.list", Access::Scope(READ), commands);
    methods.add("update.status", Access::Scope(ADMIN), update_status);
}

/// The gateway itself first, then the user's connections.
async fn presence(call: Call, _: Nothing) -> Result<Vec<Value>, WireError> {
    let version = &call.state.services.replica.version;
    let uptime = i64::try_from(call.state.started.elapsed().as_millis()).unwrap_or(0);
    let mut entries = vec![json!({
        "host": "clawcentral", "version": version, "platform": std::env::consts::OS, "mode": "gateway",
        "reason": "self", "text": format!("Gateway: clawcentral {version}"), "ts": now_ms(),
        "onlineSince": now_ms() - uptime,
    })];
    entries.extend(call.state.directory.presence(call.scope()).await?);
    Ok(entries)
}

/// The tenant's gateway as a device: a key pair derived from the tenant's key, so it stays the same.
async fn identity(call: Call, _: Nothing) -> Result<Value, WireError> {
    let tenant = call.scope().tenant_scope();
    let seed = call
        .state
        .services
        .config
        .derived_key(tenant, "gateway-identity")
        .await?;
    let key = signature::ed25519_public_key(&seed);
    Ok(json!({"deviceId": token::hash_bytes(&key), "publicKey": URL_SAFE_NO_PAD.encode(key)}))
}

/// A hosted server is updated by who hosts it: there is nothing to fetch and no schedule of the tenant's.
async fn update_status(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({
        "currentVersion": call.state.services.replica.version, "sentinel": null, "updateAvailable": null,
        "effectiveChannel": "stable", "schedule": {"channel": "stable", "autoEnabled": false},
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommandsParams {
    agent_id: Option<String>,
}

async fn commands(call: Call, params: CommandsParams) -> Result<Value, WireError> {
    Ok(json!({"commands": command_views(&call, params.agent_id.as_deref()).await?}))
}

/// The slash commands as clients list them, those of an agent's skills included; the default agent's without an id.
pub(super) async fn command_views(call: &Call, agent_id: Option<&str>) -> Result<Vec<Value>, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let agent_id = agent_id.unwrap_or(&settings.default_agent);
    let known = calls::all(&call.state.directory, call.scope(), agent_id, &settings).await?;
    let built_in = COMMANDS.iter().map(|command| {
        let names = [&command.name].into_iter().chain(command.aliases);
        json!({
            "name": command.name, "nativeName": command.name,
            "textAliases": names.map(|name| format!("/{name}")).collect::<Vec<_>>(), "description": command.what,
            "source": "native", "scope": "both", "acceptsArgs": !command.arguments.is_empty(),
            "category": command.category,
        })
    });
    let skills = known.into_iter().map(|command| {
        json!({
            "name": command.name, "nativeName": command.name, "textAliases": [format!("/{}", command.name)],
            "description": command.description, "source": "skill", "scope": "both", "acceptsArgs": true,
            "category": "tools", "skillDisplayName": command.skill, "skillModelVisible": command.model_visible,
        })
    });
    Ok(built_in.chain(skills).collect())
}
