//! Room for the next model call: a conversation that has grown too long is summarised before it, and one that the
//! provider refuses is summarised and sent again (`agent-runtime` §8.7). All of it is bounded per run.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{End, RunContext, Work, failed, plain_failure};
use crate::clock::now_ms;
use crate::config::providers::ResolvedModel;
use crate::conversation::{tokens, tool_result};
use crate::error::Result;
use crate::ports::message::{AssistantMessage, Message, StopReason};
use crate::ports::model::ErrorClass;
use crate::session::assembly::{Assembly, Sent};
use crate::session::compaction::{self, Extent, Job, Outcome};
use crate::session::turn;

/// After a failure it is not tried again by itself for this long, in milliseconds: each try costs a model call.
pub(super) const AFTER_FAILURE: i64 = 10 * 60_000;
/// Tool results are cut for this part of the window when nothing else helps.
const RESULTS: u64 = 10;

/// What a run has done about room so far.
#[derive(Debug, Default)]
pub(super) struct Room {
    attempts: u32,
    /// By itself it is not tried again: it came to nothing.
    gave_up: bool,
    /// Large tool results are cut from now on.
    cuts_results: bool,
    /// An answer to a prompt that the provider had cut was taken back once.
    took_back: bool,
}

/// What becomes of a call that did not fit.
pub(super) enum Again {
    /// It is made again, with these messages.
    Retry(Arc<Vec<Arc<Message>>>),
    GiveUp(End),
}

/// What one compaction came to.
enum Step {
    Compacted,
    Nothing,
    Aborted,
    Failed(String),
}

impl Work {
    /// Summarises before a call whose prompt would leave too little room. Gives what is to be sent then. A summary that
    /// fails stops nobody: the oldest messages are left out as they always are.
    pub(super) async fn make_room(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        base: &Assembly,
        sent: Sent,
        deadline: &mut Option<Instant>,
    ) -> Result<std::result::Result<Sent, End>> {
        if self.room.gave_up || self.room.attempts >= compaction::PER_RUN || !self.is_crowded(model, base, &sent) {
            return Ok(Ok(sent));
        }
        let failed_at = self.head.entry.get(turn::COMPACTION_FAILED).and_then(Value::as_i64);
        if failed_at.is_some_and(|at| now_ms().saturating_sub(at) < AFTER_FAILURE) {
            self.room.gave_up = true;
            return Ok(Ok(sent));
        }
        match self.compact(context, model, base, Extent::Usual, deadline).await? {
            Step::Compacted => Ok(Ok(self.sent(base, model).await?)),
            Step::Aborted => Ok(Err(End::Aborted)),
            Step::Nothing => {
                self.room.gave_up = true;
                Ok(Ok(sent))
            }
            Step::Failed(_) => {
                self.room.gave_up = true;
                let at = Map::from_iter([(turn::COMPACTION_FAILED.to_owned(), json!(now_ms()))]);
                turn::patch_entry(&self.services, &self.authority, at).await?;
                Ok(Ok(sent))
            }
        }
    }

    /// Does something of the conversation not fit, or would the prompt reach into what must stay free.
    fn is_crowded(&self, model: &ResolvedModel, base: &Assembly, sent: &Sent) -> bool {
        !sent.complete || self.used(base, sent) > self.room_for(model)
    }

    /// Tokens that a prompt may have before the conversation is summarised.
    pub(super) fn room_for(&self, model: &ResolvedModel) -> u64 {
        model.context_window - compaction::reserve(&self.settings.room.compaction, model.context_window)
    }

    /// Tokens of the prompt, as far as they are known.
    pub(super) fn used(&self, base: &Assembly, sent: &Sent) -> u64 {
        let newest = sent
            .messages
            .iter()
            .rposition(|message| matches!(**message, Message::Assistant(_)));
        let since = sent
            .messages
            .iter()
            .skip(newest.unwrap_or(0))
            .map(|message| tokens::message(message))
            .sum::<u64>();
        let known = if self.context_tokens > 0 {
            Some(self.context_tokens)
        } else {
            compaction::fresh_tokens(&self.head)
        };
        match known.filter(|_| newest.is_some()) {
            // The last prompt as the provider counted it, its answer, and what came since.
            Some(known) => known + since,
            None => tokens::with_margin(
                base.fixed()
                    + sent
                        .messages
                        .iter()
                        .map(|message| tokens::message(message))
                        .sum::<u64>(),
            ),
        }
    }

    /// Was the prompt cut by the provider, who says nothing of it: more was counted than the window holds, or nothing
    /// was left for an answer.
    pub(super) fn hides_overflow(&mut self, message: &AssistantMessage, model: &ResolvedModel) -> bool {
        let prompt = message.usage.prompt_tokens();
        let full = model.full_window;
        let said_nothing = message.content.is_empty() && message.stop_reason == StopReason::Length;
        let cut = prompt > full || (said_nothing && prompt + message.usage.output >= full - full / 100);
        // What went out is not taken back.
        let again = cut && !self.room.took_back && self.parts.at() <= self.base;
        self.room.took_back |= again;
        again
    }

    /// After a call that did not fit: summarises, and when that is not possible any more cuts tool results.
    pub(super) async fn after_overflow(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        base: &Assembly,
        deadline: &mut Option<Instant>,
    ) -> Result<Again> {
        let mut why = String::new();
        if self.room.attempts < compaction::PER_RUN {
            let before = self.room.attempts;
            match self
                .compact(context, model, base, Extent::Refused { before }, deadline)
                .await?
            {
                Step::Compacted => {
                    context.emitter.restart(self.base);
                    return Ok(Again::Retry(self.sent(base, model).await?.messages));
                }
                Step::Aborted => return Ok(Again::GiveUp(End::Aborted)),
                Step::Nothing => self.room.attempts = compaction::PER_RUN,
                Step::Failed(reason) => {
                    self.room.attempts = compaction::PER_RUN;
                    why = format!(" It could not be summarised: {reason}");
                }
            }
        }
        if !std::mem::replace(&mut self.room.cuts_results, true) {
            let whole = base.messages(&self.services, &self.head, model).await?;
            let cut = self.sent(base, model).await?;
            if whole.messages != cut.messages {
                context.emitter.restart(self.base);
                return Ok(Again::Retry(cut.messages));
            }
        }
        let message = format!(
            "This conversation no longer fits the context window of the model {}.{why} Start over with /reset, or \
             choose a model with a larger window.",
            model.model
        );
        Ok(Again::GiveUp(failed(plain_failure(
            ErrorClass::ContextOverflow,
            message,
        ))))
    }

    /// What is sent as the conversation stands now.
    pub(super) async fn sent(&self, base: &Assembly, model: &ResolvedModel) -> Result<Sent> {
        let mut sent = base.messages(&self.services, &self.head, model).await?;
        if self.room.cuts_results {
            for message in Arc::make_mut(&mut sent.messages) {
                if !matches!(**message, Message::ToolResult { .. }) {
                    continue;
                }
                if let Message::ToolResult { content, .. } = Arc::make_mut(message) {
                    tool_result::guard(content, model.context_window / RESULTS);
                }
            }
        }
        Ok(sent)
    }

    /// One compaction, told to whoever listens. The run's own time stands still meanwhile.
    async fn compact(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        base: &Assembly,
        extent: Extent,
        deadline: &mut Option<Instant>,
    ) -> Result<Step> {
        let began = Instant::now();
        let (services, authority, settings) = (self.services.clone(), self.authority.clone(), self.settings.clone());
        let head = self.head.clone();
        let cancel = context.cancel.token.clone();
        let job = Job {
            services: &services,
            authority: &authority,
            settings: &settings.room.compaction,
            head: &head,
            model,
            cancel: &cancel,
            extent,
            base,
            instructions: None,
        };
        let Some(plan) = compaction::plan(&job).await? else {
            return Ok(Step::Nothing);
        };
        self.room.attempts += 1;
        context.emitter.compacting().await;
        let (outcome, spent) = context.slot.aside(plan.summarise(&job)).await;
        self.usage.merge(&spent.usage);
        let step = match outcome {
            Outcome::Summarised(summarised) => {
                let run_id = &context.turn.run_id;
                self.head = turn::compact(&services, &authority, &head, summarised.body, run_id, None).await?;
                // The size of the last prompt says nothing of the next.
                self.context_tokens = 0;
                Step::Compacted
            }
            Outcome::Aborted => Step::Aborted,
            Outcome::Failed(why) => Step::Failed(why),
        };
        let completed = matches!(step, Step::Compacted);
        let will_retry = completed && extent != Extent::Usual;
        context.emitter.compacted(will_retry, completed).await;
        if completed {
            let head = Some(&self.head);
            context.emitter.session_changed("compact", head, true).await;
        }
        if let Some(deadline) = deadline {
            *deadline += began.elapsed();
        }
        Ok(step)
    }
}
