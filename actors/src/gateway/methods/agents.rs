//! `agents.list`, `agents.create`, `agents.update`, `agents.delete` and `agent.identity.get`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::health::agent_ids;
use super::models::{level_names, shown_levels};
use super::{Nothing, agent_of, config, filled};
use crate::config::devices::without_nulls;
use crate::config::document::{AgentChange, AgentSettings};
use crate::config::providers::Choice;
use crate::config::workspace::identity;
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};
use crate::ports::model::Thinking;
use crate::session::key;

pub(super) fn register(methods: &mut Methods) {
    methods.add("agents.list", Access::Scope(READ), list);
    methods.add("agents.create", Access::Scope(ADMIN), create);
    methods.add("agents.update", Access::Scope(ADMIN), update);
    methods.add("agents.delete", Access::Scope(ADMIN), delete);
    methods.add("agent.identity.get", Access::Scope(READ), shown);
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    let service = &call.state.services.config;
    let settings = service.settings(call.scope()).await?;
    let mut agents = Vec::new();
    for id in agent_ids(&settings) {
        let known = settings.agent(&id);
        let used = match service.model_chain(call.scope(), &id, None).await {
            Ok(chain) => chain.into_iter().next(),
            // Its model is gone, or no provider has one yet.
            Err(Error::Invalid(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let own = known.and_then(|agent| agent.model.clone());
        let model = own.or_else(|| used.as_ref().map(Choice::reference));
        let reasons = used.as_ref().is_some_and(Choice::reasons);
        let thinking = used.map_or(Thinking::Off, |used| used.thinking(&settings, &id));
        agents.push(without_nulls(json!({
            "id": id, "kind": "agent",
            "name": known.and_then(|agent| agent.name.clone()),
            "identity": known.and_then(shown_identity),
            "model": model.map(|model| json!({"primary": model})),
            "workspace": workspace(&id), "workspaceGit": false,
            "agentRuntime": {"id": "openclaw", "source": "implicit"},
            "thinkingLevels": shown_levels(reasons), "thinkingOptions": level_names(reasons),
            "thinkingDefault": thinking.name(),
        })));
    }
    Ok(json!({
        "defaultId": settings.default_agent, "ownership": "sole", "selectionRequired": false,
        "mainKey": "main", "scope": "per-sender", "agents": agents,
    }))
}

/// The root of an agent's files, as clients show it. There is no such folder: files are rows.
pub(super) fn workspace(agent_id: &str) -> String {
    format!("/agents/{agent_id}")
}

/// What of an identity the protocol knows.
fn shown_identity(agent: &AgentSettings) -> Option<Value> {
    let known = ["name", "theme", "emoji", "avatar"].into_iter().filter_map(|key| {
        let text = agent.identity.get(key)?.as_str()?.trim();
        (!text.is_empty()).then(|| (key.to_owned(), json!(text)))
    });
    let known: serde_json::Map<String, Value> = known.collect();
    (!known.is_empty()).then_some(Value::Object(known))
}

/// Refuses an agent the user does not have.
pub(super) async fn known_agent(call: &Call, agent_id: &str) -> Result<(), WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    if settings.agent(agent_id).is_some() || settings.default_agent == agent_id {
        return Ok(());
    }
    Err(WireError::invalid(format!("unknown agent id \"{agent_id}\"")))
}

/// `workspace` is read and not used: each agent has its own.
#[derive(Deserialize)]
struct CreateParams {
    name: String,
    model: Option<String>,
    emoji: Option<String>,
    avatar: Option<String>,
}

async fn create(call: Call, params: CreateParams) -> Result<Value, WireError> {
    filled("agents.create", "name", params.name.trim())?;
    let change = AgentChange {
        name: Some(params.name.clone()),
        model: params.model.clone().map(Some),
        emoji: params.emoji,
        avatar: params.avatar,
    };
    let id = call.state.services.config.create_agent(call.scope(), change).await?;
    config::changed(&call).await?;
    Ok(without_nulls(json!({
        "ok": true, "agentId": id, "name": params.name.trim(), "workspace": workspace(&id), "model": params.model,
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateParams {
    agent_id: String,
    name: Option<String>,
    /// Null takes the agent's own model away.
    #[serde(default, deserialize_with = "present")]
    model: Option<Option<String>>,
    emoji: Option<String>,
    avatar: Option<String>,
}

/// Tells null from absent.
pub(super) fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

async fn update(call: Call, params: UpdateParams) -> Result<Value, WireError> {
    known_agent(&call, &params.agent_id).await?;
    let change = AgentChange {
        name: params.name,
        model: params.model,
        emoji: params.emoji,
        avatar: params.avatar,
    };
    let service = &call.state.services.config;
    service.update_agent(call.scope(), &params.agent_id, change).await?;
    config::changed(&call).await?;
    Ok(json!({"ok": true, "agentId": params.agent_id}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteParams {
    agent_id: String,
    /// The original's default is true.
    delete_files: Option<bool>,
}

/// Conversations of the agent are kept; its files go unless the caller says otherwise.
async fn delete(call: Call, params: DeleteParams) -> Result<Value, WireError> {
    let id = params.agent_id;
    known_agent(&call, &id).await?;
    let service = &call.state.services.config;
    let removed_bindings = service.delete_agent(call.scope(), &id).await?;
    super::cron::remove_of_agent(&call, &id).await?;
    if params.delete_files.unwrap_or(true) {
        service.delete_workspace(call.scope(), &id).await?;
    }
    config::changed(&call).await?;
    // Files are rows, not folders in a trash: there is nothing to list as moved.
    Ok(json!({"ok": true, "agentId": id, "removedBindings": removed_bindings, "removed": [], "failed": []}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityParams {
    agent_id: Option<String>,
    session_key: Option<String>,
}

async fn shown(call: Call, params: IdentityParams) -> Result<Value, WireError> {
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
    let service = &call.state.services.config;
    let file = service.workspace_file(call.scope(), &id, "IDENTITY.md").await?;
    // Our template names nobody in particular.
    let file = file.filter(|file| file.version > 0);
    let own = file.map(|file| identity::parse(&file.content)).unwrap_or_default();
    let set = |field: &str| known.and_then(|agent| agent.identity[field].as_str());
    let name = set("name").or_else(|| known.and_then(|agent| agent.name.as_deref()));
    let name = name.or(own.name.as_deref());
    Ok(without_nulls(json!({
        "agentId": id, "name": name.unwrap_or("Assistant"),
        "nameSource": if name.is_some() { "config" } else { "default" },
        "avatar": set("avatar").or(own.avatar.as_deref()).unwrap_or("A"),
        "emoji": set("emoji").or(own.emoji.as_deref()),
    })))
}
