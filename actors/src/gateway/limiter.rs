//! Failed proofs per tenant and address, and how many sockets an address may hold before it has proved itself.
//!
//! Only failures count. A loopback address is delayed, never locked out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_entities::TenantId;
use dashmap::DashMap;

/// Failures within [`WINDOW`] that lock an address out.
const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const LOCKOUT: Duration = Duration::from_secs(300);
/// Unauthenticated sockets one address may hold.
const UNPROVEN: u32 = 32;
/// Addresses remembered before old ones are swept out.
const SWEEP_AT: usize = 10_000;

type Key = (TenantId, IpAddr);

/// Shared by all connections of the process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Limiter(Arc<Inner>);

#[derive(Default)]
struct Inner {
    failures: DashMap<Key, Failures>,
    unproven: DashMap<Key, u32>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
    locked_until: Option<Instant>,
}

/// What a failed proof costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    None,
    /// Answer only after this long.
    Delay(Duration),
}

/// A place among an address's unauthenticated sockets; dropping it gives the place back.
pub struct Unproven {
    limiter: Limiter,
    key: Key,
}

impl Limiter {
    /// How much longer the address is locked out, if it is.
    pub fn locked(&self, tenant: &TenantId, address: IpAddr, now: Instant) -> Option<Duration> {
        let entry = self.0.failures.get(&key(tenant, address))?;
        let until = entry.locked_until?;
        (until > now).then(|| until - now)
    }

    /// Counts a failed proof.
    pub fn failed(&self, tenant: &TenantId, address: IpAddr, now: Instant) -> Penalty {
        if self.0.failures.len() >= SWEEP_AT {
            self.sweep(now);
        }
        let mut entry = self.0.failures.entry(key(tenant, address)).or_insert(Failures {
            count: 0,
            since: now,
            locked_until: None,
        });
        if now.duration_since(entry.since) > WINDOW {
            entry.count = 0;
            entry.since = now;
        }
        entry.count += 1;
        if address.is_loopback() {
            return match entry.count {
                0 | 1 => Penalty::None,
                count => Penalty::Delay(Duration::from_millis(250) * (count - 1).min(4)),
            };
        }
        if entry.count >= FAILURES {
            entry.locked_until = Some(now + LOCKOUT);
        }
        Penalty::None
    }

    /// Makes room: what is over goes, then who is not locked out, then all. Each time at least half of the room is
    /// free again, so that somebody with very many addresses costs neither memory nor time.
    fn sweep(&self, now: Instant) {
        let failures = &self.0.failures;
        failures.retain(|_, entry| now.duration_since(entry.since) < WINDOW + LOCKOUT);
        if failures.len() > SWEEP_AT / 2 {
            failures.retain(|_, entry| entry.locked_until.is_some_and(|until| until > now));
        }
        if failures.len() > SWEEP_AT / 2 {
            failures.clear();
        }
    }

    /// Takes a place among the unauthenticated sockets of the address. `None`: it holds too many already.
    pub fn unproven(&self, tenant: &TenantId, address: IpAddr) -> Option<Unproven> {
        let key = key(tenant, address);
        let mut held = self.0.unproven.entry(key.clone()).or_insert(0);
        if *held >= UNPROVEN && !address.is_loopback() {
            return None;
        }
        *held += 1;
        drop(held);
        Some(Unproven {
            limiter: self.clone(),
            key,
        })
    }
}

impl Drop for Unproven {
    fn drop(&mut self) {
        if let dashmap::Entry::Occupied(mut held) = self.limiter.0.unproven.entry(self.key.clone()) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

/// IPv6 counts by /64: one subscriber owns that many addresses.
fn key(tenant: &TenantId, address: IpAddr) -> Key {
    let address = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None if v6.is_loopback() => address,
            None => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        },
    };
    (tenant.clone(), address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn ten_failures_lock_one_address_of_one_tenant() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let (acme, other) = (TenantId::from("acme"), TenantId::from("other"));
        let here = address("203.0.113.7");
        for _ in 0..9 {
            limiter.failed(&acme, here, now);
        }
        assert_eq!(limiter.locked(&acme, here, now), None);
        limiter.failed(&acme, here, now);
        assert_eq!(limiter.locked(&acme, here, now), Some(LOCKOUT));
        assert_eq!(limiter.locked(&other, here, now), None);
        assert_eq!(limiter.locked(&acme, address("203.0.113.8"), now), None);
        assert_eq!(limiter.locked(&acme, here, now + LOCKOUT), None);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let (acme, here) = (TenantId::from("acme"), address("203.0.113.7"));
        for _ in 0..9 {
            limiter.failed(&acme, here, now);
        }
        let later = now + WINDOW + Duration::from_secs(1);
        limiter.failed(&acme, here, later);
        assert_eq!(limiter.locked(&acme, here, later), None);
    }

    #[test]
    fn loopback_is_slowed_down_but_never_locked() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let acme = TenantId::from("acme");
        for here in [address("127.0.0.1"), address("::1")] {
            assert_eq!(limiter.failed(&acme, here, now), Penalty::None);
            for _ in 0..20 {
                assert!(matches!(limiter.failed(&acme, here, now), Penalty::Delay(_)));
            }
            assert_eq!(limiter.locked(&acme, here, now), None);
        }
    }

    #[test]
    fn ipv6_counts_by_network() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let acme = TenantId::from("acme");
        for last in 0..10 {
            limiter.failed(&acme, address(&format!("2001:db8::{last}")), now);
        }
        assert!(limiter.locked(&acme, address("2001:db8::ffff"), now).is_some());
        assert!(limiter.locked(&acme, address("2001:db8:0:1::1"), now).is_none());
    }

    #[test]
    fn very_many_addresses_are_not_all_remembered() {
        let (limiter, now) = (Limiter::default(), Instant::now());
        let (acme, locked) = (TenantId::from("acme"), address("203.0.113.7"));
        for _ in 0..FAILURES {
            limiter.failed(&acme, locked, now);
        }
        for number in 0..3 * SWEEP_AT as u128 {
            limiter.failed(&acme, IpAddr::V6((number << 64).into()), now);
            assert!(limiter.0.failures.len() <= SWEEP_AT);
        }
        assert!(
            limiter.locked(&acme, locked, now).is_some(),
            "the lockouts stay longest"
        );
    }

    #[test]
    fn places_come_back() {
        let limiter = Limiter::default();
        let (acme, here) = (TenantId::from("acme"), address("203.0.113.7"));
        let mut held: Vec<_> = (0..UNPROVEN).map(|_| limiter.unproven(&acme, here)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(limiter.unproven(&acme, here).is_none());
        held.pop();
        assert!(limiter.unproven(&acme, here).is_some());
        drop(held);
        assert!(limiter.0.unproven.is_empty());
    }
}
