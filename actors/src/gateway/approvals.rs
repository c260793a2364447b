//! Approvals between the row and the people: who is told, who decides, who waits.
//!
//! The row decides; waiting here only saves those who wait from asking too often.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, TenantId, UserId, approval};
use dashmap::DashMap;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::messages::Event;
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::devices::approvals::{ALWAYS, Decided, Decider, may_say_always, reason};
use crate::config::devices::strings;
use crate::error::Result;
use crate::session::{exec, forwarding};
use crate::supervisor::directory::Directory;

/// How often the row is looked at, for decisions made in other processes.
const LOOK: Duration = Duration::from_secs(1);

/// As much of a question's id as people read and type.
pub(crate) fn short_id(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Decides a request, on whatever way the word came, and tells those who wait and those who show it.
pub async fn decide(
    directory: &Directory,
    scope: &Scope,
    id: &str,
    decision: &str,
    by: Decider<'_>,
) -> Result<Decided> {
    let config = &directory.services().config;
    let decided = config.decide_approval(scope, id, decision, by, now_ms()).await?;
    if let Decided::Now(row) = &decided {
        directory.approvals().wake(scope, &row.id);
        directory.publish(scope, resolved(row));
        forwarding::ended(directory, scope, row);
        // A restart may have left nobody who waits for it.
        exec::watch(directory, scope, &row.id);
    }
    Ok(decided)
}

/// Ends a request that nobody decided, because whoever asked is gone.
pub(crate) async fn withdraw(directory: &Directory, scope: &Scope, id: &str) -> Result<()> {
    let config = &directory.services().config;
    config.end_approval(scope, id, reason::WITHDRAWN, now_ms()).await?;
    directory.approvals().wake(scope, id);
    if let Some(row) = config.approval(scope, id).await?.filter(|row| row.decision.is_none()) {
        directory.publish(scope, resolved(&row));
        forwarding::ended(directory, scope, &row);
    }
    Ok(())
}

/// `exec.approval.requested`.
pub(crate) fn requested(row: &approval::Model) -> Event {
    for_reviewers(Event::new("exec.approval.requested", &listed(row)), row)
}

/// `exec.approval.resolved`.
fn resolved(row: &approval::Model) -> Event {
    let payload = json!({
        "id": row.id, "decision": row.decision, "resolvedBy": row.resolved_by, "ts": row.resolved_at,
        "request": row.request,
    });
    for_reviewers(Event::new("exec.approval.resolved", &payload), row)
}

/// Devices that alone hear of the request, where it names some.
fn for_reviewers(mut event: Event, row: &approval::Model) -> Event {
    event.only_for = (!row.reviewers.is_null()).then(|| strings(&row.reviewers));
    event
}

/// A request as lists and events show it.
pub(crate) fn listed(row: &approval::Model) -> Value {
    json!({
        "approvalKind": "exec", "id": row.id, "request": row.request, "createdAtMs": row.created_at,
        "expiresAtMs": row.expires_at,
    })
}

/// As [`listed`], without "always" where the word of this decider would not be remembered.
pub(crate) fn for_decider(mut listed: Value, admin: bool) -> Value {
    if !may_say_always(&listed["request"], admin)
        && let Some(words) = listed["request"]["allowedDecisions"].as_array_mut()
    {
        words.retain(|word| word != ALWAYS);
    }
    listed
}

type Key = (TenantId, UserId, String);

/// Those who wait in this process, by request.
#[derive(Default)]
pub struct Waiters(DashMap<Key, Arc<Notify>>);

/// A place among the waiters of a request; the last one takes the entry away.
struct Place<'a> {
    waiters: &'a Waiters,
    key: Key,
    notify: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // The map's and ours: nobody else waits.
        self.waiters
            .0
            .remove_if(&self.key, |_, notify| Arc::strong_count(notify) <= 2);
    }
}

impl Waiters {
    /// The request was decided: whoever waits for it looks now.
    pub fn wake(&self, scope: &Scope, id: &str) {
        let notify = self.0.get(&key(scope, id)).map(|entry| Arc::clone(&entry));
        if let Some(notify) = notify {
            notify.notify_waiters();
        }
    }

    /// Waits until the request is decided or its time is over, and gives the row then. `None`: there is no such request.
    pub async fn decision(&self, config: &ConfigService, scope: &Scope, id: &str) -> Result<Option<approval::Model>> {
        let place = self.place(scope, id);
        loop {
            // Made before the look, so that a decision in between is heard.
            let decided = place.notify.notified();
            let Some(row) = config.approval(scope, id).await? else {
                return Ok(None);
            };
            if row.resolved_at.is_some() {
                return Ok(Some(row));
            }
            let now = now_ms();
            if row.expires_at <= now {
                config.end_approval(scope, id, reason::TIMEOUT, now).await?;
                continue;
            }
            let left = Duration::from_millis(u64::try_from(row.expires_at - now).unwrap_or(0));
            tokio::select! {
                () = decided => {}
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }

    /// Waits until a look gives something. It is looked at first, whenever the id is woken, and now and then; a look that
    /// fails gives nothing.
    pub(crate) async fn until<T, F>(&self, scope: &Scope, id: &str, look: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let place = self.place(scope, id);
        loop {
            let woken = place.notify.notified();
            match look().await {
                Ok(Some(found)) => return found,
                Ok(None) => {}
                Err(error) => tracing::debug!(error = ?error, "a look failed, it is tried again"),
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    fn place(&self, scope: &Scope, id: &str) -> Place<'_> {
        let key = key(scope, id);
        let notify = Arc::clone(&self.0.entry(key.clone()).or_default());
        Place {
            waiters: self,
            key,
            notify,
        }
    }
}

fn key(scope: &Scope, id: &str) -> Key {
    (scope.tenant().clone(), scope.user().clone(), id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::devices::approvals::NewApproval;
    use crate::config::testing;

    fn new(id: &str, lives_ms: i64) -> NewApproval {
        NewApproval {
            id: id.to_owned(),
            request: json!({"allowedDecisions": ["deny"]}),
            reviewers: Vec::new(),
            created_at: now_ms(),
            expires_at: now_ms() + lives_ms,
        }
    }

    #[tokio::test]
    async fn a_decision_of_this_process_or_another_ends_the_wait() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let (waiters, config) = (Waiters::default(), &server.config);
        let deny = async |process: &ConfigService, id: &str| {
            let by = Decider {
                name: "x",
                device_id: None,
                admin: false,
            };
            let decided = process.decide_approval(&owner, id, "deny", by, now_ms()).await;
            decided.expect("decides");
        };
        for id in ["here", "there"] {
            config.open_approval(&owner, new(id, 60_000)).await.expect("opens");
        }
        let decide = async {
            deny(config, "here").await;
            waiters.wake(&owner, "here");
            deny(&server.another_process(), "there").await;
        };
        let (here, there, ()) = tokio::join!(
            waiters.decision(config, &owner, "here"),
            waiters.decision(config, &owner, "there"),
            decide
        );
        for row in [here, there] {
            let row = row.expect("reads").expect("is there");
            assert_eq!(row.decision.as_deref(), Some("deny"));
        }
        assert!(waiters.0.is_empty(), "nobody waits any more");
    }

    #[tokio::test]
    async fn the_clock_denies() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let (waiters, config) = (Waiters::default(), &server.config);
        assert_eq!(waiters.decision(config, &owner, "none").await.expect("reads"), None);
        config.open_approval(&owner, new("a", 0)).await.expect("opens");
        let row = waiters
            .decision(config, &owner, "a")
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!((row.decision, row.reason.as_deref()), (None, Some("timeout")));
    }
}
