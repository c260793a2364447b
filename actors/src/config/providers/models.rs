//! The models of a provider, read from its settings.

use serde_json::Value;

use super::crud::StoredProvider;
use super::known::{KnownModel, known_model};
use super::{DEMO_API, DEMO_MODEL, DEMO_PROVIDER, ModelView};
use crate::ports::compat::Compat;
use crate::ports::model::{Takes, Thinking};

const CONTEXT_WINDOW: u64 = 200_000;
const MAX_TOKENS: u32 = 8_192;

/// Kinds of input beside text and images.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Listed {
    pdf: bool,
    audio: bool,
}

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
    /// Other kinds of input that the settings list.
    pub(super) listed: Listed,
    pub(super) reasoning: bool,
    pub(super) prices: [f64; 4],
    /// The prices are known; 0 is free then.
    pub(super) priced: bool,
    /// As the provider has it, where the model is not listed.
    pub(super) compat: Option<Compat>,
}

impl StoredModel {
    /// A model of a provider whose settings do not list it: as the catalogue has it, else with defaults.
    pub(super) fn unlisted(provider: &str, id: &str) -> Self {
        match known_model(provider, id) {
            Some(known) => Self::of_catalogue(known),
            None => Self::plain(id),
        }
    }

    fn of_catalogue(known: &KnownModel) -> Self {
        Self {
            name: known.name.to_owned(),
            context_window: known.window,
            context_tokens: known.window,
            max_tokens: known.max_tokens,
            takes_images: known.takes_images,
            reasoning: known.reasoning,
            prices: known.prices,
            priced: is_priced(known.prices),
            ..Self::plain(known.id)
        }
    }

    fn plain(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            context_window: CONTEXT_WINDOW,
            context_tokens: CONTEXT_WINDOW,
            max_tokens: MAX_TOKENS,
            takes_images: false,
            listed: Listed::default(),
            reasoning: false,
            prices: [0.0; 4],
            priced: false,
            compat: None,
        }
    }

    /// What it takes beside text: what the settings list, and what models that see take by the way they are called.
    /// Servers that only speak like OpenAI's are not taken to read files.
    pub(super) fn takes(&self, provider: &StoredProvider) -> Takes {
        let at = |host: &str| {
            let rest = provider
                .base_url
                .strip_prefix("https://")
                .and_then(|rest| rest.strip_prefix(host));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let openai = at("api.openai.com");
        let (pdf, audio) = match provider.api.as_str() {
            "anthropic-messages" => (true, false),
            "google-generative-ai" => (true, true),
            "bedrock-converse-stream" => (["claude", "nova"].iter().any(|family| self.id.contains(family)), false),
            "openai-responses" => (openai, false),
            "openai-completions" => (openai || at("openrouter.ai"), openai && self.id.contains("audio")),
            _ => (false, false),
        };
        Takes {
            images: self.takes_images,
            pdf: self.listed.pdf || (pdf && self.takes_images),
            audio: self.listed.audio || (audio && (self.takes_images || openai)),
            ogg: provider.api == "google-generative-ai" && (self.listed.audio || self.takes_images),
        }
    }

    /// Gives it a window of so many tokens at least. What the settings leave unused of the old one stays as it is.
    pub(super) fn widen(&mut self, window: u64) {
        if self.context_window >= window {
            return;
        }
        if self.context_tokens == self.context_window {
            self.context_tokens = window;
        }
        self.context_window = window;
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
            thinking: Thinking::Off,
            takes: self.takes(provider),
            default: false,
            rest: None,
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
        thinking: Thinking::Off,
        takes: Takes::default(),
        default: true,
        rest: None,
    }
}

/// `models[]`: objects with an `id`, or bare ids. What they do not say the catalogue does.
pub(super) fn models(provider: &str, config: &Value) -> Vec<StoredModel> {
    let items = config.get("models").and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .filter_map(|item| {
            let id = item.as_str().or_else(|| item.get("id")?.as_str())?.trim();
            (!id.is_empty()).then(|| StoredModel {
                compat: Some(Compat::of(config, item)),
                ..read(provider, id, item)
            })
        })
        .collect()
}

/// Does a catalogue say what a model costs.
pub(super) fn is_priced(prices: [f64; 4]) -> bool {
    prices.iter().any(|price| *price > 0.0)
}

fn read(provider: &str, id: &str, item: &Value) -> StoredModel {
    let known = StoredModel::unlisted(provider, id);
    let whole = |key: &str| item.get(key).and_then(Value::as_u64).filter(|number| *number > 0);
    let price = |key: &str| {
        let price = item.get("cost").and_then(|cost| cost.get(key)?.as_f64());
        price.filter(|price| price.is_finite() && *price >= 0.0).unwrap_or(0.0)
    };
    let context_window = whole("contextWindow").unwrap_or(known.context_window);
    let kinds = item.get("input").and_then(Value::as_array);
    let lists = |names: &[&str]| {
        let kinds = kinds.into_iter().flatten().filter_map(Value::as_str);
        kinds.into_iter().any(|kind| names.contains(&kind))
    };
    StoredModel {
        listed: Listed {
            pdf: lists(&["pdf", "document", "file"]),
            audio: lists(&["audio"]),
        },
        id: id.to_owned(),
        name: item
            .get("name")
            .and_then(Value::as_str)
            .map_or(known.name, str::to_owned),
        context_window,
        context_tokens: whole("contextTokens").unwrap_or(context_window).min(context_window),
        max_tokens: whole("maxTokens")
            .and_then(|tokens| u32::try_from(tokens).ok())
            .unwrap_or(known.max_tokens),
        takes_images: kinds.map_or(known.takes_images, |kinds| kinds.iter().any(|kind| kind == "image")),
        reasoning: item
            .get("reasoning")
            .and_then(Value::as_bool)
            .unwrap_or(known.reasoning),
        prices: if item.get("cost").is_some() {
            ["input", "output", "cacheRead", "cacheWrite"].map(price)
        } else {
            known.prices
        },
        priced: item.get("cost").is_some_and(Value::is_object) || known.priced,
        compat: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_have_defaults() {
        let read = models(
            "mine",
            &json!({"models": [
                "plain",
                {"id": "full", "name": "Full", "contextWindow": 1000, "maxTokens": 10, "input": ["text", "image"],
                 "reasoning": true, "cost": {"input": 1.5, "output": 2, "cacheRead": -1}},
                {"id": " "}, {"name": "no id"}, 3,
            ]}),
        );
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
        assert!(models("mine", &json!({})).is_empty());
        // The catalogue fills in what the settings leave open, for its provider alone.
        let bare = json!({"models": ["gpt-5-mini", {"id": "gpt-5", "maxTokens": 10, "cost": {"input": 1}}]});
        let read = models("openai", &bare);
        assert!(read[0].reasoning && read[0].takes_images && read[0].context_window == 400_000);
        assert_eq!((read[1].max_tokens, read[1].prices), (10, [1.0, 0.0, 0.0, 0.0]));
        assert!(!models("mine", &bare)[0].reasoning);
    }
}
