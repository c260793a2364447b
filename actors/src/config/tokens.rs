//! What personal API tokens and tokens of hooks have in common: a name, a limit on their number, and when they were last
//! used.

use crate::clock::now_ms;
use crate::error::{Error, Result};

/// Live tokens of one kind that a user may have.
const MOST: u64 = 100;
/// `last_used_at` is this exact, so that using a token is not a write each time.
const USED_EVERY_MS: i64 = 10 * 60 * 1000;

/// The name as it is stored.
pub(super) fn checked_name(name: &str) -> Result<&str> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(Error::invalid("a token's name has 1 to 100 characters on one line"));
    }
    Ok(name)
}

/// Is there room for one more.
pub(super) fn check_room(live: u64) -> Result<()> {
    if live >= MOST {
        return Err(Error::Conflict(format!(
            "there are {MOST} tokens already; revoke one first"
        )));
    }
    Ok(())
}

/// Notes the use of a token unless that was done lately. A nicety for the list: a database that cannot write must not
/// refuse a good token.
pub(super) async fn note_use(last_used_at: Option<i64>, id: &str, note: impl AsyncFnOnce(i64) -> Result<()>) {
    let now = now_ms();
    if last_used_at.is_some_and(|at| at >= now - USED_EVERY_MS) {
        return;
    }
    if let Err(error) = note(now).await {
        tracing::debug!(%error, token.id = id, "did not note the use of a token");
    }
}
