//! Where actors live: a pool of arbiters, chosen by key. Inside a user there is no hop between threads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context};

/// The pool. In tests it is the current thread, so that time can be faked.
#[derive(Clone)]
pub struct Placement {
    arbiters: Arc<Vec<ArbiterHandle>>,
}

impl Placement {
    /// `count` threads that live as long as the process.
    pub fn start(count: usize) -> Self {
        let arbiters = (0..count.max(1)).map(|_| Arbiter::new().handle()).collect();
        Self {
            arbiters: Arc::new(arbiters),
        }
    }

    /// Everything on the caller's thread.
    pub fn current_thread() -> Self {
        Self {
            arbiters: Arc::new(Vec::new()),
        }
    }

    /// Starts an actor on the thread of `key`.
    pub(crate) fn spawn<A: Actor<Context = Context<A>>>(
        &self,
        key: impl Hash,
        make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    ) -> Addr<A> {
        if self.arbiters.is_empty() {
            return A::create(make);
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % (self.arbiters.len() as u64)).unwrap_or(0);
        A::start_in_arbiter(&self.arbiters[at], make)
    }
}
