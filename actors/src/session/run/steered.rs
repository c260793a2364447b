//! What people say while a run goes on (`agent-runtime` §2.3, §5.2): read after the tools of a call, or when the model has
//! answered, and put behind that in the same commit. From then on the run answers for the message.

use std::sync::Arc;

use claw_entities::new_id;

use super::{RunContext, Work};
use crate::config::providers::ResolvedModel;
use crate::conversation::branch;
use crate::conversation::entry::Body;
use crate::conversation::transcript::{self, NewEntry};
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, Message, Part};
use crate::session::item::Item;
use crate::session::overheard::Overheard;
use crate::session::preview::Preview;
use crate::session::steering::Steered;
use crate::session::turn::{self, Beside, SAID, Turn};
use crate::session::understanding::Reader;
use crate::session::{assembly, blobs};

/// What somebody said, and its entry.
pub(super) struct Said {
    steered: Steered,
    entry: NewEntry,
}

impl Work {
    /// Takes what was said meanwhile. What cannot be read now has a turn of its own, and holds up nothing here.
    pub(super) async fn hear(&mut self, context: &RunContext) -> Vec<Said> {
        // Who stops the run is not answered by it: what waits has a turn of its own.
        if context.cancel.token.is_cancelled() {
            return Vec::new();
        }
        let mut said = Vec::new();
        for steered in context.steering.take() {
            match self.words(context, &steered.item, steered.backlog).await {
                Ok(Some(entry)) => said.push(Said { steered, entry }),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(error = ?error, run.id = %context.turn.run_id, "a message waits for a turn of its own");
                    context.steering.give_up(&steered.item.inbox_ids);
                }
            }
        }
        said
    }

    /// Stores what a call and its tools gave, and what was said meanwhile. Gives what the model reads of the latter.
    pub(super) async fn go_on(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        entries: Vec<NewEntry>,
        mut beside: Beside,
        mut said: Vec<Said>,
    ) -> Result<Vec<Arc<Message>>> {
        let before = entries.len();
        beside.recorded = self.parts.streams();
        // What tools gave is stored in any case, also when a message was answered elsewhere meanwhile.
        let alone = (before > 1 && !said.is_empty()).then(|| (entries.clone(), beside.clone()));
        let mut all = entries;
        for Said { steered, entry } in &said {
            if !steered.backlog {
                let carried = entry.id.clone().unwrap_or_default();
                let ids = steered.item.inbox_ids.iter().cloned();
                beside.claims.extend(ids.map(|id| (id, carried.clone())));
            }
            all.push(entry.clone());
        }
        let mut shown: Vec<NewEntry> = if context.emitter.heard() {
            all.clone()
        } else {
            Vec::new()
        };
        let seq = self.head.next_seq;
        let run_id = context.turn.run_id.as_str();
        let stored = turn::append(&self.services, &self.authority, run_id, &self.head, all, beside).await;
        self.head = match (stored, alone) {
            (Err(Error::Conflict(_)), Some((entries, beside))) => {
                let head = turn::append(&self.services, &self.authority, run_id, &self.head, entries, beside).await?;
                for Said { steered, .. } in said.drain(..) {
                    context.steering.give_up(&steered.item.inbox_ids);
                }
                shown.truncate(before);
                head
            }
            (stored, _) => stored?,
        };
        context.steering.stored();
        self.recorded = context.emitter.text().len();
        let (mut heard, mut runs) = (Vec::new(), Vec::new());
        for Said { steered, entry } in said {
            if let Body::Message(body) = &entry.body {
                heard.push(body.message.clone());
            }
            if !steered.backlog {
                runs.extend(steered.item.run_ids().cloned());
                context.turn.steered.push(steered.item);
            }
        }
        for (at, entry) in (0..).zip(&shown) {
            // The call, then what people said; what tools gave is for the transcript.
            if at == 0 || at >= before {
                let at = i64::try_from(at).unwrap_or(0);
                context.emitter.appended(&self.head, entry, seq + at).await;
            }
        }
        for run_id in &runs {
            context.emitter.merged(run_id).await;
        }
        blobs::hydrate(&self.services, &context.scope, &mut heard, model.takes).await?;
        Ok(heard)
    }

    /// The model has answered, and somebody said more: what it said goes out, and the run goes on.
    pub(super) async fn answer_more(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        message: AssistantMessage,
        said: Vec<Said>,
    ) -> Result<Vec<Arc<Message>>> {
        let mut beside = Beside::default();
        if let Some(outlet) = self.outlet.clone() {
            let preview = match self.preview.take() {
                Some(preview) => context.slot.aside(preview.finish()).await,
                None => None,
            };
            beside.pieces = self.unstored_parts();
            let parts = self.parts.rest(context.emitter.text());
            let mut pieces = self.part_pieces(SAID, &outlet, &parts);
            if let Some(first) = pieces.first_mut() {
                first.replaces = preview.as_ref().map(|preview| preview.id().to_owned());
            } else if let Some(preview) = preview {
                preview.take_back();
            }
            beside.pieces.extend(pieces);
            if !self.parts.streams() {
                self.preview = Preview::new(&outlet, &self.authority, &context.turn.run_id);
            }
        }
        let entry = turn::entry(Message::Assistant(message), &context.turn.run_id);
        let heard = self.go_on(context, model, vec![entry], beside, said).await?;
        if let Some(outlet) = &self.outlet {
            let conversation = outlet.destination.conversation();
            context.directory.delivery().kick(&context.scope, &conversation);
        }
        Ok(heard)
    }

    /// The entry of a message. `None`: it was read before a crash.
    async fn words(&mut self, context: &RunContext, item: &Item, backlog: bool) -> Result<Option<NewEntry>> {
        let mut prompt = vec![Part::Text {
            text: item.prompt.clone(),
        }];
        prompt.extend(item.parts.iter().cloned());
        let run_id = item.run_id.clone().unwrap_or_else(|| context.turn.run_id.clone());
        let turn = Turn {
            run_id,
            items: vec![item.clone()],
            prompt,
            overheard: Overheard::default(),
            steered: Vec::new(),
        };
        let stop = context.cancel.token();
        let mut reader = Reader::new(&self.services, &self.authority, None, stop);
        if let Some(model) = &self.model {
            reader = reader.serving(model.takes, model.context_window);
        }
        let outlet = self.outlet.as_ref();
        let entry = assembly::user_entry(&self.services, &context.scope, &turn, outlet, &mut reader);
        let entry = Box::pin(entry).await?;
        self.missed.append(&mut reader.missed);
        let Some(mut entry) = entry else { return Ok(None) };
        entry.run_id = Some(context.turn.run_id.clone());
        if backlog {
            // Its own turn has an entry under the row's id.
            let id = format!("steer-{}", entry.id.unwrap_or_default());
            let view = self.services.db.glance(&context.scope).await?;
            if branch::holds(&view, &context.scope, &self.head, &id).await? {
                return Ok(None);
            }
            // It may stand on a branch that was left.
            let elsewhere = transcript::contains(&view, &context.scope, &self.head.session_id, &id).await?;
            entry.id = Some(if elsewhere { format!("{id}-{}", new_id()) } else { id });
        }
        Ok(Some(entry))
    }
}
