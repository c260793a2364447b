//! The port for tools that servers elsewhere offer: what a user's MCP server has, and one call of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use claw_entities::Scope;
use futures::future::BoxFuture;
use serde_json::{Map, Value};

use super::tool::ToolOutput;
use crate::config::document::McpServer;
use crate::crypto::Secret;

/// What speaks with the servers. Connections and what was learned over them are one user's, and never another's.
pub trait ToolServers: Send + Sync {
    /// What the server offers: as it was learned a while ago, or, with `fresh`, asked now. Waits for `wait` at most;
    /// what takes longer goes on and is there the next time.
    fn offer<'a>(
        &'a self,
        access: &'a ServerAccess,
        wait: Duration,
        fresh: bool,
    ) -> BoxFuture<'a, Result<Arc<Offer>, ServerFailure>>;

    /// What is known without asking, if anything is.
    fn seen(&self, access: &ServerAccess) -> Option<Result<Arc<Offer>, ServerFailure>>;

    /// Closes what is open to the server of this name: its configuration is another, or gone.
    fn forget(&self, scope: &Scope, server: &str);

    /// Closes everything that is open for users of whom this is true: nothing may be done for them any more.
    fn leave(&self, gone: &dyn Fn(&Scope) -> bool);

    /// Calls a tool under the name the server gives it. What it gives is wrapped as untrusted; images are inline. Dropping
    /// the future tells the server that nobody waits any more.
    fn call<'a>(
        &'a self,
        access: &'a ServerAccess,
        tool: &'a str,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, ServerFailure>>;
}

/// One user's server, with what it is sent.
#[derive(Clone, Debug)]
pub struct ServerAccess {
    pub scope: Scope,
    pub server: Arc<McpServer>,
    pub headers: Vec<(String, Secret)>,
}

/// What a server offers.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// As the filter lets them through, in the server's order.
    pub tools: Vec<OfferedTool>,
    /// Tools that are not here: too many, too large, or without a usable name.
    pub left_out: usize,
    /// What it calls itself, cut short.
    pub server: Option<String>,
    /// The revision of the protocol.
    pub protocol: String,
}

/// One tool, in the server's own words: nothing of it is trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedTool {
    pub name: String,
    pub title: Option<String>,
    pub description: String,
    /// JSON schema.
    pub parameters: Value,
    /// It says that it changes nothing, which is shown and proves nothing.
    pub read_only: bool,
    /// SHA-256 of all it says, hex.
    pub hash: String,
}

/// Why a server was of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFailure {
    pub class: FailureClass,
    /// Of HTTP.
    pub status: Option<u16>,
}

/// Classes of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Our rules do not let anybody connect there.
    Refused(&'static str),
    Unreachable,
    Slow,
    /// It wants other credentials.
    Credentials,
    /// What answers there is no server of this protocol.
    Foreign,
    Busy,
    /// It failed inside.
    Broken,
    /// Its answers make no sense.
    Confused,
    TooLarge,
    /// This process has no way to speak with servers, or no place left for another one.
    Unavailable,
}

impl FailureClass {
    /// For operators.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unreachable => "unreachable",
            Self::Slow => "timeout",
            Self::Credentials => "auth",
            Self::Foreign => "foreign",
            Self::Busy => "rate_limit",
            Self::Broken => "server",
            Self::Confused => "protocol",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
        }
    }
}

impl From<FailureClass> for ServerFailure {
    fn from(class: FailureClass) -> Self {
        Self { class, status: None }
    }
}

/// The end of a sentence that begins with the server's name.
impl fmt::Display for ServerFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            FailureClass::Refused(why) => write!(formatter, "may not be connected to: {why}")?,
            FailureClass::Unreachable => formatter.write_str("cannot be reached")?,
            FailureClass::Slow => formatter.write_str("did not answer in time")?,
            FailureClass::Credentials => formatter.write_str("refuses the credentials that are stored for it")?,
            FailureClass::Foreign => formatter.write_str(
                "does not speak MCP over streamable HTTP at this address (the older HTTP+SSE transport is not supported)",
            )?,
            FailureClass::Busy => formatter.write_str("takes no more requests right now")?,
            FailureClass::Broken => formatter.write_str("failed inside")?,
            FailureClass::Confused => formatter.write_str("gave an answer that makes no sense")?,
            FailureClass::TooLarge => formatter.write_str("gave an answer that is too large")?,
            FailureClass::Unavailable => formatter.write_str("cannot be connected to right now")?,
        }
        match self.status {
            Some(status) => write!(formatter, " (status {status})"),
            None => Ok(()),
        }
    }
}
