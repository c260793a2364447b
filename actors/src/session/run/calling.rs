//! One model call of a run: its stream shown as it comes, and tried again while that can help.

use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use tokio::time::Instant;

use super::{End, RunContext, Work, plain_failure};
use crate::config::document::TypingMode;
use crate::config::providers::ResolvedModel;
use crate::ports::message::{AssistantMessage, AssistantPart};
use crate::ports::model::{ErrorClass, ModelError, ModelEvent, ModelRequest, Thinking};
use crate::session::commands::Switch;
use crate::session::reply::HoldBack;
use crate::session::{budget, thinking};

const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A provider that asks for a longer wait ends the turn at once.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl Work {
    /// One model call, tried again (`tries` times in all) while that can help and nothing was shown.
    pub(super) async fn call(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        mut request: ModelRequest,
        (deadline, most): (Option<Instant>, u32),
    ) -> std::result::Result<AssistantMessage, End> {
        let mut tries = 0;
        loop {
            tries += 1;
            let answered = self.stream(context, model, (request.clone(), tries), deadline).await;
            context.slot.go_on().await;
            let error = match answered? {
                Ok(message) => return Ok(message),
                Err(error) => error,
            };
            // What the provider had counted by then is on its bill.
            self.usage.add(&error.partial.usage, model.prices);
            tracing::warn!(
                tenant.id = %context.scope.tenant(), run.id = %context.turn.run_id, model.provider = %model.provider,
                model.name = %model.model, error.class = error.class.name(), status = error.status, attempt = tries,
                "model call failed"
            );
            metrics::counter!("claw_model_failures_total", "class" => error.class.name()).increment(1);
            // Of this call: what an earlier one said is on record. Thoughts may come twice.
            let shown = context.emitter.text().len() > self.base || has_words(&error.partial);
            if error.class == ErrorClass::Format
                && !shown
                && let Some(lower) = thinking::supported(&error.detail, request.thinking)
            {
                request.thinking = lower;
                continue;
            }
            // It was told not to think, and does not take that: nothing is said of it then.
            if error.class == ErrorClass::Format
                && !shown
                && request.reasoning
                && request.thinking == Thinking::Off
                && thinking::is_refused(&error.detail)
            {
                request.reasoning = false;
                continue;
            }
            let wait = error.retry_after.unwrap_or(FIRST_WAIT * 2_u32.pow(tries - 1));
            // A connection that breaks once is no reason to ask another model.
            let most = if error.class == ErrorClass::Network {
                most.max(2)
            } else {
                most
            };
            let hopeless = !error.class.transient() || tries >= most || wait > LONGEST_WAIT;
            if hopeless || shown {
                return Err(End::Failed(Box::new(error)));
            }
            self.hold = HoldBack::default();
            context.slot.give_back();
            tokio::select! {
                () = context.cancel.token.cancelled() => return Err(End::Aborted),
                () = until(deadline) => return Err(End::TimedOut(Duration::ZERO)),
                () = tokio::time::sleep(wait) => {}
            }
            context.slot.go_on().await;
        }
    }

    /// One stream, shown as it comes. The outer error ends the run, the inner one is the provider's.
    async fn stream(
        &mut self,
        context: &mut RunContext,
        model: &ResolvedModel,
        (request, attempt): (ModelRequest, u32),
        deadline: Option<Instant>,
    ) -> std::result::Result<std::result::Result<AssistantMessage, ModelError>, End> {
        let Some(adapter) = self.services.ports.model(&model.api) else {
            let message = format!(
                "The provider {} speaks {}, which is not available.",
                model.provider, model.api
            );
            return Ok(Err(plain_failure(ErrorClass::ModelNotFound, message)));
        };
        let calls = budget::stream(&self.services, &self.authority, model, adapter, request, attempt);
        let mut events = calls.await.peekable();
        // Text of an earlier message of this run stays above.
        let base = context.emitter.text().len();
        self.base = base;
        // Sends the request; from here on the model works.
        let _ = Pin::new(&mut events).peek().now_or_never();
        context.slot.give_back();
        let mut thoughts = String::new();
        loop {
            let due = self.parts.due();
            let event = tokio::select! {
                biased;
                () = context.cancel.token.cancelled() => return Err(End::Aborted),
                event = next(&mut events, deadline) => event,
                () = until(due) => {
                    self.text_rests(context).await;
                    continue;
                }
            };
            let event = match event {
                Next::Event(event) => *event,
                Next::Ended => {
                    let message = "The model's answer ended in the middle.".to_owned();
                    return Ok(Err(plain_failure(ErrorClass::Network, message)));
                }
                Next::TimedOut => return Err(End::TimedOut(Duration::ZERO)),
            };
            match event {
                ModelEvent::TextDelta(mut delta) => {
                    // What came together is shown together.
                    while let Some(Some(ModelEvent::TextDelta(more))) = Pin::new(&mut events)
                        .next_if(|event| matches!(event, ModelEvent::TextDelta(_)))
                        .now_or_never()
                    {
                        delta.push_str(&more);
                    }
                    let grew = self.hold.push(&delta).is_some();
                    self.answers(context);
                    if grew {
                        self.typing.when(TypingMode::Message);
                        let visible = self.hold.visible();
                        context.emitter.show(base, visible).await;
                        if let Some(preview) = &mut self.preview {
                            let text = context.emitter.text();
                            preview.update(text.get(self.parts.at()..).unwrap_or_default().trim_start());
                        }
                        self.text_grew(context).await;
                    }
                }
                ModelEvent::ThinkingDelta(delta) => {
                    if self.level(context, Switch::Reasoning) == "stream" {
                        self.typing.when(TypingMode::Thinking);
                    }
                    self.think_aloud(context, &delta, &mut thoughts);
                }
                ModelEvent::Start | ModelEvent::ToolCallStart { .. } | ModelEvent::ToolCallDelta(_) => {}
                ModelEvent::Done(message) => {
                    self.answers(context);
                    let shaped = std::mem::take(&mut self.hold).finish();
                    self.voice |= shaped.voice;
                    self.media.extend(shaped.media);
                    if let Some(text) = shaped.text {
                        context.emitter.show(base, &text).await;
                    }
                    return Ok(Ok(message));
                }
                ModelEvent::Error(error) => return Ok(Err(error)),
            }
        }
    }
}

/// Was anything said in it.
fn has_words(message: &AssistantMessage) -> bool {
    message.content.iter().any(|part| match part {
        AssistantPart::Text { text } => !text.is_empty(),
        AssistantPart::Thinking { .. } | AssistantPart::ToolCall(_) => false,
    })
}

/// Resolves at this time; never without one.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

enum Next {
    Event(Box<ModelEvent>),
    Ended,
    TimedOut,
}

async fn next(events: &mut (impl Stream<Item = ModelEvent> + Unpin), deadline: Option<Instant>) -> Next {
    let event = match deadline {
        Some(deadline) => match tokio::time::timeout_at(deadline, events.next()).await {
            Ok(event) => event,
            Err(_) => return Next::TimedOut,
        },
        None => events.next().await,
    };
    event.map_or(Next::Ended, |event| Next::Event(Box::new(event)))
}
