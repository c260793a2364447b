//! Positive answers the hot path needs, forgotten whenever the installation's revision moves.
//!
//! Every answer is filed with the generation read before the database was asked: an answer that a change overtook
//! is not kept.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use claw_entities::{Scope, TenantId};
use dashmap::DashMap;
use tokio::sync::watch;

use super::accounts::ResolvedAccount;
use super::budgets::Budgets;
use super::devices::Approved;
use super::devices::tokens::DeviceGrant;
use super::document::UserSettings;
use super::identity::{Identity, Locked, Tenant, User};
use super::providers::StoredProvider;
use super::secrets::DataKey;
use super::skills::SkillSet;
use crate::gateway::alike::Alike;

/// Entries of one kind; when a shelf is full it starts again from empty.
const SHELF_CAPACITY: usize = 50_000;

pub(crate) struct Cache {
    generation: AtomicU64,
    moved: watch::Sender<u64>,
    /// By slug.
    pub(crate) tenants: Shelf<String, Arc<Tenant>>,
    pub(crate) users: Shelf<Scope, Arc<User>>,
    /// By [`pair`] of tenant and token hash.
    pub(crate) tokens: Shelf<String, Arc<Identity>>,
    /// By [`pair`] of tenant and device token hash.
    pub(crate) grants: Shelf<String, Arc<DeviceGrant>>,
    /// Devices with a good token for a role, by [`triple`] of tenant, user, and device with role.
    pub(crate) pairings: Shelf<String, Arc<Approved>>,
    /// The scope lists of those, each kept once.
    pub(crate) scope_lists: Alike<[String]>,
    /// By [`pair`] of tenant and cookie hash, with the expiry in epoch milliseconds.
    pub(crate) web_sessions: Shelf<String, (Arc<Identity>, i64)>,
    /// By [`triple`] of tenant, channel and account.
    pub(crate) accounts: Shelf<String, Arc<ResolvedAccount>>,
    /// A user's own, and those that know the user by a link.
    pub(crate) accounts_around: Shelf<Scope, Arc<[Arc<ResolvedAccount>]>>,
    pub(crate) settings: Shelf<Scope, Arc<UserSettings>>,
    pub(crate) skills: Shelf<Scope, Arc<SkillSet>>,
    pub(crate) providers: Shelf<TenantId, Arc<Vec<StoredProvider>>>,
    pub(crate) budgets: Shelf<TenantId, Arc<Budgets>>,
    /// Credentials of live sockets that were found good, until epoch milliseconds.
    pub(crate) valid: Shelf<String, i64>,
    /// Who is locked out. Replaced, never forgotten: see [`super::ConfigService::read_locked`].
    pub(crate) locked: watch::Sender<Arc<Locked>>,
    /// Held while that is read and replaced.
    pub(crate) reading_locked: tokio::sync::Mutex<()>,
    /// A tenant's data key never changes, so a change of configuration does not forget it.
    pub(crate) data_keys: DashMap<TenantId, Arc<DataKey>>,
}

/// Answers of one kind.
pub(crate) struct Shelf<K, V>(DashMap<K, V>);

impl<K: Eq + Hash, V: Clone> Shelf<K, V> {
    /// The answer, copied out: no guard is held when this returns.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.0.get(key).map(|entry| entry.value().clone())
    }

    fn clear(&self) {
        self.0.clear();
    }
}

impl<K: Eq + Hash, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self(DashMap::new())
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            generation: AtomicU64::new(0),
            moved: watch::Sender::new(0),
            tenants: Shelf::default(),
            users: Shelf::default(),
            tokens: Shelf::default(),
            grants: Shelf::default(),
            pairings: Shelf::default(),
            scope_lists: Alike::default(),
            web_sessions: Shelf::default(),
            accounts: Shelf::default(),
            accounts_around: Shelf::default(),
            settings: Shelf::default(),
            skills: Shelf::default(),
            providers: Shelf::default(),
            budgets: Shelf::default(),
            valid: Shelf::default(),
            locked: watch::Sender::new(Arc::default()),
            reading_locked: tokio::sync::Mutex::default(),
            data_keys: DashMap::new(),
        }
    }
}

impl Cache {
    /// Read it before asking the database; [`Cache::keep`] wants it back.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Files an answer unless something changed since `seen`.
    pub(crate) fn keep<K: Eq + Hash + Clone, V: Clone>(&self, shelf: &Shelf<K, V>, seen: u64, key: K, value: V) {
        if self.generation() != seen {
            return;
        }
        if shelf.0.len() >= SHELF_CAPACITY {
            shelf.clear();
        }
        shelf.0.insert(key.clone(), value);
        // A change between the check and the insert has raised the generation before it cleared the shelf.
        if self.generation() != seen {
            shelf.0.remove(&key);
        }
    }

    /// Forgets every answer and tells those who watch.
    pub(crate) fn forget(&self) {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.tenants.clear();
        self.users.clear();
        self.tokens.clear();
        self.grants.clear();
        self.pairings.clear();
        self.web_sessions.clear();
        self.accounts.clear();
        self.accounts_around.clear();
        self.settings.clear();
        self.skills.clear();
        self.providers.clear();
        self.budgets.clear();
        self.valid.clear();
        self.moved.send_replace(generation);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }
}

/// Key of a thing within a tenant. Ids hold no control characters, so the parts cannot run into each other.
pub(crate) fn pair(tenant: &TenantId, name: &str) -> String {
    let mut key = String::with_capacity(tenant.as_str().len() + name.len() + 1);
    key.push_str(tenant.as_str());
    key.push('\u{1f}');
    key.push_str(name);
    key
}

/// Key of a thing with two names within a tenant.
pub(crate) fn triple(tenant: &TenantId, first: &str, second: &str) -> String {
    let mut key = String::with_capacity(tenant.as_str().len() + first.len() + second.len() + 2);
    key.push_str(tenant.as_str());
    key.push('\u{1f}');
    key.push_str(first);
    key.push('\u{1f}');
    key.push_str(second);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_overtaken_by_a_change_is_not_kept() {
        let cache = Cache::default();
        let seen = cache.generation();
        cache.forget();
        cache.keep(&cache.valid, seen, "old".to_owned(), 1);
        assert_eq!(cache.valid.get("old"), None);
        cache.keep(&cache.valid, cache.generation(), "new".to_owned(), 2);
        assert_eq!(cache.valid.get("new"), Some(2));
        let watcher = cache.subscribe();
        cache.forget();
        assert_eq!(cache.valid.get("new"), None);
        assert!(watcher.has_changed().expect("the cache is alive"));
    }
}
