//! Which models write down what is said.

use claw_entities::Scope;

use super::super::ConfigService;
use super::ResolvedModel;
use super::models::StoredModel;
use crate::error::{Error, Result};

/// USD per million seconds; not checked against the vendors' pages.
const PRICES: &[(&str, &str, f64)] = &[
    ("openai", "whisper-1", 100.0),
    ("openai", "gpt-4o-transcribe", 100.0),
    ("openai", "gpt-4o-mini-transcribe", 50.0),
    ("groq", "whisper-large-v3", 31.0),
    ("groq", "whisper-large-v3-turbo", 12.0),
    // A newer one may stand behind the name, at three times the price of the first.
    ("mistral", "voxtral-mini-latest", 50.0),
    ("mistral", "voxtral-mini-2507", 17.0),
];
/// What providers use without a wish, in the order they are tried.
const USUAL: &[(&str, &str)] = &[
    ("openai", "gpt-4o-mini-transcribe"),
    ("groq", "whisper-large-v3-turbo"),
    ("mistral", "voxtral-mini-latest"),
];

impl ConfigService {
    /// The models that write down what is said, in the order they are tried, each with the key that is best now, or with what
    /// is wrong with its settings, for people. Empty where none is set up, or it is not wanted.
    pub(crate) async fn listeners(&self, scope: &Scope) -> Result<Vec<Result<ResolvedModel, String>>> {
        let settings = self.settings(scope).await?;
        let hearing = &settings.hearing;
        if !hearing.enabled {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<(&str, Option<&str>)> = hearing.models.iter().map(wished).collect();
        let mut found = Vec::new();
        if hearing.own() {
            let (provider, model) = if wanted.is_empty() {
                ("openai", Some("whisper-1"))
            } else {
                wanted.remove(0)
            };
            // The key is for this one: it goes to no other's address.
            found.push(match model {
                Some(model) => {
                    let (base_url, key_at) = (hearing.base_url.as_deref(), hearing.key_at.as_deref());
                    let own = self.own_model(scope, provider, base_url, key_at, stored(provider, model));
                    told(own.await)?
                }
                None => Err(format!("the model of {provider} is missing")),
            });
        } else if wanted.iter().all(|(_, model)| model.is_none()) {
            wanted = USUAL
                .iter()
                .map(|(provider, model)| (*provider, Some(*model)))
                .collect();
        }
        for (provider, model) in wanted {
            let Some(model) = model else { continue };
            let model = self.model_beside(scope, &settings, provider, stored(provider, model));
            found.extend(told(model.await)?.transpose());
        }
        Ok(found)
    }
}

/// A provider of the settings with its model: the named one, else its usual one.
fn wished((provider, model): &(String, Option<String>)) -> (&str, Option<&str>) {
    let usual = USUAL.iter().find(|(id, _)| *id == provider.as_str());
    let usual = usual.map(|(_, model)| *model);
    (provider.as_str(), model.as_deref().or(usual))
}

/// A mistake in the settings of one is told, and keeps nobody from the others.
fn told<T>(found: Result<T>) -> Result<Result<T, String>> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(error @ (Error::Storage(_) | Error::Fenced | Error::Busy { .. })) => Err(error),
        Err(Error::Invalid(mistake)) => Ok(Err(mistake)),
        Err(error) => {
            tracing::warn!(error = ?error, "a model that listens cannot be used");
            Ok(Err("the API key of the speech-to-text cannot be read".to_owned()))
        }
    }
}

fn stored(provider: &str, model: &str) -> StoredModel {
    let mut stored = StoredModel::unlisted(provider, model);
    let known = PRICES.iter().find(|(of, id, _)| *of == provider && *id == model);
    stored.prices = [known.map_or(0.0, |(_, _, price)| *price), 0.0, 0.0, 0.0];
    stored.priced = known.is_some();
    stored
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing;
    use super::super::ProviderDraft;
    use super::super::crud::tests::draft;
    use super::*;

    #[tokio::test]
    async fn a_mistake_is_told_and_the_next_one_listens() {
        let server = testing::start().await;
        let (config, owner) = (&server.config, testing::owner(&server.config).await);
        let groq = ProviderDraft {
            api_key: Some("sk-tenant".into()),
            ..draft("groq", &["m"])
        };
        config.put_provider(owner.tenant_scope(), groq).await.expect("saves");
        for (model, mistake) in [
            (json!("nova-3"), "the baseUrl of deepgram is missing"),
            (json!(null), "the model of deepgram is missing"),
        ] {
            let models = json!([{"provider": "deepgram", "model": model}, {"provider": "groq"}]);
            let doc = json!({"tools": {"media": {"audio": {"apiKey": "k", "models": models}}}});
            let change = move |_| Ok(doc.clone());
            config.update_document(&owner, change).await.expect("saves");
            let found = config.listeners(&owner).await.expect("resolves");
            let found: Vec<Result<String, String>> =
                found.into_iter().map(|found| found.map(|model| model.model)).collect();
            let usual = Ok("whisper-large-v3-turbo".to_owned());
            assert_eq!(found, [Err(mistake.to_owned()), usual]);
        }
        assert!(told::<()>(Err(Error::Fenced)).is_err());
        assert!(
            told::<()>(Err(Error::internal("sealed by another key")))
                .expect("told")
                .is_err()
        );
    }
}
