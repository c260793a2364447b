//! One call of a model, seen from outside: its span, how long it took, and what it used.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::Stream;
use futures::stream::BoxStream;
use tracing::Span;
use tracing::field::Empty;

use crate::config::providers::ResolvedModel;
use crate::ports::message::Usage;
use crate::ports::model::ModelEvent;

/// The events of a call, inside the span `model.call`. `attempt` counts from 1.
pub(super) struct Followed {
    events: BoxStream<'static, ModelEvent>,
    span: Span,
    api: String,
    began: Instant,
    ended: bool,
}

impl Followed {
    pub(super) fn new(events: BoxStream<'static, ModelEvent>, model: &ResolvedModel, attempt: u32) -> Self {
        let span = tracing::info_span!(
            "model.call",
            model.provider = %model.provider,
            model.name = %model.model,
            tokens.in = Empty,
            tokens.out = Empty,
            attempt,
        );
        Self {
            events,
            span,
            api: model.api.clone(),
            began: Instant::now(),
            ended: false,
        }
    }

    fn end(&mut self, outcome: &'static str, usage: Option<&Usage>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let api = std::mem::take(&mut self.api);
        metrics::histogram!("claw_model_call_seconds", "api" => api, "outcome" => outcome).record(seconds);
        let Some(usage) = usage else { return };
        let prompt = usage.prompt_tokens();
        self.span.record("tokens.in", prompt);
        self.span.record("tokens.out", usage.output);
        metrics::counter!("claw_model_tokens_total", "kind" => "input").increment(usage.input);
        metrics::counter!("claw_model_tokens_total", "kind" => "cache_read").increment(usage.cache_read);
        metrics::counter!("claw_model_tokens_total", "kind" => "cache_write").increment(usage.cache_write);
        metrics::counter!("claw_model_tokens_total", "kind" => "output").increment(usage.output);
    }
}

impl Stream for Followed {
    type Item = ModelEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ModelEvent>> {
        let this = &mut *self;
        let polled = this.span.in_scope(|| this.events.as_mut().poll_next(context));
        if let Poll::Ready(event) = &polled {
            match event {
                Some(ModelEvent::Done(message)) => this.end("ok", Some(&message.usage)),
                Some(ModelEvent::Error(error)) => this.end(error.class.name(), Some(&error.partial.usage)),
                None => this.end("cut", None),
                Some(
                    ModelEvent::Start
                    | ModelEvent::TextDelta(_)
                    | ModelEvent::ThinkingDelta(_)
                    | ModelEvent::ToolCallStart { .. }
                    | ModelEvent::ToolCallDelta(_),
                ) => {}
            }
        }
        polled
    }
}

/// Who asked does not wait any more.
impl Drop for Followed {
    fn drop(&mut self) {
        self.end("given_up", None);
    }
}
