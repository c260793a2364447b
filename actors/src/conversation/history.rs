//! Reading history: for context assembly, `chat.history` and lists.

use claw_entities::{Scope, SessionKey};
use serde_json::Value;

use super::ConversationService;
use crate::error::Result;

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
    pub total: u64,
}

impl ConversationService {
    /// The user's sessions, most recent first.
    pub async fn list_sessions(&self, _scope: &Scope, _limit: u64, _offset: u64) -> Result<(Vec<SessionRow>, u64)> {
        unimplemented!("conversation")
    }
    pub async fn session(&self, _scope: &Scope, _key: &SessionKey) -> Result<Option<SessionRow>> {
        unimplemented!("conversation")
    }
    /// The newest `limit` messages of the session's current transcript (at most 1,000), display form.
    pub async fn history(&self, _scope: &Scope, _key: &SessionKey, _limit: u64) -> Result<HistoryPage> {
        unimplemented!("conversation")
    }
}
