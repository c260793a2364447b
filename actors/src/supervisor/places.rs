//! Places that tenants share fairly: a free one goes to the tenant that holds the fewest of those that wait, among
//! equals to the one whose turn was longest ago. Within a tenant it is first come, first served.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use claw_entities::TenantId;
use tokio::sync::{Notify, oneshot};

/// Who gave up waiting is looked for when a tenant's queue has grown to a multiple of this.
const PRUNE: usize = 64;

/// The places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

struct Shared {
    total: usize,
    state: Mutex<State>,
    /// Told when the last place was given back.
    idle: Notify,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// Places given so far.
    given: u64,
    tenants: HashMap<TenantId, Share>,
    /// Tenants with somebody waiting, the next one first: places held, turn, tenant.
    waiting: BTreeSet<(usize, u64, TenantId)>,
}

/// One tenant's.
#[derive(Default)]
struct Share {
    held: usize,
    /// When it got its last place, counted in places.
    turn: u64,
    queue: VecDeque<oneshot::Sender<Place>>,
}

/// A place, given back by dropping it.
pub(super) struct Place {
    of: Arc<Shared>,
    /// `None` once it went back without this.
    tenant: Option<TenantId>,
}

impl Places {
    pub(super) fn new(total: usize) -> Self {
        Self(Arc::new(Shared {
            total: total.max(1),
            state: Mutex::default(),
            idle: Notify::new(),
        }))
    }

    /// Waits for a place. `None` never happens: nothing closes the places.
    pub(super) async fn take(&self, tenant: &TenantId) -> Option<Place> {
        let waiting = {
            let mut state = self.0.lock();
            if state.taken < self.0.total && state.waiting.is_empty() {
                state.give(tenant);
                return Some(self.0.place(tenant));
            }
            let (place, waiting) = oneshot::channel();
            state.wait(tenant, place);
            self.0.hand_out(&mut state);
            waiting
        };
        waiting.await.ok()
    }

    /// Places that are taken now.
    pub(super) fn taken(&self) -> usize {
        self.0.lock().taken
    }

    /// Resolves when no place is taken.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.0.idle.notified();
            tokio::pin!(idle);
            // From here on nothing is missed.
            idle.as_mut().enable();
            if self.taken() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, tenant: &TenantId) -> Place {
        Place {
            of: Arc::clone(self),
            tenant: Some(tenant.clone()),
        }
    }

    /// Gives what is free to those whose turn it is.
    fn hand_out(self: &Arc<Self>, state: &mut State) {
        while state.taken < self.total
            && let Some((tenant, waiter)) = state.next()
        {
            state.give(&tenant);
            if let Err(mut unwanted) = waiter.send(self.place(&tenant)) {
                // Nobody waits for it any more; it must not come back by itself, the lock is held.
                unwanted.tenant = None;
                state.take_back(&tenant);
            }
        }
    }
}

impl State {
    /// Changes a tenant's share and keeps the order of those that wait.
    fn change(&mut self, tenant: &TenantId, change: impl FnOnce(&mut Share)) {
        let share = self.tenants.entry(tenant.clone()).or_default();
        if !share.queue.is_empty() {
            self.waiting.remove(&(share.held, share.turn, tenant.clone()));
        }
        change(share);
        if !share.queue.is_empty() {
            self.waiting.insert((share.held, share.turn, tenant.clone()));
        } else if share.held == 0 {
            self.tenants.remove(tenant);
        }
    }

    fn wait(&mut self, tenant: &TenantId, place: oneshot::Sender<Place>) {
        self.change(tenant, |share| {
            if share.queue.len() % PRUNE == PRUNE - 1 {
                share.queue.retain(|waiter| !waiter.is_closed());
            }
            share.queue.push_back(place);
        });
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<(TenantId, oneshot::Sender<Place>)> {
        let tenant = self.waiting.first()?.2.clone();
        let mut waiter = None;
        self.change(&tenant, |share| waiter = share.queue.pop_front());
        Some((tenant, waiter?))
    }

    fn give(&mut self, tenant: &TenantId) {
        self.taken += 1;
        self.given += 1;
        let turn = self.given;
        self.change(tenant, |share| {
            share.held += 1;
            share.turn = turn;
        });
    }

    fn take_back(&mut self, tenant: &TenantId) {
        self.taken -= 1;
        self.change(tenant, |share| share.held -= 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(tenant) = self.tenant.take() else {
            return;
        };
        let mut state = self.of.lock();
        state.take_back(&tenant);
        self.of.hand_out(&mut state);
        if state.taken == 0 {
            self.of.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::from(name)
    }

    #[tokio::test]
    async fn a_tenant_with_many_waiting_does_not_hold_the_others() {
        let places = Places::new(4);
        let (heavy, light) = (tenant("heavy"), tenant("light"));
        let mut running = Vec::new();
        for _ in 0..4 {
            running.push(places.take(&heavy).await.expect("a free place"));
        }
        let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(places.take(&heavy))).collect();
        for waiting in &mut crowd {
            assert!(waiting.now_or_never().is_none());
        }
        let mut first = Box::pin(places.take(&light));
        let mut second = Box::pin(places.take(&light));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(running.pop());
        let one = first.now_or_never().flatten().expect("who holds nothing is next");
        drop(running.pop());
        let two = second
            .now_or_never()
            .flatten()
            .expect("and again, with one against two");
        // Two each: now it goes by turns, and only the crowd waits.
        drop(running.pop());
        let served = crowd.iter_mut().filter_map(|waiting| waiting.now_or_never().flatten());
        assert_eq!(
            served.count(),
            100,
            "each place goes on to the next as it is given back"
        );
        drop((one, two, running));
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn who_gives_up_costs_nobody_a_place() {
        let places = Places::new(1);
        let (one, other) = (tenant("one"), tenant("other"));
        let held = places.take(&one).await.expect("a free place");
        let mut gone = Box::pin(places.take(&other));
        let mut waits = Box::pin(places.take(&one));
        assert!(gone.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        let held = waits.now_or_never().flatten().expect("the one that still waits");
        let mut given = Box::pin(places.take(&other));
        assert!(given.as_mut().now_or_never().is_none());
        drop(held);
        // It was given and never looked at.
        drop(given);
        assert_eq!(places.taken(), 0);
        places.idle().await;
    }

    #[tokio::test]
    async fn idle_is_when_the_last_place_is_back() {
        let places = Places::new(2);
        let held = places.take(&tenant("one")).await.expect("a free place");
        let mut idle = Box::pin(places.idle());
        assert!(idle.as_mut().now_or_never().is_none());
        drop(held);
        assert!(idle.now_or_never().is_some());
    }
}
