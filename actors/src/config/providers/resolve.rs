//! Which model a run uses.

use claw_entities::Scope;

use super::super::ConfigService;
use super::super::document::{ModelParams, UserSettings};
use super::chain::Found;
use super::crud::StoredProvider;
use super::keys::name_in;
use super::known::known_alias;
use super::models::{StoredModel, demo};
use super::{DEMO_MODEL, DEMO_PROVIDER, ModelView, ResolvedModel};
use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::ports::compat::Compat;
use crate::ports::model::{Endpoint, Thinking};

impl ConfigService {
    /// All models the user may pick; `demo/echo` when there is no provider.
    pub async fn list_models(&self, scope: &Scope) -> Result<Vec<ModelView>> {
        let settings = self.settings(scope).await?;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        if !providers.iter().any(|provider| provider.enabled) {
            return Ok(vec![within(demo(), &settings)]);
        }
        let default = choose(&settings, &providers, &settings.default_agent, None).ok();
        let (health, now) = (self.key_health(scope).await?, now_ms());
        let mut views = Vec::new();
        for provider in providers.iter().filter(|provider| provider.enabled) {
            for model in &provider.models {
                let is_default = default
                    .as_ref()
                    .is_some_and(|chosen| chosen.provider.id == provider.id && chosen.model.id == model.id);
                if is_default || allowed(&settings, &provider.id, &model.id) {
                    let view = ModelView {
                        default: is_default,
                        rest: health.all_rest(provider, &model.id, now),
                        thinking: usual_thinking(&settings, &settings.default_agent, &provider.id, model),
                        ..model.view(provider)
                    };
                    views.push(within(view, &settings));
                }
            }
        }
        Ok(views)
    }
}

/// How hard a model thinks when neither message nor session say: the model's own setting, the agent's, the defaults',
/// else what suits it.
pub(super) fn usual_thinking(settings: &UserSettings, agent_id: &str, provider: &str, model: &StoredModel) -> Thinking {
    if !model.reasoning {
        return Thinking::Off;
    }
    let agent = settings.agent(agent_id).and_then(|agent| agent.thinking);
    let own = settings.models.thinking.get(&format!("{provider}/{}", model.id));
    own.copied()
        .or(agent)
        .or(settings.models.thinking_default)
        .unwrap_or_else(|| {
            let chooses = model.id.contains("claude") && (model.id.contains("4-6") || model.id.contains("4.6"));
            if chooses { Thinking::Adaptive } else { Thinking::Low }
        })
}

/// `agents.defaults.contextTokens` goes for every model.
pub(super) fn capped(tokens: u64, settings: &UserSettings) -> u64 {
    settings.room.context_tokens.map_or(tokens, |most| most.min(tokens))
}

fn within(view: ModelView, settings: &UserSettings) -> ModelView {
    ModelView {
        context_tokens: capped(view.context_tokens, settings),
        ..view
    }
}

pub(super) fn demo_model(settings: &UserSettings) -> ResolvedModel {
    let view = within(demo(), settings);
    ResolvedModel {
        api: view.api,
        provider: view.provider,
        key: String::new(),
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
        takes: view.takes,
        compat: Compat::default(),
        reasoning: view.reasoning,
        thinking: Thinking::Off,
        fast: false,
        params: ModelParams::default(),
        prices: [0.0; 4],
        priced: true,
    }
}

/// Decides between what was asked for, the agent's model and the first there is.
pub(super) fn choose<'a>(
    settings: &UserSettings,
    providers: &'a [StoredProvider],
    agent_id: &str,
    wanted: Option<&str>,
) -> Result<Found<'a>> {
    let agents_own = settings
        .agent(agent_id)
        .and_then(|agent| agent.model.as_deref())
        .or(settings.default_model.as_deref())
        // A file may still name the built-in model after real providers came.
        .filter(|own| *own != format!("{DEMO_PROVIDER}/{DEMO_MODEL}"));
    if let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) {
        let found = find(settings, providers, wanted)?;
        let (provider, model) = (&found.provider.id, &found.model.id);
        let own = agents_own.and_then(|own| find(settings, providers, own).ok());
        let is_own = own.is_some_and(|own| own.provider.id == *provider && own.model.id == *model);
        if is_own || allowed(settings, provider, model) {
            return Ok(found);
        }
        return Err(Error::Invalid(format!(
            "{provider}/{model} is not among the allowed models: {}",
            settings.allowed_models.join(", ")
        )));
    }
    if let Some(own) = agents_own {
        return find(settings, providers, own);
    }
    providers
        .iter()
        .filter(|provider| provider.enabled)
        .find_map(|provider| Some(Found::plain(provider, provider.models.first()?.clone())))
        .ok_or_else(|| Error::invalid("no AI provider has a model yet; add one in Settings → AI Providers"))
}

/// Resolves an alias, a `provider/model` ref (split at the first `/`; a provider may have models it does not list),
/// or a bare model id. Behind an `@` may stand the one key to use.
pub(super) fn find<'a>(settings: &UserSettings, providers: &'a [StoredProvider], wanted: &str) -> Result<Found<'a>> {
    if let Some((name, profile)) = wanted.rsplit_once('@')
        && let Ok(found) = find_name(settings, providers, name)
    {
        let key = name_in(&found.provider.id, profile);
        // Ids of models may hold an `@` of their own.
        if found.provider.keys.iter().any(|(known, _)| known == key) {
            let key = Some(key.to_owned());
            return Ok(Found { key, ..found });
        }
    }
    find_name(settings, providers, wanted)
}

fn find_name<'a>(settings: &UserSettings, providers: &'a [StoredProvider], wanted: &str) -> Result<Found<'a>> {
    let enabled = || providers.iter().filter(|provider| provider.enabled);
    let alias = wanted.to_lowercase();
    let known = || {
        // Only while its provider is there.
        let target = known_alias(&alias)?;
        let of = target.split_once('/')?.0;
        enabled().any(|provider| provider.id == of).then_some(target)
    };
    let own = settings.model_aliases.get(&alias).map(String::as_str);
    let name = own.or_else(known).unwrap_or(wanted);
    if let Some((provider_id, model_id)) = name.split_once('/').filter(|(_, model)| !model.is_empty()) {
        let provider_id = canonical_provider(provider_id);
        if let Some(provider) = enabled().find(|provider| provider.id == provider_id) {
            let model = provider.models.iter().find(|model| model.id == model_id).cloned();
            let model = model.unwrap_or_else(|| StoredModel::unlisted(&provider.id, model_id));
            return Ok(Found::plain(provider, model));
        }
        // Model ids may hold slashes of their own: `org/model` of a provider that was not named.
    }
    enabled()
        .find_map(|provider| {
            let model = provider.models.iter().find(|model| model.id == name)?;
            Some(Found::plain(provider, model.clone()))
        })
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
    use crate::crypto::Secret;

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
    async fn a_wide_window_is_for_models_that_have_one_and_keys_that_may() {
        let server = testing::start().await;
        let config = &server.config;
        let owner = testing::owner(config).await;
        let model = |id: &str| json!({"id": id, "contextWindow": 200_000});
        let mut claude = ProviderDraft {
            api: "anthropic-messages".to_owned(),
            api_key: Some("sk-1".into()),
            ..draft("anthropic", &[])
        };
        claude.config["models"] = json!([model("claude-sonnet-4-5"), model("claude-haiku-4-5")]);
        config
            .put_provider(owner.tenant_scope(), claude.clone())
            .await
            .expect("saves");
        let window = async |id: &str| {
            let wanted = format!("anthropic/{id}");
            let model = config.resolve_model(&owner, "main", Some(&wanted)).await;
            let model = model.expect("resolves");
            (model.context_window, model.params.context_1m)
        };
        assert_eq!(window("claude-sonnet-4-5").await, (200_000, None));
        let doc = json!({"agents": {"defaults": {"params": {"context1m": true}}}});
        config.put_document(&owner, doc, None).await.expect("stores");
        assert_eq!(window("claude-sonnet-4-5").await, (1_000_000, Some(true)));
        assert_eq!(window("claude-haiku-4-5").await, (200_000, Some(false)));
        claude.api_key = Some("sk-ant-oat01-x".into());
        config.put_provider(owner.tenant_scope(), claude).await.expect("saves");
        assert_eq!(window("claude-sonnet-4-5").await, (200_000, Some(false)));
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
