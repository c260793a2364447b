//! Commands: what a person says to the session and not to the model.

use std::sync::Arc;
use std::time::Duration;

use actix::Context;

use super::compacting::CompactRequest;
use super::{Ahead, SessionActor};
use crate::session::aside;
use crate::session::choice::{self, Chosen};
use crate::session::closing;
use crate::session::commands::{Below, Command, SpeechCommand, StopForm, stop_text};
use crate::session::compaction::manual::Wish;
use crate::session::item::Item;
use crate::session::keepsake;
use crate::session::run::Outcome;
use crate::session::skills::run_of;
use crate::session::turn;

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
            Command::Stop(StopForm::Phrase)
                if self.running.is_none()
                    && self.queue.is_empty()
                    && !self.ahead.iter().any(|ahead| matches!(ahead, Ahead::Resume(_)))
                    && Arc::strong_count(&self.calling) == 1 =>
            {
                self.enqueue(context, item);
            }
            Command::Stop(_) => {
                self.known.extend(ids.iter().cloned());
                if guest_in_group {
                    let stopped = self.abort_of(context, &item.guest, "stop");
                    return self.answer(context, item, stop_text(stopped, Below::NOTHING));
                }
                self.cleared.up_to(&ids, "stop");
                let stopped = self.abort_here(context, "stop");
                self.stop_below(context, item, stopped);
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
            | Command::Commands(_)
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
            | Command::Allowlist(_)
            | Command::Export
            | Command::Aside(_)
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
                let calling = command.takes_long().then(|| self.calling.clone());
                let (lanes, life) = (self.home.lanes.clone(), self.home.life.clone());
                self.off_queue(context, ids, move |authority| async move {
                    if let Command::Speech(SpeechCommand::Audio(text)) = &command {
                        return closing::read_aloud(&directory, &authority, &item, text, emitter, &stop).await;
                    }
                    if let Command::Aside(question) = &command {
                        let asked = aside::ask(&directory, &lanes, &authority, &item, question, (&life, &stop)).await?;
                        drop(calling);
                        return closing::answer_aside(
                            &directory,
                            &authority,
                            &item,
                            (question.as_str(), asked),
                            emitter,
                        )
                        .await;
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

    /// The new transcript. What was said last may leave a note; then comes the first message, or a greeting.
    pub(super) fn start_reset(
        &mut self,
        context: &mut Context<Self>,
        mut item: Item,
        rest: String,
        model: Option<Chosen>,
    ) {
        let directory = self.home.directory.clone();
        let (again, given) = (item.clone(), item.clone());
        let private = item.audience().is_private();
        // Without words of its own the item asks for a greeting already.
        if !rest.trim().is_empty() {
            item.text.clone_from(&rest);
            item.prompt = rest;
        }
        self.ahead.push_front(Ahead::Resume(item));
        let told = self.emitter("");
        self.occupy(context, Some(again), move |authority| async move {
            let services = directory.services();
            if private {
                keepsake::keep(services, &authority).await?;
            }
            closing::audit(services, &authority, &given).await?;
            let head = turn::reset(services, &authority).await?;
            if model.is_some() {
                let fields = choice::fields(model.as_ref());
                turn::patch_entry(services, &authority, fields).await?;
            }
            told.session_changed("reset", Some(&head), false).await;
            Ok(Outcome::Left { again: Duration::MAX })
        });
    }
}
