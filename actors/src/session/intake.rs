//! Accepting: a message becomes an inbox row, durably and once, before anybody is told that it was accepted.

use claw_entities::{Scope, SessionKey};
use serde::{Deserialize, Serialize};

use crate::Services;
use crate::config::accounts::ResolvedAccount;
use crate::error::Result;
use crate::ports::channel::Inbound;
use crate::ports::message::Part;
use crate::supervisor::directory::Directory;

/// A message from a gateway client (`chat.send`, `agent`). Stored as the inbox row's payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientMessage {
    /// `chat` or `agent`.
    pub source: String,
    pub message: String,
    /// Images as [`Part::Image`] with `blob` set; other files as text parts that name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Part>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_system_prompt: Option<String>,
    /// Overrides the run timeout, milliseconds; 0 = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// `steer`, `followup`, `collect` or `interrupt`; `None` = the session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_mode: Option<String>,
    /// Device or connection that asks; it may abort the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<String>,
    /// Deliver the reply to the session's last channel too.
    #[serde(default)]
    pub deliver: bool,
}

/// What accepting a client's message gave. `run_id` is the idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored just now.
    Started { run_id: String, session_key: SessionKey },
    /// The same key was accepted before and its run has not ended.
    InFlight { run_id: String, session_key: SessionKey },
    /// The same key was accepted before and its run has ended (`status` is the run's).
    Ended {
        run_id: String,
        session_key: SessionKey,
        status: String,
    },
}

/// Stores a client's message and wakes its session. `key` may be short (`main`); the answer holds the full one.
pub async fn accept_client(
    _services: &Services,
    _directory: &Directory,
    _scope: &Scope,
    _key: &str,
    _idempotency_key: &str,
    _message: ClientMessage,
) -> Result<Accepted> {
    unimplemented!("session core")
}

/// Stores verified webhook messages and wakes their sessions. Resolves after the commit; a repeat is no error.
/// Gives how many were new.
pub async fn accept_inbound(
    _services: &Services,
    _directory: &Directory,
    _account: &ResolvedAccount,
    _messages: Vec<Inbound>,
) -> Result<usize> {
    unimplemented!("session core")
}
