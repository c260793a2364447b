//! The stream: parts of the first candidate, calls whole, usage that is refreshed; the end of the body is the end.
//!
//! A part may be signed, and wants its signature back. Ours has no place for one but a thought: so the signature of a
//! call or a text goes into a thought right before it, which is empty unless there was one.

use std::collections::VecDeque;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::API;
use crate::providers::call::{Dialect, Flow};
use crate::providers::draft::{Draft, ended};
use crate::providers::errors::Failure;
use crate::providers::loose::{Count, Text};
use crate::providers::sse::SseEvent;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Chunk {
    candidates: Option<Vec<Candidate>>,
    usage_metadata: Option<Metadata>,
    prompt_feedback: Option<Feedback>,
    response_id: Text,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Option<Vec<Part>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Part {
    text: Text,
    thought: Option<bool>,
    thought_signature: Text,
    function_call: Option<Call>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call {
    id: Text,
    name: Text,
    args: Value,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    prompt_token_count: Count,
    cached_content_token_count: Count,
    candidates_token_count: Count,
    thoughts_token_count: Count,
    tool_use_prompt_token_count: Count,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback {
    block_reason: Text,
}

/// Assembles one message.
pub(super) struct Generation {
    draft: Draft,
    /// Makes the ids of calls that come without one.
    seed: Uuid,
    content: Vec<AssistantPart>,
    calls: usize,
    finish_reason: String,
}

impl Generation {
    pub(super) fn new(provider: &str, model: &str, timestamp: i64) -> Self {
        Self::with_seed(provider, model, timestamp, Uuid::new_v4())
    }

    pub(super) fn with_seed(provider: &str, model: &str, timestamp: i64, seed: Uuid) -> Self {
        Self {
            draft: Draft::new(API, provider, model, timestamp),
            seed,
            content: Vec::new(),
            calls: 0,
            finish_reason: String::new(),
        }
    }

    fn chunk(&mut self, chunk: Chunk, out: &mut VecDeque<ModelEvent>) -> Result<(), Failure> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(Failure::in_stream(&error));
        }
        if let Some(feedback) = chunk
            .prompt_feedback
            .filter(|feedback| !feedback.block_reason.is_empty())
        {
            return Err(Failure::refusal(format!("prompt blocked: {}", feedback.block_reason.0)));
        }
        self.draft.name(chunk.response_id.0);
        if let Some(usage) = chunk.usage_metadata {
            self.count(&usage);
        }
        let Some(candidate) = chunk.candidates.and_then(|candidates| candidates.into_iter().next()) else {
            return Ok(());
        };
        for part in candidate
            .content
            .and_then(|content| content.parts)
            .into_iter()
            .flatten()
        {
            self.part(part, out);
        }
        if !candidate.finish_reason.is_empty() {
            self.finish_reason = candidate.finish_reason.0;
        }
        Ok(())
    }

    fn part(&mut self, part: Part, out: &mut VecDeque<ModelEvent>) {
        let signature = (!part.thought_signature.is_empty()).then_some(part.thought_signature.0);
        if let Some(call) = part.function_call.filter(|call| !call.name.is_empty()) {
            self.sign(signature);
            let id = if call.id.is_empty() {
                format!("call_{}{}", self.seed.simple(), self.calls)
            } else {
                call.id.0
            };
            self.calls += 1;
            out.push_back(ModelEvent::ToolCallStart {
                id: id.clone(),
                name: call.name.0.clone(),
            });
            let arguments = if call.args.is_null() { json!({}) } else { call.args };
            out.push_back(ModelEvent::ToolCallDelta(arguments.to_string()));
            self.content.push(AssistantPart::ToolCall(ToolCall {
                id,
                name: call.name.0,
                arguments,
            }));
            return;
        }
        let Text(said) = part.text;
        if part.thought == Some(true) {
            match self.content.last_mut() {
                Some(AssistantPart::Thinking {
                    thinking,
                    thinking_signature,
                    ..
                }) => {
                    thinking.push_str(&said);
                    if signature.is_some() {
                        *thinking_signature = signature;
                    }
                }
                Some(AssistantPart::Text { .. } | AssistantPart::ToolCall(_)) | None => {
                    self.content.push(AssistantPart::Thinking {
                        thinking: said.clone(),
                        thinking_signature: signature,
                        redacted: false,
                    });
                }
            }
            if !said.is_empty() {
                out.push_back(ModelEvent::ThinkingDelta(said));
            }
            return;
        }
        let begins = !matches!(self.content.last(), Some(AssistantPart::Text { .. }));
        if begins {
            self.sign(signature);
        }
        if said.is_empty() {
            return;
        }
        match self.content.last_mut() {
            Some(AssistantPart::Text { text }) => text.push_str(&said),
            Some(AssistantPart::Thinking { .. } | AssistantPart::ToolCall(_)) | None => {
                self.content.push(AssistantPart::Text { text: said.clone() });
            }
        }
        out.push_back(ModelEvent::TextDelta(said));
    }

    /// Puts the signature of what comes next into the thought before it.
    fn sign(&mut self, signature: Option<String>) {
        let Some(signature) = signature else { return };
        if let Some(AssistantPart::Thinking { thinking_signature, .. }) = self.content.last_mut() {
            *thinking_signature = Some(signature);
            return;
        }
        self.content.push(AssistantPart::Thinking {
            thinking: String::new(),
            thinking_signature: Some(signature),
            redacted: false,
        });
    }

    /// Cached tokens are part of the prompt there, and thoughts apart from the answer.
    fn count(&mut self, usage: &Metadata) {
        let prompt = usage.prompt_token_count.or_zero();
        let thoughts = usage.thoughts_token_count.or_zero();
        let output = usage.candidates_token_count.or_zero().saturating_add(thoughts);
        self.draft
            .count(prompt, usage.cached_content_token_count.or_zero(), 0, output);
        let known = self.draft.usage();
        known.input = known.input.saturating_add(usage.tool_use_prompt_token_count.or_zero());
    }
}

impl Dialect for Generation {
    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        let data = event.data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Ok(Flow::More);
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
        // Without `alt=sse` it is a list of chunks.
        let chunks = match value {
            Value::Array(chunks) => chunks,
            one @ (Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => vec![one],
        };
        let known = |chunk: &Value| {
            ["candidates", "error", "promptFeedback"]
                .iter()
                .any(|name| chunk.get(name).is_some())
        };
        if !chunks.iter().any(known) {
            return Ok(false);
        }
        for chunk in chunks {
            let Ok(chunk) = serde_json::from_value(chunk) else {
                return Ok(false);
            };
            self.chunk(chunk, out)?;
        }
        Ok(true)
    }

    fn is_complete(&self) -> bool {
        !self.finish_reason.is_empty()
    }

    fn finish(&mut self) -> Result<AssistantMessage, Failure> {
        let reason = std::mem::take(&mut self.finish_reason);
        match reason.as_str() {
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "IMAGE_SAFETY" | "LANGUAGE" => {
                return Err(Failure::refusal(format!("finish reason {reason}")));
            }
            "MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" => {
                return Err(Failure {
                    sentence: Some("made a tool call that cannot be read"),
                    ..Failure::new(ErrorClass::Network, format!("finish reason {reason}"))
                });
            }
            "OTHER" => return Err(Failure::new(ErrorClass::Unknown, "finish reason OTHER")),
            _ => {}
        }
        let at_limit = reason == "MAX_TOKENS";
        Ok(ended(self.assemble(true), at_limit))
    }

    fn assemble(&mut self, with_tools: bool) -> AssistantMessage {
        let mut content = std::mem::take(&mut self.content);
        content.retain(|part| with_tools || !matches!(part, AssistantPart::ToolCall(_)));
        self.draft.with(content)
    }
}
