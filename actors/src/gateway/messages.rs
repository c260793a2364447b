//! What crosses between the user actor, the connections and the rest of the runtime.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

/// What a connection is, fixed at hello.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub conn_id: String,
    pub node: bool,
    /// Effective operator scopes: asked ∩ token ∩ role.
    pub scopes: Vec<String>,
    pub device_id: Option<String>,
    pub client_id: String,
    pub client_mode: String,
    pub client_version: String,
    pub display_name: Option<String>,
    pub platform: String,
    pub device_family: String,
    pub instance_id: Option<String>,
    pub caps: Vec<String>,
    pub commands: Vec<String>,
    pub protocol: u32,
    /// Epoch milliseconds.
    pub connected_at: i64,
}

impl ConnectionInfo {
    /// Does the connection hold this scope; admin holds all, write includes read.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| {
            held == scope || held == "operator.admin" || (held == "operator.write" && scope == "operator.read")
        })
    }
}

/// An event on its way to the connections of one user. The payload is serialised once.
#[derive(Clone, Debug)]
pub struct Event {
    /// Wire name; who may see it is looked up in the event table by this name.
    pub name: &'static str,
    pub payload: Arc<RawValue>,
    /// Session events: only for connections that want this key.
    pub session_key: Option<String>,
    /// Overrides the table: a `chat` delta may be dropped, a `chat` final may not.
    pub droppable: bool,
    /// `agent` events of stream `tool` need the `tool-events` capability.
    pub tool_stream: bool,
    /// Presence and health versions, for the events that carry them.
    pub state_version: Option<StateVersion>,
}

/// `stateVersion` of the wire: each number only grows.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct StateVersion {
    pub presence: u64,
    pub health: u64,
}

impl Event {
    /// An event that must not be dropped.
    pub fn new(name: &'static str, payload: &impl Serialize) -> Self {
        let payload = serde_json::value::to_raw_value(payload)
            .unwrap_or_else(|_| RawValue::from_string("null".to_owned()).expect("null is JSON"));
        Self {
            name,
            payload: Arc::from(payload),
            session_key: None,
            droppable: false,
            tool_stream: false,
            state_version: None,
        }
    }

    /// Limits the event to those who want this session.
    pub fn for_session(mut self, key: impl Into<String>) -> Self {
        self.session_key = Some(key.into());
        self
    }

    /// May be left out for a slow reader; the reader sees the gap.
    pub fn droppable(mut self) -> Self {
        self.droppable = true;
        self
    }
}

/// User actor → connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum ToConnection {
    Event(Arc<Event>),
    /// Calls the node at the other end.
    Invoke(Invoke),
    /// Ends the connection with this code and reason.
    Close {
        code: u16,
        reason: String,
    },
}

/// One call of a node. The answer comes through `reply`; a dropped `reply` means the connection went away.
#[derive(Debug)]
pub struct Invoke {
    pub id: String,
    pub node_id: String,
    pub command: String,
    /// JSON text, as the wire wants it.
    pub params_json: Option<String>,
    pub timeout: Duration,
    pub idempotency_key: String,
    pub reply: oneshot::Sender<InvokeAnswer>,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub enum InvokeAnswer {
    Ok { payload_json: Option<String> },
    Failed { code: Option<String>, message: String },
    TimedOut,
    Disconnected,
}

/// The whole answer of `node.invoke` towards an operator or the agent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvokeResult {
    pub ok: bool,
    pub node_id: String,
    pub command: String,
    pub payload: Value,
    #[serde(rename = "payloadJSON", skip_serializing_if = "Option::is_none")]
    pub payload_json: Option<String>,
}
