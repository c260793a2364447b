//! `agents.list` and `agent.identity.get`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::health::agent_ids;
use super::{Nothing, agent_of};
use crate::config::devices::without_nulls;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;
use crate::session::key;

pub(super) fn register(methods: &mut Methods) {
    methods.add("agents.list", Access::Scope(READ), list);
    methods.add("agent.identity.get", Access::Scope(READ), identity);
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let agents: Vec<Value> = agent_ids(&settings)
        .into_iter()
        .map(|id| {
            let known = settings.agents.iter().find(|agent| agent.id == id);
            without_nulls(json!({
                "id": id, "kind": "agent",
                "name": known.and_then(|agent| agent.name.clone()),
                "identity": known.map(|agent| agent.identity.clone()),
                "model": known.and_then(|agent| agent.model.as_ref()).map(|model| json!({"primary": model})),
                "workspace": "", "workspaceGit": false,
                "thinkingLevels": [{"id": "off", "label": "off"}], "thinkingOptions": ["off"], "thinkingDefault": "off",
            }))
        })
        .collect();
    Ok(json!({
        "defaultId": settings.default_agent, "ownership": "sole", "selectionRequired": false,
        "mainKey": "main", "scope": "per-sender", "agents": agents,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityParams {
    agent_id: Option<String>,
    session_key: Option<String>,
}

async fn identity(call: Call, params: IdentityParams) -> Result<Value, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let id = match (params.agent_id, params.session_key) {
        (Some(id), _) => id,
        (None, Some(given)) => agent_of(&key::resolve(&given, &settings.default_agent)?).to_owned(),
        (None, None) => settings.default_agent.clone(),
    };
    let known = settings.agents.iter().find(|agent| agent.id == id);
    if known.is_none() && id != settings.default_agent {
        return Err(WireError::invalid(format!("unknown agent id \"{id}\"")));
    }
    let from_identity = |field: &str| known.and_then(|agent| agent.identity[field].as_str());
    let name = from_identity("name").or_else(|| known.and_then(|agent| agent.name.as_deref()));
    Ok(without_nulls(json!({
        "agentId": id, "name": name.unwrap_or("Assistant"),
        "nameSource": if name.is_some() { "config" } else { "default" },
        "avatar": from_identity("avatar").unwrap_or("A"), "emoji": from_identity("emoji"),
    })))
}
