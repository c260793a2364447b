//! Which model a run uses.

use claw_entities::Scope;

use super::super::ConfigService;
use super::super::document::UserSettings;
use super::crud::StoredProvider;
use super::models::{StoredModel, demo};
use super::{DEMO_MODEL, DEMO_PROVIDER, ModelView, ResolvedModel};
use crate::crypto::Secret;
use crate::error::{Error, Result};
use crate::ports::model::Endpoint;

impl ConfigService {
    /// All models the user may pick; `demo/echo` when there is no provider.
    pub async fn list_models(&self, scope: &Scope) -> Result<Vec<ModelView>> {
        let settings = self.settings(scope).await?;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        if !providers.iter().any(|provider| provider.enabled) {
            return Ok(vec![within(demo(), &settings)]);
        }
        let default = choose(&settings, &providers, &settings.default_agent, None).ok();
        let mut views = Vec::new();
        for provider in providers.iter().filter(|provider| provider.enabled) {
            for model in &provider.models {
                let is_default = default
                    .as_ref()
                    .is_some_and(|(chosen, of)| chosen.id == provider.id && of.id == model.id);
                if is_default || allowed(&settings, &provider.id, &model.id) {
                    let view = ModelView {
                        default: is_default,
                        ..model.view(provider)
                    };
                    views.push(within(view, &settings));
                }
            }
        }
        Ok(views)
    }

    /// The model for a run: `wanted` (a session override, `provider/model` or an alias), else the agent's, else the
    /// tenant's first, else `demo/echo`. Keys are opened here, as late as possible; do not keep the answer.
    pub async fn resolve_model(&self, scope: &Scope, agent_id: &str, wanted: Option<&str>) -> Result<ResolvedModel> {
        let settings = self.settings(scope).await?;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        if !providers.iter().any(|provider| provider.enabled) {
            return Ok(demo_model(&settings));
        }
        let (provider, model) = choose(&settings, &providers, agent_id, wanted)?;
        let data_key = self.data_key(scope.tenant_scope()).await?;
        let api_key = provider.key.as_ref().map(|row| data_key.open(row)).transpose()?;
        let mut headers = Vec::with_capacity(provider.headers.len());
        for (name, row) in &provider.headers {
            headers.push((name.clone(), data_key.open(row)?));
        }
        if let Some(key) = api_key.as_ref().filter(|_| provider.auth_header) {
            headers.push((
                "Authorization".to_owned(),
                Secret::new(format!("Bearer {}", key.expose())),
            ));
        }
        Ok(ResolvedModel {
            api: provider.api.clone(),
            provider: provider.id.clone(),
            model: model.id,
            name: model.name,
            endpoint: Endpoint {
                base_url: provider.base_url.clone(),
                api_key,
                headers,
            },
            context_window: capped(model.context_tokens, &settings),
            full_window: model.context_window,
            max_tokens: model.max_tokens,
            takes_images: model.takes_images,
            reasoning: model.reasoning,
            prices: model.prices,
        })
    }
}

/// `agents.defaults.contextTokens` goes for every model.
fn capped(tokens: u64, settings: &UserSettings) -> u64 {
    settings.room.context_tokens.map_or(tokens, |most| most.min(tokens))
}

fn within(view: ModelView, settings: &UserSettings) -> ModelView {
    ModelView {
        context_tokens: capped(view.context_tokens, settings),
        ..view
    }
}

fn demo_model(settings: &UserSettings) -> ResolvedModel {
    let view = within(demo(), settings);
    ResolvedModel {
        api: view.api,
        provider: view.provider,
        model: view.id,
        name: view.name,
        endpoint: Endpoint {
            base_url: String::new(),
            api_key: None,
            headers: Vec::new(),
        },
        context_window: view.context_tokens,
        full_window: view.context_window,
        max_tokens: view.max_tokens,
        takes_images: view.takes_images,
        reasoning: view.reasoning,
        prices: [0.0; 4],
    }
}

/// Decides between what was asked for, the agent's model and the first there is.
fn choose<'a>(
    settings: &UserSettings,
    providers: &'a [StoredProvider],
    agent_id: &str,
    wanted: Option<&str>,
) -> Result<(&'a StoredProvider, StoredModel)> {
    let agents_own = settings
        .agent(agent_id)
        .and_then(|agent| agent.model.as_deref())
        .or(settings.default_model.as_deref())
        // A file may still name the built-in model after real providers came.
        .filter(|own| *own != format!("{DEMO_PROVIDER}/{DEMO_MODEL}"));
    if let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) {
        let (provider, model) = find(settings, providers, wanted)?;
        let own = agents_own.and_then(|own| find(settings, providers, own).ok());
        let is_own = own.is_some_and(|(of, own)| of.id == provider.id && own.id == model.id);
        if is_own || allowed(settings, &provider.id, &model.id) {
            return Ok((provider, model));
        }
        return Err(Error::Invalid(format!(
            "{}/{} is not among the allowed models: {}",
            provider.id,
            model.id,
            settings.allowed_models.join(", ")
        )));
    }
    if let Some(own) = agents_own {
        return find(settings, providers, own);
    }
    providers
        .iter()
        .filter(|provider| provider.enabled)
        .find_map(|provider| Some((provider, provider.models.first()?.clone())))
        .ok_or_else(|| Error::invalid("no AI provider has a model yet; add one in Settings → AI Providers"))
}

/// Resolves an alias, a `provider/model` ref (split at the first `/`; a provider may have models it does not list),
/// or a bare model id.
fn find<'a>(
    settings: &UserSettings,
    providers: &'a [StoredProvider],
    wanted: &str,
) -> Result<(&'a StoredProvider, StoredModel)> {
    let name = settings
        .model_aliases
        .get(&wanted.to_lowercase())
        .map_or(wanted, String::as_str);
    let enabled = || providers.iter().filter(|provider| provider.enabled);
    if let Some((provider_id, model_id)) = name.split_once('/').filter(|(_, model)| !model.is_empty()) {
        let provider_id = canonical_provider(provider_id);
        if let Some(provider) = enabled().find(|provider| provider.id == provider_id) {
            let model = provider.models.iter().find(|model| model.id == model_id).cloned();
            return Ok((provider, model.unwrap_or_else(|| StoredModel::unlisted(model_id))));
        }
        // Model ids may hold slashes of their own: `org/model` of a provider that was not named.
    }
    enabled()
        .find_map(|provider| Some((provider, provider.models.iter().find(|model| model.id == name)?.clone())))
        .ok_or_else(|| {
            let known: Vec<_> = enabled()
                .flat_map(|provider| {
                    provider
                        .models
                        .iter()
                        .map(|model| format!("{}/{}", provider.id, model.id))
                })
                .take(20)
                .collect();
            Error::Invalid(format!(
                "model {wanted} is not available; choose one of {} or add its provider in Settings → AI Providers",
                known.join(", ")
            ))
        })
}

fn canonical_provider(id: &str) -> String {
    match id.trim().to_lowercase().as_str() {
        "z.ai" | "z-ai" => "zai".to_owned(),
        other => other.to_owned(),
    }
}

/// An empty allowlist allows everything; `provider/*` allows all of a provider.
fn allowed(settings: &UserSettings, provider: &str, model: &str) -> bool {
    settings.allowed_models.is_empty()
        || settings.allowed_models.iter().any(|entry| {
            entry
                .split_once('/')
                .is_some_and(|(of, id)| canonical_provider(of) == provider && (id == model || id == "*"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::testing;
    use super::super::crud::tests::draft;
    use super::super::{DEMO_API, ProviderDraft};
    use super::*;

    #[tokio::test]
    async fn without_a_provider_the_demo_answers_and_a_disabled_one_is_none() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let answers = async || {
            config
                .resolve_model(&owner, "main", Some("opus"))
                .await
                .expect("resolves")
                .api
        };
        assert_eq!(answers().await, DEMO_API);
        let off = ProviderDraft {
            enabled: false,
            ..draft("openai", &["gpt"])
        };
        config.put_provider(owner.tenant_scope(), off).await.expect("saves");
        assert_eq!(answers().await, DEMO_API);
        let listed = config.list_models(&owner).await.expect("lists");
        assert_eq!(
            (listed[0].provider.as_str(), listed[0].id.as_str(), listed.len()),
            ("demo", "echo", 1)
        );
    }

    #[tokio::test]
    async fn wanted_then_the_agents_then_the_first() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let tenant = owner.tenant_scope();
        config
            .put_provider(tenant, draft("zai", &["glm"]))
            .await
            .expect("saves");
        config
            .put_provider(tenant, draft("openrouter", &["org/small", "org/big"]))
            .await
            .expect("saves");
        let resolve = async |agent: &str, wanted: Option<&str>| {
            config
                .resolve_model(&owner, agent, wanted)
                .await
                .map(|model| format!("{}:{}", model.provider, model.model))
                .map_err(|error| error.to_string())
        };
        assert_eq!(resolve("main", None).await.as_deref(), Ok("openrouter:org/small"));
        assert_eq!(resolve("main", Some("Z.ai/glm")).await.as_deref(), Ok("zai:glm"));
        assert_eq!(
            resolve("main", Some("openrouter/org/big")).await.as_deref(),
            Ok("openrouter:org/big")
        );
        assert_eq!(
            resolve("main", Some("org/big")).await.as_deref(),
            Ok("openrouter:org/big")
        );
        assert_eq!(resolve("main", Some("glm")).await.as_deref(), Ok("zai:glm"));
        assert_eq!(
            resolve("main", Some("zai/unlisted")).await.as_deref(),
            Ok("zai:unlisted")
        );
        let unknown = resolve("main", Some("gpt-9")).await.expect_err("is unknown");
        assert!(unknown.contains("openrouter/org/small"), "{unknown}");

        let doc = json!({"agents": {
            "defaults": {"model": "openrouter/org/big", "models": {"zai/*": {}, "openrouter/org/big": {"alias": "big"}}},
            "list": [{"id": "main"}, {"id": "work", "model": {"primary": "zai/glm"}}],
        }});
        config.put_document(&owner, doc, None).await.expect("stores");
        assert_eq!(resolve("main", None).await.as_deref(), Ok("openrouter:org/big"));
        assert_eq!(resolve("work", None).await.as_deref(), Ok("zai:glm"));
        assert_eq!(resolve("unheard-of", None).await.as_deref(), Ok("openrouter:org/big"));
        assert_eq!(resolve("work", Some("BIG")).await.as_deref(), Ok("openrouter:org/big"));
        let refused = resolve("main", Some("openrouter/org/small"))
            .await
            .expect_err("is not allowed");
        assert!(refused.contains("zai/*"), "{refused}");
        let listed = config.list_models(&owner).await.expect("lists");
        let shown: Vec<_> = listed.iter().map(|model| (model.id.as_str(), model.default)).collect();
        assert_eq!(shown, [("org/big", true), ("glm", false)]);
    }

    #[tokio::test]
    async fn a_resolved_model_opens_its_key_without_the_database() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let mut keyed = draft("anthropic", &["claude"]);
        keyed.api_key = Some("sk-1".into());
        keyed.config["authHeader"] = json!(true);
        config.put_provider(owner.tenant_scope(), keyed).await.expect("saves");
        config.resolve_model(&owner, "main", None).await.expect("resolves");
        server.db.clone().close().await;
        let model = config
            .resolve_model(&owner, "main", None)
            .await
            .expect("from the cache");
        assert_eq!(model.endpoint.api_key, Some(Secret::new("sk-1")));
        assert_eq!(model.endpoint.headers[0].1, Secret::new("Bearer sk-1"));
    }
}
