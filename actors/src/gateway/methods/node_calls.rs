//! Calling nodes (`node.invoke`), and what nodes say of what they can do.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::device_pair::require_authority;
use super::{Nothing, filled};
use crate::gateway::messages::ToConnection;
use crate::gateway::node_streams::{self, Progress};
use crate::gateway::nodes;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Local, Methods};
use crate::gateway::scopes::WRITE;
use crate::supervisor::directory::InvokeNode;

/// Without `timeoutMs`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn register(methods: &mut Methods) {
    methods.add("node.invoke", Access::Scope(WRITE), invoke).asks_a_node();
    // Additions of this server: unknown to OpenClaw's clients, which do not look for them.
    methods
        .add_local("node.invoke.cancel", Access::Scope(WRITE), Local::CancelInvoke)
        .hidden();
    methods
        .add_local("node.invoke.input", Access::Scope(WRITE), Local::FeedInvoke)
        .hidden();
    methods.add_local("node.invoke.result", Access::Node, Local::InvokeResult);
    methods.add_local("node.invoke.progress", Access::Node, Local::InvokeProgress);
    methods.add("node.pluginTools.update", Access::Node, plugin_tools);
    methods.add("node.runnerInventory.update", Access::Node, runner_inventory);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvokeParams {
    node_id: String,
    command: String,
    #[serde(default)]
    params: Value,
    timeout_ms: Option<u64>,
    idempotency_key: String,
}

async fn invoke(call: Call, params: InvokeParams) -> Result<Value, WireError> {
    filled("node.invoke", "nodeId", &params.node_id)?;
    filled("node.invoke", "command", &params.command)?;
    filled("node.invoke", "idempotencyKey", &params.idempotency_key)?;
    let command = params.command.as_str();
    if command.starts_with("system.execApprovals.") {
        return Err(WireError::invalid(
            "node.invoke does not allow system.execApprovals.*; use exec.approvals.node.*",
        ));
    }
    if command.starts_with("browser.proxy") || command == "fs.listDir" || command == "terminal.upload" {
        require_authority(&call)?;
    }
    let timeout = params
        .timeout_ms
        .map_or(DEFAULT_TIMEOUT, Duration::from_millis)
        .min(LONGEST_TIMEOUT);
    let (node_id, key) = (params.node_id.clone(), params.idempotency_key.clone());
    let request = InvokeNode {
        node_id: params.node_id,
        command: params.command,
        params: params.params,
        timeout,
        idempotency_key: params.idempotency_key,
    };
    let mut open = call.open_calls.open(&node_id, &key, &call.ended);
    let (streams, pieces) = open.streams();
    let outcome = nodes::invoke(&call.state.directory, call.scope(), request, streams, &open.gone);
    let show = |piece: Progress| {
        let told = call
            .news
            .send(ToConnection::Progress(node_streams::event(&node_id, &key, &piece)));
        // The connection may be gone by now; then nobody listens.
        async move {
            let _ = told.await;
        }
    };
    node_streams::shown(outcome, pieces, show).await
}

#[derive(Deserialize)]
struct ToolsParams {
    #[serde(default)]
    #[expect(dead_code, reason = "read so that a wrong type is refused")]
    tools: Vec<Value>,
}

/// Tools of node plug-ins are not offered to agents yet: none is kept, and the answer says so.
async fn plugin_tools(call: Call, _: ToolsParams) -> Result<Value, WireError> {
    Ok(json!({"nodeId": node_id(&call), "tools": []}))
}

async fn runner_inventory(call: Call, _: Nothing) -> Result<Value, WireError> {
    let node_id = node_id(&call);
    let node = call.state.services.config.node(call.scope(), &node_id).await?;
    if node.approved().is_none() {
        return Err(nodes::awaiting_approval(node.pending_request()));
    }
    Ok(json!({"nodeId": node_id}))
}

fn node_id(call: &Call) -> String {
    call.connection.device_id.clone().unwrap_or_default()
}
