//! What a run's tools reach beside their arguments: the user's own sessions, jobs, chats and sub-agents.
//!
//! Everything goes through the run's scope, so another user's or tenant's row is not there. A guest's run has one too,
//! and reaches its own session only.

mod config;
pub mod cron;
pub mod look;
pub mod message;
pub mod search;
pub mod sessions;
pub mod speak;
pub mod subagents;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::turn::Authority;
use crate::config::document::UserSettings;
use crate::error::Error;
use crate::ports::channel::Destination;
use crate::supervisor::directory::Directory;

/// Why a tool did not do it, for the model.
pub type Refusal = String;

/// How a turn came about without a person: so often did sessions write to each other, and sub-agents end, since one
/// said something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    #[serde(default)]
    pub sends: u32,
    #[serde(default)]
    pub spawns: u32,
}

impl Chain {
    pub(crate) fn longer(self, other: Self) -> Self {
        Self {
            sends: self.sends.max(other.sends),
            spawns: self.spawns.max(other.spawns),
        }
    }
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Reach(Arc<Inner>);

/// The run it belongs to.
pub(crate) struct Inner {
    pub(crate) directory: Directory,
    pub(crate) authority: Authority,
    pub(crate) run_id: String,
    /// With the rights of the user whose session it is.
    pub(crate) owner: bool,
    /// And nobody else reads along.
    pub(crate) alone: bool,
    /// The chat the run answers in.
    pub(crate) place: Option<Destination>,
    pub(crate) chain: Chain,
    /// 0: no sub-agent.
    pub(crate) depth: u32,
    /// Calls of one batch begin sub-agents one after the other, so that their number can be checked.
    pub(crate) beginning: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Reach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reach").finish_non_exhaustive()
    }
}

impl Reach {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    async fn settings(&self) -> Result<Arc<UserSettings>, Refusal> {
        let config = &self.0.directory.services().config;
        config.settings(&self.0.authority.scope).await.map_err(away)
    }
}

/// An error in words. What is broken inside is no business of the model's.
fn away(error: Error) -> Refusal {
    if matches!(error, Error::Storage(_) | Error::Internal(_) | Error::Fenced) {
        tracing::warn!(error = ?error, "a tool could not do its work");
        return "That is not possible right now.".to_owned();
    }
    format!("{error}.")
}
