//! Beats and the transcript: what had nothing to report leaves it again, so that looking does not fill the context.

use claw_entities::{Scope, UserOwned, transcript_entry};
use sea_orm::{ColumnTrait, DatabaseTransaction, QueryFilter};

use crate::conversation::entry::Entry;
use crate::conversation::transcript::SessionHead;
use crate::db::Batch;
use crate::error::Result;
use crate::ports::message::{Message, Part};
use crate::session::system_event;
use crate::session::turn::Turn;

/// Takes the turn out of the transcript and puts the leaf back where it was. False, and nothing is done, when the agent
/// was told of events in it: those it has to remember.
pub(crate) async fn take_back(
    tx: &DatabaseTransaction,
    batch: &mut Batch,
    scope: &Scope,
    head: &mut SessionHead,
    turn: &Turn,
) -> Result<bool> {
    let ids = turn.inbox_ids();
    let Some(asked) = turn.entry_id().or(ids.first().map(String::as_str)) else {
        return Ok(false);
    };
    let row = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Id.eq(asked))
        .one(tx)
        .await?;
    let Some(entry) = row.and_then(Entry::from_row) else {
        return Ok(false);
    };
    let told = match entry.body.message() {
        Some(Message::User { content, .. }) => content
            .first()
            .is_some_and(|part| matches!(part, Part::Text { text } if system_event::begins(text))),
        Some(Message::Assistant(_) | Message::ToolResult { .. }) | None => false,
    };
    if told {
        return Ok(false);
    }
    batch.add(
        &transcript_entry::Entity::delete_owned(scope)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
            .filter(transcript_entry::Column::RunId.eq(turn.run_id.as_str())),
    );
    head.leaf_id = entry.parent_id;
    Ok(true)
}

/// Empties the transcript of a session whose beats begin without what was said before.
pub(crate) async fn start_over(tx: &DatabaseTransaction, scope: &Scope, head: &mut SessionHead) -> Result<()> {
    if head.leaf_id.take().is_some() {
        transcript_entry::Entity::delete_owned(scope)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
            .exec(tx)
            .await?;
    }
    Ok(())
}
