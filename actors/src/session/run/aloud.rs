//! Answers that are read aloud by themselves (`messages.tts.auto`, `/tts`): a voice message below the text. Only the owner's:
//! speech costs.

use tokio_util::sync::CancellationToken;

use super::{RunContext, Work};
use crate::Services;
use crate::ports::speech::AudioFormat;
use crate::session::commands::Switch;
use crate::session::preview::Outlet;
use crate::session::turn::{self, Authority, Piece};
use crate::session::{assembly, speech};
use crate::supervisor::directory::Directory;

/// A shorter answer is as quickly read, characters.
const SHORTEST: usize = 10;

/// An answer that is to be read aloud once its text is on record.
pub(super) struct Aloud {
    services: Services,
    authority: Authority,
    outlet: Outlet,
    text: String,
    format: AudioFormat,
}

impl Work {
    /// The answer, if it is to be read aloud here.
    pub(super) fn aloud(&self, context: &RunContext, outlet: &Outlet, shown: &str) -> Option<Aloud> {
        let turn = &context.turn;
        let wanted = match self.level(context, Switch::Aloud) {
            "always" => true,
            "inbound" => turn.items.iter().chain(&turn.steered).any(assembly::brings_sound),
            "tagged" => self.voice,
            _ => false,
        };
        let channel = self.services.ports.channel(&outlet.destination.channel)?;
        let files = channel.files().filter(|_| wanted)?;
        let pieces = outlet.render(&without_code(shown));
        let plain: Vec<&str> = pieces.iter().map(|piece| piece.plain.trim()).collect();
        let text: String = plain
            .join("\n")
            .trim()
            .chars()
            .take(self.settings.speech.longest)
            .collect();
        (text.chars().count() >= SHORTEST).then(|| Aloud {
            services: self.services.clone(),
            authority: self.authority.clone(),
            outlet: outlet.clone(),
            text,
            format: if files.has_voice() {
                AudioFormat::Opus
            } else {
                AudioFormat::Mp3
            },
        })
    }
}

impl Aloud {
    /// Begins to read: the conversation goes on meanwhile.
    pub(super) fn begin(self, context: &RunContext) {
        let (directory, run_id) = (context.directory.clone(), context.turn.run_id.clone());
        let stop = context.cancel.token.clone();
        let io = self.services.io.clone();
        io.spawn(async move { Box::pin(self.send(&directory, &run_id, &stop)).await });
    }

    /// Reads it and sends it. What fails costs the sound alone: the text is there.
    async fn send(self, directory: &Directory, run_id: &str, stop: &CancellationToken) {
        let spoken = speech::spoken_for(&self.services, (&self.authority).into(), &self.text, self.format);
        let spoken = tokio::select! {
            biased;
            () = directory.shutdown().cancelled() => return,
            () = stop.cancelled() => return,
            spoken = spoken => spoken,
        };
        let posted = match spoken {
            Ok(spoken) => {
                let piece = Piece::file("final", &self.outlet.destination, spoken.about);
                turn::post(&self.services, &self.authority, run_id, vec![piece]).await
            }
            Err(error) => Err(error),
        };
        match posted {
            Ok(()) => {
                let conversation = self.outlet.destination.conversation();
                directory.delivery().kick(&self.authority.scope, &conversation);
            }
            Err(error) => tracing::warn!(error = ?error, run.id = %run_id, "an answer was not read aloud"),
        }
    }
}

/// Nobody wants to hear code.
fn without_code(text: &str) -> String {
    let mut fenced = false;
    let kept = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    });
    kept.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_not_read_aloud() {
        assert_eq!(
            without_code("Do this:\n```sh\nrm x\n```\nThat is all."),
            "Do this:\nThat is all."
        );
        assert_eq!(without_code("```\nopen"), "");
    }
}
