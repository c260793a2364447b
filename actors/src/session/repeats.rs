//! An answer that says again what the run has written into the same chat by a tool (`agent-runtime` §4.1, §17.3): it is not
//! sent a second time.

use std::collections::HashSet;

use claw_entities::{Scope, UserOwned, outbox};
use sea_orm::{ColumnTrait, QueryFilter};

use super::turn::Piece;
use crate::Services;
use crate::error::Result;

/// Of the outbox rows of the tool.
pub(crate) const WRITTEN: &str = "message";

/// Has the run written all of this into the chat already.
pub(crate) async fn was_sent(services: &Services, scope: &Scope, run_id: &str, pieces: &[Piece]) -> Result<bool> {
    let Some(first) = pieces.first() else {
        return Ok(false);
    };
    let rows = outbox::Entity::owned_by(scope)
        .filter(outbox::Column::RunId.eq(run_id))
        .filter(outbox::Column::Kind.eq(WRITTEN))
        .filter(outbox::Column::State.ne("failed"))
        .filter(outbox::Column::Conversation.eq(first.destination.conversation()))
        .all(&services.db.glance(scope).await?)
        .await?;
    let sent: HashSet<String> = rows.iter().map(|row| plain(&row.plain)).collect();
    Ok(pieces.iter().all(|piece| {
        let words = plain(&piece.rendered.plain);
        !words.is_empty() && sent.contains(&words)
    }))
}

/// The words alone: case, spaces and signs make no difference.
fn plain(text: &str) -> String {
    let kept = text.chars().map(|sign| if sign.is_alphanumeric() { sign } else { ' ' });
    let kept: String = kept.flat_map(char::to_lowercase).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_without_case_and_signs() {
        assert_eq!(plain(" The report is DONE!\n"), plain("the report — is done"));
        assert_ne!(plain("one"), plain("two"));
    }
}
