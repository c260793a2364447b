//! `exec.approvals.*`: the user's own file, and the file on a node.

use std::time::Duration;

use claw_entities::new_id;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nothing, filled};
use crate::config::devices::without_nulls;
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::ADMIN;
use crate::supervisor::directory::InvokeNode;

pub(super) fn register(methods: &mut Methods) {
    methods.add("exec.approvals.get", Access::Scope(ADMIN), get);
    methods
        .add("exec.approvals.set", Access::Scope(ADMIN), set)
        .write_limited();
    methods.add("exec.approvals.node.get", Access::Scope(ADMIN), node_get);
    methods
        .add("exec.approvals.node.set", Access::Scope(ADMIN), node_set)
        .write_limited();
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetParams {
    file: Value,
    base_hash: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeGetParams {
    node_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSetParams {
    node_id: String,
    file: Value,
    base_hash: Option<String>,
}

async fn get(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(call.state.services.config.exec_approvals(call.scope()).await?)
}

async fn set(call: Call, params: SetParams) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    Ok(config
        .put_exec_approvals(call.scope(), params.file, params.base_hash.as_deref())
        .await?)
}

async fn node_get(call: Call, params: NodeGetParams) -> Result<Value, WireError> {
    filled("exec.approvals.node.get", "nodeId", &params.node_id)?;
    ask(&call, params.node_id, "system.execApprovals.get", json!({})).await
}

async fn node_set(call: Call, params: NodeSetParams) -> Result<Value, WireError> {
    filled("exec.approvals.node.set", "nodeId", &params.node_id)?;
    let file = without_nulls(json!({"file": params.file, "baseHash": params.base_hash}));
    ask(&call, params.node_id, "system.execApprovals.set", file).await
}

async fn ask(call: &Call, node_id: String, command: &str, params: Value) -> Result<Value, WireError> {
    let request = InvokeNode {
        node_id,
        command: command.to_owned(),
        params,
        timeout: Duration::from_secs(30),
        idempotency_key: new_id(),
    };
    let answer = nodes::ask(&call.state.directory, call.scope(), request).await;
    // The node compares the hash: what it says against the file is for whoever sent it.
    let answer = answer.map_err(|error| match error.message.strip_prefix("INVALID_REQUEST: ") {
        Some(why) => WireError::invalid(why),
        None => error,
    })?;
    if answer.payload["file"].is_object() {
        return Ok(answer.payload);
    }
    Err(WireError::invalid("node returned invalid exec approvals payload"))
}
