//! RPC methods, one file per namespace.

mod agent;
mod agents;
mod agents_files;
mod agents_workspace;
mod artifacts;
mod audit;
mod channels;
mod chat;
pub(crate) mod config;
mod cron;
mod deliver;
mod device_pair;
mod environments;
pub(crate) mod exec_approval;
mod exec_approvals;
pub(crate) mod health;
mod heartbeat;
mod logs;
mod memory;
mod models;
mod models_auth;
pub(crate) mod node;
mod node_calls;
mod node_events;
pub(super) mod node_pair;
pub(super) mod node_pending;
mod prefs;
mod send;
mod sessions;
pub mod setup_code;
mod skills;
mod small;
mod speech;
mod tasks;
mod tools;
mod usage;
mod voicewake;
mod wake;

use claw_entities::SessionKey;

use super::protocol::WireError;
use super::rpc::{Call, Methods};
use crate::ports::nul;
use crate::session::key;

/// Every method this server has.
pub fn all() -> Methods {
    let mut methods = Methods::default();
    agent::register(&mut methods);
    agents::register(&mut methods);
    agents_files::register(&mut methods);
    agents_workspace::register(&mut methods);
    artifacts::register(&mut methods);
    audit::register(&mut methods);
    channels::register(&mut methods);
    chat::register(&mut methods);
    config::register(&mut methods);
    cron::register(&mut methods);
    device_pair::register(&mut methods);
    environments::register(&mut methods);
    exec_approval::register(&mut methods);
    exec_approvals::register(&mut methods);
    health::register(&mut methods);
    heartbeat::register(&mut methods);
    logs::register(&mut methods);
    memory::register(&mut methods);
    models::register(&mut methods);
    models_auth::register(&mut methods);
    node::register(&mut methods);
    node_calls::register(&mut methods);
    node_events::register(&mut methods);
    node_pair::register(&mut methods);
    node_pending::register(&mut methods);
    prefs::register(&mut methods);
    send::register(&mut methods);
    sessions::register(&mut methods);
    setup_code::register(&mut methods);
    skills::register(&mut methods);
    small::register(&mut methods);
    speech::register(&mut methods);
    tasks::register(&mut methods);
    tools::register(&mut methods);
    usage::register(&mut methods);
    voicewake::register(&mut methods);
    wake::register(&mut methods);
    methods
}

/// Parameters of a method that takes none.
#[derive(serde::Deserialize)]
struct Nothing {}

/// The full form of a session key of the caller.
async fn session_key(call: &Call, given: &str) -> Result<SessionKey, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    Ok(key::resolve(given, &settings.default_agent)?)
}

/// Refuses an empty text where the protocol wants at least one character.
fn filled(method: &str, field: &str, text: &str) -> Result<(), WireError> {
    if text.is_empty() {
        return Err(WireError::invalid(format!(
            "invalid {method} params: at /{field}: must NOT have fewer than 1 characters"
        )));
    }
    if nul::is_in(text) {
        return Err(WireError::invalid(format!(
            "invalid {method} params: at /{field}: must not contain null characters"
        )));
    }
    Ok(())
}

/// The agent a full session key belongs to.
fn agent_of(key: &SessionKey) -> &str {
    key.as_str()
        .strip_prefix("agent:")
        .and_then(|rest| rest.split(':').next())
        .unwrap_or("main")
}
