//! The stream: output items that are added, grow and are done, and one event that ends it all.

use std::collections::VecDeque;

use claw_actors::ports::message::{AssistantMessage, AssistantPart, ToolCall};
use claw_actors::ports::model::{ErrorClass, ModelEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::providers::call::{Dialect, Flow};
use crate::providers::draft::{Draft, MOST_PARTS, arguments as parsed, ended};
use crate::providers::errors::Failure;
use crate::providers::loose::{Count, Text};
use crate::providers::sse::SseEvent;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    #[serde(rename = "type")]
    kind: Text,
    output_index: Count,
    item_id: Text,
    item: Option<Value>,
    delta: Text,
    arguments: Text,
    response: Option<WireResponse>,
    error: Option<Value>,
    /// Of an `error` whose fields stand at the top.
    code: Text,
    message: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireResponse {
    id: Text,
    status: Text,
    output: Option<Vec<Value>>,
    usage: Option<WireUsage>,
    error: Option<Value>,
    incomplete_details: Option<Incomplete>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Incomplete {
    reason: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireUsage {
    input_tokens: Count,
    output_tokens: Count,
    input_tokens_details: Option<InputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
}

enum Item {
    Text(String),
    Thought {
        summary: String,
        /// The whole item, once it is done: what is sent back.
        whole: Option<Value>,
    },
    Call {
        call_id: String,
        name: String,
        arguments: String,
    },
    /// A kind we do not know.
    Other,
}

struct Placed {
    index: Option<u64>,
    id: String,
    item: Item,
}

/// Assembles one message.
pub(super) struct Response {
    draft: Draft,
    items: Vec<Placed>,
    incomplete: Option<String>,
}

impl Response {
    pub(super) fn new(api: &'static str, provider: &str, model: &str, timestamp: i64) -> Self {
        Self {
            draft: Draft::new(api, provider, model, timestamp),
            items: Vec::new(),
            incomplete: None,
        }
    }

    /// The item an event is about: by its place, by its id, else the newest.
    fn find(&mut self, index: Option<u64>, id: &str) -> Option<&mut Item> {
        let by_index = index.and_then(|index| self.items.iter().rposition(|placed| placed.index == Some(index)));
        let by_id = || {
            let known = self.items.iter().rposition(|placed| placed.id == id);
            known.filter(|_| !id.is_empty())
        };
        let at = by_index.or_else(by_id);
        let at = match at {
            Some(at) => at,
            None if index.is_none() && id.is_empty() => self.items.len().checked_sub(1)?,
            None => return None,
        };
        self.items.get_mut(at).map(|placed| &mut placed.item)
    }

    fn add(&mut self, index: Option<u64>, item: &Value, out: &mut VecDeque<ModelEvent>) {
        if self.items.len() == MOST_PARTS {
            return;
        }
        let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = match text("type").as_str() {
            "message" => Item::Text(String::new()),
            "reasoning" => Item::Thought {
                summary: String::new(),
                whole: None,
            },
            "function_call" => {
                let (call_id, name) = (text("call_id"), text("name"));
                out.push_back(ModelEvent::ToolCallStart {
                    id: joined(&call_id, &text("id")),
                    name: name.clone(),
                });
                Item::Call {
                    call_id,
                    name,
                    arguments: text("arguments"),
                }
            }
            _ => Item::Other,
        };
        self.items.push(Placed {
            index,
            id: text("id"),
            item: kind,
        });
    }

    /// An item is complete: what no delta said stands in it.
    fn done(&mut self, index: Option<u64>, item: Value, out: &mut VecDeque<ModelEvent>) {
        let id = item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.find(index, &id).is_none() {
            self.add(index, &item, out);
        }
        match self.find(index, &id) {
            Some(Item::Text(text)) if text.is_empty() => {
                let said = spoken(&item);
                if !said.is_empty() {
                    text.push_str(&said);
                    out.push_back(ModelEvent::TextDelta(said));
                }
            }
            Some(Item::Thought { summary, whole }) => {
                if summary.is_empty() {
                    summary.push_str(&thought(&item));
                }
                *whole = Some(kept(&item));
            }
            Some(Item::Call {
                call_id,
                name,
                arguments,
            }) => {
                for (slot, field) in [(call_id, "call_id"), (name, "name"), (arguments, "arguments")] {
                    if let Some(text) = item.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()) {
                        text.clone_into(slot);
                    }
                }
            }
            Some(Item::Text(_) | Item::Other) | None => {}
        }
    }

    fn say(&mut self, index: Option<u64>, id: &str, delta: String, out: &mut VecDeque<ModelEvent>) {
        if delta.is_empty() {
            return;
        }
        if !matches!(self.find(index, id), Some(Item::Text(_))) && self.items.len() < MOST_PARTS {
            // A server that does not say that the item was added.
            self.items.push(Placed {
                index,
                id: id.to_owned(),
                item: Item::Text(String::new()),
            });
        }
        if let Some(Item::Text(text)) = self.find(index, id) {
            text.push_str(&delta);
            out.push_back(ModelEvent::TextDelta(delta));
        }
    }

    fn think(&mut self, index: Option<u64>, id: &str, delta: String, out: &mut VecDeque<ModelEvent>) {
        if let Some(Item::Thought { summary, .. }) = self.find(index, id)
            && !delta.is_empty()
        {
            summary.push_str(&delta);
            out.push_back(ModelEvent::ThinkingDelta(delta));
        }
    }

    /// What the event that ends the stream says of the whole.
    fn close(&mut self, response: WireResponse, out: &mut VecDeque<ModelEvent>) -> Result<(), Failure> {
        if let Some(error) = response.error.filter(|error| !error.is_null()) {
            return Err(Failure::in_stream(&error));
        }
        self.draft.name(response.id.0);
        if self.items.is_empty() {
            let output = response.output.unwrap_or_default().into_iter().take(MOST_PARTS);
            for (index, item) in (0..).zip(output) {
                self.done(Some(index), item, out);
            }
        }
        if let Some(usage) = response.usage {
            let cached = usage
                .input_tokens_details
                .map_or(0, |details| details.cached_tokens.or_zero());
            let (prompt, output) = (usage.input_tokens.or_zero(), usage.output_tokens.or_zero());
            self.draft.count(prompt, cached, 0, output);
        }
        match response.status.0.as_str() {
            "incomplete" => {
                self.incomplete = Some(response.incomplete_details.unwrap_or_default().reason.0);
            }
            "failed" => return Err(Failure::new(ErrorClass::Unknown, "the response failed")),
            "cancelled" => return Err(Failure::new(ErrorClass::Network, "the response was cancelled")),
            _ => {}
        }
        Ok(())
    }
}

/// Both ids of a call: the one that its result names, and the item's.
fn joined(call_id: &str, item: &str) -> String {
    if item.is_empty() {
        call_id.to_owned()
    } else {
        format!("{call_id}|{item}")
    }
}

fn texts(item: &Value, list: &str) -> Vec<String> {
    let parts = item.get(list).and_then(Value::as_array);
    let text = |part: &Value| {
        let text = part.get("text").or_else(|| part.get("refusal"))?;
        text.as_str().map(str::to_owned)
    };
    parts.into_iter().flatten().filter_map(text).collect()
}

fn spoken(item: &Value) -> String {
    texts(item, "content").concat()
}

fn thought(item: &Value) -> String {
    texts(item, "summary").join("\n\n")
}

/// What of a reasoning item goes back: it is refused with fields that only an answer has.
fn kept(item: &Value) -> Value {
    let mut kept = json!({"type": "reasoning", "summary": item.get("summary").cloned().unwrap_or_else(|| json!([]))});
    for field in ["id", "encrypted_content"] {
        if let Some(value) = item.get(field).filter(|value| value.is_string()) {
            kept[field] = value.clone();
        }
    }
    kept
}

impl Dialect for Response {
    fn event(&mut self, event: SseEvent<'_>, out: &mut VecDeque<ModelEvent>) -> Result<Flow, Failure> {
        let data = event.data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Ok(Flow::More);
        }
        let wire: Wire = serde_json::from_slice(data)
            .map_err(|error| Failure::garbage(format!("an event is not what the API documents: {error}")))?;
        let (index, id) = (wire.output_index.0, wire.item_id.0.as_str());
        match wire.kind.0.as_str() {
            "response.output_item.added" => self.add(index, &wire.item.unwrap_or_default(), out),
            "response.output_item.done" => self.done(index, wire.item.unwrap_or_default(), out),
            "response.output_text.delta" | "response.refusal.delta" => self.say(index, id, wire.delta.0, out),
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.think(index, id, wire.delta.0, out);
            }
            "response.reasoning_summary_part.added" => {
                if let Some(Item::Thought { summary, .. }) = self.find(index, id)
                    && !summary.is_empty()
                {
                    self.think(index, id, "\n\n".to_owned(), out);
                }
            }
            "response.function_call_arguments.delta" => {
                if let Some(Item::Call { arguments, .. }) = self.find(index, id) {
                    arguments.push_str(&wire.delta.0);
                    if !wire.delta.is_empty() {
                        out.push_back(ModelEvent::ToolCallDelta(wire.delta.0));
                    }
                }
            }
            "response.function_call_arguments.done" => {
                if let Some(Item::Call { arguments, .. }) = self.find(index, id)
                    && !wire.arguments.is_empty()
                {
                    *arguments = wire.arguments.0;
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" | "response.done" => {
                self.close(wire.response.unwrap_or_default(), out)?;
                return Ok(Flow::Finished);
            }
            "error" => {
                let error = wire.error.filter(|error| !error.is_null());
                let error = error.unwrap_or_else(|| json!({"code": wire.code.0, "message": wire.message.0}));
                return Err(Failure::in_stream(&error));
            }
            _ => {}
        }
        Ok(Flow::More)
    }

    fn whole(&mut self, body: &[u8], out: &mut VecDeque<ModelEvent>) -> Result<bool, Failure> {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            return Ok(false);
        };
        let is_failure = value.get("error").is_some_and(|error| !error.is_null());
        if !is_failure && !value.get("output").is_some_and(Value::is_array) {
            return Ok(false);
        }
        let Ok(response) = serde_json::from_value(value) else {
            return Ok(false);
        };
        self.close(response, out)?;
        Ok(true)
    }

    fn is_complete(&self) -> bool {
        false
    }

    fn finish(&mut self) -> Result<AssistantMessage, Failure> {
        if self.incomplete.as_deref() == Some("content_filter") {
            return Err(Failure::refusal("incomplete: content_filter"));
        }
        let at_limit = self.incomplete.is_some();
        Ok(ended(self.assemble(true), at_limit))
    }

    fn assemble(&mut self, with_tools: bool) -> AssistantMessage {
        let content = std::mem::take(&mut self.items)
            .into_iter()
            .filter_map(|Placed { id, item, .. }| match item {
                Item::Text(text) => (!text.is_empty()).then_some(AssistantPart::Text { text }),
                Item::Thought { summary, whole } => {
                    (!summary.is_empty() || whole.is_some()).then(|| AssistantPart::Thinking {
                        thinking: summary,
                        thinking_signature: whole.map(|whole| whole.to_string()),
                        redacted: false,
                    })
                }
                Item::Call {
                    call_id,
                    name,
                    arguments,
                } => (with_tools && !name.is_empty()).then(|| {
                    AssistantPart::ToolCall(ToolCall {
                        id: joined(&call_id, &id),
                        name,
                        arguments: parsed(arguments),
                    })
                }),
                Item::Other => None,
            })
            .collect();
        self.draft.with(content)
    }
}
