//! Conversation service: transcripts as entry trees, history reads, repair. It never calls a model.

pub mod entry;
pub mod transcript;

pub mod artifacts;
pub mod branch;
pub mod history;
pub mod jsonl;
mod listing;
pub mod portable;
mod recent;
pub mod search;
pub mod tree;

pub mod display;
pub mod repair;
pub mod tokens;
pub mod tool_result;
pub mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use recent::Recent;

use crate::db::Db;

/// The Conversation service. Cheap to clone.
#[derive(Clone)]
pub struct ConversationService {
    pub(crate) db: Db,
    recent: Arc<Recent>,
}

impl ConversationService {
    pub fn new(db: Db) -> Self {
        Self {
            db,
            recent: Arc::new(Recent::new()),
        }
    }
}
