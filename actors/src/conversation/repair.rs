//! Hygiene of a request's messages, in memory and per request (`agent-runtime` §7.4). The stored transcript is never
//! rewritten; what goes to a strict provider is.

mod pairing;
mod wording;

use crate::ports::message::{AssistantMessage, AssistantPart, Message, Part, StopReason};

pub use wording::neutralise;

/// What a wire family insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Anthropic Messages and compatibles: strict turns, replayed thinking, `[A-Za-z0-9_-]` in ids.
    Anthropic,
    /// OpenAI Chat Completions and compatibles, and everything else: pairs, no thinking, short ids.
    OpenAi,
}

impl Strictness {
    /// By the wire family's name.
    pub fn of_api(api: &str) -> Self {
        if api.starts_with("anthropic") || api.starts_with("bedrock") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }
}

/// The model a request goes to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub api: &'a str,
    pub provider: &'a str,
    pub model: &'a str,
}

/// Makes `messages` acceptable for `target`: every tool call is followed by exactly one result, nothing is empty,
/// thinking goes only back to the model it came from, and the strict families get strict turns. Idempotent.
pub fn repair(messages: Vec<Message>, target: Target<'_>) -> Vec<Message> {
    let strictness = Strictness::of_api(target.api);
    let mut cleaned = Vec::with_capacity(messages.len() + 1);
    for mut message in messages {
        if clean(&mut message, target) {
            cleaned.push(message);
        }
    }
    let mut paired = pairing::pair(cleaned, strictness);
    match strictness {
        Strictness::OpenAi => paired,
        Strictness::Anthropic => {
            paired = merge_turns(paired);
            if let Some(Message::Assistant(first)) = paired.first() {
                let timestamp = first.timestamp;
                paired.insert(
                    0,
                    Message::user("(The beginning of this conversation is left out.)", timestamp),
                );
            }
            paired
        }
    }
}

/// Families that take the signed thoughts of a model back.
fn takes_thoughts(api: &str) -> bool {
    Strictness::of_api(api) == Strictness::Anthropic || api.ends_with("openai-responses") || api.starts_with("google")
}

/// Cleans one message on its own. `false` when nothing is left of it.
fn clean(message: &mut Message, target: Target<'_>) -> bool {
    match message {
        Message::User { content, .. } => {
            clean_parts(content);
            !content.is_empty()
        }
        Message::Assistant(message) => {
            let same_model = message.api == target.api
                && message.provider == target.provider
                && message.model == target.model
                && takes_thoughts(target.api);
            clean_assistant(message, same_model);
            !message.content.is_empty()
        }
        Message::ToolResult { content, details, .. } => {
            *details = None;
            clean_parts(content);
            if content.is_empty() {
                content.push(Part::Text {
                    text: "(no output)".to_owned(),
                });
            }
            true
        }
    }
}

fn clean_parts(content: &mut Vec<Part>) {
    content.retain(|part| match part {
        Part::Text { text } => !text.trim().is_empty(),
        Part::Image { .. } => true,
    });
    for part in content {
        if let Part::Text { text } = part {
            wording::neutralise_in(text);
        }
    }
}

fn clean_assistant(message: &mut AssistantMessage, same_model: bool) {
    let cut_short = matches!(message.stop_reason, StopReason::Error | StopReason::Aborted);
    message.content.retain(|part| match part {
        AssistantPart::Text { text } => !text.trim().is_empty(),
        // An unsigned block is one whose stream was cut; nobody takes it back.
        AssistantPart::Thinking {
            thinking_signature,
            redacted,
            ..
        } => same_model && !cut_short && (thinking_signature.as_ref().is_some_and(|s| !s.is_empty()) || *redacted),
        // Neither input nor arguments: the stream ended inside the call.
        AssistantPart::ToolCall(call) => !call.name.is_empty() && !call.arguments.is_null(),
    });
    // Thinking alone is no answer, and a turn of it is refused.
    if message
        .content
        .iter()
        .all(|part| matches!(part, AssistantPart::Thinking { .. }))
    {
        message.content.clear();
    }
    for part in &mut message.content {
        match part {
            AssistantPart::Text { text } => wording::neutralise_in(text),
            AssistantPart::ToolCall(call) => wording::neutralise_json(&mut call.arguments),
            AssistantPart::Thinking { .. } => {}
        }
    }
}

/// Joins neighbours of the same role. Assistant turns with calls have their results between, so they never meet.
fn merge_turns(messages: Vec<Message>) -> Vec<Message> {
    let mut merged: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        match (merged.last_mut(), message) {
            (
                Some(Message::User { content, timestamp }),
                Message::User {
                    content: more,
                    timestamp: later,
                },
            ) => {
                content.extend(more);
                *timestamp = later;
            }
            (Some(Message::Assistant(earlier)), Message::Assistant(mut later)) => {
                let same = (&earlier.api, &earlier.provider, &earlier.model, earlier.stop_reason)
                    == (&later.api, &later.provider, &later.model, later.stop_reason);
                earlier.content.append(&mut later.content);
                if !same {
                    // Thinking may only be replayed inside the message it came with.
                    earlier
                        .content
                        .retain(|part| !matches!(part, AssistantPart::Thinking { .. }));
                }
                earlier.timestamp = later.timestamp;
            }
            (_, message) => merged.push(message),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
