//! Which model reads texts aloud.

use claw_entities::Scope;
use serde_json::{Value, json};

use super::super::ConfigService;
use super::super::document::{SpeechSettings, UserSettings};
use super::ResolvedModel;
use super::chain::{Choice, Found};
use super::models::StoredModel;
use crate::error::{Error, Result};

/// USD per million characters of OpenAI's models that are priced so; not checked against the price list. Others are
/// priced by the sound they make, which nobody counts here.
const PRICES: &[(&str, f64)] = &[("tts-1", 15.0), ("tts-1-hd", 30.0)];
/// Without a wish: ElevenLabs', and everybody else's.
const USUAL_OF_ELEVENLABS: &str = "eleven_multilingual_v2";
const USUAL_MODEL: &str = "gpt-4o-mini-tts";

impl ConfigService {
    /// The model that reads aloud, with the key that is best now; `None` where none is configured.
    pub(crate) async fn speaker(&self, scope: &Scope) -> Result<Option<ResolvedModel>> {
        let settings = self.settings(scope).await?;
        self.speaker_of(scope, &settings, &settings.speech).await
    }

    /// Each provider that may be chosen to read aloud, the chosen one first, with its model where it is set up.
    pub(crate) async fn speakers(&self, scope: &Scope) -> Result<Vec<(String, Option<ResolvedModel>)>> {
        let settings = self.settings(scope).await?;
        let doc = self.document(scope).await?.doc;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        let mut names = vec![settings.speech.provider.as_str(), "openai", "elevenlabs"];
        names.extend(providers.iter().filter(|one| one.enabled).map(|one| one.id.as_str()));
        let mut speakers: Vec<(String, Option<ResolvedModel>)> = Vec::with_capacity(names.len());
        for name in names {
            if speakers.iter().any(|(known, _)| known == name) {
                continue;
            }
            let speech = SpeechSettings::of_provider(&doc, name);
            let model = match self.speaker_of(scope, &settings, &speech).await {
                Ok(model) => model,
                // A mistake in its settings.
                Err(Error::Invalid(_)) => None,
                Err(error) => return Err(error),
            };
            speakers.push((name.to_owned(), model));
        }
        Ok(speakers)
    }

    /// Sets one key of the user's `messages.tts`.
    pub(crate) async fn set_speech(&self, scope: &Scope, key: &str, value: Value) -> Result<()> {
        let changed = self.update_document(scope, |mut doc| {
            let mut at = &mut doc;
            for name in ["messages", "tts"] {
                let section = at.as_object_mut().ok_or_else(|| no_section(name))?;
                at = section.entry(name).or_insert_with(|| json!({}));
            }
            let section = at.as_object_mut().ok_or_else(|| no_section("tts"))?;
            section.insert(key.to_owned(), value);
            Ok(doc)
        });
        changed.await.map(|_| ())
    }

    async fn speaker_of(
        &self,
        scope: &Scope,
        settings: &UserSettings,
        speech: &SpeechSettings,
    ) -> Result<Option<ResolvedModel>> {
        let usual = if speech.provider == "elevenlabs" {
            USUAL_OF_ELEVENLABS
        } else {
            USUAL_MODEL
        };
        let model = speech.model.as_deref().unwrap_or(usual);
        if speech.key_at.is_some() || speech.base_url.is_some() {
            let (base_url, key_at) = (speech.base_url.as_deref(), speech.key_at.as_deref());
            let own = self.own_model(
                scope,
                &speech.provider,
                base_url,
                key_at,
                stored(&speech.provider, model),
            );
            return own.await.map(Some);
        }
        let stored = stored(&speech.provider, model);
        self.model_beside(scope, settings, &speech.provider, stored).await
    }

    /// A model of one of the tenant's providers, for a call beside conversations, with the key that is best now. `None`
    /// where the provider is not set up, or has no key.
    pub(super) async fn model_beside(
        &self,
        scope: &Scope,
        settings: &UserSettings,
        provider: &str,
        stored: StoredModel,
    ) -> Result<Option<ResolvedModel>> {
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        let usable = |id: &str| providers.iter().find(|provider| provider.enabled && provider.id == id);
        let Some(provider) = usable(provider).filter(|provider| !provider.keys.is_empty()) else {
            return Ok(None);
        };
        let found = Found::plain(provider, stored);
        let Some(choice) = Choice::of(settings, &providers, found) else {
            return Ok(None);
        };
        let keys = self
            .key_health(scope)
            .await?
            .in_order(&choice, None, crate::clock::now_ms());
        let best = keys.first().map(|(key, _)| key.as_str()).unwrap_or_default();
        self.open_model(scope, &settings.default_agent, &choice, best).await
    }
}

fn no_section(name: &str) -> Error {
    Error::Invalid(format!("what holds {name} in the configuration is not an object"))
}

fn stored(provider: &str, model: &str) -> StoredModel {
    let mut stored = StoredModel::unlisted(provider, model);
    let known = PRICES.iter().find(|(id, _)| *id == model && provider == "openai");
    stored.prices = [known.map_or(0.0, |(_, price)| *price), 0.0, 0.0, 0.0];
    stored.priced = known.is_some();
    stored
}
