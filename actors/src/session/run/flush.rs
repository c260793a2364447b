//! Notes before a conversation is summarised (`agent-runtime` §8.8): when the next compaction is near, the model is asked once
//! whether something should be written down. Nobody sees that turn and the transcript does not have it; what it wrote is in
//! the notes of the day, and no other file is open to it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::room::AFTER_FAILURE;
use super::{End, RunContext, Work, plain_failure};
use crate::clock::now_ms;
use crate::config::providers::ResolvedModel;
use crate::error::Result;
use crate::ports::message::{AssistantMessage, Message};
use crate::ports::model::{ErrorClass, ModelError, ModelEvent, ModelRequest};
use crate::ports::tool::{ToolContext, ToolSpec};
use crate::session::assembly::{Assembly, Sent};
use crate::session::prompt::Audience;
use crate::session::tool_policy::Caller;
use crate::session::toolbox::Toolbox;
use crate::session::{budget, turn};

/// Model calls of one such turn, and the longest it may take.
const MOST_CALLS: usize = 4;
const LONGEST: Duration = Duration::from_secs(120);
/// Without this tool there is nothing to ask for.
const WRITES: &str = "memory_write";
/// What may be called.
const TOOLS: &str = "memory_*";

impl Work {
    /// Asks, where it is time to. What the model does of it stops nobody; only an abort ends the run.
    pub(super) async fn keep_notes(
        &mut self,
        context: &RunContext,
        model: &ResolvedModel,
        base: &Assembly,
        sent: &Sent,
        specs: &Arc<Vec<Arc<ToolSpec>>>,
        deadline: &mut Option<Instant>,
    ) -> Result<Option<End>> {
        let options = &context.turn.last().options;
        let scheduled = options.heartbeat.is_some() || options.scheduled.is_some();
        let audience = context.turn.last().audience();
        let may_write = audience.is_private() && specs.iter().any(|spec| spec.name == WRITES);
        if scheduled || !may_write || !self.is_near(model, base, sent) {
            return Ok(None);
        }
        // The question that waits is answered afterwards.
        let Some((waiting, before)) = sent.messages.split_last() else {
            return Ok(None);
        };
        let answered = matches!(before.last().map(Arc::as_ref), Some(Message::Assistant(_)));
        if !answered || !matches!(**waiting, Message::User { .. }) {
            return Ok(None);
        }
        let began = Instant::now();
        let mut messages = before.to_vec();
        // What went before is word for word what the provider has in its cache.
        let flush = &self.settings.room.compaction.flush;
        let asked = format!("{}\n\n{}", flush.system_prompt, flush.prompt);
        messages.push(Arc::new(Message::user(asked, now_ms())));
        let request = base.request(model, Arc::new(messages), specs.clone(), &self.head.session_id);
        let caller = Caller {
            only: Some(vec![TOOLS.to_owned()]),
            ..Caller::of(&self.authority, Some(&self.head), &self.settings, model, audience)
        };
        let tools = Toolbox::new(&self.services, &context.scope, caller);
        let tool_context = self.tool_context(context, model, Audience::Owner);
        let tool_context = ToolContext {
            workspace: tool_context.workspace.clone().map(|workspace| workspace.diary()),
            ..tool_context
        };
        let cancel = context.cancel.token.clone();
        let asked = tokio::time::timeout(LONGEST, self.ask(model, request, &tools, &tool_context));
        let done = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(Some(End::Aborted)),
            asked = context.slot.aside(asked) => match asked {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::warn!(
                        tenant.id = %context.scope.tenant(), run.id = %context.turn.run_id,
                        model.provider = %model.provider, model.name = %model.model,
                        error.class = error.class.name(), status = error.status, "notes before a summary failed"
                    );
                    false
                }
                Err(_) => {
                    tracing::warn!(run.id = %context.turn.run_id, "notes before a summary took too long");
                    false
                }
            },
        };
        if let Some(deadline) = deadline {
            *deadline += began.elapsed();
        }
        let asked = if done {
            Map::from_iter([
                (turn::NOTES_KEPT.to_owned(), json!(self.compactions())),
                (turn::NOTES_KEPT_AT.to_owned(), json!(now_ms())),
                (turn::NOTES_FAILED.to_owned(), Value::Null),
            ])
        } else {
            Map::from_iter([(turn::NOTES_FAILED.to_owned(), json!(now_ms()))])
        };
        turn::patch_entry(&self.services, &self.authority, asked).await?;
        Ok(None)
    }

    /// Is the next compaction near or the conversation large, and was not asked since the last one. What failed is asked again after a while.
    fn is_near(&self, model: &ResolvedModel, base: &Assembly, sent: &Sent) -> bool {
        let flush = &self.settings.room.compaction.flush;
        let asked = self.head.entry.get(turn::NOTES_KEPT).and_then(Value::as_u64);
        let failed_at = self.head.entry.get(turn::NOTES_FAILED).and_then(Value::as_i64);
        let pauses = failed_at.is_some_and(|at| now_ms().saturating_sub(at) < AFTER_FAILURE);
        if !flush.enabled || pauses || asked == Some(self.compactions()) {
            return false;
        }
        let large = flush.most_bytes > 0 && sent.bytes >= flush.most_bytes;
        large || !sent.complete || self.used(base, sent).saturating_add(flush.soft_tokens) > self.room_for(model)
    }

    fn compactions(&self) -> u64 {
        let count = self.head.entry.get("compactionCount").and_then(Value::as_u64);
        count.unwrap_or(0)
    }

    /// The calls. Their tokens are the run's.
    async fn ask(
        &mut self,
        model: &ResolvedModel,
        mut request: ModelRequest,
        tools: &Toolbox,
        context: &ToolContext,
    ) -> std::result::Result<(), ModelError> {
        let Some(adapter) = self.services.ports.model(&model.api).cloned() else {
            return Ok(());
        };
        for _ in 0..MOST_CALLS {
            let events = budget::stream(&self.services, &self.authority, model, &adapter, request.clone(), 1);
            let Some(message) = last_of(events.await).await? else {
                return Err(plain_failure(ErrorClass::Network, "the answer has no end".to_owned()));
            };
            self.usage.add(&message.usage, model.prices);
            let calls: Vec<_> = message.tool_calls().cloned().collect();
            if calls.is_empty() {
                return Ok(());
            }
            let results = tools.quietly(&self.authority, context, &calls).await;
            let messages = Arc::make_mut(&mut request.messages);
            messages.push(Arc::new(Message::Assistant(message)));
            messages.extend(results.into_iter().map(Arc::new));
        }
        Ok(())
    }
}

/// The whole message of a stream; `None` when it ends without.
async fn last_of(
    mut events: impl futures::Stream<Item = ModelEvent> + Unpin,
) -> std::result::Result<Option<AssistantMessage>, ModelError> {
    while let Some(event) = events.next().await {
        match event {
            ModelEvent::Done(message) => return Ok(Some(message)),
            ModelEvent::Error(error) => return Err(error),
            ModelEvent::Start
            | ModelEvent::TextDelta(_)
            | ModelEvent::ThinkingDelta(_)
            | ModelEvent::ToolCallStart { .. }
            | ModelEvent::ToolCallDelta(_) => {}
        }
    }
    Ok(None)
}
