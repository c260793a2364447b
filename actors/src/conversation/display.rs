//! A transcript entry as people see it: the wire form of `chat.history` and `session.message`, within its limits.

use std::io;

use serde_json::{Value, json};

use super::entry::{Body, Entry, MessageBody};
use crate::ports::message::{AssistantPart, Message, Part};
use crate::session::reply;

/// Characters of one text, as the original.
const MAX_TEXT: usize = 12_000;
/// Bytes of one message.
const MAX_MESSAGE: usize = 128 * 1024;

/// `__openclaw.kind` of what is no message but a line between messages.
const DIVIDER: &str = "compaction";

const CUT: &str = "\n… (the rest is left out)";

/// How much of a message is shown.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Characters of one text.
    pub text: usize,
    /// Bytes of one message; a larger one is replaced by a line that says so.
    pub message: usize,
}

impl Limits {
    /// Those of history and events, or shorter texts.
    pub fn display(max_chars: Option<usize>) -> Self {
        Self {
            text: max_chars.unwrap_or(MAX_TEXT).min(MAX_TEXT),
            message: MAX_MESSAGE,
        }
    }
}

/// The entry as a wire message and its size in bytes. `None` for what people do not see.
pub fn entry(entry: &Entry) -> Option<(Value, usize)> {
    entry_within(entry, Limits::display(None))
}

/// [`entry`] with limits of one's own.
pub fn entry_within(entry: &Entry, limits: Limits) -> Option<(Value, usize)> {
    let mut shown = match &entry.body {
        Body::Message(body) => message(body, limits.text)?,
        Body::Compaction(_) => notice("Earlier messages were summarised to make room.", entry.created_at),
        Body::CustomMessage(body) if body.display => json!({
            "role": "system",
            "content": parts(&body.content, limits.text),
            "timestamp": entry.created_at,
        }),
        Body::CustomMessage(_)
        | Body::BranchSummary(_)
        | Body::Custom(_)
        | Body::ModelChange(_)
        | Body::ThinkingLevelChange(_)
        | Body::Label(_)
        | Body::SessionInfo(_) => return None,
    };
    mark(&mut shown, entry);
    let mut size = length(&shown);
    if size > limits.message {
        shown = json!({
            "role": shown["role"],
            "content": [{"type": "text", "text": "[This message is too large to show here.]"}],
            "timestamp": shown["timestamp"],
        });
        mark(&mut shown, entry);
        size = length(&shown);
    }
    Some((shown, size))
}

fn mark(shown: &mut Value, entry: &Entry) {
    let mut about = json!({
        "id": entry.id,
        "seq": entry.seq,
        "recordTimestampMs": entry.created_at,
    });
    if let Some(run_id) = &entry.run_id {
        about["runId"] = json!(run_id);
    }
    if entry.body.compaction().is_some() {
        // Clients draw a line instead of a message.
        about["kind"] = json!(DIVIDER);
    }
    if let Body::Message(MessageBody {
        idempotency_key: Some(key),
        ..
    }) = &entry.body
    {
        about["idempotencyKey"] = json!(key);
        shown["idempotencyKey"] = json!(key);
    }
    shown["__openclaw"] = about;
}

fn message(body: &MessageBody, most: usize) -> Option<Value> {
    match body.message.as_ref() {
        Message::User { content, timestamp } => Some(json!({
            "role": "user",
            "content": user_content(body.display.as_deref(), content, most),
            "timestamp": timestamp,
        })),
        Message::Assistant(message) => {
            let said = message.content.iter().filter_map(|part| assistant_part(part, most));
            let content: Vec<Value> = said.chain(attachments(&message.attachments)).collect();
            if content.is_empty() && message.error_message.is_none() {
                return None; // a silent reply
            }
            let mut shown = json!({
                "role": "assistant",
                "content": content,
                "api": message.api,
                "provider": message.provider,
                "model": message.model,
                "usage": message.usage,
                "stopReason": message.stop_reason,
                "timestamp": message.timestamp,
            });
            if let Some(error) = &message.error_message {
                shown["errorMessage"] = json!(error);
            }
            if let Some(id) = &message.response_id {
                shown["responseId"] = json!(id);
            }
            Some(shown)
        }
        Message::ToolResult {
            tool_call_id,
            tool_name,
            content,
            is_error,
            timestamp,
            details: _,
        } => Some(json!({
            "role": "toolResult",
            "toolCallId": tool_call_id,
            "toolName": tool_name,
            "content": parts(content, most),
            "isError": is_error,
            "timestamp": timestamp,
        })),
    }
}

/// A string when there is only text, as the original; blocks otherwise.
fn user_content(display: Option<&str>, content: &[Part], most: usize) -> Value {
    let bytes = content.iter().any(|part| part.text().is_none());
    match (display, content) {
        (Some(text), _) if !bytes => json!(cut(text, most)),
        (None, [Part::Text { text }]) => json!(cut(text, most)),
        (Some(text), _) => {
            let mut blocks = vec![json!({"type": "text", "text": cut(text, most)})];
            blocks.extend(
                content
                    .iter()
                    .filter(|part| part.text().is_none())
                    .map(|bytes| part(bytes, most)),
            );
            Value::Array(blocks)
        }
        (None, _) => parts(content, most),
    }
}

fn parts(content: &[Part], most: usize) -> Value {
    content.iter().map(|piece| part(piece, most)).collect()
}

/// The files that an answer showed, as blocks of it.
pub fn attachments(files: &[Part]) -> impl Iterator<Item = Value> {
    files.iter().map(|file| part(file, MAX_TEXT))
}

fn part(part: &Part, most: usize) -> Value {
    match part {
        Part::Text { text } => json!({"type": "text", "text": cut(text, most)}),
        Part::File {
            blob,
            mime_type,
            name,
            size,
            ..
        } => json!({"type": "file", "ref": blob, "mimeType": mime_type, "name": name, "size": size}),
        Part::Image { blob, mime_type, .. } => json!({"type": "image", "ref": blob, "mimeType": mime_type}),
    }
}

fn assistant_part(part: &AssistantPart, most: usize) -> Option<Value> {
    match part {
        AssistantPart::Text { text } => {
            let shown = reply::shape(text);
            shown.text.map(|text| json!({"type": "text", "text": cut(&text, most)}))
        }
        AssistantPart::Thinking { redacted: true, .. } => None,
        AssistantPart::Thinking { thinking, .. } if thinking.is_empty() => None,
        AssistantPart::Thinking { thinking, .. } => Some(json!({"type": "thinking", "thinking": cut(thinking, most)})),
        AssistantPart::ToolCall(call) => Some(json!({
            "type": "toolCall",
            "id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        })),
    }
}

fn notice(text: &str, timestamp: i64) -> Value {
    json!({"role": "system", "content": [{"type": "text", "text": text}], "timestamp": timestamp})
}

/// At most `most` characters, and a line that says when something is left out.
pub fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}{CUT}", &text[..end]),
    }
}

/// What the message says. `None` when it has no text.
pub fn text(message: &Value) -> Option<String> {
    if message["__openclaw"]["kind"] == DIVIDER {
        return None;
    }
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

/// The message's text as one short line. `None` when it has none.
pub fn one_line(message: &Value, most: usize) -> Option<String> {
    let text = text(message)?;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line.chars().take(most).collect())
}

/// Bytes of the JSON, without keeping it.
fn length(value: &Value) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, value) {
        Ok(()) => counter.0,
        Err(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::message::{AssistantMessage, ToolCall};

    fn shown(body: impl Into<Body>) -> Option<Value> {
        let written = Entry {
            id: "e1".to_owned(),
            parent_id: None,
            seq: 7,
            body: body.into(),
            run_id: Some("r1".to_owned()),
            created_at: 5,
        };
        entry(&written).map(|(value, _)| value)
    }

    fn assistant(content: Vec<AssistantPart>) -> Message {
        Message::Assistant(AssistantMessage {
            content,
            ..AssistantMessage::default()
        })
    }

    #[test]
    fn people_see_what_was_typed_and_no_machinery() {
        let user = Body::Message(MessageBody {
            message: Message::user("[Telegram Ada 2026-01-01] hello", 3).into(),
            display: Some("hello".to_owned()),
            idempotency_key: Some("k:user".to_owned()),
            missed: Vec::new(),
        });
        let value = shown(user).unwrap();
        assert_eq!(value["content"], json!("hello"));
        assert_eq!(value["idempotencyKey"], json!("k:user"));
        assert_eq!(value["__openclaw"]["id"], json!("e1"));
        assert_eq!(value["__openclaw"]["seq"], json!(7));
        assert_eq!(value["__openclaw"]["runId"], json!("r1"));

        let value = shown(assistant(vec![
            AssistantPart::Thinking {
                thinking: "hm".to_owned(),
                thinking_signature: Some("secret".to_owned()),
                redacted: false,
            },
            AssistantPart::Text {
                text: "[[reply_to_current]] hi".to_owned(),
            },
            AssistantPart::ToolCall(ToolCall {
                id: "c".to_owned(),
                name: "t".to_owned(),
                arguments: json!({"a": 1}),
            }),
        ]))
        .unwrap();
        assert_eq!(
            value["content"],
            json!([
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "hi"},
                {"type": "toolCall", "id": "c", "name": "t", "arguments": {"a": 1}},
            ])
        );

        let value = shown(Message::ToolResult {
            tool_call_id: "c".to_owned(),
            tool_name: "t".to_owned(),
            content: vec![Part::Text { text: "ok".to_owned() }],
            details: Some(json!({"private": true})),
            is_error: false,
            timestamp: 1,
        })
        .unwrap();
        assert!(value.get("details").is_none());
        let silent = vec![AssistantPart::Text {
            text: " NO_REPLY\n".to_owned(),
        }];
        assert!(shown(assistant(silent)).is_none());
    }

    #[test]
    fn one_line_is_short_and_plain() {
        let message =
            json!({"role": "user", "content": [{"type": "text", "text": "a\n b"}, {"type": "text", "text": "cdé"}]});
        assert_eq!(one_line(&message, 5).as_deref(), Some("a b c"));
        assert_eq!(one_line(&json!({"role": "assistant", "content": []}), 5), None);
    }

    #[test]
    fn long_texts_are_cut_and_huge_messages_replaced() {
        let value = shown(Message::user("é".repeat(MAX_TEXT + 5), 0)).unwrap();
        let text = value["content"].as_str().unwrap();
        assert_eq!(text.chars().count(), MAX_TEXT + CUT.chars().count());

        let many = (0..40)
            .map(|_| Part::Text {
                text: "x".repeat(MAX_TEXT),
            })
            .collect();
        let value = shown(Message::User {
            content: many,
            timestamp: 9,
        })
        .unwrap();
        assert_eq!(value["content"].as_array().unwrap().len(), 1);
        assert_eq!(value["timestamp"], json!(9));
        assert_eq!(value["__openclaw"]["id"], json!("e1"));
    }
}
