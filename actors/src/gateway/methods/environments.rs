//! `environments.list` and `environments.status`: where work is done, which is this gateway and the user's nodes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Nothing, filled, node};
use crate::config::devices::without_nulls;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

/// Of the gateway itself; of a node it is its id behind [`NODE`].
const GATEWAY: &str = "gateway";
const NODE: &str = "node:";

pub(super) fn register(methods: &mut Methods) {
    methods.add("environments.list", Access::Scope(READ), list);
    methods.add("environments.status", Access::Scope(READ), status);
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({"environments": all(&call).await?}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusParams {
    environment_id: String,
}

async fn status(call: Call, params: StatusParams) -> Result<Value, WireError> {
    filled("environments.status", "environmentId", &params.environment_id)?;
    let found = all(&call)
        .await?
        .into_iter()
        .find(|found| found["id"] == *params.environment_id);
    found.ok_or_else(|| WireError::invalid("unknown environmentId"))
}

async fn all(call: &Call) -> Result<Vec<Value>, WireError> {
    let config = &call.state.services.config;
    let (nodes, settings) = (config.nodes(call.scope()).await?, config.settings(call.scope()).await?);
    let connected = call.state.directory.connected_nodes(call.scope()).await?;
    let mut all = vec![json!({
        "id": GATEWAY, "type": "local", "label": "Gateway local", "status": "available",
        "platform": std::env::consts::OS, "sessionHost": true, "trust": "persistent",
        "capabilities": ["agent.run", "sessions", "tools", "workspace"],
    })];
    all.extend(nodes.iter().map(|device| {
        let row = node::row(device, &connected, &settings.nodes, None);
        let there = row["connected"] == true;
        without_nulls(json!({
            "id": format!("{NODE}{}", device.device.id), "type": "node", "label": row["displayName"],
            "status": if there { "available" } else { "unavailable" }, "platform": row["platform"],
            "sessionHost": false, "trust": "persistent", "capabilities": row["caps"],
            "invocableCommands": row["commands"], "lastConnectedAtMs": row["lastConnectedAtMs"],
            "lastDisconnectedAtMs": row["lastDisconnectedAtMs"], "lastSeenAtMs": row["lastSeenAtMs"],
            "lastSeenReason": row["lastSeenReason"],
        }))
    }));
    Ok(all)
}
