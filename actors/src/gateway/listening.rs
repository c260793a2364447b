//! How many hear what a user's runs say: what nobody hears is not built.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counters of one user, shared by the user's actor, connections and runs.
#[derive(Debug, Default)]
pub struct Listening {
    heard: AtomicUsize,
    followed: AtomicUsize,
}

impl Listening {
    /// There are this many connections and programs.
    pub(crate) fn set_heard(&self, count: usize) {
        self.heard.store(count, Ordering::Relaxed);
    }

    /// Does anybody listen at all.
    pub(crate) fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) > 0
    }

    /// Did anybody ask for the events of sessions (`sessions.subscribe`, `sessions.messages.subscribe`). Who asks
    /// later refetches.
    pub(crate) fn followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed) > 0
    }
}

/// One connection's part in [`Listening::followed`].
#[derive(Debug)]
pub(crate) struct Follower {
    of: Arc<Listening>,
    follows: bool,
}

impl Follower {
    pub(crate) fn new(of: Arc<Listening>) -> Self {
        Self { of, follows: false }
    }

    pub(crate) fn set(&mut self, follows: bool) {
        match (std::mem::replace(&mut self.follows, follows), follows) {
            (false, true) => _ = self.of.followed.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.of.followed.fetch_sub(1, Ordering::Relaxed),
            (true, true) | (false, false) => {}
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_are_counted_while_they_follow() {
        let listening = Arc::<Listening>::default();
        let mut one = Follower::new(Arc::clone(&listening));
        let mut other = Follower::new(Arc::clone(&listening));
        assert!(!listening.followed());
        one.set(true);
        one.set(true);
        other.set(true);
        one.set(false);
        assert!(listening.followed());
        drop(other);
        assert!(!listening.followed());
        drop(one);
        assert!(!listening.followed());
    }
}
