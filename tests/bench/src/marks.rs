//! Words by which the mock world tells one message from another: `mark:<word>` in what a person writes.

use serde::{Deserialize, Serialize};
use serde_json::Value;

const SIGN: &str = "mark:";

/// What the mock world saw of one word.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Prompts whose last message from a person holds it.
    pub calls: u64,
    /// When the first of them had come whole, Unix microseconds.
    pub called_us: u64,
    /// Messages of the first of them, instructions included.
    pub messages: u64,
    /// Requests to `/posted/<word>`, and how many idempotency keys they had.
    pub posts: u64,
    pub keys: u64,
    /// When the last of these came, Unix microseconds.
    pub posted_us: u64,
}

/// A message that is known by `word`: letters, digits and `-`.
pub fn message(word: &str) -> String {
    format!("{SIGN}{word}")
}

/// The word in the last message from a person in a request of the chat completions API.
pub fn of_prompt(request: &Value) -> Option<&str> {
    let messages = request["messages"].as_array()?;
    let last = messages.iter().rev().find(|message| message["role"] == "user")?;
    match &last["content"] {
        Value::String(text) => in_text(text),
        Value::Array(parts) => parts.iter().find_map(|part| in_text(part["text"].as_str()?)),
        _ => None,
    }
}

fn in_text(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(SIGN)?;
    let end = rest
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
        .unwrap_or(rest.len());
    rest.get(..end).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_person_names_the_word() {
        let request = |content: Value| {
            json!({"messages": [
                {"role": "user", "content": "mark:old"}, {"role": "assistant", "content": "mark:model"},
                {"role": "user", "content": content}, {"role": "tool", "content": "mark:tool"},
            ]})
        };
        let text = request(json!(format!("[cron] {}\nmore", message("c-17"))));
        assert_eq!(of_prompt(&text), Some("c-17"));
        let parts = request(json!([{"type": "text", "text": "mark:p1."}]));
        assert_eq!(of_prompt(&parts), Some("p1"));
        assert_eq!(of_prompt(&request(json!("nothing"))), None);
        assert_eq!(of_prompt(&json!({})), None);
    }
}
