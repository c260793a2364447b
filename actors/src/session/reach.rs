//! What a run's tools reach beside their arguments: the user's own sessions, jobs, chats and sub-agents.
//!
//! Everything goes through the run's scope, so another user's or tenant's row is not there. A guest's run has one too,
//! and reaches its own session only.

pub mod acts;
mod choose;
mod config;
pub mod cron;
mod fetch;
pub mod look;
pub mod message;
pub mod pdf;
pub mod search;
pub mod sessions;
pub mod speak;
pub mod subagents;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::turn::Authority;
use crate::config::document::UserSettings;
use crate::error::Error;
use crate::ports::channel::Destination;
use crate::supervisor::directory::Directory;

/// Why a tool did not do it, for the model.
pub type Refusal = String;

/// Ends of sub-agents, and wakes of an agent by itself, that may follow each other without a word of a person.
pub(crate) const MOST_ROUNDS: u32 = 25;

/// How a turn came about without a person: so often did sessions write to each other, sub-agents end, and agents wake
/// themselves or start a job, since one said something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    #[serde(default)]
    pub sends: u32,
    #[serde(default)]
    pub spawns: u32,
    #[serde(default)]
    pub wakes: u32,
}

impl Chain {
    /// Of an agent that looks by itself.
    pub(crate) fn begun_by_itself() -> Self {
        Self {
            wakes: 1,
            ..Self::default()
        }
    }

    /// One more wake.
    ///
    /// # Errors
    /// Too many have followed each other.
    pub(crate) fn woken(self) -> Result<Self, Refusal> {
        if self.wakes >= MOST_ROUNDS {
            return Err(format!(
                "The agent has woken itself {MOST_ROUNDS} times since a person said something. Stop here, and tell \
                 the user."
            ));
        }
        Ok(Self {
            wakes: self.wakes + 1,
            ..self
        })
    }

    pub(crate) fn longer(self, other: Self) -> Self {
        Self {
            sends: self.sends.max(other.sends),
            spawns: self.spawns.max(other.spawns),
            wakes: self.wakes.max(other.wakes),
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
    /// The platform's id of the message that is answered there.
    pub(crate) answering: Option<String>,
    /// The group whose rules for tools hold.
    pub(crate) group: Option<Destination>,
    pub(crate) chain: Chain,
    /// 0: no sub-agent.
    pub(crate) depth: u32,
    /// Calls of one batch begin sub-agents one after the other, so that their number can be checked.
    pub(crate) beginning: tokio::sync::Mutex<()>,
    /// Cancelled when the run is stopped.
    pub(crate) cancel: CancellationToken,
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
    if let Error::Budget(sentence) = error {
        return sentence;
    }
    format!("{error}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_wakes_itself_so_often_and_no_more() {
        let mut chain = Chain::begun_by_itself();
        while let Ok(next) = chain.woken() {
            assert_eq!((next.wakes, next.spawns), (chain.wakes + 1, chain.spawns));
            chain = next;
        }
        assert_eq!(chain.wakes, MOST_ROUNDS);
    }
}
