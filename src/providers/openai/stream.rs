//! The stream: deltas of the first choice, usage in a last chunk, `[DONE]` or just the end.

use std::collections::VecDeque;

use claw_actors::ports::message::{AssistantMessage, AssistantPart};
use claw_actors::ports::model::{ErrorClass, ModelEvent};
use serde_json::Value;
use uuid::Uuid;

use super::API;
use super::details::Details;
use super::tool_calls::ToolCalls;
use super::wire::{Choice, Chunk, Delta, WireUsage};
use crate::providers::call::{Dialect, Flow};
use crate::providers::draft::{Draft, ended};
use crate::providers::errors::Failure;
use crate::providers::loose::Text;
use crate::providers::sse::SseEvent;

/// A piece of the message, in order of appearance.
enum Piece {
    Text(String),
    /// What was thought, and the field it came in.
    Thinking {
        text: String,
        field: &'static str,
    },
    /// Position in [`ToolCalls`].
    Tool(usize),
}

/// Assembles one message.
pub(super) struct Completion {
    draft: Draft,
    pieces: Vec<Piece>,
    /// What is said of the thoughts beside their words.
    details: Details,
    tool_calls: ToolCalls,
    finish_reason: Option<String>,
    done: bool,
    /// Texts in arguments come HTML-escaped.
    escaped: bool,
}

impl Completion {
    pub(super) fn new(provider: &str, model: &str, timestamp: i64) -> Self {
        Self::with_seed(provider, model, timestamp, Uuid::new_v4())
    }

    /// `seed` makes the ids of tool calls that come without one.
    pub(super) fn with_seed(provider: &str, model: &str, timestamp: i64, seed: Uuid) -> Self {
        Self {
            draft: Draft::new(API, provider, model, timestamp),
            pieces: Vec::new(),
            details: Details::default(),
            tool_calls: ToolCalls::new(seed),
            finish_reason: None,
            done: false,
            escaped: false,
        }
    }

    /// For a server that escapes what stands in arguments.
    pub(super) fn unescaping(self, escaped: bool) -> Self {
        Self { escaped, ..self }
    }

    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<ModelEvent>) -> Result<(), Failure> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(Failure::in_stream(&error));
        }
        self.draft.name(chunk.id.0);
        if let Some(usage) = chunk.usage {
            self.count(&usage);
        }
        if let Some(choice) = chunk.choices.and_then(|choices| choices.into_iter().next()) {
            self.choice(choice, out);
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice, out: &mut VecDeque<ModelEvent>) {
        if let Some(usage) = choice.usage {
            self.count(&usage);
        }
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, out);
        }
        if !choice.finish_reason.is_empty() {
            self.finish_reason = Some(choice.finish_reason.0);
        }
    }

    fn delta(&mut self, delta: Delta, out: &mut VecDeque<ModelEvent>) {
        // Gateways repeat the same thought under several names: the first that says something counts.
        let fields = [
            ("reasoning_content", delta.reasoning_content),
            ("reasoning", delta.reasoning),
            ("reasoning_text", delta.reasoning_text),
        ];
        if let Some((field, Text(thought))) = fields.into_iter().find(|(_, text)| !text.is_empty()) {
            match self.pieces.last_mut() {
                Some(Piece::Thinking { text, .. }) => text.push_str(&thought),
                Some(Piece::Text(_) | Piece::Tool(_)) | None => self.pieces.push(Piece::Thinking {
                    text: thought.clone(),
                    field,
                }),
            }
            out.push_back(ModelEvent::ThinkingDelta(thought));
        }
        self.details.take(delta.reasoning_details);
        for Text(said) in [delta.content, delta.refusal] {
            if said.is_empty() {
                continue;
            }
            match self.pieces.last_mut() {
                Some(Piece::Text(text)) => text.push_str(&said),
                Some(Piece::Thinking { .. } | Piece::Tool(_)) | None => self.pieces.push(Piece::Text(said.clone())),
            }
            out.push_back(ModelEvent::TextDelta(said));
        }
        for delta in delta.tool_calls.into_iter().flatten() {
            let (new, events) = self.tool_calls.take(delta);
            self.pieces.extend(new.map(Piece::Tool));
            out.extend(events.into_iter().flatten());
        }
    }

    /// Cached tokens are part of the prompt there, and apart from it here.
    fn count(&mut self, usage: &WireUsage) {
        let details = usage.prompt_tokens_details.as_ref();
        let cached = details
            .and_then(|details| details.cached_tokens.0)
            .or(usage.prompt_cache_hit_tokens.0)
            .unwrap_or(0);
        let written = details.map_or(0, |details| details.cache_write_tokens.or_zero());
        let prompt = usage.prompt_tokens.or_zero();
        // xAI counts thinking in the total alone.
        let rest = usage.total_tokens.or_zero().saturating_sub(prompt);
        let output = usage.completion_tokens.or_zero().max(rest);
        self.draft.count(prompt, cached, written, output);
    }
}

/// Undoes HTML escapes in all texts.
fn unescape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains('&') => {
            for (escape, plain) in [
                ("&lt;", "<"),
                ("&gt;", ">"),
                ("&quot;", "\""),
                ("&#39;", "'"),
                ("&apos;", "'"),
                ("&amp;", "&"),
            ] {
                *text = text.replace(escape, plain);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unescape),
        Value::Object(map) => map.values_mut().for_each(unescape),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Dialect for Completion {
    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(Flow::More);
        }
        if data == b"[DONE]" {
            self.done = true;
            return Ok(Flow::Finished);
        }
        let chunk: Chunk = serde_json::from_slice(data)
            .map_err(|error| Failure::garbage(format!("a chunk is not what the API documents: {error}")))?;
        self.chunk(chunk, out)?;
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut VecDeque<ModelEvent>) -> Result<bool, Failure> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Ok(false);
        };
        let is_failure = value.get("error").is_some_and(|error| !error.is_null());
        let is_completion = value.get("choices").is_some_and(Value::is_array);
        if !is_failure && !is_completion {
            return Ok(false);
        }
        let Ok(chunk) = serde_json::from_value(value) else {
            return Ok(false);
        };
        self.chunk(chunk, out)?;
        Ok(true)
    }

    fn is_complete(&self) -> bool {
        self.done || self.finish_reason.is_some()
    }

    fn finish(&mut self) -> Result<AssistantMessage, Failure> {
        let reason = self.finish_reason.take().unwrap_or_default();
        match reason.as_str() {
            "content_filter" => return Err(Failure::refusal("finish reason content_filter")),
            "error" => return Err(Failure::new(ErrorClass::Unknown, "finish reason error")),
            _ => {}
        }
        let at_limit = matches!(reason.as_str(), "length" | "max_tokens");
        Ok(ended(self.assemble(true), at_limit))
    }

    fn assemble(&mut self, with_tools: bool) -> AssistantMessage {
        let details = std::mem::take(&mut self.details).signature();
        // A cut answer goes nowhere again, and without words it is none.
        if with_tools && details.is_some() && !self.pieces.iter().any(|piece| matches!(piece, Piece::Thinking { .. })) {
            self.pieces.insert(
                0,
                Piece::Thinking {
                    text: String::new(),
                    field: "",
                },
            );
        }
        let mut details = details;
        let content = std::mem::take(&mut self.pieces)
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Text(text) => Some(AssistantPart::Text { text }),
                Piece::Thinking { text, field } => Some(AssistantPart::Thinking {
                    thinking: text,
                    thinking_signature: Some(details.take().unwrap_or_else(|| field.to_owned())),
                    redacted: false,
                }),
                Piece::Tool(at) if with_tools => self.tool_calls.finish(at).map(|mut call| {
                    if self.escaped {
                        unescape(&mut call.arguments);
                    }
                    AssistantPart::ToolCall(call)
                }),
                Piece::Tool(_) => None,
            })
            .collect();
        self.draft.with(content)
    }
}
