//! When operators' devices came, kept for a moment and written together: a device that comes and goes all the time
//! writes once a moment, and many devices of a user are one transaction.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use claw_entities::Scope;

use super::GatewayState;
use crate::clock::now_ms;
use crate::config::devices;

/// How long an arrival waits for others.
const MOMENT: Duration = Duration::from_secs(1);

/// By user: devices, with the epoch milliseconds of the last time each came.
#[derive(Default)]
pub(super) struct Arrivals(Mutex<HashMap<Scope, HashMap<String, i64>>>);

impl Arrivals {
    fn take(&self) -> HashMap<Scope, HashMap<String, i64>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Files an arrival. True when nothing waited: then somebody has to write what gathers.
    fn file(&self, scope: &Scope, device_id: &str, at: i64) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.is_empty();
        if let Some(devices) = waiting.get_mut(scope) {
            devices.insert(device_id.to_owned(), at);
        } else {
            waiting.insert(scope.clone(), HashMap::from([(device_id.to_owned(), at)]));
        }
        first
    }
}

/// Records, in a moment, that a device came as an operator. Losing a record is harmless.
pub(super) fn note(state: &GatewayState, scope: &Scope, device_id: &str) {
    if !state.arrivals.file(scope, device_id, now_ms()) {
        return;
    }
    let gathering = state.clone();
    state.services.io.spawn(async move {
        tokio::time::sleep(MOMENT).await;
        for (scope, devices) in gathering.arrivals.take() {
            let of = scope.clone();
            let written = gathering.services.writer.add(&scope, move |batch| {
                for (id, at) in &devices {
                    devices::note_connected(batch, &of, id, "operator", *at);
                }
            });
            if let Err(error) = written.await {
                tracing::debug!(error = ?error, "arrivals of devices were not stored");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_moment_has_it_written_and_the_last_time_counts() {
        let arrivals = Arrivals::default();
        let user = |name: &str| Scope::vouch("t".into(), name.into());
        let (scope, other) = (user("a"), user("b"));
        assert!(arrivals.file(&scope, "d1", 1));
        assert!(!arrivals.file(&scope, "d1", 2));
        assert!(!arrivals.file(&other, "d1", 3));
        let taken = arrivals.take();
        assert_eq!((taken[&scope]["d1"], taken[&other]["d1"]), (2, 3));
        assert!(arrivals.file(&scope, "d1", 4), "what was taken waits no more");
    }
}
