//! `node.pair.*`: approval of what a node may be asked to do.

use claw_entities::Scope;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use super::device_pair::{RequestParams, close, may_manage};
use super::node::paired_row;
use crate::clock::now_ms;
use crate::gateway::GatewayState;
use crate::gateway::messages::Event;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::PAIRING;

pub(super) fn register(methods: &mut Methods) {
    methods.add("node.pair.list", Access::Scope(PAIRING), list);
    methods.add("node.pair.approve", Access::Scope(PAIRING), approve);
    methods.add("node.pair.reject", Access::Scope(PAIRING), reject);
    methods.add("node.pair.remove", Access::Scope(PAIRING), remove);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeParams {
    node_id: String,
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    let nodes = call.state.services.config.nodes(call.scope()).await?;
    let pending: Vec<&Value> = nodes
        .iter()
        .filter(|node| node.pending_request().is_some())
        .filter_map(|node| node.surface.as_ref().map(|surface| &surface.pending))
        .collect();
    let paired: Vec<Value> = nodes
        .iter()
        .filter(|node| node.approved().is_some())
        .map(paired_row)
        .collect();
    Ok(json!({"pending": pending, "paired": paired}))
}

async fn approve(call: Call, params: RequestParams) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let node_id = config
        .approve_surface(call.scope(), &params.request_id, &call.connection.scopes)
        .await?;
    let node = config.node(call.scope(), &node_id).await?;
    announce_approved(&call.state, call.scope(), &params.request_id, &node_id);
    Ok(json!({"requestId": params.request_id, "node": paired_row(&node)}))
}

async fn reject(call: Call, params: RequestParams) -> Result<Value, WireError> {
    let node_id = call
        .state
        .services
        .config
        .reject_surface(call.scope(), &params.request_id)
        .await?;
    resolved(&call, Some(&params.request_id), &node_id, "rejected");
    Ok(json!({"requestId": params.request_id, "nodeId": node_id}))
}

async fn remove(call: Call, params: NodeParams) -> Result<Value, WireError> {
    may_manage(&call, &params.node_id, "node", "node pairing removal denied")?;
    call.state
        .services
        .config
        .remove_node(call.scope(), &params.node_id)
        .await?;
    close(&call, &params.node_id, Some("node"), None).await;
    resolved(&call, None, &params.node_id, "removed");
    Ok(json!({"nodeId": params.node_id}))
}

/// Tells everybody that a node may be called now.
pub(in crate::gateway) fn announce_approved(state: &GatewayState, scope: &Scope, request_id: &str, node_id: &str) {
    let changed = Event::new("node.runnerInventory.changed", &json!({"nodeId": node_id}));
    state.directory.publish(scope, changed);
    publish(state, scope, request_id, node_id, "approved");
}

fn resolved(call: &Call, request_id: Option<&str>, node_id: &str, decision: &str) {
    publish(
        &call.state,
        call.scope(),
        request_id.unwrap_or(node_id),
        node_id,
        decision,
    );
}

fn publish(state: &GatewayState, scope: &Scope, request_id: &str, node_id: &str, decision: &str) {
    let payload = json!({"requestId": request_id, "nodeId": node_id, "decision": decision, "ts": now_ms()});
    let event = Event::new("node.pair.resolved", &payload).for_device(node_id);
    state.directory.publish(scope, event);
}
