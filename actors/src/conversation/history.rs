//! Reading history for people: pages of a transcript, what was written since, and single messages.

use std::ops::ControlFlow;

use claw_entities::{Scope, SessionKey, UserOwned, run, transcript_entry};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::branch::{seq_of, walk};
use super::display::{self, Limits};
use super::entry::Entry;
use super::transcript::{self, SessionHead};
use super::{ConversationService, listing};
use crate::db::Rows;
use crate::error::{Error, Result};

pub use listing::{Archived, SessionFilter, SessionRow};

/// Most messages of one answer, as the original.
pub const MAX_MESSAGES: u64 = 1_000;
/// Most bytes of one answer; the oldest messages are left out.
const MAX_BYTES: usize = 6 * 1024 * 1024;
/// Rows per look while a place further up is searched.
const STRIDE: u64 = 1_000;

/// Which part of a transcript is wanted.
#[derive(Clone, Debug, Default)]
pub struct PageQuery {
    /// Most messages, 1 to [`MAX_MESSAGES`].
    pub limit: u64,
    /// Entries to leave out, counted from the newest.
    pub offset: u64,
    /// An entry the page is around; takes the place of `offset`.
    pub around: Option<String>,
    /// An earlier transcript of the same session.
    pub session_id: Option<String>,
    /// Characters of one text; never more than the display's limit allows.
    pub max_chars: Option<usize>,
    /// Bytes of all messages together.
    pub max_bytes: Option<usize>,
}

/// One page of a transcript in wire form (`chat.history` messages with `__openclaw{id, seq, runId?}`).
#[derive(Clone, Debug, Default)]
pub struct HistoryPage {
    /// Empty for an unknown session.
    pub session_id: String,
    /// Oldest first; limits of `agent-runtime` §7.3 applied (12,000 characters a text, 128 KiB a message, 6 MiB in all).
    pub messages: Vec<Value>,
    pub has_more: bool,
    /// Where the next older page begins; set when there is one.
    pub next_offset: Option<u64>,
    /// Exact when everything is on the page; else the number of entries ever written, which is never less.
    pub total: u64,
    /// Newest entry of the branch in use.
    pub leaf_id: Option<String>,
    /// Position of the newest entry ever written; 0 when there is none.
    pub last_seq: i64,
}

/// What was written after a position.
#[derive(Clone, Debug)]
pub enum Delta {
    /// The position says nothing any more: read a page.
    Reset,
    /// Oldest first, with ids and positions.
    Since {
        messages: Vec<(String, i64, Value)>,
        last_seq: i64,
        leaf_id: Option<String>,
    },
}

/// One message by its id.
#[derive(Clone, Debug)]
pub enum OneMessage {
    Found(Value),
    Missing,
    /// People do not see entries of its kind.
    Hidden,
    TooLarge,
}

impl ConversationService {
    /// The newest `limit` messages of the session's current transcript (at most 1,000), display form. An unknown
    /// session has an empty page.
    pub async fn history(&self, scope: &Scope, key: &SessionKey, limit: u64) -> Result<HistoryPage> {
        let query = PageQuery {
            limit,
            ..PageQuery::default()
        };
        self.page(scope, key, &query).await
    }

    /// A page of the session's transcript, display form. An unknown session, and an unknown place in it, have an
    /// empty page.
    ///
    /// # Errors
    /// `Invalid` when `session_id` is no transcript of the session's.
    pub async fn page(&self, scope: &Scope, key: &SessionKey, query: &PageQuery) -> Result<HistoryPage> {
        let tx = self.db.read(scope).await?;
        let head = match &query.session_id {
            None => transcript::head(&*tx, scope, key).await?,
            Some(id) => Some(earlier(&*tx, scope, key, id).await?),
        };
        let Some(head) = head else {
            return Ok(HistoryPage::default());
        };
        let below = match &query.around {
            None => Some(
                head.next_seq
                    .saturating_sub(i64::try_from(query.offset).unwrap_or(i64::MAX)),
            ),
            Some(id) => seq_of(&*tx, scope, &head.session_id, id)
                .await?
                .map(|seq| head.next_seq.min(seq + 1 + i64::try_from(query.limit / 2).unwrap_or(0))),
        };
        let mut page = HistoryPage {
            session_id: head.session_id.clone(),
            total: u64::try_from(head.next_seq - 1).unwrap_or(0),
            leaf_id: head.leaf_id.clone(),
            last_seq: head.next_seq - 1,
            ..HistoryPage::default()
        };
        let Some(from) = (match below {
            Some(below) => place(&*tx, scope, &head, below).await?,
            None => None,
        }) else {
            return Ok(page);
        };
        let oldest = fill(&*tx, scope, &from, query, &mut page).await?;
        if page.has_more {
            page.next_offset = u64::try_from(head.next_seq - oldest).ok();
        } else if from.next_seq == head.next_seq {
            page.total = page.messages.len() as u64;
        }
        Ok(page)
    }

    /// What was written to the session's transcript `session_id` after position `after`.
    pub async fn since(&self, scope: &Scope, key: &SessionKey, session_id: &str, after: i64) -> Result<Delta> {
        let tx = self.db.read(scope).await?;
        let head = transcript::head(&*tx, scope, key).await?;
        let Some(head) = head.filter(|head| head.session_id == session_id) else {
            return Ok(Delta::Reset);
        };
        let last_seq = head.next_seq - 1;
        if !(0..=last_seq).contains(&after) || last_seq - after > i64::try_from(MAX_MESSAGES).unwrap_or(i64::MAX) {
            return Ok(Delta::Reset);
        }
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut met = after == 0;
        walk(&*tx, scope, &head, |entry| {
            if entry.seq <= after {
                // Anything else was written on another branch than the reader knows.
                met = entry.seq == after;
                return ControlFlow::Break(());
            }
            if let Some((shown, size)) = display::entry(&entry) {
                bytes += size;
                messages.push((entry.id, entry.seq, shown));
            }
            ControlFlow::Continue(())
        })
        .await?;
        if !met || bytes > MAX_BYTES {
            return Ok(Delta::Reset);
        }
        messages.reverse();
        Ok(Delta::Since {
            messages,
            last_seq,
            leaf_id: head.leaf_id,
        })
    }

    /// One message of the session's current transcript, with texts of up to `max_chars` characters.
    pub async fn message(
        &self,
        scope: &Scope,
        key: &SessionKey,
        id: &str,
        max_chars: usize,
        max_bytes: usize,
    ) -> Result<OneMessage> {
        let tx = self.db.read(scope).await?;
        let Some(head) = transcript::head(&*tx, scope, key).await? else {
            return Ok(OneMessage::Missing);
        };
        let row = transcript_entry::Entity::owned_by(scope)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id))
            .filter(transcript_entry::Column::Id.eq(id))
            .one(&*tx)
            .await?;
        let Some(entry) = row.and_then(Entry::from_row) else {
            return Ok(OneMessage::Missing);
        };
        let limits = Limits {
            text: max_chars,
            message: usize::MAX,
        };
        Ok(match display::entry_within(&entry, limits) {
            None => OneMessage::Hidden,
            Some((_, size)) if size > max_bytes => OneMessage::TooLarge,
            Some((shown, _)) => OneMessage::Found(shown),
        })
    }
}

/// An earlier transcript of the session: the runs say which were its.
async fn earlier(tx: &impl Rows, scope: &Scope, key: &SessionKey, session_id: &str) -> Result<SessionHead> {
    let current = transcript::head(tx, scope, key).await?;
    if let Some(head) = current.as_ref().filter(|head| head.session_id == session_id) {
        return Ok(head.clone());
    }
    let theirs: Option<String> = run::Entity::owned_by(scope)
        .select_only()
        .column(run::Column::Id)
        .filter(run::Column::SessionKey.eq(key.clone()))
        .filter(run::Column::SessionId.eq(session_id))
        .into_tuple()
        .one(tx)
        .await?;
    let newest = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(session_id))
        .order_by_desc(transcript_entry::Column::Seq)
        .one(tx)
        .await?;
    let (Some(_), Some(newest)) = (theirs, newest) else {
        return Err(Error::invalid("sessionId does not belong to sessionKey"));
    };
    Ok(SessionHead {
        key: key.clone(),
        session_id: session_id.to_owned(),
        agent_id: String::new(),
        label: None,
        entry: Value::Null,
        destination: Value::Null,
        leaf_id: Some(newest.id),
        next_seq: newest.seq + 1,
        created_at: newest.created_at,
        updated_at: newest.created_at,
        events: 0,
        events_seen: 0,
    })
}

/// The branch as it looks from below this position: its newest entry there takes the leaf's place.
async fn place(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    head: &SessionHead,
    below: i64,
) -> Result<Option<SessionHead>> {
    if below >= head.next_seq {
        return Ok(Some(head.clone()));
    }
    if below <= 1 {
        return Ok(None);
    }
    let Some(mut wanted) = head.leaf_id.clone() else {
        return Ok(None);
    };
    let mut top = head.next_seq;
    while top > below {
        let rows: Vec<(i64, String, Option<String>)> = transcript_entry::Entity::owned_by(scope)
            .select_only()
            .column(transcript_entry::Column::Seq)
            .column(transcript_entry::Column::Id)
            .column(transcript_entry::Column::ParentId)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
            .filter(transcript_entry::Column::Seq.lt(top))
            .filter(transcript_entry::Column::Seq.gte(below))
            .order_by_desc(transcript_entry::Column::Seq)
            .limit(STRIDE)
            .into_tuple()
            .all(tx)
            .await?;
        let Some((lowest, ..)) = rows.last() else { break };
        top = *lowest;
        for (_, id, parent) in rows {
            if id == wanted {
                match parent {
                    Some(parent) => wanted = parent,
                    None => return Ok(None),
                }
            }
        }
    }
    Ok(Some(SessionHead {
        leaf_id: Some(wanted),
        next_seq: below,
        ..head.clone()
    }))
}

/// Fills the page from `from` upwards. Gives the position of its oldest message.
async fn fill(
    tx: &impl ConnectionTrait,
    scope: &Scope,
    from: &SessionHead,
    query: &PageQuery,
    page: &mut HistoryPage,
) -> Result<i64> {
    let limit = usize::try_from(query.limit.clamp(1, MAX_MESSAGES)).unwrap_or(1_000);
    let most = query.max_bytes.unwrap_or(MAX_BYTES).min(MAX_BYTES);
    let limits = Limits::display(query.max_chars);
    let mut bytes = 0;
    let mut oldest = from.next_seq;
    walk(tx, scope, from, |entry| {
        let Some((shown, size)) = display::entry_within(&entry, limits) else {
            return ControlFlow::Continue(());
        };
        // One message is shown however large it is, or a reader could never get past it.
        let full = page.messages.len() == limit || (bytes + size > most && !page.messages.is_empty());
        if full {
            page.has_more = true;
            return ControlFlow::Break(());
        }
        bytes += size;
        oldest = entry.seq;
        page.messages.push(shown);
        ControlFlow::Continue(())
    })
    .await?;
    page.messages.reverse();
    Ok(oldest)
}
