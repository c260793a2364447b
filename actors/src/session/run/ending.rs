//! The last entry of a run, and its durable end.

use std::time::Duration;

use tokio::time::Instant;

use super::facts::text_parts;
use super::{End, RunContext, Work};
use crate::clock::now_ms;
use crate::config::providers::ResolvedModel;
use crate::conversation::transcript::{NewEntry, SessionHead};
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, AssistantPart, StopReason};
use crate::session::turn::{self, Ending, Piece};

/// How long the end of a run is tried again while the database is away.
const END_PATIENCE: Duration = Duration::from_secs(60);

impl Work {
    /// The assistant entry that closes the turn in the transcript. `shown`: the run's visible text.
    pub(super) fn final_message(
        &mut self,
        end: &End,
        shown: &str,
        model: Option<&ResolvedModel>,
        failure: Option<&String>,
    ) -> AssistantMessage {
        let mut message = match end {
            End::Answer { .. } | End::Handed { .. } => self.last.take().unwrap_or_default(),
            End::Failed(error) => error.partial.clone(),
            End::Aborted | End::TimedOut(_) => AssistantMessage::default(),
        };
        // Calls that never ran must not stand without results.
        if !matches!(end, End::Handed { .. }) {
            message
                .content
                .retain(|part| !matches!(part, AssistantPart::ToolCall(_)));
        }
        // What earlier calls said has entries of its own.
        let said = shown.get(self.recorded..).unwrap_or_default().trim_start();
        match end {
            End::Answer { .. } | End::Handed { .. } => {}
            End::Aborted => {
                message.content = text_parts(said);
                message.stop_reason = StopReason::Aborted;
            }
            End::TimedOut(_) | End::Failed(_) => {
                message.content = text_parts(said);
                message.stop_reason = StopReason::Error;
                message.error_message = failure.cloned();
            }
        }
        if let Some(model) = model {
            message.api.clone_from(&model.api);
            message.provider.clone_from(&model.provider);
            message.model.clone_from(&model.model);
        }
        message.timestamp = now_ms();
        message
    }

    /// Tries the end again while the database is away: the answer is there, only its record is not.
    pub(super) async fn end_until_stored(
        &self,
        context: &RunContext,
        entries: Vec<NewEntry>,
        pieces: Vec<Piece>,
        ending: Ending,
    ) -> Result<SessionHead> {
        let give_up = Instant::now() + END_PATIENCE;
        let mut wait = Duration::from_millis(100);
        loop {
            let stored = turn::end(
                &self.services,
                &self.authority,
                &context.turn,
                Some(&self.head),
                entries.clone(),
                pieces.clone(),
                ending.clone(),
            )
            .await;
            match stored {
                Err(error @ (Error::Storage(_) | Error::Busy { .. })) if Instant::now() < give_up => {
                    tracing::warn!(error = ?error, "the end of a turn waits for the database");
                    context.slot.aside(tokio::time::sleep(wait)).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                stored => return stored,
            }
        }
    }
}
