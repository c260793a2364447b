//! Reading history for people: lists of sessions and `chat.history`.

use std::ops::ControlFlow;

use claw_entities::{Scope, SessionKey, UserOwned, session};
use sea_orm::{ColumnTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::Value;

use super::branch::walk;
use super::transcript::{self, SessionHead};
use super::{ConversationService, display};
use crate::error::Result;

/// Most messages of one answer, as the original.
pub const MAX_MESSAGES: u64 = 1_000;
/// Most bytes of one answer; the oldest messages are left out.
const MAX_BYTES: usize = 6 * 1024 * 1024;

/// A session as `sessions.list` needs it.
#[derive(Clone, Debug)]
pub struct SessionRow {
    pub key: SessionKey,
    pub session_id: String,
    pub agent_id: String,
    pub label: Option<String>,
    pub entry: Value,
    pub destination: Value,
    pub created_at: i64,
    pub updated_at: i64,
}

/// One page of a transcript in wire form (`chat.history` messages with `__openclaw{id, seq, runId?}`).
#[derive(Clone, Debug, Default)]
pub struct HistoryPage {
    pub session_id: String,
    /// Oldest first; limits of `agent-runtime` §7.3 applied (12,000 characters a text, 128 KiB a message, 6 MiB in all).
    pub messages: Vec<Value>,
    pub has_more: bool,
    /// Exact when everything is on the page; else the number of entries ever written, which is never less.
    pub total: u64,
}

impl From<session::Model> for SessionRow {
    fn from(row: session::Model) -> Self {
        Self {
            key: row.key,
            session_id: row.session_id,
            agent_id: row.agent_id,
            label: row.label,
            entry: row.entry,
            destination: row.destination,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl ConversationService {
    /// The user's sessions, most recent first, and how many there are in all.
    pub async fn list_sessions(&self, scope: &Scope, limit: u64, offset: u64) -> Result<(Vec<SessionRow>, u64)> {
        let tx = self.db.read(scope).await?;
        let total = session::Entity::owned_by(scope).count(&*tx).await?;
        let rows = session::Entity::owned_by(scope)
            .order_by_desc(session::Column::UpdatedAt)
            .order_by_asc(session::Column::Key)
            .limit(limit)
            .offset(offset)
            .all(&*tx)
            .await?;
        Ok((rows.into_iter().map(SessionRow::from).collect(), total))
    }

    /// One session, if it exists.
    pub async fn session(&self, scope: &Scope, key: &SessionKey) -> Result<Option<SessionRow>> {
        let tx = self.db.read(scope).await?;
        let row = session::Entity::owned_by(scope)
            .filter(session::Column::Key.eq(key.clone()))
            .one(&*tx)
            .await?;
        Ok(row.map(SessionRow::from))
    }

    /// One session's head, if it exists.
    pub async fn head(&self, scope: &Scope, key: &SessionKey) -> Result<Option<SessionHead>> {
        transcript::head(&self.db.glance(scope).await?, scope, key).await
    }

    /// The newest `limit` messages of the session's current transcript (at most 1,000), display form. An unknown
    /// session has an empty page.
    pub async fn history(&self, scope: &Scope, key: &SessionKey, limit: u64) -> Result<HistoryPage> {
        let tx = self.db.read(scope).await?;
        let Some(head) = transcript::head(&*tx, scope, key).await? else {
            return Ok(HistoryPage::default());
        };
        let limit = usize::try_from(limit.clamp(1, MAX_MESSAGES)).unwrap_or(1_000);
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut has_more = false;
        walk(&*tx, scope, &head, |entry| {
            let Some((shown, size)) = display::entry(&entry) else {
                return ControlFlow::Continue(());
            };
            if messages.len() == limit || bytes + size > MAX_BYTES {
                has_more = true;
                return ControlFlow::Break(());
            }
            bytes += size;
            messages.push(shown);
            ControlFlow::Continue(())
        })
        .await?;
        messages.reverse();
        let total = if has_more {
            u64::try_from(head.next_seq - 1).unwrap_or(0)
        } else {
            messages.len() as u64
        };
        Ok(HistoryPage {
            session_id: head.session_id,
            messages,
            has_more,
            total,
        })
    }
}
