//! Reading messages whose kind stands first, as we write it, in one pass.
//!
//! serde collects all fields of a tagged enum before it looks at the kind, and once more for each level: that took half
//! of the time in which a long conversation was read. What has its kind elsewhere, or is of a rare kind, is read so still.

use std::borrow::Cow;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{AssistantMessage, AssistantPart, Message, Part, ToolCall};

/// An enum whose kind is one of its fields.
trait Tagged: Sized {
    /// The field's name.
    const TAG: &'static str;

    /// Reads the fields of a frequent kind; the entries come back for any other.
    fn frequent<'de, A: MapAccess<'de>>(kind: &str, entries: A) -> Result<Result<Self, A>, A::Error>;

    /// Reads any kind, wherever its name stands.
    fn any(fields: Value) -> serde_json::Result<Self>;
}

struct Read<T>(PhantomData<T>);

impl<'de, T: Tagged> Visitor<'de> for Read<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "an object with a field `{}`", T::TAG)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<T, A::Error> {
        let mut fields = Map::new();
        if let Some(name) = entries.next_key::<Cow<'de, str>>()? {
            let value: Value = entries.next_value()?;
            if let (true, Some(kind)) = (name == T::TAG, value.as_str()) {
                match T::frequent(kind, entries)? {
                    Ok(read) => return Ok(read),
                    Err(rest) => entries = rest,
                }
            }
            fields.insert(name.into_owned(), value);
        }
        while let Some((name, value)) = entries.next_entry()? {
            fields.insert(name, value);
        }
        T::any(Value::Object(fields)).map_err(Error::custom)
    }
}

fn read<'de, D: Deserializer<'de>, A: Deserialize<'de>>(entries: D) -> Result<A, D::Error> {
    A::deserialize(entries)
}

impl Tagged for Message {
    const TAG: &'static str = "role";

    fn frequent<'de, A: MapAccess<'de>>(kind: &str, entries: A) -> Result<Result<Self, A>, A::Error> {
        #[derive(Deserialize)]
        struct User {
            content: Vec<Part>,
            timestamp: i64,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ToolResult {
            tool_call_id: String,
            tool_name: String,
            content: Vec<Part>,
            #[serde(default)]
            details: Option<Value>,
            #[serde(default)]
            is_error: bool,
            timestamp: i64,
        }
        let entries = match kind {
            "user" | "assistant" | "toolResult" => MapAccessDeserializer::new(entries),
            _ => return Ok(Err(entries)),
        };
        Ok(Ok(match kind {
            "user" => {
                let User { content, timestamp } = read(entries)?;
                Self::User { content, timestamp }
            }
            "assistant" => Self::Assistant(read::<_, AssistantMessage>(entries)?),
            _ => {
                let result: ToolResult = read(entries)?;
                Self::ToolResult {
                    tool_call_id: result.tool_call_id,
                    tool_name: result.tool_name,
                    content: result.content,
                    details: result.details,
                    is_error: result.is_error,
                    timestamp: result.timestamp,
                }
            }
        }))
    }

    fn any(fields: Value) -> serde_json::Result<Self> {
        Self::deserialize(fields)
    }
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

impl Tagged for Part {
    const TAG: &'static str = "type";

    fn frequent<'de, A: MapAccess<'de>>(kind: &str, entries: A) -> Result<Result<Self, A>, A::Error> {
        if kind != "text" {
            return Ok(Err(entries));
        }
        let Text { text } = read(MapAccessDeserializer::new(entries))?;
        Ok(Ok(Self::Text { text }))
    }

    fn any(fields: Value) -> serde_json::Result<Self> {
        Self::deserialize(fields)
    }
}

impl Tagged for AssistantPart {
    const TAG: &'static str = "type";

    fn frequent<'de, A: MapAccess<'de>>(kind: &str, entries: A) -> Result<Result<Self, A>, A::Error> {
        Ok(match kind {
            "text" => {
                let Text { text } = read(MapAccessDeserializer::new(entries))?;
                Ok(Self::Text { text })
            }
            "toolCall" => Ok(Self::ToolCall(read::<_, ToolCall>(MapAccessDeserializer::new(
                entries,
            ))?)),
            _ => Err(entries),
        })
    }

    fn any(fields: Value) -> serde_json::Result<Self> {
        Self::deserialize(fields)
    }
}

/// serde's own code stands beside the type (`remote`); these are the doors to it.
macro_rules! doors {
    ($($kind:ty),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(Read(PhantomData))
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    )*};
}

doors!(Message, Part, AssistantPart);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn everything() -> Vec<Value> {
        vec![
            json!({"role": "user", "content": [
                {"type": "text", "text": "a \"quoted\" \n word"},
                {"type": "image", "ref": "b1", "mimeType": "image/png"},
                {"type": "file", "data": "AA==", "mimeType": "audio/wav", "name": "x.wav", "size": 2},
            ], "timestamp": 7}),
            json!({"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "thinkingSignature": "s", "redacted": false},
                {"type": "text", "text": "yes"},
                {"type": "toolCall", "id": "c", "name": "t", "arguments": {"type": "text", "role": "user"}},
            ], "api": "a", "provider": "p", "model": "m", "usage": {"input": 1, "output": 2, "cacheRead": 0,
               "cacheWrite": 0, "totalTokens": 3, "cost": {"input": 0.5, "output": 0.0, "cacheRead": 0.0,
               "cacheWrite": 0.0, "total": 0.5}}, "stopReason": "toolUse", "timestamp": 8}),
            json!({"role": "toolResult", "toolCallId": "c", "toolName": "t", "content": [{"type": "text", "text": ""}],
               "details": {"a": [1]}, "isError": true, "timestamp": 9}),
        ]
    }

    /// `value` with the fields of every object in another order.
    fn turned(value: &Value, last: &str) -> String {
        match value {
            Value::Object(fields) => {
                let (late, early): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == last);
                let written: Vec<String> = early
                    .into_iter()
                    .chain(late)
                    .map(|(name, value)| format!("{}:{}", json!(name), turned(value, last)))
                    .collect();
                format!("{{{}}}", written.join(","))
            }
            Value::Array(items) => {
                let written: Vec<String> = items.iter().map(|item| turned(item, last)).collect();
                format!("[{}]", written.join(","))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        }
    }

    #[test]
    fn a_message_is_read_alike_wherever_its_kind_stands() {
        for value in everything() {
            let plain: Message = Message::any(value.clone()).expect("serde reads it");
            let written = serde_json::to_string(&plain).expect("writes");
            assert!(written.starts_with("{\"role\":"), "{written}");
            assert_eq!(serde_json::to_value(&plain).expect("writes"), value);
            for text in [
                written,
                turned(&value, "role"),
                turned(&value, "type"),
                turned(&value, "content"),
            ] {
                assert_eq!(serde_json::from_str::<Message>(&text).expect("reads"), plain, "{text}");
            }
            assert_eq!(serde_json::from_value::<Message>(value).expect("reads"), plain);
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for broken in [
            "[]",
            "{}",
            r#"{"role":"user"}"#,
            r#"{"role":"king","content":[],"timestamp":1}"#,
            r#"{"role":7,"content":[],"timestamp":1}"#,
            r#"{"role":"user","content":[{"type":"text"}],"timestamp":1}"#,
            r#"{"role":"user","content":[{"type":"hum","text":"a"}],"timestamp":1}"#,
            r#"{"role":"user","content":[{"text":"a"}],"timestamp":1}"#,
            r#"{"role":"user","content":[],"timestamp":1"#,
        ] {
            assert!(serde_json::from_str::<Message>(broken).is_err(), "{broken}");
        }
    }
}
