//! Waiting for facts: polled until a deadline, never slept for.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything may take that must happen. Generous: a test machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(15);

/// Asks `fact` again and again until it gives something.
///
/// # Panics
/// When [`PATIENCE`] is over.
pub(crate) async fn eventually<T, F>(what: &str, mut fact: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(Instant::now() < end, "did not happen within {PATIENCE:?}: {what}");
        sleep(PAUSE).await;
    }
}

/// Waits until `look` gives `wanted`; the panic shows what it gave last.
pub(crate) async fn becomes<T, F>(what: &str, wanted: T, mut look: impl FnMut() -> F)
where
    T: PartialEq + Debug,
    F: Future<Output = T>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look().await;
        if seen == wanted {
            return;
        }
        assert!(
            Instant::now() < end,
            "{what}: still {seen:?}, not {wanted:?}, after {PATIENCE:?}"
        );
        sleep(PAUSE).await;
    }
}
