//! Which model makes an agent's vectors, and with which keys (`agent-runtime` §9).

use claw_entities::Scope;

use super::super::ConfigService;
use super::super::document::{Embedder, MemorySettings, ModelParams};
use super::chain::{Choice, Found};
use super::crud::StoredProvider;
use super::known::known;
use super::models::StoredModel;
use super::{Effect, ResolvedModel};
use crate::crypto::token::hash;
use crate::error::{Error, Result};
use crate::ports::compat::Compat;
use crate::ports::model::{Endpoint, ErrorClass, Takes, Thinking};

/// The usual embedding model of a provider, and USD per million tokens of what is known. Not checked against
/// the vendors' price lists; a tenant's own entry counts more.
struct KnownEmbedder {
    provider: &'static str,
    model: &'static str,
    price: f64,
}

const fn row(provider: &'static str, model: &'static str, price: f64) -> KnownEmbedder {
    KnownEmbedder { provider, model, price }
}

/// In the order in which `auto` looks for one (`agent-runtime` §9); of one provider the first is the usual one.
const KNOWN: &[KnownEmbedder] = &[
    row("openai", "text-embedding-3-small", 0.02),
    row("openai", "text-embedding-3-large", 0.13),
    row("openai", "text-embedding-ada-002", 0.1),
    row("google", "gemini-embedding-001", 0.15),
    row("voyage", "voyage-4-large", 0.12),
    row("voyage", "voyage-4", 0.06),
    row("voyage", "voyage-4-lite", 0.02),
    row("mistral", "mistral-embed", 0.1),
    row("ollama", "nomic-embed-text", 0.0),
];

/// Only when it is named: it is somebody's own machine.
const NEVER_BY_ITSELF: &str = "ollama";

/// What makes the vectors: a model of the tenant's with its keys, or a service of the user's own.
pub struct EmbeddingPlan {
    source: Source,
    pub provider: String,
    pub model: String,
    /// Length of the vectors, where another than the model's own is wanted.
    pub dimensions: Option<u32>,
    /// Stands for everything that vectors must have in common to be compared.
    pub space: String,
}

enum Source {
    Tenants(Box<Choice>),
    Own(Box<ResolvedModel>),
}

impl EmbeddingPlan {
    fn new(source: Source, base_url: &str, dimensions: Option<u32>) -> Self {
        let (provider, model) = match &source {
            Source::Tenants(choice) => (choice.provider.clone(), choice.model().to_owned()),
            Source::Own(own) => (own.provider.clone(), own.model.clone()),
        };
        let length = dimensions.unwrap_or(0);
        let space = hash(&format!("{provider}\0{base_url}\0{model}\0{length}"));
        Self {
            source,
            provider,
            model,
            dimensions,
            space,
        }
    }
}

impl ConfigService {
    /// What makes the agent's vectors; `None`: nothing does, words alone are searched.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the setting that cannot work.
    pub async fn embedding_plan(&self, scope: &Scope, agent_id: &str) -> Result<Option<EmbeddingPlan>> {
        let settings = self.settings(scope).await?;
        let memory = settings.memory(agent_id);
        if memory.embedder == Embedder::None {
            return Ok(None);
        }
        let named = match &memory.embedder {
            Embedder::Named(name) => Some(canonical(name)),
            Embedder::Auto | Embedder::None => None,
        };
        if memory.base_url.is_some() || memory.key_at.is_some() {
            let own = self.own_embedder(scope, memory, named).await?;
            let base_url = own.endpoint.base_url.clone();
            return Ok(Some(EmbeddingPlan::new(
                Source::Own(Box::new(own)),
                &base_url,
                memory.dimensions,
            )));
        }
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        let usable = |id: &str| providers.iter().find(|provider| provider.enabled && provider.id == id);
        let provider = match named {
            Some(name) => usable(name),
            None => KNOWN
                .iter()
                .filter(|known| known.provider != NEVER_BY_ITSELF)
                .find_map(|known| usable(known.provider).filter(|provider| !provider.keys.is_empty())),
        };
        let Some(provider) = provider else {
            return Ok(None);
        };
        let model = memory.model.as_deref().or_else(|| usual_model(&provider.id));
        let Some(model) = model else {
            return Ok(None);
        };
        let model = bare(&provider.id, model);
        let choice = Choice::of(&settings, &providers, found(provider, model));
        let base_url = provider.base_url.clone();
        Ok(choice.map(|choice| EmbeddingPlan::new(Source::Tenants(Box::new(choice)), &base_url, memory.dimensions)))
    }

    /// The embedding model that a program names as `provider/model`.
    ///
    /// # Errors
    /// When the tenant has no such provider.
    pub async fn named_embedder(&self, scope: &Scope, reference: &str) -> Result<EmbeddingPlan> {
        let settings = self.settings(scope).await?;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        let missing = || Error::invalid("x-openclaw-model names no embedding model: it is provider/model");
        let (provider, model) = reference.split_once('/').ok_or_else(missing)?;
        let provider = canonical(provider.trim());
        let known = providers.iter().find(|known| known.enabled && known.id == provider);
        let known = known.filter(|_| !model.trim().is_empty()).ok_or_else(missing)?;
        let choice = Choice::of(&settings, &providers, found(known, model.trim())).ok_or_else(missing)?;
        let base_url = known.base_url.clone();
        Ok(EmbeddingPlan::new(Source::Tenants(Box::new(choice)), &base_url, None))
    }

    async fn own_embedder(&self, scope: &Scope, memory: &MemorySettings, named: Option<&str>) -> Result<ResolvedModel> {
        let provider = named.unwrap_or("openai");
        let model = memory.model.as_deref().or_else(|| usual_model(provider));
        let model = model.ok_or_else(|| Error::invalid("memorySearch.model is missing"))?;
        let (base_url, key_at) = (memory.base_url.as_deref(), memory.key_at.as_deref());
        let stored = stored_model(provider, bare(provider, model));
        self.own_model(scope, provider, base_url, key_at, stored).await
    }

    /// A model of a service of the user's own. Where they say an address, no key but theirs goes there.
    pub(super) async fn own_model(
        &self,
        scope: &Scope,
        provider: &str,
        base_url: Option<&str>,
        key_at: Option<&str>,
        stored: StoredModel,
    ) -> Result<ResolvedModel> {
        let known = known(provider);
        let base_url = base_url.or(known.map(|known| known.base_url));
        let base_url = base_url.ok_or_else(|| Error::Invalid(format!("the baseUrl of {provider} is missing")))?;
        let api_key = match key_at {
            Some(pointer) => self.document_secret(scope, pointer).await?,
            None => None,
        };
        Ok(ResolvedModel {
            api: known.map_or("openai-completions", |known| known.api).to_owned(),
            provider: provider.to_owned(),
            name: stored.name,
            endpoint: Endpoint {
                base_url: base_url.to_owned(),
                api_key,
                headers: Vec::new(),
            },
            key: String::new(),
            context_window: stored.context_window,
            full_window: stored.context_window,
            max_tokens: stored.max_tokens,
            takes: Takes::default(),
            compat: Compat::default(),
            reasoning: false,
            thinking: Thinking::Off,
            fast: false,
            params: ModelParams::default(),
            prices: stored.prices,
            priced: stored.priced,
            model: stored.id,
        })
    }

    /// What may be called for the plan now, in the order it is tried: keys that rest are left out.
    ///
    /// # Errors
    /// When all of them rest: [`Error::Busy`] with the class of why.
    pub(crate) async fn embedders(
        &self,
        scope: &Scope,
        agent_id: &str,
        plan: &EmbeddingPlan,
    ) -> Result<Vec<ResolvedModel>> {
        let choice = match &plan.source {
            Source::Own(own) => return Ok(vec![(**own).clone()]),
            Source::Tenants(choice) => choice,
        };
        let health = self.key_health(scope).await?;
        let keys = health.in_order(choice, None, crate::clock::now_ms());
        let mut models = Vec::with_capacity(keys.len());
        for (key, _) in keys.iter().filter(|(_, rests)| rests.is_none()) {
            models.extend(self.open_model(scope, agent_id, choice, key).await?);
        }
        if models.is_empty() {
            let until = keys.iter().filter_map(|(_, until)| *until).min().unwrap_or_default();
            let wait = until.saturating_sub(crate::clock::now_ms()).max(1_000);
            return Err(Error::Busy {
                message: format!("the keys of the AI provider {} rest after failures", plan.provider),
                retry_after: std::time::Duration::from_millis(u64::try_from(wait).unwrap_or(1_000)),
            });
        }
        Ok(models)
    }
}

/// Does another key help after a failure of this class.
pub(crate) const fn another_key_helps(class: ErrorClass) -> bool {
    !matches!(super::effect(class), Effect::None)
}

fn found<'a>(provider: &'a StoredProvider, model: &str) -> Found<'a> {
    let listed = provider.models.iter().find(|known| known.id == model).cloned();
    Found::plain(provider, listed.unwrap_or_else(|| stored_model(&provider.id, model)))
}

fn stored_model(provider: &str, model: &str) -> StoredModel {
    let mut stored = StoredModel::unlisted(provider, model);
    let known = KNOWN
        .iter()
        .find(|known| known.provider == provider && known.model == model);
    if let Some(known) = known {
        (stored.prices, stored.priced) = ([known.price, 0.0, 0.0, 0.0], true);
    }
    stored
}

/// A provider as tenants have it: the original calls Google's `gemini` here.
fn canonical(name: &str) -> &str {
    if name == "gemini" { "google" } else { name }
}

/// `provider/model` may stand for the model alone.
fn bare<'a>(provider: &str, model: &'a str) -> &'a str {
    let own = model.split_once('/').filter(|(of, _)| canonical(of) == provider);
    own.map_or(model, |(_, model)| model)
}

fn usual_model(provider: &str) -> Option<&'static str> {
    let known = KNOWN.iter().find(|known| known.provider == provider);
    known.map(|known| known.model)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing;
    use super::super::ProviderDraft;
    use super::super::crud::tests::draft;
    use super::*;

    async fn save(config: &ConfigService, scope: &Scope, id: &str) {
        let with_key = ProviderDraft {
            api_key: Some("sk-tenant".into()),
            ..draft(id, &["m"])
        };
        config
            .put_provider(scope.tenant_scope(), with_key)
            .await
            .expect("saves");
    }

    async fn plan(config: &ConfigService, scope: &Scope) -> Option<(String, String)> {
        let plan = config.embedding_plan(scope, "main").await.expect("resolves");
        plan.map(|plan| (plan.provider, plan.model))
    }

    #[tokio::test]
    async fn the_usual_order_a_name_and_none() {
        let server = testing::start().await;
        let (config, owner) = (&server.config, testing::owner(&server.config).await);
        assert_eq!(plan(config, &owner).await, None);
        for id in ["mistral", "google", "mine"] {
            save(config, &owner, id).await;
        }
        let usual = Some(("google".to_owned(), "gemini-embedding-001".to_owned()));
        assert_eq!(plan(config, &owner).await, usual);
        for (search, expected) in [
            (json!({"provider": "mistral"}), Some(("mistral", "mistral-embed"))),
            (
                json!({"provider": "gemini", "model": "google/x"}),
                Some(("google", "x")),
            ),
            (json!({"provider": "mine"}), None),
            (json!({"provider": "mine", "model": "org/e5"}), Some(("mine", "org/e5"))),
            (json!({"provider": "none"}), None),
            (json!({"provider": "nobody"}), None),
        ] {
            let doc = json!({"agents": {"defaults": {"memorySearch": search}}});
            let change = move |_| Ok(doc.clone());
            config.update_document(&owner, change).await.expect("saves");
            let expected = expected.map(|(provider, model)| (provider.to_owned(), model.to_owned()));
            assert_eq!(plan(config, &owner).await, expected);
        }
    }

    #[tokio::test]
    async fn a_tenants_key_never_goes_to_an_address_of_a_users() {
        let server = testing::start().await;
        let (config, owner) = (&server.config, testing::owner(&server.config).await);
        save(config, &owner, "openai").await;
        let doc = json!({"agents": {"defaults": {"memorySearch": {"provider": "openai",
            "remote": {"baseUrl": "https://mine.example/v1"}}}}});
        let change = move |_| Ok(doc.clone());
        config.update_document(&owner, change).await.expect("saves");
        let plan = config
            .embedding_plan(&owner, "main")
            .await
            .expect("resolves")
            .expect("a plan");
        let models = config.embedders(&owner, "main", &plan).await.expect("resolves");
        assert_eq!(models.len(), 1);
        assert_eq!(models[0].endpoint.base_url, "https://mine.example/v1");
        assert!(models[0].endpoint.api_key.is_none(), "the tenant's key stays here");
    }
}
