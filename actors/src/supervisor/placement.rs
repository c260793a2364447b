//! Where actors live: a pool of arbiters, chosen by key. Inside a user there is no hop between threads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use actix::dev::channel::channel;
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

    /// Starts an actor on the thread of `key`. Its mailbox holds `mailbox` messages from the first moment: whoever wakes
    /// an actor often has more than one thing to tell it, before its thread comes to start it.
    pub(crate) fn spawn<A: Actor<Context = Context<A>>>(
        &self,
        key: impl Hash,
        mailbox: usize,
        make: impl FnOnce(&mut Context<A>) -> A + Send + 'static,
    ) -> Addr<A> {
        let (sender, receiver) = channel(mailbox);
        let start = move || {
            let mut context = Context::with_receiver(receiver);
            let actor = make(&mut context);
            actix_rt::spawn(context.into_future(actor));
        };
        let address = Addr::new(sender);
        if self.arbiters.is_empty() {
            start();
            return address;
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % (self.arbiters.len() as u64)).unwrap_or(0);
        // An arbiter lives as long as the process; were it gone, the address would say so to whoever uses it.
        self.arbiters[at].spawn_fn(start);
        address
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Counter(mpsc::Sender<u32>);

    impl Actor for Counter {
        type Context = Context<Self>;
    }

    #[derive(actix::Message)]
    #[rtype(result = "()")]
    struct Number(u32);

    impl actix::Handler<Number> for Counter {
        type Result = ();

        fn handle(&mut self, number: Number, _: &mut Context<Self>) {
            let _ = self.0.send(number.0);
        }
    }

    #[actix::test]
    async fn a_mailbox_has_its_size_before_its_actor_runs() {
        let placement = Placement::start(1);
        let (go, wait) = mpsc::channel::<()>();
        placement.arbiters[0].spawn_fn(move || {
            let _ = wait.recv();
        });
        let (heard, all) = mpsc::channel();
        let counter = placement.spawn(1, 100, move |_| Counter(heard));
        for number in 0..100 {
            counter.try_send(Number(number)).expect("there is room");
        }
        assert!(counter.try_send(Number(100)).is_err(), "and it has an end");
        go.send(()).expect("the thread waits");
        assert_eq!(all.iter().take(100).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }
}
