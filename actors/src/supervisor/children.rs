//! The children of one actor: start, forward, sleep, replace. Knows nothing of what a child does.

use std::collections::HashMap;
use std::hash::Hash;

use actix::dev::{MessageResponse, ToEnvelope};
use actix::prelude::SendError;
use actix::{Actor, Addr, Handler, Message};

struct Child<A: Actor> {
    addr: Addr<A>,
    forwarded: u64,
}

/// The only holder of the children's addresses.
pub(crate) struct Children<K, A: Actor> {
    map: HashMap<K, Child<A>>,
}

impl<K, A: Actor> Default for Children<K, A> {
    fn default() -> Self {
        Self { map: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone, A: Actor> Children<K, A> {
    /// Queues a message for the child, starting it first if it is absent or has died. A full mailbox gives the
    /// message back.
    pub(crate) fn forward<M>(
        &mut self,
        key: &K,
        start: impl FnOnce() -> Addr<A>,
        message: M,
    ) -> Result<(), SendError<M>>
    where
        M: Message + Send + 'static,
        M::Result: MessageResponse<A, M> + Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        if self.map.get(key).is_some_and(|child| !child.addr.connected()) {
            self.map.remove(key);
        }
        let child = self.map.entry(key.clone()).or_insert_with(|| Child {
            addr: start(),
            forwarded: 0,
        });
        child.addr.try_send(message)?;
        child.forwarded += 1;
        Ok(())
    }

    /// Queues a message for a child that is awake; gives it back when there is none.
    pub(crate) fn tell<M>(&mut self, key: &K, message: M) -> Result<(), M>
    where
        M: Message + Send + 'static,
        M::Result: MessageResponse<A, M> + Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let Some(child) = self.map.get_mut(key).filter(|child| child.addr.connected()) else {
            return Err(message);
        };
        match child.addr.try_send(message) {
            Ok(()) => {
                child.forwarded += 1;
                Ok(())
            }
            Err(SendError::Full(message) | SendError::Closed(message)) => Err(message),
        }
    }

    /// Lets the child go to sleep if nothing was sent since it had seen `seen` messages: it is removed, and since
    /// nobody else holds its address, nothing can arrive in between. The caller passes the message that ends it.
    pub(crate) fn release(&mut self, key: &K, seen: u64) -> Option<Addr<A>> {
        if self.map.get(key).is_none_or(|child| child.forwarded != seen) {
            return None;
        }
        self.map.remove(key).map(|child| child.addr)
    }

    /// Forgets a child that died.
    pub(crate) fn forget_dead(&mut self, key: &K) {
        if self.map.get(key).is_some_and(|child| !child.addr.connected()) {
            self.map.remove(key);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn address(&self, key: &K) -> Option<&Addr<A>> {
        self.map.get(key).map(|child| &child.addr)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Addr<A>> {
        self.map.values().map(|child| &child.addr)
    }
}
