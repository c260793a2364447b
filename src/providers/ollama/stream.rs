//! The stream: one object in each line, calls whole, the counts in the last one.

use std::borrow::Cow;
use std::collections::VecDeque;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, ToolCall};
use claw_actors::ports::model::ModelEvent;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::API;
use crate::providers::call::{Dialect, Flow};
use crate::providers::draft::{Draft, arguments, ended};
use crate::providers::errors::Failure;
use crate::providers::loose::{Count, Text};
use crate::providers::sse::SseEvent;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    message: Option<Said>,
    done: Option<bool>,
    done_reason: Text,
    prompt_eval_count: Count,
    eval_count: Count,
    error: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    content: Text,
    thinking: Text,
    tool_calls: Option<Vec<Call>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Call {
    id: Text,
    function: Function,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    name: Text,
    arguments: Value,
}

/// Assembles one message.
pub(super) struct Chat {
    draft: Draft,
    /// Makes the ids of calls, which have none there.
    seed: Uuid,
    content: Vec<AssistantPart>,
    calls: usize,
    done_reason: Option<String>,
    /// Something of the present line has come.
    in_line: bool,
}

impl Chat {
    pub(super) fn new(provider: &str, model: &str, timestamp: i64) -> Self {
        Self::with_seed(provider, model, timestamp, Uuid::new_v4())
    }

    pub(super) fn with_seed(provider: &str, model: &str, timestamp: i64, seed: Uuid) -> Self {
        Self {
            draft: Draft::new(API, provider, model, timestamp),
            seed,
            content: Vec::new(),
            calls: 0,
            done_reason: None,
            in_line: false,
        }
    }

    fn line(&mut self, line: Line, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        if let Some(error) = line.error.filter(|error| !error.is_null()) {
            return Err(Failure::in_stream(&error));
        }
        if let Some(said) = line.message {
            self.said(said, out);
        }
        if line.done != Some(true) {
            return Ok(Flow::More);
        }
        let (prompt, output) = (line.prompt_eval_count.or_zero(), line.eval_count.or_zero());
        self.draft.count(prompt, 0, 0, output);
        self.done_reason = Some(line.done_reason.0);
        Ok(Flow::Finished)
    }

    fn said(&mut self, said: Said, out: &mut VecDeque<ModelEvent>) {
        let Text(thought) = said.thinking;
        if !thought.is_empty() {
            match self.content.last_mut() {
                Some(AssistantPart::Thinking { thinking, .. }) => thinking.push_str(&thought),
                Some(AssistantPart::Text { .. } | AssistantPart::ToolCall(_)) | None => {
                    self.content.push(AssistantPart::Thinking {
                        thinking: thought.clone(),
                        thinking_signature: None,
                        redacted: false,
                    });
                }
            }
            out.push_back(ModelEvent::ThinkingDelta(thought));
        }
        let Text(words) = said.content;
        if !words.is_empty() {
            match self.content.last_mut() {
                Some(AssistantPart::Text { text }) => text.push_str(&words),
                Some(AssistantPart::Thinking { .. } | AssistantPart::ToolCall(_)) | None => {
                    self.content.push(AssistantPart::Text { text: words.clone() });
                }
            }
            out.push_back(ModelEvent::TextDelta(words));
        }
        for call in said.tool_calls.into_iter().flatten() {
            self.call(call, out);
        }
    }

    fn call(&mut self, call: Call, out: &mut VecDeque<ModelEvent>) {
        let Text(name) = call.function.name;
        if name.is_empty() {
            return;
        }
        let id = if call.id.is_empty() {
            format!("call_{}{}", self.seed.simple(), self.calls)
        } else {
            call.id.0
        };
        self.calls += 1;
        let arguments = match call.function.arguments {
            Value::Null => json!({}),
            Value::String(text) => arguments(text),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => other,
        };
        out.push_back(ModelEvent::ToolCallStart {
            id: id.clone(),
            name: name.clone(),
        });
        out.push_back(ModelEvent::ToolCallDelta(arguments.to_string()));
        self.content
            .push(AssistantPart::ToolCall(ToolCall { id, name, arguments }));
    }
}

impl Dialect for Chat {
    /// Each line becomes an event.
    fn unframe<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, Failure> {
        let mut events = Vec::with_capacity(bytes.len() + 16);
        for byte in bytes {
            match byte {
                b'\n' if self.in_line => {
                    events.extend_from_slice(b"\n\n");
                    self.in_line = false;
                }
                b'\n' | b'\r' => {}
                _ => {
                    if !self.in_line {
                        events.extend_from_slice(b"data: ");
                        self.in_line = true;
                    }
                    events.push(*byte);
                }
            }
        }
        Ok(Cow::Owned(events))
    }

    fn may_begin(&self, unframed: &[u8]) -> bool {
        unframed.starts_with(b"data: {")
    }

    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        let line = serde_json::from_slice(event.data)
            .map_err(|error| Failure::garbage(format!("a line is not what the API documents: {error}")))?;
        self.line(line, out)
    }

    /// One line is an event already.
    fn whole(&mut self, _body: &[u8], _out: &mut VecDeque<ModelEvent>) -> Result<bool, Failure> {
        Ok(false)
    }

    fn is_complete(&self) -> bool {
        self.done_reason.is_some()
    }

    fn finish(&mut self) -> Result<AssistantMessage, Failure> {
        let at_limit = self.done_reason.as_deref() == Some("length");
        Ok(ended(self.assemble(true), at_limit))
    }

    fn assemble(&mut self, with_tools: bool) -> AssistantMessage {
        let mut content = std::mem::take(&mut self.content);
        content.retain(|part| with_tools || !matches!(part, AssistantPart::ToolCall(_)));
        self.draft.with(content)
    }
}
