//! The models of a provider, read from its settings.

use serde_json::Value;

use super::crud::StoredProvider;
use super::{DEMO_API, DEMO_MODEL, DEMO_PROVIDER, ModelView};

const CONTEXT_WINDOW: u64 = 200_000;
const MAX_TOKENS: u32 = 8_192;

/// A model as `models[]` of a provider spells it, defaults filled in.
#[derive(Clone, Debug)]
pub(super) struct StoredModel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) context_window: u64,
    /// As much of the window as may be used.
    pub(super) context_tokens: u64,
    pub(super) max_tokens: u32,
    pub(super) takes_images: bool,
    pub(super) reasoning: bool,
    pub(super) prices: [f64; 4],
}

impl StoredModel {
    /// A model that the provider has but its settings do not list.
    pub(super) fn unlisted(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            context_window: CONTEXT_WINDOW,
            context_tokens: CONTEXT_WINDOW,
            max_tokens: MAX_TOKENS,
            takes_images: false,
            reasoning: false,
            prices: [0.0; 4],
        }
    }

    pub(super) fn view(&self, provider: &StoredProvider) -> ModelView {
        ModelView {
            provider: provider.id.clone(),
            id: self.id.clone(),
            name: self.name.clone(),
            api: provider.api.clone(),
            context_window: self.context_window,
            context_tokens: self.context_tokens,
            max_tokens: self.max_tokens,
            reasoning: self.reasoning,
            takes_images: self.takes_images,
            default: false,
        }
    }
}

/// The model that answers when a tenant has configured none.
pub(super) fn demo() -> ModelView {
    ModelView {
        provider: DEMO_PROVIDER.to_owned(),
        id: DEMO_MODEL.to_owned(),
        name: "Demo (no AI provider yet)".to_owned(),
        api: DEMO_API.to_owned(),
        context_window: CONTEXT_WINDOW,
        context_tokens: CONTEXT_WINDOW,
        max_tokens: MAX_TOKENS,
        reasoning: false,
        takes_images: false,
        default: true,
    }
}

/// `models[]`: objects with an `id`, or bare ids.
pub(super) fn models(config: &Value) -> Vec<StoredModel> {
    let items = config.get("models").and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| {
            let id = item.as_str().or_else(|| item.get("id")?.as_str())?.trim();
            (!id.is_empty()).then(|| read(id, item))
        })
        .collect()
}

fn read(id: &str, item: &Value) -> StoredModel {
    let whole = |key: &str| item.get(key).and_then(Value::as_u64).filter(|number| *number > 0);
    let price = |key: &str| {
        let price = item.get("cost").and_then(|cost| cost.get(key)?.as_f64());
        price.filter(|price| price.is_finite() && *price >= 0.0).unwrap_or(0.0)
    };
    let context_window = whole("contextWindow").unwrap_or(CONTEXT_WINDOW);
    StoredModel {
        id: id.to_owned(),
        name: item.get("name").and_then(Value::as_str).unwrap_or(id).to_owned(),
        context_window,
        context_tokens: whole("contextTokens").unwrap_or(context_window).min(context_window),
        max_tokens: whole("maxTokens")
            .and_then(|tokens| u32::try_from(tokens).ok())
            .unwrap_or(MAX_TOKENS),
        takes_images: item
            .get("input")
            .and_then(Value::as_array)
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "image")),
        reasoning: item.get("reasoning").and_then(Value::as_bool).unwrap_or(false),
        prices: ["input", "output", "cacheRead", "cacheWrite"].map(price),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_have_defaults() {
        let read = models(&json!({"models": [
            "plain",
            {"id": "full", "name": "Full", "contextWindow": 1000, "maxTokens": 10, "input": ["text", "image"],
             "reasoning": true, "cost": {"input": 1.5, "output": 2, "cacheRead": -1}},
            {"id": " "}, {"name": "no id"}, 3,
        ]}));
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].context_window, read[0].max_tokens, read[0].takes_images),
            (200_000, 8_192, false)
        );
        let full = &read[1];
        assert_eq!(
            (full.name.as_str(), full.context_window, full.max_tokens),
            ("Full", 1000, 10)
        );
        assert!(full.takes_images && full.reasoning);
        assert_eq!(full.prices, [1.5, 2.0, 0.0, 0.0]);
        assert!(models(&json!({})).is_empty());
    }
}
