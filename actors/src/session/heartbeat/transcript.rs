//! Beats and the transcript: what had nothing to report leaves it again, so that looking does not fill the context.

use claw_entities::{Scope, UserOwned, tool_intent, transcript_entry};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use crate::conversation::entry::Entry;
use crate::conversation::transcript::SessionHead;
use crate::db::{Batch, Transaction};
use crate::error::{Error, Result};
use crate::ports::message::{Message, Part};
use crate::session::item::Item;
use crate::session::system_event;
use crate::session::turn::Turn;

/// Takes the turn out of the transcript and puts the leaf back where it was. False, and nothing is done, when the agent
/// was told of events in it or acted outside, which it has to remember, or when its turn holds a summary that stands
/// for what came before.
///
/// # Errors
/// `Conflict` when the turn is not there any more: this end was committed already, though nobody heard of it.
pub(crate) async fn take_back(
    tx: &Transaction,
    batch: &mut Batch,
    scope: &Scope,
    head: &mut SessionHead,
    turn: &Turn,
) -> Result<bool> {
    let Some(asked) = turn.items.first().and_then(Item::own_entry) else {
        return Ok(false);
    };
    let row = transcript_entry::Entity::owned_by(scope)
        .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .filter(transcript_entry::Column::Id.eq(asked))
        .one(tx)
        .await?;
    let row = row.ok_or_else(|| Error::Conflict("the heartbeat has left the transcript already".to_owned()))?;
    let Some(entry) = Entry::from_row(row) else {
        return Ok(false);
    };
    let told = match entry.body.message() {
        Some(Message::User { content, .. }) => content
            .first()
            .is_some_and(|part| matches!(part, Part::Text { text } if system_event::begins(text))),
        Some(Message::Assistant(_) | Message::ToolResult { .. }) | None => false,
    };
    if told || acted(tx, scope, turn).await? {
        return Ok(false);
    }
    let written = sea_orm::Condition::all()
        .add(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
        .add(transcript_entry::Column::Seq.gte(entry.seq))
        .add(transcript_entry::Column::RunId.eq(turn.run_id.as_str()));
    let summary: Option<i64> = transcript_entry::Entity::owned_by(scope)
        .select_only()
        .column(transcript_entry::Column::Seq)
        .filter(written.clone())
        .filter(transcript_entry::Column::Kind.eq("compaction"))
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    if summary.is_some() {
        return Ok(false);
    }
    batch.add(&transcript_entry::Entity::delete_owned(scope).filter(written));
    head.leaf_id = entry.parent_id;
    Ok(true)
}

/// Did the turn call a tool that acts outside.
async fn acted(tx: &Transaction, scope: &Scope, turn: &Turn) -> Result<bool> {
    let call: Option<String> = tool_intent::Entity::owned_by(scope)
        .select_only()
        .column(tool_intent::Column::CallId)
        .filter(tool_intent::Column::RunId.eq(turn.run_id.as_str()))
        .limit(1)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(call.is_some())
}

/// Empties the transcript of a session whose beats begin without what was said before.
pub(crate) async fn start_over(tx: &Transaction, scope: &Scope, head: &mut SessionHead) -> Result<()> {
    if head.leaf_id.take().is_some() {
        transcript_entry::Entity::delete_owned(scope)
            .filter(transcript_entry::Column::SessionId.eq(head.session_id.as_str()))
            .exec(tx)
            .await?;
    }
    Ok(())
}
