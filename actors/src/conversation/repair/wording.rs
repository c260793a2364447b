//! Text that would make a provider refuse everything from then on.

use std::borrow::Cow;

use serde_json::Value;

/// Anthropic's documented test strings begin like this; a session that holds one is refused for good.
const MAGIC: &str = "ANTHROPIC_MAGIC_STRING";
const HARMLESS: &str = "ANTHROPIC MAGIC STRING";

/// The text with provider test strings broken up.
pub fn neutralise(text: &str) -> Cow<'_, str> {
    if text.contains(MAGIC) {
        Cow::Owned(text.replace(MAGIC, HARMLESS))
    } else {
        Cow::Borrowed(text)
    }
}

pub(super) fn neutralise_in(text: &mut String) {
    if text.contains(MAGIC) {
        *text = text.replace(MAGIC, HARMLESS);
    }
}

/// Are there arguments, and would [`neutralise_json`] leave them as they are?
pub(super) fn is_harmless(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => !text.contains(MAGIC),
        Value::Array(items) => items.iter().all(|item| item.is_null() || is_harmless(item)),
        Value::Object(fields) => fields.values().all(|item| item.is_null() || is_harmless(item)),
    }
}

pub(super) fn neutralise_json(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => neutralise_in(text),
        Value::Array(items) => items.iter_mut().for_each(neutralise_json),
        Value::Object(fields) => fields.values_mut().for_each(neutralise_json),
    }
}
