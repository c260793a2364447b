//! Results of calls that must not run twice under one key, kept for five minutes.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::protocol::WireError;

const KEPT: Duration = Duration::from_secs(300);
/// Keys remembered over all users before old ones are swept out.
const SWEEP_AT: usize = 1000;

type Outcome = Result<Value, WireError>;

/// Results by key. The caller puts the user into the key.
#[derive(Default)]
pub struct Idempotency {
    kept: DashMap<String, (Instant, Arc<OnceCell<Outcome>>)>,
}

impl Idempotency {
    /// Runs `work` once per key; callers with the same key, at the same time or later, get the first result.
    /// An outer error means that nothing was run: it is not kept, and the key may be tried again.
    pub async fn once(&self, key: String, work: impl Future<Output = Result<Outcome, WireError>>) -> Outcome {
        let now = Instant::now();
        if self.kept.len() >= SWEEP_AT {
            self.kept.retain(|_, (since, _)| now.duration_since(*since) < KEPT);
        }
        let cell = {
            let mut entry = self.kept.entry(key.clone()).or_insert_with(|| (now, Arc::default()));
            if now.duration_since(entry.0) >= KEPT {
                *entry = (now, Arc::default());
            }
            Arc::clone(&entry.1)
        };
        let outcome = cell.get_or_try_init(|| work).await.cloned();
        if outcome.is_err() {
            // Nothing was run, so there is nothing to remember, unless somebody else has run it meanwhile.
            self.kept.remove_if(&key, |_, (_, cell)| cell.get().is_none());
        }
        outcome?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_same_key_runs_once() {
        let (idempotency, runs) = (Idempotency::default(), AtomicUsize::new(0));
        let work = async || {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Ok(json!(run)))
        };
        let (first, second) = tokio::join!(
            idempotency.once("k".to_owned(), work()),
            idempotency.once("k".to_owned(), work()),
        );
        assert_eq!((first, second), (Ok(json!(0)), Ok(json!(0))));
        assert_eq!(idempotency.once("other".to_owned(), work()).await, Ok(json!(1)));
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
    #[tokio::test]
    async fn what_never_ran_may_be_tried_again() {
        let idempotency = Idempotency::default();
        let offline = async { Err(WireError::unavailable("node not connected")) };
        assert!(idempotency.once("k".to_owned(), offline).await.is_err());
        assert!(idempotency.kept.is_empty(), "what never ran is remembered");
        assert_eq!(
            idempotency.once("k".to_owned(), async { Ok(Ok(json!(1))) }).await,
            Ok(json!(1))
        );
        let failed = async { Ok(Err(WireError::unavailable("timed out"))) };
        assert!(idempotency.once("other".to_owned(), failed).await.is_err());
        assert!(
            idempotency
                .once("other".to_owned(), async { Ok(Ok(json!(1))) })
                .await
                .is_err()
        );
    }
}
