//! Reading the branch in use, newest first, and no more of it than is asked for: a turn reads only what it sends.

use std::ops::ControlFlow;
use std::sync::Arc;

use claw_entities::{Scope, SessionKey, UserOwned, transcript_entry};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::entry::{Columns, Entry};
use super::transcript::{BRANCHED_AT, SessionHead};
use super::{ConversationService, tokens};
use crate::error::Result;

/// Rows of the first page; each further one is twice as long, up to [`LARGEST_PAGE`].
const FIRST_PAGE: u64 = 32;
const LARGEST_PAGE: u64 = 256;
/// Most rows of a page without their words.
const MOST_PLACES: u64 = 1_024;

/// The newest part of a branch.
#[derive(Clone, Debug, Default)]
pub struct Branch {
    /// Oldest first. A compaction stands where it was written, or first when what lies between was left out.
    pub entries: Vec<Arc<Entry>>,
    /// Rows that could not be read and were passed over.
    pub skipped: usize,
    /// Nothing of the context was left out for its size.
    pub complete: bool,
    /// Estimated tokens of `entries`.
    pub tokens: u64,
}

impl ConversationService {
    /// Gives up what is kept of a session that goes to sleep.
    pub fn forget(&self, scope: &Scope, key: &SessionKey) {
        self.recent.forget(scope, key);
    }

    /// Tells what a turn has just committed: `head` stands behind the last of `entries`.
    pub fn wrote(&self, scope: &Scope, head: &SessionHead, entries: &[Arc<Entry>]) {
        self.recent.wrote(scope, head, entries);
    }

    /// The newest part of the session's branch that fits `max_tokens` (estimated), back to the last compaction's
    /// first kept entry at most. The newest entry is always in it.
    pub async fn branch(&self, scope: &Scope, head: &SessionHead, max_tokens: u64) -> Result<Branch> {
        // Entries never change, and the head says which of them count.
        let rows = self.db.glance(scope).await?;
        let branch = match self.recent.continued(&rows, scope, head, max_tokens).await? {
            Some(branch) => branch,
            None => read(&rows, scope, head, max_tokens).await?,
        };
        self.recent.keep(scope, head, max_tokens, &branch);
        Ok(branch)
    }

    /// Is this entry on the branch that ends with the head's leaf.
    pub async fn on_branch(&self, scope: &Scope, head: &SessionHead, entry_id: &str) -> Result<bool> {
        holds(&self.db.glance(scope).await?, scope, head, entry_id).await
    }

    /// As [`ConversationService::branch`], for a look that is larger than a turn's: it is not kept.
    pub async fn whole(&self, scope: &Scope, head: &SessionHead, max_tokens: u64) -> Result<Branch> {
        read(&self.db.glance(scope).await?, scope, head, max_tokens).await
    }
}

/// [`ConversationService::branch`] within a transaction.
pub async fn read(tx: &impl ConnectionTrait, scope: &Scope, head: &SessionHead, max_tokens: u64) -> Result<Branch> {
    let mut branch = Branch {
        complete: true,
        ..Branch::default()
    };
    let mut first_kept: Option<String> = None;
    let mut oldest = head.next_seq;
    branch.skipped = walk(tx, scope, head, |entry| {
        let cost = tokens::entry(&entry);
        if !branch.entries.is_empty() && branch.tokens + cost > max_tokens {
            branch.complete = false;
            return ControlFlow::Break(());
        }
        branch.tokens += cost;
        oldest = entry.seq;
        if first_kept.is_none()
            && let Some(compaction) = entry.body.compaction()
        {
            first_kept = Some(compaction.first_kept_entry_id.clone());
        }
        let last = first_kept.as_deref() == Some(entry.id.as_str());
        branch.entries.push(Arc::new(entry));
        if last {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    if !branch.complete
        && first_kept.is_none()
        && head.entry.get("compactionCount").and_then(Value::as_u64).unwrap_or(0) > 0
        && let Some(above) = branch.entries.last().and_then(|entry| entry.parent_id.clone())
        && let Some(summary) = last_compaction(tx, scope, head, (oldest, &above)).await?
    {
        branch.tokens += tokens::entry(&summary);
        branch.entries.push(Arc::new(summary));
    }
    branch.entries.reverse();
    Ok(branch)
}

/// Visits the branch from the leaf towards the root until `visit` breaks. Rows that cannot be read are passed over
/// and counted; an entry whose parent is missing becomes the root.
pub(crate) async fn walk(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<usize> {
    let mut skipped = 0;
    let mut below = head.next_seq;
    let mut page = FIRST_PAGE;
    let Some(mut wanted) = head.leaf_id.clone() else {
        return Ok(skipped);
    };
    loop {
        let rows = transcript_entry::Entity::owned_by(scope)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
            .filter(transcript_entry::Column::Seq.lt(below))
            .order_by_desc(transcript_entry::Column::Seq)
            .limit(page);
        let rows = Columns::of(rows).all(tx).await?;
        let mut found = false;
        for row in rows {
            if row.id != wanted {
                continue; // another branch
            }
            found = true;
            below = row.seq;
            let parent = row.parent_id.clone();
            match row.entry() {
                None => skipped += 1,
                Some(entry) => {
                    if visit(entry).is_break() {
                        return Ok(skipped);
                    }
                }
            }
            match parent {
                Some(parent) => wanted = parent,
                None => return Ok(skipped),
            }
        }
        page = (page * 2).min(LARGEST_PAGE);
        if !found {
            // A long abandoned branch lies between, or the parent is gone.
            match seq_of(tx, scope, &head.session_id, &wanted).await? {
                Some(seq) if seq < below => below = seq + 1,
                Some(_) | None => return Ok(skipped),
            }
        }
    }
}

/// Position of an entry in a transcript, if it is there.
pub(crate) async fn seq_of(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session_id: &str,
    id: &str,
) -> Result<Option<i64>> {
    Ok(transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Seq)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .filter(transcript_entry::Column::Id.eq(id))
        .into_tuple()
        .one(tx)
        .await?)
}

/// Where an entry stands, without its words.
pub(crate) struct Place {
    pub(crate) seq: i64,
    pub(crate) id: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) kind: String,
}

/// As [`walk`], for places alone: from `above`, which stands before position `below`, towards the root until `visit`
/// breaks.
pub(crate) async fn trace(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    session_id: &str,
    (mut below, above): (i64, &str),
    mut visit: impl FnMut(&Place) -> ControlFlow<()>,
) -> Result<()> {
    let mut wanted = above.to_owned();
    let mut page = FIRST_PAGE;
    loop {
        let rows: Vec<(i64, String, Option<String>, String)> = transcript_entry::Entity::owned_by(scope)
            .select_only()
            .column(transcript_entry::Column::Seq)
            .column(transcript_entry::Column::Id)
            .column(transcript_entry::Column::ParentId)
            .column(transcript_entry::Column::Kind)
            .filter(transcript_entry::Column::SessionId.eq(session_id))
            .filter(transcript_entry::Column::Seq.lt(below))
            .order_by_desc(transcript_entry::Column::Seq)
            .limit(page)
            .into_tuple()
            .all(tx)
            .await?;
        let mut found = false;
        for (seq, id, parent_id, kind) in rows {
            if id != wanted {
                continue; // another branch
            }
            found = true;
            below = seq;
            let place = Place {
                seq,
                id,
                parent_id,
                kind,
            };
            if visit(&place).is_break() {
                return Ok(());
            }
            match place.parent_id {
                Some(parent) => wanted = parent,
                None => return Ok(()),
            }
        }
        page = (page * 2).min(MOST_PLACES);
        if !found {
            // A long abandoned branch lies between, or the parent is gone.
            match seq_of(tx, scope, session_id, &wanted).await? {
                Some(seq) if seq < below => below = seq + 1,
                Some(_) | None => return Ok(()),
            }
        }
    }
}

/// Is this entry on the branch in use. No more of it is looked at than what stands behind the entry.
pub(crate) async fn holds(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    entry_id: &str,
) -> Result<bool> {
    let Some(leaf) = head.leaf_id.as_deref() else {
        return Ok(false);
    };
    let Some(seq) = seq_of(tx, scope, &head.session_id, entry_id).await? else {
        return Ok(false);
    };
    let mut met = false;
    trace(tx, scope, &head.session_id, (head.next_seq, leaf), |place| {
        met = place.id == entry_id;
        if place.seq <= seq {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    Ok(met)
}

/// The newest compaction of the branch whose newest entry before position `below` is `above`: its summary belongs to
/// the context even when the budget ends later. What another branch was summarised to is not of this one.
async fn last_compaction(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    (below, above): (i64, &str),
) -> Result<Option<Entry>> {
    let summaries = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Seq.lt(below))
        .filter(transcript_entry::Column::Kind.eq("compaction"));
    if head.entry.get(BRANCHED_AT).is_none_or(Value::is_null) {
        let newest = summaries.order_by_desc(transcript_entry::Column::Seq).limit(1);
        return Ok(newest.one(tx).await?.and_then(Entry::from_row));
    }
    // Nothing is looked for before the first of all branches.
    let first: Option<i64> = summaries
        .clone()
        .select_only()
        .column(transcript_entry::Column::Seq)
        .order_by_asc(transcript_entry::Column::Seq)
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    let Some(first) = first else {
        return Ok(None);
    };
    let mut found = None;
    trace(tx, scope, &head.session_id, (below, above), |place| {
        if place.kind == "compaction" {
            found = Some(place.seq);
        }
        if found.is_some() || place.seq <= first {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .await?;
    let Some(seq) = found else {
        return Ok(None);
    };
    let row = summaries.filter(transcript_entry::Column::Seq.eq(seq)).one(tx).await?;
    Ok(row.and_then(Entry::from_row))
}
