//! Places that tenants share fairly. A free one goes to the tenant that has had the least, or, where what is short is what
//! they are used for, by turns to that one and to the one that asks for few; within a tenant, to what was begun, then by turns
//! to its users and to guests, first come, first served.
//!
//! *The least*: it holds the fewest places, and among equals has used the fewest so far. Use is counted as in start-time
//! fair queueing: whoever comes back is put where the order stands, so nobody saves up, and what one has used beyond the
//! others is remembered (to a limit) while there is a queue. That alone shares evenly, but among a thousand tenants that always
//! want more it lets somebody who says one thing wait for a whole round. So every other place goes to who has the fewest
//! held and waiting, if they are few: a round is for those with a backlog. They keep at least half of all places.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use claw_entities::TenantId;
use tokio::sync::{Notify, oneshot};

/// Who gave up waiting is looked for when a tenant's queue has grown to a multiple of this, and tenants that can be
/// forgotten when there are so many more than were left the last time.
const PRUNE: usize = 64;
/// What using a place counts where time does not matter; else it is its microseconds.
const ONE: u64 = 1000;
/// The most that a tenant can be behind the order, in the same measure: who used more while it was free owes no more.
const MOST_OWED: u64 = 100 * ONE;

/// Held and waiting places up to which a tenant asks for few: as many as one person's runs by default.
const FEW: usize = 4;

/// Who something new is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// One of the tenant's users.
    User,
    Guest,
}

/// The places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

/// What using a place counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    /// One as much as another, however long it is held. What is short are the places.
    Each,
    /// What this gives for a tenant's that was held since then. What is short is what they are used for.
    Use(fn(&TenantId, Instant) -> u64),
}

impl Cost {
    /// The time it is held.
    pub(super) const TIME: Self = Self::Use(|_, since| {
        let micros = since.elapsed().as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).max(1)
    });
}

struct Shared {
    total: usize,
    cost: Cost,
    state: Mutex<State>,
    /// Told when the last place was given back.
    idle: Notify,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// Places beyond the total, because those who hold them do not move. See [`Places::unstick`].
    beyond: usize,
    /// Changes whenever a place is given or taken back.
    moves: u64,
    /// `moves` when it was last looked at.
    seen: u64,
    /// Where the order stands: what the last one that had the least had used by then.
    level: u64,
    /// Counts who came, for the order among equals.
    arrivals: u64,
    /// The next place goes to who asks for few.
    few: bool,
    tenants: HashMap<TenantId, Share>,
    /// Tenants that were left when those that can be forgotten were.
    kept: usize,
    /// Tenants with somebody waiting, in both orders: places held, use, arrival; and number held and waiting, arrival.
    least: BTreeSet<(usize, u64, u64, TenantId)>,
    fewest: BTreeSet<(usize, u64, TenantId)>,
}

type Waiter = oneshot::Sender<Place>;

/// One tenant's.
#[derive(Default)]
struct Share {
    held: usize,
    used: u64,
    /// When it came, or was given its last place.
    arrival: u64,
    /// What goes on with something begun, and what begins: the users' own, and guests'.
    ahead: VecDeque<Waiter>,
    queue: VecDeque<Waiter>,
    guests: VecDeque<Waiter>,
    /// A guest let one of the users' go first, and is next.
    passed: bool,
}

/// A place, given back by dropping it.
pub(super) struct Place {
    of: Arc<Shared>,
    /// `None` once it went back without this.
    tenant: Option<TenantId>,
    since: Instant,
}

impl Places {
    pub(super) fn new(total: usize, cost: Cost) -> Self {
        Self(Arc::new(Shared {
            total: total.max(1),
            cost,
            state: Mutex::default(),
            idle: Notify::new(),
        }))
    }

    /// Waits for a place. `None` never happens: nothing closes the places.
    pub(super) async fn take(&self, tenant: &TenantId, asker: Asker) -> Option<Place> {
        self.place(tenant, Some(asker)).await
    }

    /// Waits for a place to go on with something begun: before what the tenant has not begun.
    pub(super) async fn take_again(&self, tenant: &TenantId) -> Option<Place> {
        self.place(tenant, None).await
    }

    /// `begins`: for whom; `None` goes on with something begun.
    async fn place(&self, tenant: &TenantId, begins: Option<Asker>) -> Option<Place> {
        let waiting = {
            let mut state = self.0.lock();
            if self.0.is_free(&state) && state.least.is_empty() {
                state.come(tenant);
                state.level = state.level.max(state.give(tenant));
                return Some(self.0.place(tenant));
            }
            let (place, waiting) = oneshot::channel();
            state.wait(tenant, place, begins);
            self.0.hand_out(&mut state);
            waiting
        };
        waiting.await.ok()
    }

    /// Places that are taken now.
    pub(super) fn taken(&self) -> usize {
        self.0.lock().taken
    }

    /// Called now and then: when no place has moved since the last time and somebody waits, as many again are given out.
    /// Who holds one waits for something that it ought not to wait for, and must not stop everybody.
    pub(super) fn unstick(&self) {
        let mut state = self.0.lock();
        if !state.least.is_empty() && state.seen == state.moves {
            state.beyond += self.0.total;
            self.0.hand_out(&mut state);
        }
        state.seen = state.moves;
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

    fn is_free(&self, state: &State) -> bool {
        state.taken < self.total + state.beyond
    }

    fn place(self: &Arc<Self>, tenant: &TenantId) -> Place {
        Place {
            of: Arc::clone(self),
            tenant: Some(tenant.clone()),
            since: Instant::now(),
        }
    }

    /// Gives what is free to those whose turn it is.
    fn hand_out(self: &Arc<Self>, state: &mut State) {
        while self.is_free(state)
            && let Some((tenant, waiter)) = state.next()
        {
            state.give(&tenant);
            if let Err(mut unwanted) = waiter.send(self.place(&tenant)) {
                // Nobody waits for it any more; it must not come back by itself, the lock is held.
                unwanted.tenant = None;
                state.take_back(&tenant, 0);
            } else {
                state.few = !matches!(self.cost, Cost::Each) && !state.few;
            }
        }
    }
}

impl Share {
    fn waiting(&self) -> usize {
        self.ahead.len() + self.queue.len() + self.guests.len()
    }

    fn queue(&mut self, begins: Option<Asker>) -> &mut VecDeque<Waiter> {
        match begins {
            None => &mut self.ahead,
            Some(Asker::User) => &mut self.queue,
            Some(Asker::Guest) => &mut self.guests,
        }
    }

    /// Who of the tenant's is next.
    fn next(&mut self) -> Option<Waiter> {
        if let Some(begun) = self.ahead.pop_front() {
            return Some(begun);
        }
        let guest = self.queue.is_empty() || (self.passed && !self.guests.is_empty());
        self.passed = !guest && !self.guests.is_empty();
        let asker = if guest { Asker::Guest } else { Asker::User };
        self.queue(Some(asker)).pop_front()
    }
}

impl State {
    /// Changes a tenant's share and keeps the order of those that wait.
    fn change<T>(&mut self, tenant: &TenantId, change: impl FnOnce(&mut Share) -> T) -> T {
        let share = self.tenants.entry(tenant.clone()).or_default();
        if share.waiting() > 0 {
            self.least
                .remove(&(share.held, share.used, share.arrival, tenant.clone()));
            self.fewest
                .remove(&(share.held + share.waiting(), share.arrival, tenant.clone()));
        }
        let given = change(share);
        if share.waiting() > 0 {
            self.least
                .insert((share.held, share.used, share.arrival, tenant.clone()));
            self.fewest
                .insert((share.held + share.waiting(), share.arrival, tenant.clone()));
        }
        given
    }

    /// Somebody of the tenant's comes. Who has nothing here begins where the order stands.
    fn come(&mut self, tenant: &TenantId) {
        self.arrivals += 1;
        let (level, arrival) = (self.level, self.arrivals);
        let share = self.tenants.entry(tenant.clone()).or_default();
        if share.held == 0 && share.waiting() == 0 {
            share.used = share.used.clamp(level, level.saturating_add(MOST_OWED));
            share.arrival = arrival;
        }
    }

    fn wait(&mut self, tenant: &TenantId, place: Waiter, begins: Option<Asker>) {
        self.come(tenant);
        self.change(tenant, |share| {
            if share.waiting() % PRUNE == PRUNE - 1 {
                for queue in [&mut share.ahead, &mut share.queue, &mut share.guests] {
                    queue.retain(|waiter| !waiter.is_closed());
                }
            }
            share.queue(begins).push_back(place);
        });
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<(TenantId, Waiter)> {
        let few = self.fewest.first().filter(|(number, ..)| self.few && *number <= FEW);
        let tenant = if let Some((_, _, tenant)) = few {
            tenant.clone()
        } else {
            let (_, used, _, tenant) = self.least.first()?;
            self.level = self.level.max(*used);
            tenant.clone()
        };
        let waiter = self.change(&tenant, Share::next);
        Some((tenant, waiter?))
    }

    /// Gives what the tenant had used before.
    fn give(&mut self, tenant: &TenantId) -> u64 {
        self.taken += 1;
        self.moves += 1;
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.change(tenant, |share| {
            share.held += 1;
            share.arrival = arrival;
            share.used
        })
    }

    fn take_back(&mut self, tenant: &TenantId, cost: u64) {
        self.taken -= 1;
        self.moves += 1;
        self.beyond = self.beyond.saturating_sub(1);
        let most = self.level.saturating_add(MOST_OWED);
        let level = self.level;
        let over = self.change(tenant, |share| {
            share.held -= 1;
            share.used = share.used.saturating_add(cost).min(most.max(share.used));
            share.held == 0 && share.waiting() == 0 && share.used <= level
        });
        if over {
            self.tenants.remove(tenant);
        }
        self.forget();
    }

    /// Forgets what nothing depends on: all of it when nobody is here, else who is not ahead of the order.
    fn forget(&mut self) {
        if self.taken == 0 && self.least.is_empty() {
            self.tenants.clear();
            self.level = 0;
            self.kept = 0;
        } else if self.tenants.len() > self.kept + PRUNE.max(self.kept) {
            let level = self.level;
            self.tenants
                .retain(|_, share| share.held > 0 || share.waiting() > 0 || share.used > level);
            self.kept = self.tenants.len();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(tenant) = self.tenant.take() else {
            return;
        };
        let cost = match self.of.cost {
            Cost::Each => ONE,
            Cost::Use(cost) => cost(&tenant, self.since),
        };
        let mut state = self.of.lock();
        state.take_back(&tenant, cost);
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
        let places = Places::new(4, Cost::Each);
        let (heavy, light) = (tenant("heavy"), tenant("light"));
        let mut running = Vec::new();
        for _ in 0..4 {
            running.push(places.take(&heavy, Asker::User).await.expect("a free place"));
        }
        let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(places.take(&heavy, Asker::User))).collect();
        for waiting in &mut crowd {
            assert!(waiting.now_or_never().is_none());
        }
        let mut first = Box::pin(places.take(&light, Asker::User));
        let mut second = Box::pin(places.take(&light, Asker::User));
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
        let places = Places::new(1, Cost::Each);
        let (one, other) = (tenant("one"), tenant("other"));
        let held = places.take(&one, Asker::User).await.expect("a free place");
        let mut gone = Box::pin(places.take(&other, Asker::User));
        let mut waits = Box::pin(places.take(&one, Asker::User));
        assert!(gone.as_mut().now_or_never().is_none() && waits.as_mut().now_or_never().is_none());
        drop(gone);
        drop(held);
        let held = waits.now_or_never().flatten().expect("the one that still waits");
        let mut given = Box::pin(places.take(&other, Asker::User));
        assert!(given.as_mut().now_or_never().is_none());
        drop(held);
        // It was given and never looked at.
        drop(given);
        assert_eq!(places.taken(), 0);
        places.idle().await;
    }

    #[tokio::test]
    async fn idle_is_when_the_last_place_is_back() {
        let places = Places::new(2, Cost::Each);
        let held = places.take(&tenant("one"), Asker::User).await.expect("a free place");
        let mut idle = Box::pin(places.idle());
        assert!(idle.as_mut().now_or_never().is_none());
        drop(held);
        assert!(idle.now_or_never().is_some());
    }

    /// Slots whose use counts three times as much for one tenant as for the others.
    fn slots(total: usize) -> Places {
        Places::new(
            total,
            Cost::Use(|tenant, _| if tenant.as_str() == "long" { 3 * ONE } else { ONE }),
        )
    }

    /// Everybody takes a place and gives it back, so often one after the other. Gives who had one, in this order.
    async fn in_turn(places: &Places, all: impl IntoIterator<Item = (String, usize)>) -> Vec<String> {
        let had = Mutex::new(Vec::new());
        let each = all.into_iter().map(|(name, times)| {
            let had = &had;
            async move {
                for _ in 0..times {
                    let place = places.take(&tenant(&name), Asker::User).await.expect("a place");
                    had.lock().expect("one thread").push(name.clone());
                    tokio::task::yield_now().await;
                    drop(place);
                }
            }
        });
        futures::future::join_all(each).await;
        assert_eq!(places.taken(), 0);
        had.into_inner().expect("one thread")
    }

    fn crowd(name: &str, number: usize) -> impl Iterator<Item = (String, usize)> + use<> {
        std::iter::repeat_n((name.to_owned(), 1), number)
    }

    fn count(had: &[String], name: &str) -> usize {
        had.iter().filter(|one| *one == name).count()
    }

    #[tokio::test]
    async fn who_was_served_from_the_queue_is_charged_for_it() {
        let places = slots(1);
        let held = places.take(&tenant("first"), Asker::User).await.expect("a free place");
        // The order stands far on.
        places.0.lock().level = 1_000 * ONE;
        let a = tenant("a");
        let mut one = Box::pin(places.take(&a, Asker::User));
        assert!(one.as_mut().now_or_never().is_none());
        drop(held);
        let one = one.await.expect("a place");
        let rest = in_turn(&places, crowd("a", 20).chain(crowd("b", 20)));
        let back = async {
            tokio::task::yield_now().await;
            drop(one);
        };
        let (had, ()) = futures::join!(rest, back);
        let early = count(&had[..20], "a");
        assert!((8..=12).contains(&early), "{early} of the first 20: {had:?}");
    }

    #[tokio::test]
    async fn who_asks_for_one_thing_passes_every_backlog() {
        let places = slots(1);
        let backlog = (0..300).flat_map(|number| crowd(&format!("t{number}"), 4));
        let late = async {
            // In the middle of it, and again and again: more than its share of what is there.
            let mut passed = Vec::new();
            for _ in 0..50 {
                for _ in 0..5 {
                    tokio::task::yield_now().await;
                }
                let before = places.0.lock().moves;
                let place = places.take(&tenant("quiet"), Asker::User).await.expect("a place");
                passed.push((places.0.lock().moves - before) / 2);
                tokio::task::yield_now().await;
                drop(place);
            }
            passed
        };
        let (had, passed) = futures::join!(in_turn(&places, backlog), late);
        assert_eq!(had.len(), 1200);
        // The one that has the place, one whose turn it is, and one that asks for one thing too.
        assert!(passed.iter().all(|others| *others <= 3), "{passed:?}");
    }

    #[tokio::test]
    async fn tenants_are_equal_by_the_time_they_use() {
        let places = slots(1);
        let all = crowd("long", 100).chain(crowd("short", 100));
        let had = in_turn(&places, all).await;
        // As long as both want more.
        let both = &had[..=had.iter().rposition(|one| one == "short").expect("it had some")];
        let long = count(both, "long");
        assert!((32..=35).contains(&long), "{long} times three against 100 times one");
    }

    #[tokio::test]
    async fn a_hundred_sessions_get_no_more_than_ten() {
        let places = slots(4);
        let light = (0..9).flat_map(|number| (0..10).map(move |_| (format!("t{number}"), 20)));
        let heavy = (0..900).map(|_| ("heavy".to_owned(), 2));
        let had = in_turn(&places, heavy.chain(light)).await;
        let both = &had[..1000];
        for name in ["heavy", "t0", "t4", "t8"] {
            let times = count(both, name);
            assert!((95..=105).contains(&times), "{name} had {times} of a thousand");
        }
    }

    #[tokio::test]
    async fn who_has_one_session_each_takes_turns() {
        for places in [Places::new(2, Cost::Each), slots(2)] {
            let all = (0..50).map(|number| (format!("t{number:02}"), 10));
            let had = in_turn(&places, all).await;
            for (round, of_round) in had.chunks(50).enumerate() {
                let different: std::collections::HashSet<_> = of_round.iter().collect();
                assert_eq!(different.len(), 50, "round {round}: each once");
            }
        }
    }

    #[tokio::test]
    async fn nobody_saves_up_and_nothing_is_kept_for_ever() {
        let places = slots(1);
        let alone = tenant("old");
        let held = places.take(&alone, Asker::User).await.expect("a free place");
        let mut old = Vec::new();
        // It was alone, and had a hundred.
        for _ in 0..100 {
            let mut next = Box::pin(places.take(&alone, Asker::User));
            assert!(next.as_mut().now_or_never().is_none());
            old.push(next);
        }
        let mut held = Some(held);
        for next in &mut old {
            drop(held.take());
            held = next.as_mut().now_or_never().flatten();
            assert!(held.is_some());
        }
        // Now both want more, and have the same from here on.
        let last = held.take();
        let both = crowd("old", 50).chain(crowd("new", 50));
        let release = async move { drop(last) };
        let (had, ()) = futures::join!(in_turn(&places, both), release);
        let first = &had[..50];
        assert!(count(first, "old").abs_diff(count(first, "new")) <= 2, "{first:?}");
        assert!(places.0.lock().tenants.is_empty(), "nobody is here");
    }

    #[tokio::test]
    async fn what_was_begun_goes_on_first() {
        let places = Places::new(1, Cost::TIME);
        let one = tenant("one");
        let held = places.take(&one, Asker::User).await.expect("a free place");
        let mut begins = Box::pin(places.take(&one, Asker::User));
        let mut goes_on = Box::pin(places.take_again(&one));
        assert!(begins.as_mut().now_or_never().is_none() && goes_on.as_mut().now_or_never().is_none());
        drop(held);
        assert!(begins.as_mut().now_or_never().is_none());
        let held = goes_on.now_or_never().flatten().expect("first");
        drop(held);
        assert!(begins.now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn a_tenants_users_and_its_guests_take_turns() {
        let places = slots(1);
        let one = tenant("one");
        let held = places.take(&one, Asker::User).await.expect("a free place");
        let had = Mutex::new(Vec::new());
        let (had_in, places_in, one_in) = (&had, &places, &one);
        let ask = |name: &'static str, asker: Asker| async move {
            let place = places_in.take(one_in, asker).await.expect("a place");
            had_in.lock().expect("one thread").push(name);
            tokio::task::yield_now().await;
            drop(place);
        };
        // The guests were there first.
        let guests = (0..4).map(|_| ask("guest", Asker::Guest));
        let owner = (0..2).map(|_| ask("owner", Asker::User));
        let release = async { drop(held) };
        futures::join!(futures::future::join_all(guests.chain(owner)), release);
        assert_eq!(
            *had.lock().expect("one thread"),
            ["owner", "guest", "owner", "guest", "guest", "guest"]
        );
        // Who comes when the turn was a guest's the last time is first again.
        had.lock().expect("one thread").clear();
        let held = places.take(&one, Asker::Guest).await.expect("a free place");
        let guests = (0..2).map(|_| ask("guest", Asker::Guest));
        let owner = (0..3).map(|_| ask("owner", Asker::User));
        let release = async { drop(held) };
        futures::join!(futures::future::join_all(guests.chain(owner)), release);
        assert_eq!(
            *had.lock().expect("one thread"),
            ["owner", "guest", "owner", "guest", "owner"]
        );
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn who_panics_gives_its_place_back() {
        let places = Places::new(1, Cost::TIME);
        let held = places.take(&tenant("one"), Asker::User).await.expect("a free place");
        let ended = tokio::spawn(async move {
            let _held = held;
            panic!("a test wants it");
        });
        assert!(ended.await.is_err());
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn who_does_not_move_stops_nobody_for_long() {
        let places = Places::new(1, Cost::TIME);
        let one = tenant("one");
        let stuck = places.take(&tenant("stuck"), Asker::User).await.expect("a free place");
        places.unstick();
        let mut waits = Box::pin(places.take(&one, Asker::User));
        assert!(waits.as_mut().now_or_never().is_none());
        places.unstick();
        let more = waits
            .now_or_never()
            .flatten()
            .expect("nothing moved since the last look");
        places.unstick();
        drop((stuck, more));
        let _held = places.take(&tenant("one"), Asker::User).await.expect("a free place");
        let mut waits = Box::pin(places.take(&one, Asker::User));
        assert!(waits.as_mut().now_or_never().is_none(), "it is one again");
    }
}
