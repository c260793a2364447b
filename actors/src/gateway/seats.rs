//! How many connections a user and a tenant have in this process, and how many bytes of calls a user's hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use claw_entities::{Scope, TenantId};
use dashmap::DashMap;

use super::protocol::hello::MAX_BUFFERED;
use crate::error::{Error, Result};

/// Bytes of calls that may wait or be worked on, of one connection.
const HELD: usize = MAX_BUFFERED;
/// The same of all connections of a user.
const HELD_BY_USER: usize = 2 * MAX_BUFFERED;
/// When a connection for which there was no place may come again.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// The places of all connections of the process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Seats(Arc<Inner>);

struct Inner {
    of_user: usize,
    of_tenant: usize,
    users: DashMap<Scope, User>,
    tenants: DashMap<TenantId, usize>,
}

/// What the connections of one user have together.
#[derive(Default)]
struct User {
    connections: usize,
    held: Arc<AtomicUsize>,
}

/// The place of one connection; dropped, it is free again.
pub(super) struct Seat {
    seats: Seats,
    scope: Scope,
    bytes: Bytes,
}

/// What the calls of a connection and of all its user's hold.
#[derive(Clone)]
struct Bytes {
    own: Arc<AtomicUsize>,
    users: Arc<AtomicUsize>,
}

/// Bytes of one call; released or dropped, they are free again.
pub(super) struct Held {
    bytes: Bytes,
    size: AtomicUsize,
}

impl Seats {
    /// So many connections of one user and of one tenant.
    pub(super) fn new(of_user: usize, of_tenant: usize) -> Self {
        Self(Arc::new(Inner {
            of_user,
            of_tenant,
            users: DashMap::new(),
            tenants: DashMap::new(),
        }))
    }

    /// Takes a place for a connection of this user.
    pub(super) fn enter(&self, scope: &Scope) -> Result<Seat> {
        let mut of_tenant = self.0.tenants.entry(scope.tenant().clone()).or_insert(0);
        if *of_tenant >= self.0.of_tenant {
            return Err(full("this workspace"));
        }
        *of_tenant += 1;
        drop(of_tenant);
        let mut user = self.0.users.entry(scope.clone()).or_default();
        if user.connections >= self.0.of_user {
            drop(user);
            self.leave_tenant(scope.tenant());
            return Err(full("this user"));
        }
        user.connections += 1;
        Ok(Seat {
            bytes: Bytes {
                own: Arc::default(),
                users: Arc::clone(&user.held),
            },
            seats: self.clone(),
            scope: scope.clone(),
        })
    }

    fn leave_tenant(&self, tenant: &TenantId) {
        if let dashmap::Entry::Occupied(mut count) = self.0.tenants.entry(tenant.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Seat").finish_non_exhaustive()
    }
}

fn full(whose: &str) -> Error {
    metrics::counter!("claw_gateway_connections_refused_total").increment(1);
    Error::Busy {
        message: format!("too many connections of {whose}, try again later"),
        retry_after: COME_AGAIN,
    }
}

impl Seat {
    /// Takes room for a call of this size. `None`: too much is held already.
    pub(super) fn hold(&self, size: usize) -> Option<Held> {
        let Bytes { own, users } = &self.bytes;
        let held = own.fetch_add(size, Ordering::Relaxed);
        let of_user = users.fetch_add(size, Ordering::Relaxed);
        let taken = Held {
            bytes: self.bytes.clone(),
            size: AtomicUsize::new(size),
        };
        // What does not fit is given back by dropping it.
        let fits = held + size <= HELD && of_user + size <= HELD_BY_USER;
        fits.then_some(taken)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.leave_tenant(self.scope.tenant());
        // Calls may go on without their connection: a new one is no new room while they do.
        if let dashmap::Entry::Occupied(mut user) = self.seats.0.users.entry(self.scope.clone()) {
            user.get_mut().connections -= 1;
            if user.get().connections == 0 && user.get().held.load(Ordering::Relaxed) == 0 {
                user.remove();
            }
        }
    }
}

impl Held {
    /// The call goes on without what it brought.
    pub(super) fn release(&self) {
        let size = self.size.swap(0, Ordering::Relaxed);
        self.bytes.own.fetch_sub(size, Ordering::Relaxed);
        self.bytes.users.fetch_sub(size, Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(tenant: &str, user: &str) -> Scope {
        Scope::vouch(tenant.into(), user.into())
    }

    #[test]
    fn places_are_counted_by_user_and_by_tenant_and_come_back() {
        let seats = Seats::new(2, 3);
        let refusal = |scope: &Scope| seats.enter(scope).err().map(|error| error.to_string());
        let (ann, bob, other) = (person("acme", "ann"), person("acme", "bob"), person("other", "ann"));
        let mut held = vec![seats.enter(&ann).expect("room"), seats.enter(&ann).expect("room")];
        assert_eq!(
            refusal(&ann).as_deref(),
            Some("too many connections of this user, try again later")
        );
        held.push(seats.enter(&bob).expect("room"));
        assert_eq!(
            refusal(&bob).as_deref(),
            Some("too many connections of this workspace, try again later")
        );
        held.push(seats.enter(&other).expect("a neighbour notices nothing"));
        held.remove(0);
        held.push(seats.enter(&bob).expect("a place is free again"));
        drop(held);
        assert!(seats.0.users.is_empty() && seats.0.tenants.is_empty());
    }

    #[test]
    fn bytes_are_counted_by_connection_and_by_user() {
        let seats = Seats::new(9, 9);
        let ann = person("acme", "ann");
        let (first, second, third) = (seats.enter(&ann), seats.enter(&ann), seats.enter(&ann));
        let (first, second, third) = (first.expect("room"), second.expect("room"), third.expect("room"));
        let all = first.hold(HELD).expect("room");
        assert!(first.hold(1).is_none(), "the connection's own room is taken");
        all.release();
        let all = [all, first.hold(HELD).expect("what was released is free, once")];
        assert!(first.hold(1).is_none());
        let half = second.hold(HELD).expect("room");
        assert!(third.hold(1).is_none(), "a new socket is no new room");
        assert!(seats.enter(&person("acme", "bob")).expect("room").hold(HELD).is_some());
        drop(half);
        assert!(third.hold(HELD).is_some());
        drop(all);
        let going_on = first.hold(HELD).expect("room");
        drop((first, second, third));
        let (again, more) = (seats.enter(&ann).expect("room"), seats.enter(&ann).expect("room"));
        let rest = again.hold(HELD).expect("room");
        assert!(more.hold(1).is_none(), "what goes on without its connection counts");
        drop((going_on, rest));
        drop((again, more));
        assert!(seats.0.users.is_empty());
    }
}
