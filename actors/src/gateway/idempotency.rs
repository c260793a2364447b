//! Results of calls that must not run twice under one key: kept for five minutes, and as far as there is room.
//!
//! A result that had to make room is no reason to run the call again: whoever needs that certainty notes the key
//! durably before the call goes out (`gateway/nodes.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claw_entities::{TenantId, UserId};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::protocol::WireError;

const KEPT: Duration = Duration::from_secs(300);
/// Keys of one user (protocol §11.9).
const KEYS: usize = 1000;
/// Bytes that the results of one user take, estimated.
const USER_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that all results of this process take, estimated.
const ALL_BYTES: usize = 128 * 1024 * 1024;
/// What a key takes beside its result.
const KEY_BYTES: usize = 512;

type Outcome = Result<Value, WireError>;
/// Whose result it is.
pub type Owner = (TenantId, UserId);

/// Results by key. The caller puts the user into the key.
#[derive(Default)]
pub struct Idempotency(Mutex<Kept>);

/// Calls are numbered as they come, so the smallest number is the oldest: whatever goes is found without a search.
#[derive(Default)]
struct Kept {
    entries: HashMap<String, Entry>,
    order: BTreeMap<u64, String>,
    shelves: HashMap<Owner, Shelf>,
    bytes: usize,
    next: u64,
}

struct Entry {
    owner: Owner,
    number: u64,
    since: Instant,
    /// Estimated; of a call that has not ended, its key alone.
    bytes: usize,
    cell: Arc<OnceCell<Outcome>>,
}

/// What is kept for one user.
#[derive(Default)]
struct Shelf {
    numbers: BTreeSet<u64>,
    bytes: usize,
}

impl Idempotency {
    /// Runs `work` once per key; callers with the same key, at the same time or later, get the first result.
    /// An outer error means that nothing was run: it is not kept, and the key may be tried again.
    pub async fn once(
        &self,
        owner: Owner,
        key: String,
        work: impl Future<Output = Result<Outcome, WireError>>,
    ) -> Outcome {
        let cell = self.kept().open(owner, &key, Instant::now());
        let outcome = cell.get_or_try_init(|| work).await.cloned();
        match &outcome {
            Ok(outcome) => self.kept().ended(&key, &cell, weight(outcome)),
            // Nothing was run, so there is nothing to remember, unless somebody else has run it meanwhile.
            Err(_) => self.kept().never_ran(&key, &cell),
        }
        outcome?
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn open(&mut self, owner: Owner, key: &str, now: Instant) -> Arc<OnceCell<Outcome>> {
        while let Some((number, since)) = self.oldest()
            && now.duration_since(since) >= KEPT
        {
            self.drop_number(number);
        }
        if let Some(entry) = self.entries.get(key) {
            return Arc::clone(&entry.cell);
        }
        let (number, cell) = (self.next, Arc::default());
        self.next += 1;
        let entry = Entry {
            owner: owner.clone(),
            number,
            since: now,
            bytes: 0,
            cell: Arc::clone(&cell),
        };
        self.entries.insert(key.to_owned(), entry);
        self.order.insert(number, key.to_owned());
        self.shelves.entry(owner.clone()).or_default().numbers.insert(number);
        self.grow(key, KEY_BYTES + 2 * key.len());
        self.make_room(&owner);
        cell
    }

    /// The call has its result, of so many bytes.
    fn ended(&mut self, key: &str, cell: &Arc<OnceCell<Outcome>>, bytes: usize) {
        let Some(entry) = self.entries.get(key).filter(|entry| Arc::ptr_eq(&entry.cell, cell)) else {
            return;
        };
        let (owner, total) = (entry.owner.clone(), KEY_BYTES + 2 * key.len() + bytes);
        // The second caller of a key has the same result.
        self.grow(key, total.saturating_sub(entry.bytes));
        self.make_room(&owner);
    }

    fn never_ran(&mut self, key: &str, cell: &Arc<OnceCell<Outcome>>) {
        let ours = self.entries.get(key);
        if let Some(entry) = ours.filter(|entry| Arc::ptr_eq(&entry.cell, cell) && cell.get().is_none()) {
            self.drop_number(entry.number);
        }
    }

    fn grow(&mut self, key: &str, by: usize) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.bytes += by;
            self.bytes += by;
            if let Some(shelf) = self.shelves.get_mut(&entry.owner) {
                shelf.bytes += by;
            }
        }
    }

    /// The oldest of the user goes while they hold too much, then the oldest of all while there is too much.
    fn make_room(&mut self, owner: &Owner) {
        while let Some(number) = self.shelves.get(owner).and_then(|shelf| {
            let full = shelf.bytes > USER_BYTES || shelf.numbers.len() > KEYS;
            shelf.numbers.first().copied().filter(|_| full)
        }) {
            self.drop_number(number);
        }
        while self.bytes > ALL_BYTES
            && let Some((number, _)) = self.oldest()
        {
            self.drop_number(number);
        }
    }

    fn oldest(&self) -> Option<(u64, Instant)> {
        let (number, key) = self.order.first_key_value()?;
        Some((*number, self.entries.get(key)?.since))
    }

    fn drop_number(&mut self, number: u64) {
        let Some(entry) = self.order.remove(&number).and_then(|key| self.entries.remove(&key)) else {
            return;
        };
        self.bytes -= entry.bytes;
        if let Some(shelf) = self.shelves.get_mut(&entry.owner) {
            shelf.bytes -= entry.bytes;
            shelf.numbers.remove(&number);
            if shelf.numbers.is_empty() {
                self.shelves.remove(&entry.owner);
            }
        }
    }
}

/// Bytes a result takes, estimated.
fn weight(outcome: &Outcome) -> usize {
    match outcome {
        Ok(value) => weight_of(value),
        Err(error) => error.message.len() + error.details.as_ref().map_or(0, weight_of),
    }
}

fn weight_of(value: &Value) -> usize {
    /// A value beside what it points at.
    const VALUE: usize = size_of::<Value>();
    VALUE
        + match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => text.capacity(),
            Value::Array(items) => items.iter().map(weight_of).sum(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| VALUE + name.capacity() + weight_of(field))
                .sum(),
        }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;

    fn owner(user: &str) -> Owner {
        ("acme".into(), user.into())
    }

    async fn keep(idempotency: &Idempotency, user: &str, key: &str, value: Value) -> Outcome {
        idempotency
            .once(owner(user), key.to_owned(), async { Ok(Ok(value)) })
            .await
    }

    fn bytes(idempotency: &Idempotency) -> usize {
        let kept = idempotency.kept();
        let (of_shelves, of_entries): (usize, usize) = (
            kept.shelves.values().map(|shelf| shelf.bytes).sum(),
            kept.entries.values().map(|entry| entry.bytes).sum(),
        );
        assert_eq!((of_shelves, of_entries), (kept.bytes, kept.bytes));
        assert_eq!(kept.order.len(), kept.entries.len());
        kept.bytes
    }

    #[tokio::test]
    async fn the_same_key_runs_once() {
        let (idempotency, runs) = (Idempotency::default(), AtomicUsize::new(0));
        let work = async || {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Ok(json!(run)))
        };
        let (first, second) = tokio::join!(
            idempotency.once(owner("o"), "k".to_owned(), work()),
            idempotency.once(owner("o"), "k".to_owned(), work()),
        );
        assert_eq!((first, second), (Ok(json!(0)), Ok(json!(0))));
        assert_eq!(
            idempotency.once(owner("o"), "other".to_owned(), work()).await,
            Ok(json!(1))
        );
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(bytes(&idempotency), {
            let (k, other) = ("k".len(), "other".len());
            2 * (KEY_BYTES + size_of::<Value>() + k + other)
        });
    }

    #[tokio::test]
    async fn what_never_ran_may_be_tried_again() {
        let idempotency = Idempotency::default();
        let offline = async { Err(WireError::unavailable("node not connected")) };
        assert!(idempotency.once(owner("o"), "k".to_owned(), offline).await.is_err());
        assert_eq!(bytes(&idempotency), 0, "what never ran is remembered");
        assert_eq!(keep(&idempotency, "o", "k", json!(1)).await, Ok(json!(1)));
        let failed = async { Ok(Err(WireError::unavailable("timed out"))) };
        assert!(idempotency.once(owner("o"), "other".to_owned(), failed).await.is_err());
        assert!(keep(&idempotency, "o", "other", json!(1)).await.is_err());
    }

    #[tokio::test]
    async fn large_results_of_one_user_make_room_and_others_keep_theirs() {
        let idempotency = Idempotency::default();
        keep(&idempotency, "m", "theirs", json!("kept")).await.expect("runs");
        let large = json!("x".repeat(USER_BYTES / 4));
        for number in 0..40 {
            let given = keep(&idempotency, "o", &number.to_string(), large.clone()).await;
            assert_eq!(given.as_ref(), Ok(&large), "the caller has it, kept or not");
            assert!(bytes(&idempotency) <= USER_BYTES + 2 * KEY_BYTES);
        }
        // Larger than all there is: given, and not kept.
        let huge = json!("x".repeat(USER_BYTES + 1));
        keep(&idempotency, "o", "huge", huge).await.expect("runs");
        assert!(bytes(&idempotency) < 2 * KEY_BYTES, "only the other user's is left");
        assert_eq!(
            keep(&idempotency, "m", "theirs", json!("again")).await,
            Ok(json!("kept"))
        );
    }

    #[tokio::test]
    async fn no_user_holds_more_than_a_thousand_keys_and_no_process_more_than_its_bytes() {
        let idempotency = Idempotency::default();
        for number in 0..KEYS + 5 {
            keep(&idempotency, "o", &number.to_string(), json!(1))
                .await
                .expect("runs");
        }
        assert_eq!(idempotency.kept().entries.len(), KEYS);
        assert_eq!(keep(&idempotency, "o", "4", json!(2)).await, Ok(json!(2)), "gone");
        assert_eq!(keep(&idempotency, "o", "900", json!(2)).await, Ok(json!(1)), "kept");
        let large = json!("x".repeat(USER_BYTES - 4 * KEY_BYTES));
        for user in 0..2 * ALL_BYTES / USER_BYTES {
            keep(&idempotency, &user.to_string(), &format!("large {user}"), large.clone())
                .await
                .expect("runs");
            assert!(bytes(&idempotency) <= ALL_BYTES);
        }
    }

    #[test]
    fn what_is_old_goes_by_itself() {
        let (mut kept, start) = (Kept::default(), Instant::now());
        let first = kept.open(owner("o"), "a", start);
        kept.open(owner("o"), "b", start + KEPT / 2);
        assert!(Arc::ptr_eq(&first, &kept.open(owner("o"), "a", start + KEPT / 2)));
        assert!(!Arc::ptr_eq(&first, &kept.open(owner("o"), "a", start + KEPT)));
        assert_eq!(kept.entries.len(), 2);
        kept.open(owner("o"), "c", start + 3 * KEPT);
        assert_eq!((kept.entries.len(), kept.order.len(), kept.shelves.len()), (1, 1, 1));
    }
}
