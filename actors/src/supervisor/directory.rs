//! The only door into the tree, for HTTP, sockets, webhooks and recovery.

use std::sync::Arc;
use std::time::Duration;

use actix::Recipient;
use claw_entities::{Scope, SessionKey, TenantId};
use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::gateway::messages::{ConnectionInfo, Event, InvokeResult, ToConnection};
use crate::ports::tool::SessionSnapshot;

/// Handle on the tree. Cheap to clone.
#[derive(Clone)]
pub struct Directory {}

/// What a connection gets when it joins its user.
#[derive(Clone, Debug)]
pub struct Attached {
    pub presence: Vec<Value>,
    pub state_version: crate::gateway::messages::StateVersion,
}

/// Which runs to abort, and on whose authority.
#[derive(Clone, Debug)]
pub struct AbortRequest {
    pub session_key: SessionKey,
    /// `None`: every run of the session that the requester may abort.
    pub run_id: Option<String>,
    /// Connection or device that asks; it may abort what it started. `None` or `admin`: any run.
    pub requester: Option<String>,
    pub admin: bool,
    /// `rpc`, `stop`, `timeout`, …
    pub stop_reason: &'static str,
    /// Also drop what waits in the queue (`/stop`).
    pub clear_queue: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Aborted {
    pub aborted: bool,
    pub run_ids: Vec<String>,
}

/// A live session, for tests, `/status` and lists.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionObservation {
    pub running: Option<String>,
    pub queued: usize,
}

/// How a run ended, for `agent.wait` and the second answer of `agent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnded {
    pub run_id: String,
    /// `ok`, `error`, `aborted` or `interrupted`.
    pub status: String,
    pub started_at: i64,
    pub ended_at: i64,
    pub error: Option<String>,
    pub stop_reason: Option<String>,
    /// `{payloads:[{text, mediaUrl}], meta:{…}}`.
    pub result: Value,
}

/// A call of a node by an operator or the agent.
#[derive(Clone, Debug)]
pub struct InvokeNode {
    pub node_id: String,
    pub command: String,
    pub params: Value,
    pub timeout: Duration,
    pub idempotency_key: String,
}

impl Directory {
    /// Tells the session that inbox rows wait for it. A hint: what is lost here, recovery finds.
    pub fn wake(&self, _scope: &Scope, _key: &SessionKey) {
        unimplemented!("session core")
    }
    /// Joins a live connection to its user. An older connection of the same device and role is closed.
    pub async fn attach(
        &self,
        _scope: &Scope,
        _info: Arc<ConnectionInfo>,
        _to: Recipient<ToConnection>,
    ) -> Result<Attached> {
        unimplemented!("session core")
    }
    /// The connection went away.
    pub fn detach(&self, _scope: &Scope, _conn_id: &str) {
        unimplemented!("session core")
    }
    /// Sends an event to the user's connections that may see it.
    pub fn publish(&self, _scope: &Scope, _event: Event) {
        unimplemented!("session core")
    }
    /// Presence entries of the user's connections.
    pub async fn presence(&self, _scope: &Scope) -> Result<Vec<Value>> {
        unimplemented!("session core")
    }
    /// The connections of the user's nodes, by device id.
    pub async fn connected_nodes(&self, _scope: &Scope) -> Result<Vec<Arc<ConnectionInfo>>> {
        unimplemented!("session core")
    }
    /// Closes the live sockets of a device (`role: None` = both roles).
    pub async fn close_device(
        &self,
        _scope: &Scope,
        _device_id: &str,
        _role: Option<&str>,
        _code: u16,
        _reason: &str,
    ) -> Result<()> {
        unimplemented!("session core")
    }
    pub async fn abort(&self, _scope: &Scope, _request: AbortRequest) -> Result<Aborted> {
        unimplemented!("session core")
    }
    pub async fn observe_session(&self, _scope: &Scope, _key: &SessionKey) -> Result<SessionObservation> {
        unimplemented!("session core")
    }
    /// Facts of a session for `/status`, `session_status` and `sessions.list`.
    pub async fn snapshot(&self, _scope: &Scope, _key: &SessionKey) -> Result<SessionSnapshot> {
        unimplemented!("session core")
    }
    /// Waits until the run ends; `None` when the time is up first or no such run is known.
    pub async fn wait_run(&self, _scope: &Scope, _run_id: &str, _timeout: Duration) -> Result<Option<RunEnded>> {
        unimplemented!("session core")
    }
    /// Calls a node. Approval of the surface is checked by the caller; offline nodes give `NotConnected`.
    pub async fn invoke_node(&self, _scope: &Scope, _call: InvokeNode) -> Result<InvokeResult> {
        unimplemented!("session core")
    }
    /// Settings or secrets of the tenant changed: cached values are dropped.
    pub fn config_changed(&self, _tenant: &TenantId) {
        unimplemented!("session core")
    }
}
