//! `voicewake.*`: the wake words apps and nodes listen for, and where a spoken request goes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::gateway::messages::Event;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{READ, WRITE};

pub(super) fn register(methods: &mut Methods) {
    methods.add("voicewake.get", Access::Scope(READ), get);
    methods.add("voicewake.set", Access::Scope(WRITE), set);
    methods.add("voicewake.routing.get", Access::Scope(READ), get_routing);
    methods.add("voicewake.routing.set", Access::Scope(WRITE), set_routing);
}

async fn get(call: Call, _: Nothing) -> Result<Value, WireError> {
    let wake = call.state.services.config.voice_wake(call.scope()).await?;
    Ok(json!({"triggers": wake.triggers}))
}

async fn get_routing(call: Call, _: Nothing) -> Result<Value, WireError> {
    let wake = call.state.services.config.voice_wake(call.scope()).await?;
    Ok(json!({"config": wake.routing}))
}

#[derive(Deserialize)]
struct SetParams {
    triggers: Value,
}

async fn set(call: Call, params: SetParams) -> Result<Value, WireError> {
    let triggers: Vec<String> = Vec::deserialize(&params.triggers)
        .map_err(|_| WireError::invalid("voicewake.set requires triggers: string[]"))?;
    let config = &call.state.services.config;
    let wake = config.set_wake_words(call.scope(), &triggers).await?;
    Ok(tell(&call, "voicewake.changed", json!({"triggers": wake.triggers})))
}

#[derive(Deserialize)]
struct RoutingParams {
    config: Value,
}

async fn set_routing(call: Call, params: RoutingParams) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let wake = config.set_wake_routing(call.scope(), &params.config).await?;
    Ok(tell(
        &call,
        "voicewake.routing.changed",
        json!({"config": wake.routing}),
    ))
}

/// Tells readers and nodes; the answer is what they are told.
fn tell(call: &Call, name: &'static str, payload: Value) -> Value {
    let event = Event::new(name, &payload);
    call.state.directory.publish(call.scope(), event);
    payload
}
