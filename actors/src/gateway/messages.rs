//! What crosses between the user actor, the connections and the rest of the runtime.

use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::node_streams::Streams;
use super::outbox::Buffered;

/// How a socket closes whose credential, user or tenant is no longer good (protocol: close codes).
pub(crate) const GATEWAY_AUTH_CHANGED: (u16, &str) = (4001, "gateway auth changed");

/// How the socket of a device closes that was removed, or whose token was rotated or revoked.
pub(crate) const DEVICE_REMOVED: (u16, &str) = (4001, "device removed");

/// What all connections of one kind of program say of themselves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    pub client_id: String,
    pub client_mode: String,
    pub client_version: String,
    pub platform: String,
    pub device_family: String,
    pub caps: Vec<String>,
    pub commands: Vec<String>,
    pub protocol: u32,
}

/// What a connection is, fixed at hello.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    pub conn_id: Arc<str>,
    pub node: bool,
    /// Effective operator scopes: asked ∩ token ∩ role.
    pub scopes: Arc<[String]>,
    pub device_id: Option<String>,
    pub program: Arc<Program>,
    pub display_name: Option<String>,
    pub instance_id: Option<String>,
    /// Epoch milliseconds.
    pub connected_at: i64,
}

impl ConnectionInfo {
    /// As the wire names it.
    pub fn role(&self) -> &'static str {
        if self.node { "node" } else { "operator" }
    }

    /// Does the connection hold this scope; admin holds all, write includes read and talk.
    pub fn has_scope(&self, scope: &str) -> bool {
        super::scopes::holds(&self.scopes, scope)
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
    /// A device that hears this event too, whatever its role: `node.pair.resolved` to its node.
    pub for_device: Option<String>,
    /// Devices that alone hear the event, of those who may: an approval for named reviewers.
    pub only_for: Option<Vec<String>>,
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
            for_device: None,
            only_for: None,
        }
    }

    /// Lets this device hear the event too.
    pub fn for_device(mut self, device_id: impl Into<String>) -> Self {
        self.for_device = Some(device_id.into());
        self
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
    /// News of a call this connection made: the payload of `node.invoke.progress`. Left out for a slow reader.
    Progress(Value),
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
    pub streams: Streams,
    pub reply: oneshot::Sender<InvokeAnswer>,
    /// Cancelled when nobody waits for the answer any more: the node is told to stop.
    pub abandoned: CancellationToken,
}

/// What a node answered.
#[derive(Clone, Debug)]
pub enum InvokeAnswer {
    Ok {
        payload_json: Option<String>,
    },
    Failed {
        code: Option<String>,
        message: String,
    },
    TimedOut,
    /// The node was removed, or its token rotated or revoked.
    PairingChanged,
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

/// Connection → socket.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Outgoing {
    Text(Frame),
    Ping,
    /// Frames of the client may be this many bytes from now on.
    MaxFrame(usize),
    /// Ends the socket with this code and reason.
    Close {
        code: u16,
        reason: String,
    },
}

/// A text frame on its way to the socket. Counts as buffered until it is dropped.
#[derive(Debug)]
pub struct Frame {
    pub text: String,
    pub(super) buffered: Arc<Buffered>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.buffered.took(self.text.len());
    }
}

/// Socket → connection.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum FromSocket {
    /// One whole text frame.
    Text(String),
    /// A pong, or anything else that shows life.
    Alive,
    /// The peer broke a limit or the framing: close with this.
    Violation { code: u16, reason: &'static str },
    /// The socket is gone.
    Closed,
}
