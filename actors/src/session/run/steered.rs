//! What people say while a run goes on (`agent-runtime` §2.3, §5.2): read after the tools of a call, or when the model has
//! answered, and put behind that in the same commit. From then on the run answers for the message.

use std::sync::Arc;

use super::{RunContext, Work};
use crate::config::providers::ResolvedModel;
use crate::conversation::entry::Body;
use crate::conversation::transcript::{self, NewEntry};
use crate::error::Result;
use crate::ports::message::{AssistantMessage, Message, Part};
use crate::session::item::Item;
use crate::session::preview::Preview;
use crate::session::steering::Steered;
use crate::session::turn::{self, Beside, SAID, Turn};
use crate::session::{assembly, blobs};

impl Work {
    /// Stores what a call and its tools gave, and what was said meanwhile. Gives what the model reads of the latter.
    pub(super) async fn go_on(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        entries: Vec<NewEntry>,
        mut beside: Beside,
    ) -> Result<Vec<Arc<Message>>> {
        let before = entries.len();
        let (mut all, mut heard, mut runs) = (entries, Vec::new(), Vec::new());
        // Who stops the run is not answered by it: what waits has a turn of its own.
        let said = if context.cancel.token.is_cancelled() {
            Vec::new()
        } else {
            context.steering.take()
        };
        for Steered { item, backlog } in said {
            let Some(entry) = self.words(context, &item, backlog).await? else {
                continue;
            };
            if !backlog {
                let carried = entry.id.clone().unwrap_or_default();
                let ids = item.inbox_ids.iter().cloned();
                beside.claims.extend(ids.map(|id| (id, carried.clone())));
                runs.extend(item.run_ids().cloned());
                context.turn.steered.push(item);
            }
            if let Body::Message(body) = &entry.body {
                heard.push(body.message.clone());
            }
            all.push(entry);
        }
        beside.recorded = self.parts.streams();
        let shown: Vec<NewEntry> = if context.emitter.heard() {
            all.clone()
        } else {
            Vec::new()
        };
        let seq = self.head.next_seq;
        let run_id = context.turn.run_id.as_str();
        self.head = turn::append(&self.services, &self.authority, run_id, &self.head, all, beside).await?;
        context.steering.stored();
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
        blobs::hydrate(&self.services, &context.scope, &mut heard, model.takes_images).await?;
        Ok(heard)
    }

    /// The model has answered, and somebody said more: what it said goes out, and the run goes on.
    pub(super) async fn answer_more(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        message: AssistantMessage,
    ) -> Result<Vec<Arc<Message>>> {
        let mut beside = Beside::default();
        if let Some(outlet) = self.outlet.clone() {
            let replaces = match self.preview.take() {
                Some(preview) => preview.finish().await,
                None => None,
            };
            beside.pieces = self.unstored_parts();
            let parts = self.parts.rest(context.emitter.text());
            let mut pieces = self.part_pieces(SAID, &outlet, &parts);
            if let Some(first) = pieces.first_mut() {
                first.replaces = replaces;
            }
            beside.pieces.extend(pieces);
            if !self.parts.streams() {
                self.preview = Preview::new(&outlet, &self.authority, &context.turn.run_id);
            }
        }
        let entry = turn::entry(Message::Assistant(message), &context.turn.run_id);
        let heard = self.go_on(context, model, vec![entry], beside).await?;
        if let Some(outlet) = &self.outlet {
            let conversation = outlet.destination.conversation();
            context.directory.delivery().kick(&context.scope, &conversation);
        }
        Ok(heard)
    }

    /// The entry of a message. `None`: it was read before a crash.
    async fn words(&self, context: &RunContext, item: &Item, backlog: bool) -> Result<Option<NewEntry>> {
        let mut prompt = vec![Part::Text {
            text: item.prompt.clone(),
        }];
        prompt.extend(item.parts.iter().cloned());
        let run_id = item.run_id.clone().unwrap_or_else(|| context.turn.run_id.clone());
        let turn = Turn {
            run_id,
            items: vec![item.clone()],
            prompt,
            overheard: Vec::new(),
            steered: Vec::new(),
        };
        let entry = assembly::user_entry(&self.services, &context.scope, &turn, self.outlet.as_ref()).await?;
        let Some(mut entry) = entry else { return Ok(None) };
        entry.run_id = Some(context.turn.run_id.clone());
        if backlog {
            // Its own turn has an entry under the row's id.
            let id = format!("steer-{}", entry.id.unwrap_or_default());
            let view = self.services.db.glance(&context.scope).await?;
            if transcript::contains(&view, &context.scope, &self.head.session_id, &id).await? {
                return Ok(None);
            }
            entry.id = Some(id);
        }
        Ok(Some(entry))
    }
}
