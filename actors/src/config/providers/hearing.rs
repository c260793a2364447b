//! Which models write down what is said.

use claw_entities::Scope;

use super::super::ConfigService;
use super::ResolvedModel;
use super::models::StoredModel;
use crate::error::Result;

/// USD per million seconds; not checked against the vendors' pages.
const PRICES: &[(&str, &str, f64)] = &[
    ("openai", "whisper-1", 100.0),
    ("openai", "gpt-4o-transcribe", 100.0),
    ("openai", "gpt-4o-mini-transcribe", 50.0),
    ("groq", "whisper-large-v3", 31.0),
    ("groq", "whisper-large-v3-turbo", 12.0),
];
/// What providers use without a wish, in the order they are tried.
const USUAL: &[(&str, &str)] = &[
    ("openai", "gpt-4o-mini-transcribe"),
    ("groq", "whisper-large-v3-turbo"),
    ("mistral", "voxtral-mini-latest"),
];

impl ConfigService {
    /// The models that write down what is said, in the order they are tried, each with the key that is best now. Empty where
    /// none is set up, or it is not wanted.
    pub(crate) async fn listeners(&self, scope: &Scope) -> Result<Vec<ResolvedModel>> {
        let settings = self.settings(scope).await?;
        let hearing = &settings.hearing;
        if !hearing.enabled {
            return Ok(Vec::new());
        }
        let usual = |provider: &str| USUAL.iter().find(|(id, _)| *id == provider).map(|(_, model)| *model);
        let mut wanted: Vec<(&str, &str)> = hearing
            .models
            .iter()
            .filter_map(|(provider, model)| Some((provider.as_str(), model.as_deref().or(usual(provider))?)))
            .collect();
        let mut found = Vec::new();
        if hearing.own() {
            let (provider, model) = match wanted.first() {
                Some(_) => wanted.remove(0),
                None => ("openai", "whisper-1"),
            };
            let (base_url, key_at) = (hearing.base_url.as_deref(), hearing.key_at.as_deref());
            let own = self.own_model(scope, provider, base_url, key_at, stored(provider, model));
            found.push(own.await?);
        } else if wanted.is_empty() {
            wanted = USUAL.to_vec();
        }
        for (provider, model) in wanted {
            found.extend(
                self.model_beside(scope, &settings, provider, stored(provider, model))
                    .await?,
            );
        }
        Ok(found)
    }
}

fn stored(provider: &str, model: &str) -> StoredModel {
    let mut stored = StoredModel::unlisted(provider, model);
    let known = PRICES.iter().find(|(of, id, _)| *of == provider && *id == model);
    stored.prices = [known.map_or(0.0, |(_, _, price)| *price), 0.0, 0.0, 0.0];
    stored.priced = known.is_some();
    stored
}
