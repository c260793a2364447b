//! Hygiene of a request's messages, in memory and per request (`agent-runtime` §7.4). The stored transcript is never
//! rewritten; what goes to a strict provider is.

mod pairing;
mod wording;

use std::borrow::Cow;
use std::sync::Arc;

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
/// thinking goes only back to the model it came from, and the strict families get strict turns. Idempotent. Messages
/// that are right as they are, which is nearly all of them, are not copied.
pub fn repair(messages: Vec<Arc<Message>>, target: Target<'_>) -> Vec<Arc<Message>> {
    let strictness = Strictness::of_api(target.api);
    let mut messages = messages;
    let asked = messages
        .iter()
        .rposition(|message| matches!(**message, Message::User { .. }));
    let mut at = 0..;
    messages.retain_mut(|message| {
        let goes_on = at.next() > asked;
        is_clean(message) || {
            let thinks = thinks_here(message, target, goes_on);
            clean(Arc::make_mut(message), thinks)
        }
    });
    let mut paired = pairing::pair(messages, strictness);
    match strictness {
        Strictness::OpenAi => paired,
        Strictness::Anthropic => {
            paired = merge_turns(paired);
            if let Some(Message::Assistant(first)) = paired.first().map(Arc::as_ref) {
                let beginning = Message::user("(The beginning of this conversation is left out.)", first.timestamp);
                paired.insert(0, Arc::new(beginning));
            }
            paired
        }
    }
}

/// Families that take the signed thoughts of a model back. Behind Chat Completions some servers want them while a
/// question is being worked on (`goes_on`), and nobody wants them later.
fn takes_thoughts(api: &str, goes_on: bool) -> bool {
    Strictness::of_api(api) == Strictness::Anthropic
        || api.ends_with("openai-responses")
        || api.starts_with("google")
        || (api == "openai-completions" && goes_on)
}

/// May the message's thinking go back: to a family that takes it, and to the very model it came from.
fn thinks_here(message: &Message, target: Target<'_>, goes_on: bool) -> bool {
    match message {
        Message::User { .. } | Message::ToolResult { .. } => false,
        Message::Assistant(message) => {
            message.api == target.api
                && message.provider == target.provider
                && message.model == target.model
                && takes_thoughts(target.api, goes_on)
        }
    }
}

/// Would [`clean`] leave the message as it is, and keep it?
fn is_clean(message: &Message) -> bool {
    let fine = |text: &str| !text.trim().is_empty() && matches!(neutralise(text), Cow::Borrowed(_));
    let all_fine = |content: &[Part]| {
        !content.is_empty()
            && content.iter().all(|part| match part {
                Part::Text { text } => fine(text),
                Part::Image { .. } | Part::File { .. } => true,
            })
    };
    match message {
        Message::User { content, .. } => all_fine(content),
        Message::ToolResult { content, details, .. } => details.is_none() && all_fine(content),
        // Thinking and calls have rules of their own: those are gone through one by one.
        Message::Assistant(message) => {
            !message.content.is_empty()
                && message.content.iter().all(|part| match part {
                    AssistantPart::Text { text } => fine(text),
                    AssistantPart::Thinking { .. } => false,
                    AssistantPart::ToolCall(call) => !call.name.is_empty() && wording::is_harmless(&call.arguments),
                })
        }
    }
}

/// Cleans one message on its own. `false` when nothing is left of it.
fn clean(message: &mut Message, thinks: bool) -> bool {
    match message {
        Message::User { content, .. } => {
            clean_parts(content);
            !content.is_empty()
        }
        Message::Assistant(message) => {
            clean_assistant(message, thinks);
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
        Part::Image { .. } | Part::File { .. } => true,
    });
    for part in content {
        if let Part::Text { text } = part {
            wording::neutralise_in(text);
        }
    }
}

fn clean_assistant(message: &mut AssistantMessage, thinks: bool) {
    let cut_short = matches!(message.stop_reason, StopReason::Error | StopReason::Aborted);
    message.content.retain(|part| match part {
        AssistantPart::Text { text } => !text.trim().is_empty(),
        // An unsigned block is one whose stream was cut; nobody takes it back.
        AssistantPart::Thinking {
            thinking_signature,
            redacted,
            ..
        } => thinks && !cut_short && (thinking_signature.as_ref().is_some_and(|s| !s.is_empty()) || *redacted),
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
fn merge_turns(messages: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
    let mut merged: Vec<Arc<Message>> = Vec::with_capacity(messages.len() + 1);
    for message in messages {
        match merged.last_mut() {
            Some(earlier) if same_role(earlier, &message) => {
                join(Arc::make_mut(earlier), Arc::unwrap_or_clone(message));
            }
            Some(_) | None => merged.push(message),
        }
    }
    merged
}

/// Two of a person, or two of the model.
fn same_role(earlier: &Message, later: &Message) -> bool {
    matches!(
        (earlier, later),
        (Message::User { .. }, Message::User { .. }) | (Message::Assistant(_), Message::Assistant(_))
    )
}

fn join(earlier: &mut Message, later: Message) {
    match (earlier, later) {
        (
            Message::User { content, timestamp },
            Message::User {
                content: more,
                timestamp: later,
            },
        ) => {
            content.extend(more);
            *timestamp = later;
        }
        (Message::Assistant(earlier), Message::Assistant(mut later)) => {
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
        // The caller has looked: they are of one role.
        (Message::User { .. } | Message::Assistant(_) | Message::ToolResult { .. }, _) => {}
    }
}

#[cfg(test)]
mod tests;
