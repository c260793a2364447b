//! How a run is stopped from outside.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// How a run is told to stop, and why.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel {
    pub(super) token: CancellationToken,
    reason: Arc<OnceLock<&'static str>>,
}

impl Cancel {
    /// Stops the run as a user's decision: partial text is kept.
    pub(crate) fn abort(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Cancelled by an abort.
    pub(crate) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Why it was aborted, as clients are told.
    pub(crate) fn reason(&self) -> &'static str {
        self.reason.get().copied().unwrap_or("rpc")
    }
}
