//! Tool calls and their results: exactly one result after each call, and ids every provider takes.

use std::collections::HashSet;
use std::sync::Arc;

use super::Strictness;
use crate::ports::message::{AssistantMessage, AssistantPart, Message, Part, ToolCall};

/// Longest id OpenAI takes for a tool call.
const OPENAI_ID: usize = 40;
const ANTHROPIC_ID: usize = 64;

const LOST: &str =
    "This call has no result: it was interrupted before it finished. Do not assume that it had an effect.";

/// Puts each call's result right behind its message, in the order of the calls. A missing one is made up, one without
/// a call and a second one are dropped. What stood between comes after the results.
pub(super) fn pair(messages: Vec<Arc<Message>>, strictness: Strictness) -> Vec<Arc<Message>> {
    let mut paired = Vec::with_capacity(messages.len() + 1);
    let mut messages = messages.into_iter().peekable();
    while let Some(message) = messages.next() {
        match message.as_ref() {
            Message::User { .. } => paired.push(message),
            Message::ToolResult { .. } => {} // a result without a call is an orphan
            Message::Assistant(assistant) if assistant.tool_calls().next().is_none() => paired.push(message),
            Message::Assistant(assistant) => {
                let mut assistant = assistant.clone();
                let names = drop_repeated_calls(&mut assistant);
                // Everything up to the next model message may answer this one.
                let mut results: Vec<Option<Arc<Message>>> = Vec::new();
                let mut others = Vec::new();
                while let Some(next) = messages.next_if(|next| !matches!(**next, Message::Assistant(_))) {
                    if matches!(*next, Message::ToolResult { .. }) {
                        results.push(Some(next));
                    } else {
                        others.push(next);
                    }
                }
                let timestamp = assistant.timestamp;
                let safe_ids = rename_calls(&mut assistant, strictness);
                paired.push(Arc::new(Message::Assistant(assistant)));
                for ((id, name), safe_id) in names.into_iter().zip(safe_ids) {
                    paired.push(take_result(&mut results, &id, &safe_id).unwrap_or_else(|| {
                        Arc::new(Message::ToolResult {
                            tool_call_id: safe_id,
                            tool_name: name,
                            content: vec![Part::Text { text: LOST.to_owned() }],
                            details: None,
                            is_error: true,
                            timestamp,
                        })
                    }));
                }
                paired.extend(others);
            }
        }
    }
    paired
}

/// Leaves the first of calls that share an id. Gives (id, name) of each that stays.
fn drop_repeated_calls(assistant: &mut AssistantMessage) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    assistant.content.retain(|part| match part {
        AssistantPart::ToolCall(call) => {
            let first = seen.insert(call.id.clone());
            if first {
                names.push((call.id.clone(), call.name.clone()));
            }
            first
        }
        AssistantPart::Text { .. } | AssistantPart::Thinking { .. } => true,
    });
    names
}

fn take_result(results: &mut [Option<Arc<Message>>], id: &str, safe_id: &str) -> Option<Arc<Message>> {
    let of_call = |message: &Message| matches!(message, Message::ToolResult { tool_call_id, .. } if tool_call_id == id);
    let slot = results.iter_mut().find(|slot| slot.as_deref().is_some_and(of_call))?;
    let mut result = slot.take()?;
    if id != safe_id
        && let Message::ToolResult { tool_call_id, .. } = Arc::make_mut(&mut result)
    {
        safe_id.clone_into(tool_call_id);
    }
    Some(result)
}

/// Gives every call an id and arguments the family takes. Gives the new ids in order; they stay different.
fn rename_calls(assistant: &mut AssistantMessage, strictness: Strictness) -> Vec<String> {
    let mut used = HashSet::new();
    let mut ids = Vec::new();
    for part in &mut assistant.content {
        let AssistantPart::ToolCall(ToolCall { id, arguments, .. }) = part else {
            continue;
        };
        let mut safe = safe_id(id, strictness);
        while !used.insert(safe.clone()) {
            safe.truncate(safe.len().min(30));
            safe = format!("{safe}_{}", used.len());
        }
        safe.clone_into(id);
        ids.push(safe);
        if !arguments.is_object() {
            // What did not parse: the model was told so; its call must still be an object.
            *arguments = serde_json::json!({ "unparsed": arguments.take() });
        }
    }
    ids
}

fn safe_id(id: &str, strictness: Strictness) -> String {
    let longest = match strictness {
        Strictness::Anthropic => ANTHROPIC_ID,
        Strictness::OpenAi => OPENAI_ID,
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.len() <= longest && id.chars().all(fits) {
        return id.to_owned();
    }
    let head: String = id.chars().filter(|c| fits(*c)).take(20).collect();
    format!("{head}_{:016x}", fnv(id))
}

/// FNV-1a: stable between versions, which `std`'s hasher is not, and so is the provider's prompt cache.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
