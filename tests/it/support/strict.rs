//! What providers refuse in a request, so that a test sees it when they would (`agent-runtime` §7.4).

use std::collections::HashSet;

use serde_json::Value;

use super::wire::{Family, Said, conversation};

/// Would a strict provider of this family take the request.
pub(crate) fn check(family: Family, body: &Value) -> Result<(), String> {
    let said = conversation(family, body);
    pairs(&said)?;
    // No test with this check sends pictures or files, which are no words.
    let empty = |one: &Said| matches!(one, Said::User(text) if text.trim().is_empty());
    if said.iter().any(empty) {
        return Err("an empty text of a person".to_owned());
    }
    match family {
        Family::Anthropic => turns(body, "messages", "content", "assistant"),
        Family::Google => turns(body, "contents", "parts", "model"),
        Family::Chat | Family::Responses => arguments(family, body),
    }
}

/// Calls of one answer have ids of their own, and their results come right behind them, one for each.
fn pairs(said: &[Said]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut answering = false;
    for one in said {
        match one {
            Said::Call(id) if answering && !open.is_empty() => return Err(format!("a call {id} before all results")),
            Said::Call(id) => {
                answering = false;
                open.push(id);
            }
            Said::Result(id) => {
                answering = true;
                let at = open.iter().position(|open| open == id);
                open.remove(at.ok_or_else(|| format!("a result {id} without its call"))?);
            }
            Said::User(_) if !open.is_empty() => return Err(format!("no results of {open:?}")),
            Said::Model(_) if answering && !open.is_empty() => return Err(format!("an answer before {open:?}")),
            Said::User(_) | Said::Model(_) => {}
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("no results of {open:?} at the end"))
    }
}

/// A person begins and ends, and the two take turns; nothing is empty.
fn turns(body: &Value, list: &str, parts: &str, model: &str) -> Result<(), String> {
    let messages = body[list].as_array().ok_or("no messages")?;
    let mut before = model;
    for message in messages {
        let role = message["role"].as_str().unwrap_or_default();
        // Gemini takes two turns of a person behind each other.
        if role == before && (list == "messages" || role == model) {
            return Err(format!("two turns of {role} behind each other"));
        }
        let parts = message[parts].as_array().ok_or("a turn without parts")?;
        if parts.is_empty() {
            return Err(format!("an empty turn of {role}"));
        }
        let mut ids = HashSet::new();
        for part in parts {
            if part["type"] == "tool_use" {
                let id = part["id"].as_str().unwrap_or_default();
                let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
                if id.is_empty() || !id.chars().all(fits) || !ids.insert(id) {
                    return Err(format!("the id {id:?} of a call"));
                }
                if !part["input"].is_object() {
                    return Err(format!("the arguments of {id}"));
                }
            }
            let call = &part["functionCall"];
            if call.is_object() && !(call["args"].is_object() || call["args"].is_null()) {
                return Err("arguments of a call that are no object".to_owned());
            }
        }
        before = if role == model { model } else { "user" };
    }
    if before == "user" {
        Ok(())
    } else {
        Err("the last turn is the model's".to_owned())
    }
}

/// Arguments are the text of an object, and ids are different within one answer.
fn arguments(family: Family, body: &Value) -> Result<(), String> {
    let object = |text: &Value| {
        let read: Option<Value> = text.as_str().and_then(|text| serde_json::from_str(text).ok());
        read.is_some_and(|read| read.is_object())
    };
    if family == Family::Responses {
        let items = body["input"].as_array().ok_or("no input")?;
        let calls = items.iter().filter(|item| item["type"] == "function_call");
        for call in calls {
            if !object(&call["arguments"]) {
                return Err(format!("arguments {}", call["arguments"]));
            }
        }
        return Ok(());
    }
    for message in body["messages"].as_array().ok_or("no messages")? {
        let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut ids = HashSet::new();
        for call in calls {
            let id = call["id"].as_str().unwrap_or_default();
            if id.is_empty() || id.len() > 40 || !ids.insert(id) {
                return Err(format!("the id {id:?} of a call"));
            }
            if !object(&call["function"]["arguments"]) {
                return Err(format!("arguments {}", call["function"]["arguments"]));
            }
        }
        let empty = message["content"].as_str().is_none_or(|text| text.trim().is_empty());
        let parts = message["content"].as_array().is_some_and(|parts| !parts.is_empty());
        if empty && !parts && calls.is_empty() {
            return Err(format!("an empty message of {}", message["role"]));
        }
    }
    Ok(())
}
