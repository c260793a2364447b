//! `reasoning_details` of OpenRouter: what a model thought, signed or sealed, which it wants back word for word while it
//! works on a question.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Texts that come in pieces.
const GROWING: [&str; 3] = ["text", "summary", "data"];

/// The list as it grows.
#[derive(Default)]
pub(super) struct Details(Vec<Map<String, Value>>);

impl Details {
    /// Takes what one chunk says. What continues an entry is added to it.
    pub(super) fn take(&mut self, pieces: Value) {
        let Value::Array(pieces) = pieces else { return };
        for piece in pieces {
            let Value::Object(piece) = piece else { continue };
            match self.0.iter_mut().rev().find(|known| continues(known, &piece)) {
                Some(known) => grow(known, piece),
                None => self.0.push(piece),
            }
        }
    }

    /// The whole list as a thought keeps it.
    pub(super) fn signature(self) -> Option<String> {
        let entries: Vec<Value> = self.0.into_iter().map(Value::Object).collect();
        (!entries.is_empty()).then(|| Value::Array(entries).to_string())
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
}
