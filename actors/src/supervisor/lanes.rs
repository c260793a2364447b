//! Run permits: how many runs go on at once, per sender, of a tenant's guests together, in the process.
//!
//! Taken in that order, the widest last, so that a waiting run never holds what others need. A sender's own lane is
//! what makes four hung model calls stop that sender only; the process's places are shared fairly by tenants
//! (`places.rs`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use claw_entities::TenantId;
use sea_orm::DbBackend;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::places::{Asker, Cost, Place, Places};
use super::rooms::Rooms;
use super::slot::Slot;
use crate::services::Limits;
use crate::trace::Share;

/// The lanes of scheduled jobs, of sub-agents, and of what sessions ask each other: no platform has such senders.
const SCHEDULED: &str = "\0scheduled";
const SUBAGENTS: &str = "\0subagents";
const NESTED: &str = "\0nested";
/// Runs of a user's that other sessions asked for.
const MOST_NESTED: usize = 8;

/// Permits of the whole process. Cheap to clone.
#[derive(Clone)]
pub struct Lanes {
    process: Places,
    /// See `slot.rs`.
    working: Places,
    guests: Rooms,
}

/// Permits of one user's senders; held by the user actor.
#[derive(Clone)]
pub struct UserLanes {
    lanes: Lanes,
    tenant: TenantId,
    /// Of all guests of the tenant: they never take what its users need.
    guests: Arc<Semaphore>,
    senders: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

/// The right to run; dropped when the run ends.
pub struct Permit {
    _sender: OwnedSemaphorePermit,
    _guests: Option<OwnedSemaphorePermit>,
    _process: Place,
    _running: Share,
}

impl Lanes {
    pub fn new(limits: &Limits, database: DbBackend) -> Self {
        let process = Places::new(limits.process_runs, Cost::Each);
        let working = Places::new(working(limits, database), Cost::TIME);
        let guests = Rooms::new(limits.tenant_runs);
        Self {
            process,
            working,
            guests,
        }
    }

    /// The lanes of one user of this tenant.
    pub fn user(&self, tenant: &TenantId) -> UserLanes {
        UserLanes {
            lanes: self.clone(),
            tenant: tenant.clone(),
            guests: self.guests.of(tenant),
            senders: Arc::default(),
        }
    }

    /// For work of this tenant's that ends when `stop` says so.
    pub(crate) fn slot(&self, tenant: &TenantId, stop: &CancellationToken) -> Slot {
        Slot::new(&self.working, tenant, stop)
    }

    /// Called now and then: who holds a slot and does not move must not stop everybody.
    pub(crate) fn unstick(&self) {
        self.working.unstick();
    }

    /// Runs that go on now.
    pub fn running(&self) -> usize {
        self.process.taken()
    }

    /// Resolves when no run goes on any more.
    pub async fn idle(&self) {
        self.process.idle().await;
    }
}

/// How many work at once. A slot is held across commits, which keep the number of those that wait for the one writer small
/// too, so there are more than cores: enough to fill a commit while the next ones compute. A database across a network lets
/// each wait for longer.
fn working(limits: &Limits, database: DbBackend) -> usize {
    if limits.working > 0 {
        return limits.working;
    }
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let for_each = if database == DbBackend::Postgres { 16 } else { 2 };
    for_each * cores
}

/// `sender` is empty for the user, else the guest's id.
pub(crate) fn asker(sender: &str) -> Asker {
    if sender.is_empty() { Asker::User } else { Asker::Guest }
}

impl UserLanes {
    /// Waits for a place. `sender` is empty for the user, else the guest's id; `most` is how many runs one sender
    /// may have at once.
    pub async fn acquire(&self, sender: &str, most: usize) -> Option<Permit> {
        self.place(sender, most, asker(sender)).await
    }

    /// Waits for a place among the user's scheduled jobs, of which `most` run at once. They take nothing from what
    /// the user asks for themselves.
    pub async fn acquire_scheduled(&self, most: usize) -> Option<Permit> {
        self.place(SCHEDULED, most, Asker::User).await
    }

    /// Waits for a place among the user's sub-agents, of which `most` run at once: many of them do not hold what the
    /// user asks for themselves.
    pub async fn acquire_subagent(&self, most: usize) -> Option<Permit> {
        self.place(SUBAGENTS, most, Asker::User).await
    }

    /// Waits for a place among what the user's sessions ask each other. Who asks may wait for the answer with its own place
    /// in hand, so this must not be one of the same.
    pub async fn acquire_nested(&self) -> Option<Permit> {
        self.place(NESTED, MOST_NESTED, Asker::User).await
    }

    async fn place(&self, sender: &str, most: usize, asker: Asker) -> Option<Permit> {
        let lane = {
            let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
            if senders.len() > 64 {
                senders.retain(|_, lane| lane.strong_count() > 0);
            }
            let slot = senders.entry(sender.to_owned()).or_default();
            slot.upgrade().unwrap_or_else(|| {
                let lane = Arc::new(Semaphore::new(most.max(1)));
                *slot = Arc::downgrade(&lane);
                lane
            })
        };
        // None of the three is ever closed; `ok()` keeps that from being a panic all the same.
        Some(Permit {
            _sender: lane.acquire_owned().await.ok()?,
            _guests: if asker == Asker::Guest {
                Some(self.guests.clone().acquire_owned().await.ok()?)
            } else {
                None
            },
            _process: self.lanes.process.take(&self.tenant, asker).await?,
            _running: running(sender),
        })
    }
}

/// One more run of this lane, until it ends.
fn running(sender: &str) -> Share {
    let lane = match sender {
        "" => "user",
        SCHEDULED => "scheduled",
        SUBAGENTS => "subagent",
        NESTED => "nested",
        _ => "guest",
    };
    let mut running = Share::of(metrics::gauge!("claw_turns_running", "lane" => lane));
    running.set(1);
    running
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_sender_does_not_hold_the_others() {
        let limits = Limits {
            tenant_runs: 8,
            process_runs: 16,
            ..Limits::default()
        };
        let lanes = Lanes::new(&limits, DbBackend::Sqlite);
        let user = lanes.user(&TenantId::from("acme"));
        let mut hung = Vec::new();
        for _ in 0..4 {
            hung.push(user.acquire("guest-1", 4).await);
        }
        let fifth = user.acquire("guest-1", 4);
        tokio::pin!(fifth);
        assert!(futures::poll!(&mut fifth).is_pending());
        let other = user.acquire("guest-2", 4);
        tokio::pin!(other);
        assert!(futures::poll!(&mut other).is_ready(), "another sender runs at once");
        for guest in 2..4 {
            hung.push(user.acquire(&format!("guest-{guest}"), 4).await);
        }
        let crowd = user.acquire("guest-5", 4);
        tokio::pin!(crowd);
        for _ in 0..2 {
            hung.push(user.acquire("guest-3", 4).await);
        }
        assert!(
            futures::poll!(&mut crowd).is_pending(),
            "guests have no more than their share"
        );
        let owner = user.acquire("", 4);
        tokio::pin!(owner);
        assert!(futures::poll!(&mut owner).is_ready(), "guests do not hold the owner");
        let mut busy = Vec::new();
        for _ in 0..2 {
            busy.push(user.acquire_subagent(2).await);
        }
        let third = user.acquire_subagent(2);
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        let owner = user.acquire("", 4);
        tokio::pin!(owner);
        assert!(futures::poll!(&mut owner).is_ready(), "nor do sub-agents");
        let asked = user.acquire_nested();
        tokio::pin!(asked);
        assert!(
            futures::poll!(&mut asked).is_ready(),
            "who waits for it may hold the last of the user's"
        );
        hung.clear();
        assert!(futures::poll!(&mut fifth).is_ready());
    }
}
