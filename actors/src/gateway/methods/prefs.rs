//! `users.prefs.*`: what clients remember for their user.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::preferences::{MOST, MOST_AT_ONCE, Written};
use crate::error::Error;
use crate::gateway::messages::Event;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{READ, WRITE};

pub(super) fn register(methods: &mut Methods) {
    methods.add("users.prefs.get", Access::Scope(READ), get);
    methods.add("users.prefs.set", Access::Scope(WRITE), set);
}

#[derive(Deserialize)]
struct GetParams {
    keys: Option<Vec<String>>,
}

async fn get(call: Call, params: GetParams) -> Result<Value, WireError> {
    if params.keys.as_ref().is_some_and(|keys| keys.len() > MOST_AT_ONCE) {
        return Err(WireError::invalid(format!(
            "invalid users.prefs.get params: at /keys: must NOT have more than {MOST_AT_ONCE} items"
        )));
    }
    let config = &call.state.services.config;
    let entries = config.preferences(call.scope(), params.keys.as_deref()).await?;
    Ok(json!({"status": "ok", "entries": entries}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetParams {
    entries: BTreeMap<String, Value>,
    #[serde(default)]
    expected_entries: BTreeMap<String, Value>,
}

async fn set(call: Call, params: SetParams) -> Result<Value, WireError> {
    let (config, scope) = (&call.state.services.config, call.scope());
    let written = config
        .set_preferences(scope, &params.entries, &params.expected_entries)
        .await;
    match written {
        Ok(Written::Done) => {
            let keys: Vec<&String> = params.entries.keys().collect();
            let changed = json!({"profileId": scope.user(), "keys": keys});
            call.state
                .directory
                .publish(scope, Event::new("users.prefs.changed", &changed));
            Ok(json!({"status": "ok"}))
        }
        Ok(Written::Conflict) => Ok(json!({"status": "conflict"})),
        Ok(Written::TooMany(count)) => Err(WireError::invalid(format!(
            "users.prefs.set exceeds the {MOST}-key profile limit (current count: {count})"
        ))
        .details(json!({"code": "USER_PREFS_LIMIT_EXCEEDED", "limit": MOST, "currentCount": count}))),
        Err(Error::Invalid(why)) => Err(WireError::invalid(format!("invalid users.prefs.set entry: {why}"))),
        Err(error) => Err(error.into()),
    }
}
