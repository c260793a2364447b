//! What tools fetched in the last quarter of an hour. Keys hold the scope: what one user fetched is never another's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const LIFETIME: Duration = Duration::from_secs(15 * 60);
const MAX_ENTRIES: usize = 100;

/// The cache. When full, the oldest entry goes.
pub(super) struct Cache<K, V> {
    entries: Mutex<HashMap<K, (Instant, Arc<V>)>>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// One that is younger than `age`.
    pub(super) fn get_within(&self, key: &K, age: Duration) -> Option<Arc<V>> {
        self.get_at(key, Instant::now(), age)
    }

    pub(super) fn put(&self, key: K, value: Arc<V>) {
        self.put_at(key, value, Instant::now());
    }

    fn get_at(&self, key: &K, now: Instant, age: Duration) -> Option<Arc<V>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (stored, value) = entries.get(key)?;
        (now.duration_since(*stored) < age.min(LIFETIME)).then(|| Arc::clone(value))
    }

    fn put_at(&self, key: K, value: Arc<V>, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            entries.retain(|_, (stored, _)| now.duration_since(*stored) < LIFETIME);
        }
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
            let oldest = entries
                .iter()
                .min_by_key(|(_, (stored, _))| *stored)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                entries.remove(&oldest);
            }
        }
        entries.insert(key, (now, value));
    }
}

#[cfg(test)]
mod tests {
    use claw_entities::{Scope, TenantId, UserId};

    use super::*;

    type Key = (Scope, String);

    fn key(tenant: &str, user: &str, what: &str) -> Key {
        let scope = Scope::vouch(TenantId::from(tenant), UserId::from(user));
        (scope, what.to_owned())
    }

    #[test]
    fn by_person_and_question_for_a_while() {
        let cache: Cache<Key, ()> = Cache::default();
        let now = Instant::now();
        let mine = key("acme", "ada", "https://a.example/");
        cache.put_at(mine.clone(), Arc::new(()), now);
        assert!(
            cache
                .get_at(&mine, now + LIFETIME - Duration::from_secs(1), LIFETIME)
                .is_some()
        );
        assert!(cache.get_at(&mine, now + LIFETIME, LIFETIME).is_none());
        assert!(cache.get_at(&mine, now, Duration::ZERO).is_none());
        for other in [
            key("zeta", "ada", "https://a.example/"),
            key("acme", "bob", "https://a.example/"),
            key("acme", "ada", "https://b.example/"),
        ] {
            assert!(cache.get_at(&other, now, LIFETIME).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_oldest_goes() {
        let cache: Cache<Key, ()> = Cache::default();
        let now = Instant::now();
        let nth = |at: usize| key("acme", "ada", &at.to_string());
        for (at, age) in (0..=MAX_ENTRIES).zip(1..) {
            cache.put_at(nth(at), Arc::new(()), now + Duration::from_millis(age));
        }
        let now = now + Duration::from_secs(1);
        assert!(cache.get_at(&nth(0), now, LIFETIME).is_none());
        assert!(cache.get_at(&nth(1), now, LIFETIME).is_some());
        assert!(cache.get_at(&nth(MAX_ENTRIES), now, LIFETIME).is_some());
        assert_eq!(cache.entries.lock().unwrap().len(), MAX_ENTRIES);
    }
}
