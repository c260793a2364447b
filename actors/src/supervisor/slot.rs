//! Work slots: how much of a turn's own work goes on at once in the process.
//!
//! A place to run (`lanes.rs`) is held for the whole run, most of which is waiting for a model, and there are thousands. What
//! is short is time of the processor and of the database's one writer. A run holds a slot while it needs those, and gives
//! it back while it waits for something else, so that few work at once, each is soon done, and tenants take turns by what
//! they used (`places.rs`). Reading a session's inbox and sending its replies take slots too. Who holds a slot must never
//! wait for something that needs another one: a model, a tool, another run, a delivery. `Slot::aside` is for those.

use std::sync::{Mutex, PoisonError};

use claw_entities::TenantId;
use tokio_util::sync::CancellationToken;

use super::places::{Asker, Place, Places};

/// One run's right to work, and its way to get it.
pub struct Slot {
    slots: Places,
    tenant: TenantId,
    held: Mutex<Option<Place>>,
    /// Of the run. What is to end does not wait any more: little is left to do.
    stop: CancellationToken,
}

impl Slot {
    pub(super) fn new(slots: &Places, tenant: &TenantId, stop: &CancellationToken) -> Self {
        Self {
            slots: slots.clone(),
            tenant: tenant.clone(),
            held: Mutex::default(),
            stop: stop.clone(),
        }
    }

    /// Waits for a slot for something new, behind what the tenant has begun. Returns without one when that is to stop.
    pub(crate) async fn begin(&self, asker: Asker) {
        self.wait(self.slots.take(&self.tenant, asker)).await;
    }

    /// Waits for a slot to go on with something; the same otherwise.
    pub(crate) async fn go_on(&self) {
        self.wait(self.slots.take_again(&self.tenant)).await;
    }

    async fn wait(&self, place: impl Future<Output = Option<Place>>) {
        if self.is_held() {
            return;
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            place = place => self.hold(place),
        }
    }

    /// Lets others work.
    pub(crate) fn give_back(&self) {
        self.hold(None);
    }

    /// Awaits something that may take long, without a slot unless it is there at once; then goes on. What is awaited is
    /// boxed: held in place it would make every run larger, twice.
    pub(crate) fn aside<T>(&self, wait: impl Future<Output = T>) -> impl Future<Output = T> {
        let mut wait = Box::pin(wait);
        async move {
            if let std::task::Poll::Ready(done) = futures::poll!(&mut wait) {
                return done;
            }
            self.give_back();
            let done = wait.await;
            self.go_on().await;
            done
        }
    }

    fn is_held(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The former one goes back after the lock does.
    fn hold(&self, place: Option<Place>) {
        let former = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, place)
        };
        drop(former);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;
    use crate::supervisor::places::Cost;

    fn two_of(slots: &Places) -> (Slot, Slot, CancellationToken) {
        let (one, other) = (CancellationToken::new(), CancellationToken::new());
        (
            Slot::new(slots, &TenantId::from("one"), &one),
            Slot::new(slots, &TenantId::from("other"), &other),
            other,
        )
    }

    #[tokio::test]
    async fn who_waits_for_something_else_lets_others_work() {
        let slots = Places::new(1, Cost::TIME);
        let (one, other, _) = two_of(&slots);
        one.begin(Asker::User).await;
        assert_eq!(one.aside(std::future::ready(1)).await, 1);
        assert!(
            other.begin(Asker::User).now_or_never().is_none(),
            "what is there at once is no wait"
        );
        let (answer, model) = oneshot::channel();
        let mut waits = Box::pin(one.aside(model));
        assert!(waits.as_mut().now_or_never().is_none());
        other.begin(Asker::User).now_or_never().expect("the slot is free");
        answer.send(2).expect("it waits");
        assert!(waits.as_mut().now_or_never().is_none(), "the other has the slot");
        other.give_back();
        assert_eq!(waits.now_or_never(), Some(Ok(2)));
        assert_eq!(slots.taken(), 1);
        one.go_on().now_or_never().expect("it has one");
        drop(one);
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn what_is_to_stop_does_not_wait() {
        let slots = Places::new(1, Cost::TIME);
        let (one, other, stop) = two_of(&slots);
        one.begin(Asker::User).await;
        let mut waits = Box::pin(other.go_on());
        assert!(waits.as_mut().now_or_never().is_none());
        stop.cancel();
        waits.now_or_never().expect("at once");
        drop(one);
        assert_eq!(slots.taken(), 0, "it asks for none any more");
    }
}
