//! The stream: content blocks by index; `metadata` with the usage comes last.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use claw_actors::ports::message::{AssistantMessage, AssistantPart, ToolCall, Usage};
use claw_actors::ports::model::{ErrorClass, ModelEvent};
use serde_json::{Value, json};

use super::API;
use super::frames::Frames;
use crate::providers::call::{Dialect, Flow};
use crate::providers::draft::{Draft, arguments, ended};
use crate::providers::errors::Failure;
use crate::providers::sse::SseEvent;

#[derive(Default)]
struct Block {
    text: String,
    thinking: String,
    signature: String,
    redacted: String,
    /// Id, name and arguments as they came.
    tool: Option<(String, String, String)>,
}

/// Assembles one message.
pub(super) struct Conversation {
    draft: Draft,
    frames: Frames,
    blocks: BTreeMap<u64, Block>,
    stop_reason: String,
}

impl Conversation {
    pub(super) fn new(provider: &str, model: &str, timestamp: i64) -> Self {
        Self {
            draft: Draft::new(API, provider, model, timestamp),
            frames: Frames::default(),
            blocks: BTreeMap::new(),
            stop_reason: String::new(),
        }
    }

    fn delta(&mut self, index: u64, delta: &Value, out: &mut VecDeque<ModelEvent>) {
        let block = self.blocks.entry(index).or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let said = text(&delta["text"]);
        if !said.is_empty() {
            block.text.push_str(&said);
            out.push_back(ModelEvent::TextDelta(said));
        }
        if let Some((_, _, arguments)) = &mut block.tool {
            let piece = text(&delta["toolUse"]["input"]);
            arguments.push_str(&piece);
            if !piece.is_empty() {
                out.push_back(ModelEvent::ToolCallDelta(piece));
            }
        }
        let reasoning = &delta["reasoningContent"];
        let thought = text(&reasoning["text"]);
        if !thought.is_empty() {
            block.thinking.push_str(&thought);
            out.push_back(ModelEvent::ThinkingDelta(thought));
        }
        block.signature.push_str(&text(&reasoning["signature"]));
        block.redacted.push_str(&text(&reasoning["redactedContent"]));
    }

    fn count(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64().unwrap_or(0);
        *self.draft.usage() = Usage {
            input: count("inputTokens"),
            output: count("outputTokens"),
            cache_read: count("cacheReadInputTokens"),
            cache_write: count("cacheWriteInputTokens"),
            ..Usage::default()
        };
    }
}

/// The HTTP status that the same failure has before a stream.
fn status(exception: &str) -> u16 {
    match exception {
        "throttlingException" => 429,
        "modelTimeoutException" => 408,
        "validationException" => 400,
        "serviceUnavailableException" => 503,
        _ => 500,
    }
}

impl Dialect for Conversation {
    fn unframe<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Failure> {
        self.frames.push(bytes).map(Cow::Owned)
    }

    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        let wire: Value = serde_json::from_slice(event.data)
            .map_err(|error| Failure::garbage(format!("an event is not what the API documents: {error}")))?;
        let index = wire["contentBlockIndex"].as_u64().unwrap_or(0);
        match event.name {
            b"contentBlockStart" => {
                let tool = &wire["start"]["toolUse"];
                if let (Some(id), Some(name)) = (tool["toolUseId"].as_str(), tool["name"].as_str()) {
                    let (id, name) = (id.to_owned(), name.to_owned());
                    out.push_back(ModelEvent::ToolCallStart {
                        id: id.clone(),
                        name: name.clone(),
                    });
                    self.blocks.entry(index).or_default().tool = Some((id, name, String::new()));
                }
            }
            b"contentBlockDelta" => self.delta(index, &wire["delta"], out),
            b"messageStop" => wire["stopReason"]
                .as_str()
                .unwrap_or("end_turn")
                .clone_into(&mut self.stop_reason),
            b"metadata" => {
                self.count(&wire["usage"]);
                return Ok(Flow::Finished);
            }
            b"exception" => {
                let kind = wire["type"].as_str().unwrap_or_default();
                let error = json!({"code": status(kind).to_string(), "type": kind, "message": wire["message"]});
                return Err(Failure::in_stream(&error));
            }
            _ => {}
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, _body: &[u8], _out: &mut VecDeque<ModelEvent>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Without the usage the answer is all there.
    fn is_complete(&self) -> bool {
        !self.stop_reason.is_empty()
    }

    fn finish(&mut self) -> Result<AssistantMessage, Failure> {
        match self.stop_reason.as_str() {
            "guardrail_intervened" | "content_filtered" => {
                return Err(Failure::refusal(format!("stop reason {}", self.stop_reason)));
            }
            "model_context_window_exceeded" => {
                return Err(Failure::new(
                    ErrorClass::ContextOverflow,
                    "stop reason model_context_window_exceeded",
                ));
            }
            _ => {}
        }
        let at_limit = self.stop_reason == "max_tokens";
        Ok(ended(self.assemble(true), at_limit))
    }

    fn assemble(&mut self, with_tools: bool) -> AssistantMessage {
        let mut content = Vec::new();
        for block in std::mem::take(&mut self.blocks).into_values() {
            if !block.redacted.is_empty() {
                content.push(AssistantPart::Thinking {
                    thinking: String::new(),
                    thinking_signature: Some(block.redacted),
                    redacted: true,
                });
            }
            if !block.thinking.is_empty() || !block.signature.is_empty() {
                content.push(AssistantPart::Thinking {
                    thinking: block.thinking,
                    thinking_signature: Some(block.signature).filter(|signature| !signature.is_empty()),
                    redacted: false,
                });
            }
            if !block.text.is_empty() {
                content.push(AssistantPart::Text { text: block.text });
            }
            if let Some((id, name, json)) = block.tool.filter(|_| with_tools) {
                let arguments = arguments(json);
                content.push(AssistantPart::ToolCall(ToolCall { id, name, arguments }));
            }
        }
        self.draft.with(content)
    }
}
