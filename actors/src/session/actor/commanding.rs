//! Commands: what a person says to the session and not to the model.

use actix::Context;

use super::compacting::CompactRequest;
use super::{Ahead, SessionActor};
use crate::session::choice::Chosen;
use crate::session::closing;
use crate::session::commands::{Command, SpeechCommand, StopForm};
use crate::session::compaction::manual::Wish;
use crate::session::item::Item;
use crate::session::skills::run_of;

impl SessionActor {
    /// Commands skip the queue.
    pub(super) fn command(&mut self, context: &mut Context<Self>, item: Item, command: Command) {
        let ids = item.inbox_ids.clone();
        if ids.iter().any(|id| self.known.contains(id)) {
            return;
        }
        // In a group a guest stops what they started themselves, and rules nothing else.
        let guest_in_group = !item.guest.is_empty() && !item.direct;
        match command {
            Command::Stop(StopForm::Phrase) if self.running.is_none() && self.queue.is_empty() => {
                self.enqueue(context, item);
            }
            Command::Stop(_) => {
                self.known.extend(ids.iter().cloned());
                let stopped = if guest_in_group {
                    self.abort_of(context, &item.guest, "stop")
                } else {
                    self.cleared.up_to(&ids, "stop");
                    self.abort_all(context, "stop")
                };
                let text = if stopped == 0 {
                    "Nothing was running."
                } else {
                    "Stopped."
                };
                self.answer(context, item, text.to_owned());
            }
            Command::New { .. } | Command::Reset { .. } | Command::Compact { .. } if guest_in_group => {
                self.known.extend(ids);
                self.answer(
                    context,
                    item,
                    "In a group only the owner of the agent may do that.".to_owned(),
                );
            }
            Command::New { rest, model } => self.reset(context, item, rest, model),
            Command::Reset { rest } => self.reset(context, item, rest, None),
            Command::Compact { instructions } => {
                let wish = Wish {
                    instructions,
                    ..Wish::default()
                };
                self.compact(CompactRequest::command(item, wish));
            }
            Command::Help
            | Command::Commands
            | Command::Whoami
            | Command::Status
            | Command::Context(_)
            | Command::Think(_)
            | Command::Model(_)
            | Command::Switch(..)
            | Command::Speech(_)
            | Command::All(_)
            | Command::Approve(_)
            | Command::Skill(_)
            | Command::Agents
            | Command::Subagents(_)
            | Command::Config(_)
            | Command::Export
            | Command::Unavailable(_)
            | Command::Queue(_) => {
                self.known.extend(ids.iter().cloned());
                let (directory, live, settings) = (
                    self.home.directory.clone(),
                    self.live_snapshot(),
                    *self.queue.settings(),
                );
                let emitter = self.emitter_for(&item);
                let stop = self.commands.clone();
                let calling = command.calls_a_tool().then(|| self.calling.clone());
                self.off_queue(context, ids, move |authority| async move {
                    if let Command::Speech(SpeechCommand::Audio(text)) = &command {
                        return closing::read_aloud(&directory, &authority, &item, text, emitter, &stop).await;
                    }
                    let snapshot = closing::full_snapshot(&directory, &authority, live).await?;
                    let text = closing::carry_out(&directory, &authority, &command, &item, &snapshot, &settings, &stop)
                        .await?;
                    drop(calling);
                    let run = command.calls_a_tool().then(|| run_of(&item));
                    closing::finish_command(&directory, &authority, &item, &text, emitter, run).await
                });
            }
        }
    }

    /// A new transcript, perhaps with a model of its own; `rest` is its first message.
    fn reset(&mut self, context: &mut Context<Self>, item: Item, rest: Option<String>, model: Option<Chosen>) {
        self.abort_all(context, "reset");
        self.put_ahead(Ahead::Reset {
            item,
            rest: rest.unwrap_or_default(),
            model,
        });
    }
}
