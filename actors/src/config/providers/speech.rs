//! Which model reads texts aloud.

use claw_entities::Scope;

use super::super::ConfigService;
use super::super::document::UserSettings;
use super::ResolvedModel;
use super::chain::{Choice, Found};
use super::models::StoredModel;
use crate::error::Result;

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
        let speech = &settings.speech;
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
        self.model_beside(scope, &settings, &speech.provider, stored).await
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

    /// The provider that is to read aloud, and whether it can.
    pub(crate) async fn reader(&self, scope: &Scope) -> Result<(String, bool)> {
        let chosen = self.settings(scope).await?.speech.provider.clone();
        let can = self.speaker(scope).await?.is_some();
        Ok((chosen, can))
    }
}

fn stored(provider: &str, model: &str) -> StoredModel {
    let mut stored = StoredModel::unlisted(provider, model);
    let known = PRICES.iter().find(|(id, _)| *id == model && provider == "openai");
    stored.prices = [known.map_or(0.0, |(_, price)| *price), 0.0, 0.0, 0.0];
    stored.priced = known.is_some();
    stored
}
