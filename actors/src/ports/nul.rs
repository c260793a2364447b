//! U+0000 in what comes from outside: PostgreSQL stores it in no text and no `jsonb`. It means nothing to people and is
//! taken out where models, tools and platforms hand something over.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::message::{AssistantMessage, AssistantPart, Part};
use super::model::ModelEvent;
use super::tool::ToolOutput;

const NUL: char = '\0';

/// Is there one in it.
pub fn is_in(text: &str) -> bool {
    text.contains(NUL)
}

pub fn strip(text: &mut String) {
    if is_in(text) {
        text.retain(|letter| letter != NUL);
    }
}

/// Out of names and values at every depth.
pub fn strip_json(value: &mut Value) {
    match value {
        Value::String(text) => strip(text),
        Value::Array(list) => list.iter_mut().for_each(strip_json),
        Value::Object(map) => {
            if map.keys().any(|name| is_in(name)) {
                let all = std::mem::take(map);
                map.extend(all.into_iter().map(|(mut name, value)| {
                    strip(&mut name);
                    (name, value)
                }));
            }
            map.values_mut().for_each(strip_json);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What one model event says.
pub(crate) fn strip_event(mut event: ModelEvent) -> ModelEvent {
    match &mut event {
        ModelEvent::Start => {}
        ModelEvent::TextDelta(piece) | ModelEvent::ThinkingDelta(piece) | ModelEvent::ToolCallDelta(piece) => {
            strip(piece)
        }
        ModelEvent::ToolCallStart { id, name } => {
            strip(id);
            strip(name);
        }
        ModelEvent::Done(message) => strip_message(message),
        ModelEvent::Error(error) => {
            strip(&mut error.message);
            strip(&mut error.detail);
            strip_message(&mut error.partial);
        }
    }
    event
}

fn strip_message(message: &mut AssistantMessage) {
    for part in &mut message.content {
        match part {
            AssistantPart::Text { text } => strip(text),
            // A signature goes back as it came, or not at all.
            AssistantPart::Thinking { thinking, .. } => strip(thinking),
            AssistantPart::ToolCall(call) => {
                strip(&mut call.id);
                strip(&mut call.name);
                strip_json(&mut call.arguments);
            }
        }
    }
    message.response_id.iter_mut().for_each(strip);
    message.error_message.iter_mut().for_each(strip);
}

/// What a tool gave.
pub(crate) fn strip_output(output: &mut ToolOutput) {
    output.content.iter_mut().for_each(|part| match part {
        Part::Text { text } => strip(text),
        Part::Image { .. } | Part::File { .. } => {}
    });
    output.details.iter_mut().for_each(strip_json);
}

/// What is stored as JSON, and that JSON.
pub(crate) fn strip_stored<T: Serialize + DeserializeOwned>(value: T) -> serde_json::Result<(T, String)> {
    let json = serde_json::to_string(&value)?;
    // Hardly ever there, and sure to be looked at when it is.
    if !json.contains("\\u0000") {
        return Ok((value, json));
    }
    let mut value = serde_json::to_value(value)?;
    strip_json(&mut value);
    let json = value.to_string();
    Ok((serde_json::from_value(value)?, json))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_it_is_left_at_any_depth() {
        let mut value = json!({"a\0": ["x\0y", {"b": "\0"}], "c": "\\u0000"});
        strip_json(&mut value);
        assert_eq!(value, json!({"a": ["xy", {"b": ""}], "c": "\\u0000"}));
        let (list, text) = strip_stored(vec!["a\0b".to_owned(), "\\u0000".to_owned()]).expect("JSON");
        assert_eq!((list[0].as_str(), list[1].as_str()), ("ab", "\\u0000"));
        assert_eq!(text, json!(["ab", "\\u0000"]).to_string());
    }
}
