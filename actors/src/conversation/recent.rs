//! Branches read lately, so that a conversation that goes on is not read anew for each message.
//!
//! What is kept is never trusted alone: the entries written since are read from the database and have to continue it,
//! up to the leaf of the session's row. Anything else (another branch, a compaction, a reset) is read anew.

use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, transcript_entry};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};

use super::branch::Branch;
use super::entry::{Columns, Entry};
use super::tokens;
use super::transcript::SessionHead;
use crate::error::Result;

/// Bytes all kept branches take together, estimated.
const CAPACITY: u64 = 64 * 1024 * 1024;
/// Branches expected in it.
const BRANCHES: usize = 4096;
/// What an entry takes beside its text: ids, pointers, allocations.
const ENTRY_BYTES: u64 = 512;
/// A token of text is four bytes or, in other scripts, one character of up to four.
const TOKEN_BYTES: u64 = 4;
/// More new entries than this are read with everything else.
const MOST_NEW: u64 = 256;

type Key = (Scope, SessionKey);

/// The kept branches. One per process.
pub(crate) struct Recent(Cache<Key, Arc<Kept>, Bytes>);

struct Kept {
    /// The transcript: a reset gives the session another one.
    session_id: String,
    branch: Branch,
    leaf_id: Option<String>,
    next_seq: i64,
    /// `max_tokens` of the reading: what is incomplete was cut for it.
    limit: u64,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Kept>> for Bytes {
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        kept.branch.tokens * TOKEN_BYTES + (kept.branch.entries.len() as u64 + 1) * ENTRY_BYTES
    }
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self(Cache::with_weighter(BRANCHES, CAPACITY, Bytes))
    }

    pub(crate) fn keep(&self, scope: &Scope, head: &SessionHead, limit: u64, branch: &Branch) {
        let kept = Kept {
            session_id: head.session_id.clone(),
            branch: branch.clone(),
            leaf_id: head.leaf_id.clone(),
            next_seq: head.next_seq,
            limit,
        };
        self.0.insert((scope.clone(), head.key.clone()), Arc::new(kept));
    }

    /// What was committed goes on from what is kept, if it does; then it need not be read.
    pub(crate) fn wrote(&self, scope: &Scope, head: &SessionHead, entries: &[Arc<Entry>]) {
        let key = (scope.clone(), head.key.clone());
        let Some(kept) = self.0.get(&key).filter(|kept| kept.session_id == head.session_id) else {
            return;
        };
        let goes_on = entries
            .first()
            .is_some_and(|first| first.parent_id == kept.leaf_id && first.seq == kept.next_seq);
        if !goes_on || entries.iter().any(|entry| entry.body.compaction().is_some()) {
            return;
        }
        let mut branch = kept.branch.clone();
        branch.tokens += entries.iter().map(|entry| tokens::entry(entry)).sum::<u64>();
        branch.entries.extend_from_slice(entries);
        self.keep(scope, head, kept.limit, &branch);
    }

    /// A session that sleeps takes no memory.
    pub(crate) fn forget(&self, scope: &Scope, key: &SessionKey) {
        self.0.remove(&(scope.clone(), key.clone()));
    }

    /// The branch up to `head`, if what is kept leads there.
    pub(crate) async fn continued(
        &self,
        tx: &impl ConnectionTrait,
        scope: &Scope,
        head: &SessionHead,
        max_tokens: u64,
    ) -> Result<Option<Branch>> {
        let kept = self.0.get(&(scope.clone(), head.key.clone()));
        let Some(kept) = kept.filter(|kept| kept.session_id == head.session_id) else {
            return Ok(None);
        };
        let cut_shorter = !kept.branch.complete && max_tokens > kept.limit;
        let new = u64::try_from(head.next_seq - kept.next_seq).unwrap_or(u64::MAX);
        if cut_shorter || new > MOST_NEW {
            return Ok(None);
        }
        let mut branch = kept.branch.clone();
        let mut leaf_id = kept.leaf_id.clone();
        if new > 0 {
            let rows = transcript_entry::Entity::owned_by(scope)
                .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
                .filter(transcript_entry::Column::Seq.gte(kept.next_seq))
                .filter(transcript_entry::Column::Seq.lt(head.next_seq))
                .order_by_asc(transcript_entry::Column::Seq)
                .limit(MOST_NEW);
            for row in Columns::of(rows).all(tx).await? {
                if row.parent_id != leaf_id {
                    return Ok(None);
                }
                leaf_id = Some(row.id.clone());
                let Some(entry) = row.entry() else {
                    return Ok(None);
                };
                if entry.body.compaction().is_some() {
                    return Ok(None);
                }
                branch.tokens += tokens::entry(&entry);
                branch.entries.push(Arc::new(entry));
            }
        }
        if leaf_id != head.leaf_id {
            return Ok(None);
        }
        Ok(shortened(branch, max_tokens))
    }
}

/// Without its oldest entries, as far as `max_tokens` asks for it. `None` when a compaction says what to leave out.
fn shortened(mut branch: Branch, max_tokens: u64) -> Option<Branch> {
    let mut from = 0;
    while branch.tokens > max_tokens && from + 1 < branch.entries.len() {
        branch.tokens -= tokens::entry(&branch.entries[from]);
        from += 1;
    }
    if from > 0 {
        if branch.entries.iter().any(|entry| entry.body.compaction().is_some()) {
            return None;
        }
        branch.entries.drain(..from);
        branch.complete = false;
    }
    Some(branch)
}
