//! What a run may call: the chosen model, those that stand in for it, and each one's keys.

use std::sync::Arc;

use claw_entities::Scope;

use super::super::ConfigService;
use super::super::document::UserSettings;
use super::ResolvedModel;
use super::crud::StoredProvider;
use super::keys::name_in;
use super::models::StoredModel;
use super::resolve::{capped, choose, demo_model, find, usual_thinking};
use crate::crypto::Secret;
use crate::error::Result;
use crate::ports::model::{Endpoint, SUBSCRIPTION_PREFIX, Thinking};

/// Tokens of a window that was asked for by `context1m`.
const WIDE: u64 = 1_000_000;

/// A model that may be called, its keys still sealed.
#[derive(Clone)]
pub(crate) struct Choice {
    /// All providers of the tenant, and which one it is; `None` for the built-in one.
    source: Option<(Arc<Vec<StoredProvider>>, usize)>,
    model: StoredModel,
    pub(crate) provider: String,
    /// Names of the keys that may be used; one empty name where the provider has none.
    pub(crate) keys: Vec<String>,
    /// The order of the keys was chosen by a person.
    pub(crate) ordered: bool,
    /// One key was named with the model: there is no other.
    pub(crate) locked: bool,
}

impl Choice {
    /// `provider/model`.
    pub(crate) fn reference(&self) -> String {
        format!("{}/{}", self.provider, self.model.id)
    }

    /// Id of the model as the provider has it.
    pub(crate) fn model(&self) -> &str {
        &self.model.id
    }

    pub(crate) fn reasons(&self) -> bool {
        self.model.reasoning
    }

    /// How hard it thinks for this agent when neither message nor session say.
    pub(crate) fn thinking(&self, settings: &UserSettings, agent_id: &str) -> Thinking {
        usual_thinking(settings, agent_id, &self.provider, &self.model)
    }

    pub(super) fn of(settings: &UserSettings, providers: &Arc<Vec<StoredProvider>>, found: Found<'_>) -> Option<Self> {
        let at = providers.iter().position(|provider| provider.id == found.provider.id)?;
        let provider = found.provider;
        let known = |listed: &String| {
            let name = name_in(&provider.id, listed.trim());
            provider
                .keys
                .iter()
                .any(|(known, _)| known == name)
                .then(|| name.to_owned())
        };
        let listed = settings
            .models
            .key_order
            .get(&provider.id)
            .unwrap_or(&provider.key_order);
        let mut keys: Vec<String> = listed.iter().filter_map(known).collect();
        let (ordered, locked) = (!keys.is_empty(), found.key.is_some());
        if let Some(named) = found.key {
            keys = vec![named];
        }
        if keys.is_empty() {
            keys = provider.keys.iter().map(|(name, _)| name.clone()).collect();
        }
        if keys.is_empty() {
            keys.push(String::new());
        }
        Some(Self {
            source: Some((Arc::clone(providers), at)),
            provider: provider.id.clone(),
            model: found.model,
            keys,
            ordered,
            locked,
        })
    }
}

/// What a name stands for.
pub(super) struct Found<'a> {
    pub(super) provider: &'a StoredProvider,
    pub(super) model: StoredModel,
    /// The key that was named with it.
    pub(super) key: Option<String>,
}

impl<'a> Found<'a> {
    pub(super) fn plain(provider: &'a StoredProvider, model: StoredModel) -> Self {
        Self {
            provider,
            model,
            key: None,
        }
    }
}

/// What a run may call.
pub(crate) struct RunChain {
    /// Never empty.
    pub(crate) choices: Vec<Choice>,
    /// The chosen model, where it cannot be called.
    pub(crate) left_out: Option<String>,
}

impl RunChain {
    fn whole(choices: Vec<Choice>) -> Self {
        Self {
            choices,
            left_out: None,
        }
    }
}

/// Has Anthropic a wide window for this model, with this key.
fn may_be_wide(model: &str, key: Option<&Secret>) -> bool {
    let has = ["claude-opus-4", "claude-sonnet-4"]
        .iter()
        .any(|family| model.starts_with(family));
    has && key.is_none_or(|key| !key.expose().starts_with(SUBSCRIPTION_PREFIX))
}

/// The built-in one.
fn demo_choice() -> Choice {
    Choice {
        source: None,
        provider: super::DEMO_PROVIDER.to_owned(),
        model: StoredModel::unlisted(super::DEMO_PROVIDER, super::DEMO_MODEL),
        keys: vec![String::new()],
        ordered: false,
        locked: false,
    }
}

/// The chosen model and what stands behind it.
fn chain(
    settings: &UserSettings,
    providers: &Arc<Vec<StoredProvider>>,
    agent_id: &str,
    first: Option<Found<'_>>,
    only: Option<&[String]>,
) -> Vec<Choice> {
    let agent = settings.agent(agent_id);
    let own = agent
        .and_then(|agent| agent.model.as_deref())
        .or(settings.default_model.as_deref());
    let fallbacks = agent.and_then(|agent| agent.fallbacks.as_ref());
    let fallbacks = only.unwrap_or(fallbacks.unwrap_or(&settings.models.fallbacks));
    let own = own.filter(|_| only.is_none());
    let first = first.and_then(|first| Choice::of(settings, providers, first));
    let mut chain: Vec<Choice> = first.into_iter().collect();
    for other in fallbacks.iter().map(String::as_str).chain(own) {
        let found = find(settings, providers, other).ok();
        let Some(choice) = found.and_then(|found| Choice::of(settings, providers, found)) else {
            continue;
        };
        if chain.iter().all(|known| known.reference() != choice.reference()) {
            chain.push(choice);
        }
    }
    chain
}

impl ConfigService {
    /// What a run may call, in the order it is tried; never empty. Behind the chosen model come the fallbacks, the
    /// agent's own where it has a list, and the configured model when another was chosen. Unknown fallbacks are left out.
    pub(crate) async fn model_chain(&self, scope: &Scope, agent_id: &str, wanted: Option<&str>) -> Result<Vec<Choice>> {
        let settings = self.settings(scope).await?;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        if !providers.iter().any(|provider| provider.enabled) {
            return Ok(vec![demo_choice()]);
        }
        let first = choose(&settings, &providers, agent_id, wanted)?;
        Ok(chain(&settings, &providers, agent_id, Some(first), None))
    }

    /// As [`ConfigService::model_chain`], for a run: a choice that is not there any more, or not allowed, is left out
    /// where anything else may be called. `only` are the fallbacks of this run, and there are no others.
    pub(crate) async fn run_chain(
        &self,
        scope: &Scope,
        agent_id: &str,
        wanted: Option<&str>,
        only: Option<&[String]>,
    ) -> Result<RunChain> {
        let settings = self.settings(scope).await?;
        let providers = self.stored_providers(scope.tenant_scope()).await?;
        if !providers.iter().any(|provider| provider.enabled) {
            return Ok(RunChain::whole(vec![demo_choice()]));
        }
        let error = match choose(&settings, &providers, agent_id, wanted) {
            Ok(first) => {
                let choices = chain(&settings, &providers, agent_id, Some(first), only);
                return Ok(RunChain::whole(choices));
            }
            Err(error) => error,
        };
        let mut choices = chain(&settings, &providers, agent_id, None, only);
        if choices.is_empty() && only.is_none() {
            let usual = choose(&settings, &providers, agent_id, None).ok();
            choices.extend(usual.and_then(|found| Choice::of(&settings, &providers, found)));
        }
        let agent = settings.agent(agent_id);
        let own = agent
            .and_then(|agent| agent.model.as_deref())
            .or(settings.default_model.as_deref());
        let wanted = wanted.map(str::trim).filter(|wanted| !wanted.is_empty());
        match wanted.or(own) {
            Some(left_out) if !choices.is_empty() => Ok(RunChain {
                choices,
                left_out: Some(left_out.to_owned()),
            }),
            Some(_) | None => Err(error),
        }
    }
    /// The model for a run: `wanted` (a session override, `provider/model` or an alias), else the agent's, else the
    /// tenant's first, else `demo/echo`; with the key that is best now. Keys are opened here, as late as possible; do
    /// not keep the answer.
    pub async fn resolve_model(&self, scope: &Scope, agent_id: &str, wanted: Option<&str>) -> Result<ResolvedModel> {
        let chain = self.model_chain(scope, agent_id, wanted).await?;
        let first = chain
            .first()
            .ok_or_else(|| crate::error::Error::internal("an empty chain"))?;
        let keys = match first.keys.as_slice() {
            [only] => vec![only.clone()],
            _ => {
                let health = self.key_health(scope).await?;
                let keys = health.in_order(first, None, crate::clock::now_ms());
                keys.into_iter().map(|(key, _)| key).collect()
            }
        };
        for key in keys {
            if let Some(model) = self.open_model(scope, agent_id, first, &key).await? {
                return Ok(model);
            }
        }
        Err(crate::error::Error::internal("no key of the provider can be unsealed"))
    }

    /// The model with this key of its own, opened; `None` when the key or a header of the provider cannot be unsealed.
    pub(crate) async fn open_model(
        &self,
        scope: &Scope,
        agent_id: &str,
        choice: &Choice,
        key: &str,
    ) -> Result<Option<ResolvedModel>> {
        let settings = self.settings(scope).await?;
        let Some((providers, at)) = &choice.source else {
            return Ok(Some(demo_model(&settings)));
        };
        let Some(provider) = providers.get(*at) else {
            return Ok(Some(demo_model(&settings)));
        };
        let data_key = self.data_key(scope.tenant_scope()).await?;
        let sealed = provider.keys.iter().find(|(name, _)| name == key);
        let api_key = sealed.map(|(_, row)| data_key.open(row)).transpose();
        let named = provider.headers.iter();
        let headers = named.map(|(name, row)| Ok((name.clone(), data_key.open(row)?)));
        let headers: Result<Vec<_>> = headers.collect();
        let (Ok(api_key), Ok(mut headers)) = (api_key, headers) else {
            tracing::error!(
                tenant.id = %scope.tenant(), model.provider = %provider.id, key.name = key,
                "a key or header cannot be unsealed, it is left out"
            );
            return Ok(None);
        };
        if let Some(key) = api_key.as_ref().filter(|_| provider.auth_header) {
            headers.push((
                "Authorization".to_owned(),
                Secret::new(format!("Bearer {}", key.expose())),
            ));
        }
        let mut model = choice.model.clone();
        let mut params = settings.model_params(agent_id, &format!("{}/{}", provider.id, model.id));
        if params.context_1m == Some(true) {
            let may = provider.api == "anthropic-messages" && may_be_wide(&model.id, api_key.as_ref());
            params.context_1m = Some(may);
            if may {
                model.widen(WIDE);
            }
        }
        let mut resolved = ResolvedModel {
            api: provider.api.clone(),
            provider: provider.id.clone(),
            key: key.to_owned(),
            endpoint: Endpoint {
                base_url: provider.base_url.clone(),
                api_key,
                headers,
            },
            context_window: capped(model.context_tokens, &settings),
            full_window: model.context_window,
            max_tokens: params
                .max_tokens
                .map_or(model.max_tokens, |most| most.min(model.max_tokens)),
            takes: model.takes(provider),
            compat: model.compat.clone().unwrap_or_else(|| provider.compat.clone()),
            reasoning: model.reasoning,
            thinking: usual_thinking(&settings, agent_id, &provider.id, &model),
            fast: false,
            params,
            prices: model.prices,
            priced: model.priced,
            model: model.id,
            name: model.name,
        };
        resolved.price_params();
        Ok(Some(resolved))
    }
}
