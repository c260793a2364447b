//! Values that many connections hold, each kept once: thousands of clients say the same of themselves.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use quick_cache::sync::Cache;

/// Different values that are kept at most.
const MOST: usize = 256;

pub(crate) struct Alike<K: ?Sized>(Cache<Arc<K>, Arc<K>>);

impl<K: Hash + Eq + ?Sized> Default for Alike<K> {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl<K: Hash + Eq + ?Sized> Alike<K> {
    /// The value itself, shared with whoever asked for the same one lately.
    pub(crate) fn share<V: Borrow<K> + Into<Arc<K>>>(&self, value: V) -> Arc<K> {
        if let Some(kept) = self.0.get(value.borrow()) {
            return kept;
        }
        let kept: Arc<K> = value.into();
        self.0.insert(Arc::clone(&kept), Arc::clone(&kept));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let lists = Alike::<[String]>::default();
        let list = |name: &str| vec![name.to_owned()];
        let (one, same, other) = (lists.share(list("a")), lists.share(list("a")), lists.share(list("b")));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert_eq!(*other, ["b".to_owned()]);
    }
}
