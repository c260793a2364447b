//! `node.list`, `node.describe`, `node.rename`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::device_pair::may_manage;
use super::{Nothing, filled};
use crate::clock::now_ms;
use crate::config::devices::surface::Node;
use crate::config::devices::without_nulls;
use crate::config::document::NodeCommands;
use crate::gateway::messages::ConnectionInfo;
use crate::gateway::node_policy::Ruling;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{PAIRING, READ};

pub(super) fn register(methods: &mut Methods) {
    methods.add("node.list", Access::Scope(READ), list);
    methods.add("node.describe", Access::Scope(READ), describe);
    methods.add("node.rename", Access::Scope(PAIRING), rename);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeParams {
    node_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenameParams {
    node_id: String,
    display_name: String,
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let (nodes, settings) = (config.nodes(call.scope()).await?, config.settings(call.scope()).await?);
    let connected = call.state.directory.connected_nodes(call.scope()).await?;
    let rows: Vec<Value> = nodes
        .iter()
        .map(|node| row(node, &connected, &settings.nodes, stats(&call, node)))
        .collect();
    Ok(json!({"ts": now_ms(), "nodes": rows}))
}

async fn describe(call: Call, params: NodeParams) -> Result<Value, WireError> {
    filled("node.describe", "nodeId", &params.node_id)?;
    let config = &call.state.services.config;
    let node = config.node(call.scope(), &params.node_id).await?;
    let settings = config.settings(call.scope()).await?;
    let connected = call.state.directory.connected_nodes(call.scope()).await?;
    let mut row = row(&node, &connected, &settings.nodes, stats(&call, &node));
    row["ts"] = json!(now_ms());
    Ok(row)
}

async fn rename(call: Call, params: RenameParams) -> Result<Value, WireError> {
    may_manage(&call, &params.node_id, "operator", "node rename denied")?;
    let config = &call.state.services.config;
    config
        .rename_node(call.scope(), &params.node_id, &params.display_name)
        .await?;
    Ok(json!({"nodeId": params.node_id, "displayName": params.display_name.trim()}))
}

/// What may be called on a node right now: approved, not off by policy, and declared by the live connection if there is
/// one.
pub(crate) fn callable(node: &Node, live: Option<&ConnectionInfo>, set: &NodeCommands) -> Vec<String> {
    let mut commands = node.commands();
    commands.retain(|command| node.ruling(set, command) == Ruling::Allowed);
    if let Some(live) = live {
        commands.retain(|command| live.program.commands.contains(command));
    }
    commands
}

/// Last statistics a connected node sent of its machine.
fn stats(call: &Call, node: &Node) -> Option<Value> {
    let (tenant, user) = (call.scope().tenant().clone(), call.scope().user().clone());
    let stats = call.state.host_stats.get(&(tenant, user, node.device.id.clone()));
    stats.map(|stats| stats.clone())
}

/// A node as lists show it. `stats`: what its machine last said of itself.
pub(crate) fn row(node: &Node, connected: &[Arc<ConnectionInfo>], set: &NodeCommands, stats: Option<Value>) -> Value {
    let device = &node.device;
    let live = connected
        .iter()
        .find(|info| info.device_id.as_deref() == Some(device.id.as_str()));
    let surface = node.surface.as_ref();
    let fact = |name: &str| surface.map(|surface| surface.facts[name].clone());
    let pending = node.pending_request().and(surface).map(|surface| &surface.pending);
    without_nulls(json!({
        "nodeId": device.id,
        "displayName": node.display_name(),
        "platform": fact("platform").unwrap_or_else(|| json!(device.platform)),
        "version": fact("version").unwrap_or_else(|| json!("")),
        "clientId": device.client_id,
        "clientMode": device.client_mode,
        "deviceFamily": device.device_family,
        "caps": node.caps(),
        "commands": callable(node, live.map(Arc::as_ref), set),
        "sessionHost": false,
        "nodePluginTools": [],
        "pathEnv": fact("pathEnv"),
        "permissions": fact("permissions"),
        "approvalState": if node.approved().is_some() { "approved" } else { "pending-approval" },
        "connectedAtMs": live.map(|info| info.connected_at),
        "lastConnectedAtMs": surface.and_then(|surface| surface.last_connected_at),
        "lastDisconnectedAtMs": surface.and_then(|surface| surface.last_disconnected_at),
        "lastSeenAtMs": device.last_seen_at.unwrap_or(device.approved_at),
        "lastSeenReason": device.last_seen_reason.as_deref().unwrap_or("connect"),
        "approvedAtMs": surface.and_then(|surface| surface.approved_at).unwrap_or(device.approved_at),
        "paired": true,
        "connected": live.is_some(),
        "hostStats": stats,
        "pendingRequestId": node.pending_request(),
        "pendingDeclaredCaps": pending.map(|pending| &pending["caps"]),
        "pendingDeclaredCommands": pending.map(|pending| &pending["commands"]),
    }))
}

/// A node as `node.pair.list` shows approved ones.
pub(super) fn paired_row(node: &Node) -> Value {
    let surface = node.surface.as_ref();
    without_nulls(json!({
        "nodeId": node.device.id, "clientId": node.device.client_id, "clientMode": node.device.client_mode,
        "displayName": node.display_name(), "platform": node.device.platform,
        "version": surface.map(|surface| surface.facts["version"].clone()), "deviceFamily": node.device.device_family,
        "caps": node.caps(), "commands": node.commands(),
        "createdAtMs": surface.and_then(|surface| surface.approved_at),
        "approvedAtMs": surface.and_then(|surface| surface.approved_at),
        "lastConnectedAtMs": surface.and_then(|surface| surface.last_connected_at),
        "lastDisconnectedAtMs": surface.and_then(|surface| surface.last_disconnected_at),
        "lastSeenAtMs": node.device.last_seen_at, "lastSeenReason": node.device.last_seen_reason,
    }))
}
