//! `models.auth*`: the keys of the tenant's AI providers. They go in and never come out; a profile is
//! `<provider>:<name of the key>`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::filled;
use crate::clock::now_ms;
use crate::config::ConfigService;
use crate::config::identity::Role;
use crate::config::providers::{DEFAULT_KEY, KeyView, ProviderDraft, ProviderView, known, profile_id};
use crate::crypto::Secret;
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{self, ADMIN, READ};

pub(super) fn register(methods: &mut Methods) {
    methods.add("models.authStatus", Access::Scope(READ), status);
    methods
        .add("models.authSetApiKey", Access::Scope(ADMIN), set_key)
        .write_limited();
    methods
        .add("models.authOrderSet", Access::Scope(ADMIN), set_order)
        .write_limited();
    methods
        .add("models.authLogout", Access::Scope(ADMIN), logout)
        .write_limited();
}

/// The tenant's providers, and how their keys stand for the caller.
async fn status(call: Call, _: super::Nothing) -> Result<Value, WireError> {
    let config = &call.state.services.config;
    let mut providers = config.list_providers(call.scope().tenant_scope()).await?;
    providers.retain(|view| view.enabled);
    let keys = config.key_views(call.scope(), &providers).await?;
    let admin = scopes::holds(&call.connection.scopes, ADMIN);
    let shown: Vec<Value> = providers
        .iter()
        .zip(&keys)
        .map(|(view, keys)| auth_of(view, keys, admin))
        .collect();
    let able: Vec<Value> = providers
        .iter()
        .map(|view| json!({"provider": view.id, "apiKeySupported": true, "quickApiKeySetup": true}))
        .collect();
    Ok(json!({"ts": now_ms(), "providers": shown, "providerCapabilities": able}))
}

fn auth_of(view: &ProviderView, keys: &[KeyView], admin: bool) -> Value {
    let profiles: Vec<Value> = keys
        .iter()
        .filter(|key| key.name != DEFAULT_KEY || keys.len() > 1)
        .map(|key| {
            let mut profile = json!({
                "profileId": profile_id(&view.id, &key.name), "type": "api_key", "status": "static", "source": "saved",
            });
            if let Some(at) = key.last_used_at.filter(|_| admin) {
                profile["lastUsedAt"] = json!(at);
            }
            if let Some(reason) = &key.reason {
                profile["reasonCode"] = json!(reason);
            }
            if admin {
                profile["logoutSupported"] = json!(true);
            }
            profile
        })
        .collect();
    let mut row = json!({
        "provider": view.id, "authProvider": view.id, "displayName": view.id, "profiles": profiles,
        "status": if keys.is_empty() { "missing" } else { "static" },
    });
    if !keys.is_empty() {
        row["apiKey"] = json!({"source": "config"});
    }
    if let Some(order) = view.config.get("keyOrder").and_then(Value::as_array) {
        let names = order.iter().filter_map(Value::as_str);
        row["profileOrder"] = names.map(|name| json!(full(&view.id, name))).collect();
        row["profileOrderStored"] = json!(true);
    }
    row
}

/// The profile id of a name, which may be one already.
fn full(provider: &str, name: &str) -> String {
    profile_id(provider, bare(provider, name))
}

fn bare<'a>(provider: &str, profile: &'a str) -> &'a str {
    let rest = profile.strip_prefix(provider).and_then(|rest| rest.strip_prefix(':'));
    rest.unwrap_or(profile)
}

/// The service, for whoever may change what belongs to the tenant.
fn tenants(call: &Call) -> Result<ConfigService, WireError> {
    let user = &call.identity.user;
    if user.role < Role::Admin {
        let why = "AI providers belong to the tenant: an owner or admin changes them";
        return Err(Error::Forbidden(why.to_owned()).into());
    }
    Ok(call.state.services.config.acting_as(user.scope.user().as_str()))
}

async fn provider(call: &Call, config: &ConfigService, method: &str, given: &str) -> Result<ProviderView, WireError> {
    filled(method, "provider", given)?;
    let id = given.trim().to_lowercase();
    let providers = config.list_providers(call.scope().tenant_scope()).await?;
    let found = providers.into_iter().find(|view| view.id == id);
    found.ok_or_else(|| WireError::invalid(format!("provider {id} is not configured")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetKeyParams {
    provider: String,
    api_key: Secret,
    /// Which key; the provider's first one unless it is named.
    profile_id: Option<String>,
}

async fn set_key(call: Call, params: SetKeyParams) -> Result<Value, WireError> {
    const METHOD: &str = "models.authSetApiKey";
    let config = tenants(&call)?;
    let tenant = call.scope().tenant_scope();
    let id = params.provider.trim().to_lowercase();
    if params.api_key.expose().trim().is_empty() {
        return Err(WireError::invalid(format!(
            "invalid {METHOD} params: at /apiKey: must match pattern \"\\S\""
        )));
    }
    let there = config.list_providers(tenant).await?.iter().any(|view| view.id == id);
    if let (false, Some(known)) = (there, known(&id)) {
        let draft = ProviderDraft {
            id: id.clone(),
            api: known.api.to_owned(),
            base_url: known.base_url.to_owned(),
            config: json!({}),
            enabled: true,
            api_key: None,
        };
        config.put_provider(tenant, draft).await?;
    }
    let view = provider(&call, &config, METHOD, &id).await?;
    let name = params
        .profile_id
        .as_deref()
        .map_or(DEFAULT_KEY, |profile| bare(&view.id, profile));
    let key = Secret::new(params.api_key.expose().trim());
    config.put_provider_key(tenant, &view.id, name, &key).await?;
    call.state.directory.config_changed(tenant.tenant());
    Ok(json!({"provider": view.id, "profileId": profile_id(&view.id, name)}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderParams {
    provider: String,
    /// All keys of the provider; absent: the one that rested longest first.
    profile_ids: Option<Vec<String>>,
}

async fn set_order(call: Call, params: OrderParams) -> Result<Value, WireError> {
    let config = tenants(&call)?;
    let view = provider(&call, &config, "models.authOrderSet", &params.provider).await?;
    let id = &view.id;
    let names = params.profile_ids.as_ref().map(|profiles| {
        let names = profiles.iter().map(|profile| bare(id, profile).to_owned());
        names.collect::<Vec<_>>()
    });
    for name in names.iter().flatten() {
        if !view.keys.contains(name) {
            return Err(WireError::invalid(format!(
                "profileId {name} is unavailable for provider {id}"
            )));
        }
    }
    if names
        .as_ref()
        .is_some_and(|names| view.keys.iter().any(|key| !names.contains(key)))
    {
        return Err(WireError::invalid(format!(
            "profileIds must include every available profile for provider {id}"
        )));
    }
    let tenant = call.scope().tenant_scope();
    config.order_provider_keys(tenant, id, names.as_deref()).await?;
    call.state.directory.config_changed(tenant.tenant());
    Ok(json!({"provider": id, "profileIds": params.profile_ids}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogoutParams {
    provider: String,
    /// Absent: all keys of the provider.
    profile_ids: Option<Vec<String>>,
}

/// Takes keys away. A run that goes on has its key already.
async fn logout(call: Call, params: LogoutParams) -> Result<Value, WireError> {
    let config = tenants(&call)?;
    let view = provider(&call, &config, "models.authLogout", &params.provider).await?;
    let names: Vec<String> = match &params.profile_ids {
        Some(profiles) => profiles
            .iter()
            .map(|profile| bare(&view.id, profile).to_owned())
            .collect(),
        None => view.keys.clone(),
    };
    if names.iter().any(|name| !view.keys.contains(name)) {
        return Err(WireError::invalid("profileIds contain unavailable auth profiles"));
    }
    let tenant = call.scope().tenant_scope();
    for name in &names {
        config.delete_provider_key(tenant, &view.id, name).await?;
    }
    call.state.directory.config_changed(tenant.tenant());
    let removed: Vec<String> = names.iter().map(|name| profile_id(&view.id, name)).collect();
    Ok(json!({"provider": view.id, "removedProfiles": removed, "abortedRunIds": []}))
}
