//! How many tokens something will take, estimated without a tokenizer (`agent-runtime` §8.5).

use serde_json::Value;

use crate::conversation::entry::{Body, Entry};
use crate::ports::message::{AssistantMessage, AssistantPart, FileFormat, Message, Part};

/// Tokens of one image.
pub const IMAGE: u64 = 1_200;

/// What role, separators and ids of a message cost.
const OVERHEAD: u64 = 4;

/// A quarter of the ASCII characters, rounded up, and one for each other character: text in Chinese, Japanese or
/// Korean takes about one token a character.
pub fn text(text: &str) -> u64 {
    let mut ascii = 0_u64;
    let mut others = 0_u64;
    for &byte in text.as_bytes() {
        ascii += u64::from(byte < 0x80);
        others += u64::from(byte >= 0xC0);
    }
    ascii.div_ceil(4) + others
}

/// A message as it goes to a model.
pub fn message(message: &Message) -> u64 {
    OVERHEAD
        + match message {
            Message::User { content, .. } | Message::ToolResult { content, .. } => content.iter().map(part).sum(),
            Message::Assistant(message) => answer(message),
        }
}

/// What a model said.
pub fn answer(message: &AssistantMessage) -> u64 {
    message.content.iter().map(assistant_part).sum()
}

/// An entry's share of the context; 0 for what a model never sees.
pub fn entry(entry: &Entry) -> u64 {
    match &entry.body {
        Body::Message(body) => message(&body.message),
        Body::Compaction(body) => OVERHEAD + text(&body.summary) + body.rules().map_or(0, text),
        Body::BranchSummary(body) => OVERHEAD + text(&body.summary),
        Body::CustomMessage(body) => OVERHEAD + body.content.iter().map(part).sum::<u64>(),
        Body::Custom(_)
        | Body::ModelChange(_)
        | Body::ThinkingLevelChange(_)
        | Body::Label(_)
        | Body::SessionInfo(_) => 0,
    }
}

/// With the safety margin for where an estimate decides what is cut: a fifth more.
pub const fn with_margin(estimate: u64) -> u64 {
    estimate + estimate / 5
}

fn part(part: &Part) -> u64 {
    match part {
        Part::Text { text: piece } => text(piece),
        Part::Image { .. } => IMAGE,
        Part::File { mime_type, size, .. } => file(mime_type, *size),
    }
}

/// A page of a PDF has some 50 KB and costs 1,500 to 3,000 tokens; a second of sound has 16 KB or more, and costs 32.
fn file(mime_type: &str, size: u64) -> u64 {
    if FileFormat::of_mime_type(mime_type) == Some(FileFormat::Pdf) {
        (size / 25).clamp(1_500, 60_000)
    } else {
        (size / 500).max(32)
    }
}

fn assistant_part(part: &AssistantPart) -> u64 {
    match part {
        AssistantPart::Text { text: piece } => text(piece),
        AssistantPart::Thinking {
            thinking,
            thinking_signature,
            ..
        } => text(thinking) + thinking_signature.as_deref().map_or(0, text),
        AssistantPart::ToolCall(call) => text(&call.name) + json(&call.arguments),
    }
}

/// Like [`text`] of the JSON, without writing it out.
pub fn json(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 2,
        Value::String(piece) => 1 + text(piece),
        Value::Array(items) => 1 + items.iter().map(json).sum::<u64>(),
        Value::Object(fields) => {
            1 + fields
                .iter()
                .map(|(name, value)| 1 + text(name) + json(value))
                .sum::<u64>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_follow_the_rule() {
        for (sample, tokens) in [
            ("", 0),
            ("a", 1),
            ("abcd", 1),
            ("abcde", 2),
            ("日本語", 3),
            ("naïve", 2),
            ("🙂", 1),
            ("ab日", 2),
        ] {
            assert_eq!(text(sample), tokens, "{sample:?}");
        }
        let picture = Message::User {
            content: vec![
                Part::Text {
                    text: "abcd".to_owned(),
                },
                Part::Image {
                    data: None,
                    blob: Some("b".to_owned()),
                    mime_type: "image/png".to_owned(),
                },
            ],
            timestamp: 0,
        };
        assert_eq!(message(&picture), OVERHEAD + 1 + IMAGE);
        assert_eq!(with_margin(100), 120);
    }
}
