//! Places for what goes on at the same time, by key.

use std::sync::Arc;

use claw_entities::{TenantId, UserId};
use dashmap::DashMap;

/// Whose place it is.
pub(crate) type Person = (TenantId, UserId);

/// So many places for each person.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Arc<DashMap<Person, usize>>,
}

/// One place; dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place {
    taken: Arc<DashMap<Person, usize>>,
    person: Person,
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// `None` when all of this person's are taken.
    pub(crate) fn enter(&self, person: Person) -> Option<Place> {
        let mut taken = self.taken.entry(person.clone()).or_insert(0);
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        drop(taken);
        Some(Place {
            taken: Arc::clone(&self.taken),
            person,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut taken) = self.taken.get_mut(&self.person) {
            *taken = taken.saturating_sub(1);
        }
        self.taken.remove_if(&self.person, |_, taken| *taken == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(1);
        let person = || (TenantId::from("t"), UserId::from("u"));
        let first = places.enter(person());
        assert!(first.is_some() && places.enter(person()).is_none());
        drop(first);
        assert!(places.taken.is_empty());
        assert!(places.enter(person()).is_some());
    }
}
