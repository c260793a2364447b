//! `reasoning_details` of OpenRouter: what a model thought, signed or sealed, which it wants back word for word while it
//! works on a question.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Texts that come in pieces.
const GROWING: [&str; 3] = ["text", "summary", "data"];

/// Entries of one answer, and pieces of one chunk. What is beyond is no thought of any model.
const MOST: usize = 256;
/// A piece goes on with one of the last entries.
const OPEN: usize = 16;
/// Longest list that is kept, bytes.
const LONGEST: usize = 1024 * 1024;

/// The list as it grows.
#[derive(Default)]
pub(super) struct Details(Vec<Map<String, Value>>);

impl Details {
    /// Takes what one chunk says. What continues an entry is added to it.
    pub(super) fn take(&mut self, pieces: Value) {
        let Value::Array(pieces) = pieces else { return };
        for piece in pieces.into_iter().take(MOST) {
            let Value::Object(piece) = piece else { continue };
            let open = self.0.len().saturating_sub(OPEN);
            match self.0[open..].iter().rposition(|known| continues(known, &piece)) {
                Some(at) => grow(&mut self.0[open + at], piece),
                None if self.0.len() < MOST => self.0.push(piece),
                None => {}
            }
        }
    }

    /// The whole list as a thought keeps it; `None` also for one that is too long to be sent again and again.
    pub(super) fn signature(self) -> Option<String> {
        let entries: Vec<Value> = self.0.into_iter().map(Value::Object).collect();
        let list = (!entries.is_empty()).then(|| Value::Array(entries).to_string());
        list.filter(|list| list.len() <= LONGEST)
    }
}

/// The list that a signature holds; empty for one that is none. Gemini's must be base64: others are left out.
pub(super) fn of_signature(signature: &str, model: &str) -> Vec<Value> {
    let list = if signature.starts_with('[') {
        serde_json::from_str(signature).unwrap_or_default()
    } else {
        Vec::new()
    };
    let fits = |entry: &Value| {
        let sealed = ["data", "signature"]
            .into_iter()
            .filter_map(|name| entry.get(name)?.as_str());
        sealed.into_iter().all(|text| STANDARD.decode(text).is_ok())
    };
    let of_gemini = model.starts_with("google/");
    list.into_iter().filter(|entry| !of_gemini || fits(entry)).collect()
}

/// Is the piece more of the same: of the same kind, at the same place, and not of another id.
fn continues(known: &Map<String, Value>, piece: &Map<String, Value>) -> bool {
    let other_id = |name| match (known.get(name), piece.get(name)) {
        (Some(Value::String(one)), Some(Value::String(other))) => one != other,
        _ => false,
    };
    let index = piece.get("index").filter(|index| !index.is_null());
    index.is_some() && known.get("index") == index && known.get("type") == piece.get("type") && !other_id("id")
}

fn grow(known: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (name, value) in piece {
        match (known.get_mut(&name), value) {
            (Some(Value::String(text)), Value::String(more)) if GROWING.contains(&name.as_str()) => {
                text.push_str(&more);
            }
            (_, Value::Null) => {}
            (_, value) => drop(known.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_of_an_entry_become_one_and_others_stay_apart() {
        let mut details = Details::default();
        for piece in [
            json!([{"type": "reasoning.text", "index": 0, "text": "Let ", "signature": null}]),
            json!([{"type": "reasoning.text", "index": 0, "text": "us", "format": "f"}]),
            json!([{"type": "reasoning.text", "index": 0, "signature": "c2ln"}, "noise"]),
            json!([{"type": "reasoning.encrypted", "id": "call_1", "data": "YQ=="}]),
            json!([{"type": "reasoning.encrypted", "id": "call_2", "data": "!"}]),
            json!({"not": "a list"}),
            Value::Null,
        ] {
            details.take(piece);
        }
        let signature = details.signature().unwrap();
        let entries = of_signature(&signature, "anthropic/claude");
        assert_eq!(
            json!(entries),
            json!([
                {"type": "reasoning.text", "index": 0, "text": "Let us", "signature": "c2ln", "format": "f"},
                {"type": "reasoning.encrypted", "id": "call_1", "data": "YQ=="},
                {"type": "reasoning.encrypted", "id": "call_2", "data": "!"},
            ])
        );
        assert_eq!(of_signature(&signature, "google/gemini").len(), 2);
        assert_eq!(of_signature("reasoning_content", "m"), Vec::<Value>::new());
        assert_eq!(Details::default().signature(), None);
    }

    #[test]
    fn a_flood_of_entries_is_cut() {
        let mut details = Details::default();
        for chunk in 0..4 {
            let pieces: Vec<Value> = (0..50_000)
                .map(|index| json!({"index": chunk * 50_000 + index}))
                .collect();
            details.take(Value::Array(pieces));
        }
        let signature = details.signature().unwrap();
        assert_eq!(of_signature(&signature, "m").len(), MOST);
        let mut details = Details::default();
        details.take(json!([{"index": 0, "data": "a".repeat(LONGEST)}]));
        assert_eq!(details.signature(), None);
    }
}
