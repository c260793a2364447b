//! `agents.files.*`: the files an agent starts its turns from, in its virtual workspace.

use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::agents::{known_agent, workspace};
use crate::config::workspace::{WorkspaceFile, is_bootstrap};
use crate::crypto::token::hex;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};

pub(super) fn register(methods: &mut Methods) {
    methods.add("agents.files.list", Access::Scope(READ), list);
    methods.add("agents.files.get", Access::Scope(READ), get);
    methods.add("agents.files.set", Access::Scope(ADMIN), set);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    agent_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GetParams {
    agent_id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetParams {
    agent_id: String,
    name: String,
    content: String,
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    known_agent(&call, &params.agent_id).await?;
    let config = &call.state.services.config;
    let slots = config.bootstrap_slots(call.scope(), &params.agent_id).await?;
    let files: Vec<Value> = slots
        .iter()
        // The second spelling of MEMORY.md is shown only where somebody uses it.
        .filter(|(name, file)| *name != "memory.md" || file.is_some())
        .map(|(name, file)| shown(&params.agent_id, name, file.as_ref()))
        .collect();
    Ok(json!({"agentId": params.agent_id, "workspace": workspace(&params.agent_id), "files": files}))
}

async fn get(call: Call, params: GetParams) -> Result<Value, WireError> {
    check(&call, &params.agent_id, &params.name).await?;
    let config = &call.state.services.config;
    let file = config
        .workspace_file(call.scope(), &params.agent_id, &params.name)
        .await?;
    let mut entry = shown(&params.agent_id, &params.name, file.as_ref());
    if let Some(file) = file {
        entry["hash"] = json!(hex(digest::digest(&digest::SHA256, file.content.as_bytes()).as_ref()));
        entry["content"] = json!(file.content);
    }
    Ok(json!({"agentId": params.agent_id, "workspace": workspace(&params.agent_id), "file": entry}))
}

async fn set(call: Call, params: SetParams) -> Result<Value, WireError> {
    check(&call, &params.agent_id, &params.name).await?;
    let config = &call.state.services.config;
    let file = config
        .put_workspace_file(call.scope(), &params.agent_id, &params.name, &params.content, None)
        .await?;
    let mut entry = shown(&params.agent_id, &params.name, Some(&file));
    entry["content"] = json!(file.content);
    Ok(json!({"ok": true, "agentId": params.agent_id, "workspace": workspace(&params.agent_id), "file": entry}))
}

/// An agent of the caller's, and one of the files that have a meaning.
async fn check(call: &Call, agent_id: &str, name: &str) -> Result<(), WireError> {
    known_agent(call, agent_id).await?;
    if is_bootstrap(name) {
        return Ok(());
    }
    Err(WireError::invalid(format!("unsupported file \"{name}\"")))
}

fn shown(agent_id: &str, name: &str, file: Option<&WorkspaceFile>) -> Value {
    let mut entry = json!({"name": name, "path": format!("{}/{name}", workspace(agent_id)), "missing": file.is_none()});
    if let Some(file) = file {
        entry["size"] = json!(file.size);
        entry["updatedAtMs"] = json!(file.updated_at);
    }
    entry
}
