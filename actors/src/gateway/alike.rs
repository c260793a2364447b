//! Values that many connections hold, each kept once: thousands of clients say the same of themselves.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::messages::Program;

/// Different values that are kept at most, and bytes of the texts of one: what is larger nobody else has.
const MOST: usize = 256;
const LARGEST: usize = 16 * 1024;

/// How large a value is.
pub(crate) trait Texts {
    /// Bytes of its texts.
    fn bytes(&self) -> usize;
}

impl Texts for [String] {
    fn bytes(&self) -> usize {
        // A text that is empty takes room too.
        self.iter().map(|text| text.len() + size_of::<String>()).sum()
    }
}

impl Texts for Program {
    fn bytes(&self) -> usize {
        let named = [
            &self.client_id,
            &self.client_mode,
            &self.client_version,
            &self.platform,
            &self.device_family,
        ];
        let named: usize = named.iter().map(|text| text.len()).sum();
        named + self.caps.bytes() + self.commands.bytes()
    }
}

pub(crate) struct Alike<K: ?Sized>(Cache<Arc<K>, Arc<K>>);

impl<K: Hash + Eq + ?Sized> Default for Alike<K> {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl<K: Hash + Eq + Texts + ?Sized> Alike<K> {
    /// The value itself, shared with whoever asked for the same one lately unless it is a large one.
    pub(crate) fn share<V: Borrow<K> + Into<Arc<K>>>(&self, value: V) -> Arc<K> {
        if let Some(kept) = self.0.get(value.borrow()) {
            return kept;
        }
        let kept: Arc<K> = value.into();
        if kept.bytes() > LARGEST {
            return kept;
        }
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

    #[test]
    fn large_values_are_not_kept() {
        let programs = Alike::<Program>::default();
        let program = |bytes: usize| Program {
            client_id: "test".to_owned(),
            client_mode: String::new(),
            client_version: String::new(),
            platform: String::new(),
            device_family: String::new(),
            caps: vec!["c".repeat(bytes)],
            commands: vec!["x".repeat(bytes)],
            protocol: 4,
        };
        for (bytes, shared) in [(4_000, true), (9_000, false)] {
            let (one, same) = (programs.share(program(bytes)), programs.share(program(bytes)));
            assert_eq!((one == same, Arc::ptr_eq(&one, &same)), (true, shared), "{bytes}");
        }
    }
}
