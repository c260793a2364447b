//! A message that is being assembled: what every family ends with, whatever its events are.

use std::collections::{HashMap, HashSet};

use claw_actors::ports::message::{AssistantMessage, AssistantPart, StopReason, Usage};
use serde_json::{Map, Value};

/// Parts of one answer, calls among them. What a server sends beyond is left out: each delta is looked for among them.
pub(super) const MOST_PARTS: usize = 256;

/// The message as far as it is known without its parts.
pub(super) struct Draft {
    known: AssistantMessage,
}

impl Draft {
    /// `timestamp`: epoch milliseconds.
    pub(super) fn new(api: &str, provider: &str, model: &str, timestamp: i64) -> Self {
        Self {
            known: AssistantMessage {
                api: api.to_owned(),
                provider: provider.to_owned(),
                model: model.to_owned(),
                timestamp,
                ..AssistantMessage::default()
            },
        }
    }

    /// The provider's name of the answer; the first that says something stays.
    pub(super) fn name(&mut self, id: String) {
        if self.known.response_id.is_none() && !id.is_empty() {
            self.known.response_id = Some(id);
        }
    }

    /// Its tokens, for families that count cached ones apart from the prompt. The total is added up at the end.
    pub(super) fn usage(&mut self) -> &mut Usage {
        &mut self.known.usage
    }

    /// Takes tokens of a family that counts those from the cache, and those put into it, as part of the prompt.
    pub(super) fn count(&mut self, prompt: u64, cached: u64, written: u64, output: u64) {
        let usage = &mut self.known.usage;
        usage.cache_read = cached.min(prompt);
        usage.cache_write = written.min(prompt - usage.cache_read);
        usage.input = prompt - usage.cache_read - usage.cache_write;
        usage.output = output;
    }

    /// The message with these parts and its tokens added up.
    pub(super) fn with(&self, mut content: Vec<AssistantPart>) -> AssistantMessage {
        distinct(&mut content);
        let mut message = AssistantMessage {
            content,
            ..self.known.clone()
        };
        message.usage.total_tokens = message.usage.prompt_tokens().saturating_add(message.usage.output);
        message
    }
}

/// A whole answer with why it ended: `at_limit`, the model had no room for more.
pub(super) fn ended(mut message: AssistantMessage, at_limit: bool) -> AssistantMessage {
    message.stop_reason = if at_limit {
        StopReason::Length
    } else if message.tool_calls().next().is_some() {
        StopReason::ToolUse
    } else {
        StopReason::Stop
    };
    message
}

/// Arguments as they came, whole. What is no JSON stays a text.
pub(super) fn arguments(json: String) -> Value {
    if json.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(&json) {
        Ok(Value::Null) => Value::Object(Map::new()),
        // Some servers encode twice.
        Ok(Value::String(inner)) => serde_json::from_str(&inner).unwrap_or(Value::String(inner)),
        Ok(value) => value,
        Err(_) => Value::String(json),
    }
}

/// Gives calls that share an id one each: a result says by the id alone which call it is of. What stands behind `|` is
/// the id of an item, and is nobody's to name.
fn distinct(content: &mut [AssistantPart]) {
    let (mut used, mut numbers) = (HashSet::new(), HashMap::<String, usize>::new());
    for part in content {
        let AssistantPart::ToolCall(call) = part else { continue };
        let (id, item) = match call.id.split_once('|') {
            Some((id, item)) => (id.to_owned(), Some(item.to_owned())),
            None => (call.id.clone(), None),
        };
        let mut own = id.clone();
        while !used.insert(own.clone()) {
            let number = numbers.entry(id.clone()).or_insert(1);
            *number += 1;
            own = format!("{id}_{number}");
        }
        if own != id {
            call.id = item.map_or_else(|| own.clone(), |item| format!("{own}|{item}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use claw_actors::ports::message::ToolCall;

    use super::*;

    #[test]
    fn calls_of_one_answer_have_ids_of_their_own() {
        let call = |id: &str| {
            AssistantPart::ToolCall(ToolCall {
                id: id.to_owned(),
                name: "look".to_owned(),
                arguments: Value::Null,
            })
        };
        let ids = ["a", "a", "a_2", "b|i1", "b|i2", "a", ""].map(call).to_vec();
        let message = Draft::new("api", "provider", "model", 1).with(ids);
        let ids: Vec<&str> = message.tool_calls().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["a", "a_2", "a_2_2", "b|i1", "b_2|i2", "a_3", ""]);
    }

    #[test]
    fn cached_tokens_are_taken_out_of_the_prompt_and_never_more_than_there_are() {
        let mut draft = Draft::new("api", "provider", "model", 1);
        draft.count(10, 4, 3, 2);
        let usage = draft.with(Vec::new()).usage;
        assert_eq!(
            (usage.input, usage.cache_read, usage.cache_write, usage.total_tokens),
            (3, 4, 3, 12)
        );
        draft.count(1, 5, 5, 1);
        let usage = draft.with(Vec::new()).usage;
        assert_eq!((usage.input, usage.cache_read, usage.cache_write), (0, 1, 0));
    }
}
