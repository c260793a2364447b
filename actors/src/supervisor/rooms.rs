//! Room that each tenant has of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use claw_entities::TenantId;
use tokio::sync::Semaphore;

/// A semaphore for each tenant with somebody in it. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    permits: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tenants: HashMap<TenantId, Weak<Semaphore>>,
    /// Tenants that were left when empty rooms were cleared away.
    kept: usize,
}

impl Rooms {
    /// Each tenant's has so many permits.
    pub fn new(permits: usize) -> Self {
        Self {
            permits,
            state: Arc::default(),
        }
    }

    /// The tenant's own, as long as somebody holds it.
    pub fn of(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.tenants.get(tenant).and_then(Weak::upgrade) {
            return known;
        }
        if state.tenants.len() > 2 * state.kept {
            state.tenants.retain(|_, room| room.strong_count() > 0);
            state.kept = state.tenants.len();
        }
        let room = Arc::new(Semaphore::new(self.permits));
        state.tenants.insert(tenant.clone(), Arc::downgrade(&room));
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_one_room_as_long_as_somebody_is_in_it() {
        let rooms = Rooms::new(2);
        let tenant = |name: &str| TenantId::from(name);
        let held = rooms.of(&tenant("a"));
        assert!(Arc::ptr_eq(&held, &rooms.of(&tenant("a"))));
        assert!(!Arc::ptr_eq(&held, &rooms.of(&tenant("b"))));
        for number in 0..1_000 {
            assert_eq!(rooms.of(&tenant(&format!("t{number}"))).available_permits(), 2);
        }
        let known = rooms.state.lock().expect("one thread").tenants.len();
        assert!(known <= 4, "{known} are remembered, one is held");
        assert!(Arc::ptr_eq(&held, &rooms.of(&tenant("a"))));
    }
}
