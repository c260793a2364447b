//! The stream: content blocks by index, usage that is refreshed, `message_stop` at the end.

use std::collections::VecDeque;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent};
use serde::Deserialize;
use serde_json::Value;

use super::API;
use crate::providers::call::{Dialect, Flow};
use crate::providers::draft::{Draft, MOST_PARTS, arguments, ended};
use crate::providers::errors::Failure;
use crate::providers::loose::{Count, Text};
use crate::providers::sse::SseEvent;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "type")]
    kind: Text,
    index: Count,
    message: Option<WireMessage>,
    content_block: Option<WireBlock>,
    delta: Option<WireDelta>,
    usage: Option<WireUsage>,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireMessage {
    id: Text,
    content: Vec<WireBlock>,
    stop_reason: Text,
    usage: Option<WireUsage>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireBlock {
    #[serde(rename = "type")]
    kind: Text,
    text: Text,
    thinking: Text,
    signature: Text,
    data: Text,
    id: Text,
    name: Text,
    input: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireDelta {
    #[serde(rename = "type")]
    kind: Text,
    text: Text,
    partial_json: Text,
    thinking: Text,
    signature: Text,
    stop_reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
}

enum Block {
    Text(String),
    Thinking {
        text: String,
        signature: String,
    },
    Redacted(String),
    Tool {
        id: String,
        name: String,
        json: String,
        input: Value,
    },
    /// A kind we do not know; its deltas are dropped.
    Other,
}

/// Assembles one message.
pub(super) struct Messages {
    draft: Draft,
    blocks: Vec<(u64, Block)>,
    stop_reason: String,
}

impl Messages {
    pub(super) fn new(provider: &str, model: &str, timestamp: i64) -> Self {
        Self {
            draft: Draft::new(API, provider, model, timestamp),
            blocks: Vec::new(),
            stop_reason: String::new(),
        }
    }

    fn message(&mut self, message: WireMessage) {
        self.draft.name(message.id.0);
        if let Some(usage) = message.usage {
            self.count(usage);
        }
    }

    /// Counts are cumulative: a later one replaces an earlier.
    fn count(&mut self, usage: WireUsage) {
        let set = |slot: &mut u64, count: Count| *slot = count.0.unwrap_or(*slot);
        let known = self.draft.usage();
        set(&mut known.input, usage.input_tokens);
        set(&mut known.output, usage.output_tokens);
        set(&mut known.cache_read, usage.cache_read_input_tokens);
        set(&mut known.cache_write, usage.cache_creation_input_tokens);
    }

    fn open(&mut self, index: u64, block: WireBlock, out: &mut VecDeque<ModelEvent>) {
        if self.blocks.len() == MOST_PARTS {
            return;
        }
        let block = match block.kind.0.as_str() {
            "text" => {
                if !block.text.is_empty() {
                    out.push_back(ModelEvent::TextDelta(block.text.0.clone()));
                }
                Block::Text(block.text.0)
            }
            "thinking" => {
                if !block.thinking.is_empty() {
                    out.push_back(ModelEvent::ThinkingDelta(block.thinking.0.clone()));
                }
                Block::Thinking {
                    text: block.thinking.0,
                    signature: block.signature.0,
                }
            }
            "redacted_thinking" => Block::Redacted(block.data.0),
            "tool_use" => {
                out.push_back(ModelEvent::ToolCallStart {
                    id: block.id.0.clone(),
                    name: block.name.0.clone(),
                });
                Block::Tool {
                    id: block.id.0,
                    name: block.name.0,
                    json: String::new(),
                    input: block.input,
                }
            }
            _ => Block::Other,
        };
        self.blocks.push((index, block));
    }

    fn delta(&mut self, index: u64, delta: WireDelta, out: &mut VecDeque<ModelEvent>) {
        let known = self.blocks.iter().rposition(|(at, _)| *at == index);
        if known.is_none() && self.blocks.len() == MOST_PARTS {
            return;
        }
        let at = known.unwrap_or_else(|| {
            // A server that skips `content_block_start`.
            let block = match delta.kind.0.as_str() {
                "text_delta" => Block::Text(String::new()),
                "thinking_delta" => Block::Thinking {
                    text: String::new(),
                    signature: String::new(),
                },
                _ => Block::Other,
            };
            self.blocks.push((index, block));
            self.blocks.len() - 1
        });
        match &mut self.blocks[at].1 {
            Block::Text(text) if !delta.text.is_empty() => {
                text.push_str(&delta.text.0);
                out.push_back(ModelEvent::TextDelta(delta.text.0));
            }
            Block::Thinking { text, signature } => {
                signature.push_str(&delta.signature.0);
                if !delta.thinking.is_empty() {
                    text.push_str(&delta.thinking.0);
                    out.push_back(ModelEvent::ThinkingDelta(delta.thinking.0));
                }
            }
            Block::Tool { json, .. } => {
                json.push_str(&delta.partial_json.0);
                if !delta.partial_json.is_empty() {
                    out.push_back(ModelEvent::ToolCallDelta(delta.partial_json.0));
                }
            }
            Block::Text(_) | Block::Redacted(_) | Block::Other => {}
        }
    }
}

impl Dialect for Messages {
    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        if event.data.is_empty() {
            return Ok(Flow::More);
        }
        let wire: Wire = serde_json::from_slice(event.data)
            .map_err(|error| Failure::garbage(format!("an event is not what the API documents: {error}")))?;
        let kind = if wire.kind.is_empty() {
            event.name
        } else {
            wire.kind.0.as_bytes()
        };
        let index = wire.index.or_zero();
        match kind {
            b"message_start" => self.message(wire.message.unwrap_or_default()),
            b"content_block_start" => self.open(index, wire.content_block.unwrap_or_default(), out),
            b"content_block_delta" => self.delta(index, wire.delta.unwrap_or_default(), out),
            b"message_delta" => {
                if let Some(reason) = wire
                    .delta
                    .map(|delta| delta.stop_reason.0)
                    .filter(|reason| !reason.is_empty())
                {
                    self.stop_reason = reason;
                }
                if let Some(usage) = wire.usage {
                    self.count(usage);
                }
            }
            b"message_stop" => return Ok(Flow::Finished),
            b"error" => return Err(Failure::in_stream(&wire.error.unwrap_or_default())),
            _ => {}
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut VecDeque<ModelEvent>) -> Result<bool, Failure> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Ok(false);
        };
        if let Some(error) = value.get("error") {
            return Err(Failure::in_stream(error));
        }
        let Ok(mut message) = serde_json::from_value::<WireMessage>(value) else {
            return Ok(false);
        };
        if message.content.is_empty() {
            return Ok(false);
        }
        for (index, block) in (0..).zip(std::mem::take(&mut message.content)) {
            self.open(index, block, out);
        }
        self.stop_reason = std::mem::take(&mut message.stop_reason.0);
        self.message(message);
        Ok(true)
    }

    fn is_complete(&self) -> bool {
        false
    }

    fn finish(&mut self) -> Result<AssistantMessage, Failure> {
        match self.stop_reason.as_str() {
            "refusal" | "sensitive" => return Err(Failure::refusal(format!("stop reason {}", self.stop_reason))),
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
        let content = std::mem::take(&mut self.blocks)
            .into_iter()
            .filter_map(|(_, block)| match block {
                Block::Text(text) => (!text.is_empty()).then_some(AssistantPart::Text { text }),
                Block::Thinking { text, signature } => {
                    (!text.is_empty() || !signature.is_empty()).then(|| AssistantPart::Thinking {
                        thinking: text,
                        thinking_signature: (!signature.is_empty()).then_some(signature),
                        redacted: false,
                    })
                }
                Block::Redacted(data) => Some(AssistantPart::Thinking {
                    thinking: String::new(),
                    thinking_signature: Some(data),
                    redacted: true,
                }),
                Block::Tool { id, name, json, input } => with_tools.then(|| {
                    AssistantPart::ToolCall(ToolCall {
                        id,
                        name,
                        // A server that does not stream has them as they are.
                        arguments: if json.is_empty() && input.is_object() {
                            input
                        } else {
                            arguments(json)
                        },
                    })
                }),
                Block::Other => None,
            })
            .collect();
        self.draft.with(content)
    }
}
