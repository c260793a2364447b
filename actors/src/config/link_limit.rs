//! Wrong link codes per sender: at most five in ten minutes, kept in memory.

use std::collections::HashMap;
use std::sync::Mutex;

const FAILURES: usize = 5;
const WINDOW_MS: i64 = 10 * 60 * 1000;
/// Senders remembered at once; beyond it the oldest windows are dropped.
const SENDERS: usize = 20_000;

#[derive(Default)]
pub(crate) struct LinkLimit(Mutex<HashMap<String, Vec<i64>>>);

impl LinkLimit {
    /// May this sender try another code now.
    pub(crate) fn allows(&self, sender: &str, now: i64) -> bool {
        let failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failures
            .get(sender)
            .is_none_or(|times| times.iter().filter(|at| **at > now - WINDOW_MS).count() < FAILURES)
    }

    /// Remembers a wrong code.
    pub(crate) fn failed(&self, sender: &str, now: i64) {
        let mut failures = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if failures.len() >= SENDERS {
            failures.retain(|_, times| times.iter().any(|at| *at > now - WINDOW_MS));
        }
        if failures.len() >= SENDERS {
            // Still full of fresh failures: somebody is guessing from many identities at once.
            failures.clear();
        }
        let times = failures.entry(sender.to_owned()).or_default();
        times.retain(|at| *at > now - WINDOW_MS);
        times.push(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_wrong_codes_then_a_pause() {
        let limit = LinkLimit::default();
        for at in 0..5 {
            assert!(limit.allows("telegram:1", at));
            limit.failed("telegram:1", at);
        }
        assert!(!limit.allows("telegram:1", 5));
        assert!(limit.allows("telegram:2", 5));
        assert!(limit.allows("telegram:1", 5 + WINDOW_MS));
    }
}
