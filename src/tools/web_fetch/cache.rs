//! Pages fetched in the last quarter of an hour. One user's pages are never another's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use claw_entities::Scope;

use super::Mode;
use super::extract::Page;

const LIFETIME: Duration = Duration::from_secs(15 * 60);
const MAX_PAGES: usize = 100;

/// What was asked, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    scope: Scope,
    url: String,
    mode: Mode,
}

impl Key {
    pub(super) fn new(scope: &Scope, url: &str, mode: Mode) -> Self {
        Self {
            scope: scope.clone(),
            url: url.to_owned(),
            mode,
        }
    }
}

/// The cache. When full, the oldest page goes.
#[derive(Default)]
pub(super) struct Cache {
    pages: Mutex<HashMap<Key, (Instant, Arc<Page>)>>,
}

impl Cache {
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Page>> {
        self.get_at(key, Instant::now())
    }

    pub(super) fn put(&self, key: Key, page: Arc<Page>) {
        self.put_at(key, page, Instant::now());
    }

    fn get_at(&self, key: &Key, now: Instant) -> Option<Arc<Page>> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let (stored, page) = pages.get(key)?;
        (now.duration_since(*stored) < LIFETIME).then(|| Arc::clone(page))
    }

    fn put_at(&self, key: Key, page: Arc<Page>, now: Instant) {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.len() >= MAX_PAGES && !pages.contains_key(&key) {
            pages.retain(|_, (stored, _)| now.duration_since(*stored) < LIFETIME);
        }
        if pages.len() >= MAX_PAGES && !pages.contains_key(&key) {
            let oldest = pages
                .iter()
                .min_by_key(|(_, (stored, _))| *stored)
                .map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                pages.remove(&oldest);
            }
        }
        pages.insert(key, (now, page));
    }
}

#[cfg(test)]
mod tests {
    use claw_entities::{TenantId, UserId};

    use super::*;

    fn key(tenant: &str, user: &str, url: &str, mode: Mode) -> Key {
        Key::new(&Scope::vouch(TenantId::from(tenant), UserId::from(user)), url, mode)
    }

    #[test]
    fn by_person_address_and_mode_for_a_while() {
        let cache = Cache::default();
        let now = Instant::now();
        let mine = key("acme", "ada", "https://a.example/", Mode::Markdown);
        cache.put_at(mine.clone(), Arc::new(Page::default()), now);
        assert!(cache.get_at(&mine, now + LIFETIME - Duration::from_secs(1)).is_some());
        assert!(cache.get_at(&mine, now + LIFETIME).is_none());
        for other in [
            key("zeta", "ada", "https://a.example/", Mode::Markdown),
            key("acme", "bob", "https://a.example/", Mode::Markdown),
            key("acme", "ada", "https://b.example/", Mode::Markdown),
            key("acme", "ada", "https://a.example/", Mode::Text),
        ] {
            assert!(cache.get_at(&other, now).is_none(), "{other:?}");
        }
    }

    #[test]
    fn the_oldest_goes() {
        let cache = Cache::default();
        let now = Instant::now();
        let nth = |at: usize| key("acme", "ada", &at.to_string(), Mode::Text);
        for (at, age) in (0..=MAX_PAGES).zip(1..) {
            cache.put_at(nth(at), Arc::new(Page::default()), now + Duration::from_millis(age));
        }
        let now = now + Duration::from_secs(1);
        assert!(cache.get_at(&nth(0), now).is_none());
        assert!(cache.get_at(&nth(1), now).is_some());
        assert!(cache.get_at(&nth(MAX_PAGES), now).is_some());
        assert_eq!(cache.pages.lock().unwrap().len(), MAX_PAGES);
    }
}
