//! `voicewake.get`: the wake words apps and nodes listen for.

use serde_json::{Value, json};

use super::Nothing;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

/// The original's wake words. Users cannot change them yet.
pub(in crate::gateway) const TRIGGERS: [&str; 3] = ["openclaw", "claude", "computer"];

pub(super) fn register(methods: &mut Methods) {
    methods.add("voicewake.get", Access::Scope(READ), get);
    methods.add("voicewake.routing.get", Access::Scope(READ), get_routing);
}

/// Where a spoken request goes: the session in use.
pub(in crate::gateway) fn routing() -> Value {
    json!({"version": 1, "defaultTarget": {"mode": "current"}, "routes": [], "updatedAtMs": 0})
}

async fn get(_: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({"triggers": TRIGGERS}))
}

async fn get_routing(_: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({"config": routing()}))
}
