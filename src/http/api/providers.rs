//! AI providers of the tenant. Keys go in and never come out.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, ServiceConfig};
use claw_actors::Error;
use claw_actors::config::providers::{DEMO_API, KeyView, ProviderDraft, ProviderView};
use claw_actors::crypto::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;
use utoipa::ToSchema;

use super::{check_id, resource};
use crate::error::ApiResult;
use crate::http::auth::{AdminCaller, Caller};
use crate::http::body::JsonIn;
use crate::http::state::AppState;

/// Models of one provider.
const MOST_MODELS: usize = 500;

pub fn routes(config: &mut ServiceConfig) {
    config
        .service(resource("/providers").route(web::get().to(list)))
        .service(
            resource("/providers/{id}")
                .route(web::put().to(put))
                .route(web::delete().to(delete)),
        )
        .service(resource("/providers/{id}/key-order").route(web::put().to(order_keys)))
        .service(resource("/providers/{id}/keys/{name}/retry").route(web::post().to(retry_key)))
        .service(
            resource("/providers/{id}/keys/{name}")
                .route(web::put().to(put_key))
                .route(web::delete().to(delete_key)),
        );
}

#[derive(Serialize, ToSchema)]
pub struct ProvidersOut {
    pub providers: Vec<ProviderOut>,
    /// Wire families a provider may speak.
    pub apis: Vec<String>,
}

/// A provider without its key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderOut {
    pub id: String,
    pub api: String,
    pub base_url: String,
    pub enabled: bool,
    /// Is a key stored.
    pub key_set: bool,
    /// Its keys, and how each stands for the caller.
    pub keys: Vec<ProviderKey>,
    /// Names of keys: where there are any, they alone are used, in this order.
    pub key_order: Vec<String>,
    pub models: Vec<ProviderModel>,
}

/// A key without its value.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderKey {
    /// `default` is the one that is set with the provider.
    pub name: String,
    /// When a conversation of the caller's took it, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<i64>,
    /// It is not used until then, epoch milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rests_until: Option<i64>,
    /// Why: `rate_limit`, `billing`, `auth`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For this model only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl From<KeyView> for ProviderKey {
    fn from(view: KeyView) -> Self {
        Self {
            name: view.name,
            last_used_at: view.last_used_at,
            rests_until: view.rests_until,
            reason: view.reason,
            model: view.model,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderKeyIn {
    #[schema(value_type = String)]
    api_key: Secret,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyOrderIn {
    /// Names of keys in the order they are tried; no other key is used. Empty: all, the one that rested longest first.
    order: Vec<String>,
}

/// A model as a person describes it.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderModel {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// `text`, `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProviderIn {
    api: String,
    base_url: String,
    /// Absent: the stored key stays.
    #[schema(value_type = Option<String>)]
    api_key: Option<Secret>,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    models: Vec<ProviderModel>,
    /// Names of keys in the order they are tried; no other key is used. Empty: all, the one that rested longest first.
    /// Absent: as it was.
    key_order: Option<Vec<String>>,
}

const fn yes() -> bool {
    true
}

impl ProviderOut {
    fn new(view: ProviderView, keys: Vec<KeyView>) -> Self {
        let order = view.config.get("keyOrder").and_then(Value::as_array);
        let key_order = order
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str().map(str::to_owned));
        let key_order = key_order.collect();
        let models = view.config.get("models").and_then(Value::as_array);
        Self {
            models: models
                .into_iter()
                .flatten()
                .filter_map(|model| serde_json::from_value(model.clone()).ok())
                .collect(),
            id: view.id,
            api: view.api,
            base_url: view.base_url,
            enabled: view.enabled,
            key_set: !view.keys.is_empty(),
            keys: keys.into_iter().map(ProviderKey::from).collect(),
            key_order,
        }
    }
}

#[utoipa::path(get, path = "/api/providers", operation_id = "listProviders", tag = "providers",
    responses((status = 200, body = ProvidersOut)))]
pub async fn list(caller: Caller, state: Data<AppState>) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    let providers = config.list_providers(caller.tenant_scope()).await?;
    let keys = config.key_views(caller.scope(), &providers).await?;
    let shown = providers.into_iter().zip(keys);
    Ok(HttpResponse::Ok().json(ProvidersOut {
        providers: shown.map(|(view, keys)| ProviderOut::new(view, keys)).collect(),
        apis: apis(&state).map(str::to_owned).collect(),
    }))
}

#[utoipa::path(put, path = "/api/providers/{id}", operation_id = "putProvider", tag = "providers",
    params(("id" = String, Path)), request_body = ProviderIn, responses((status = 200, body = ProviderOut)))]
pub async fn put(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    id: Path<String>,
    body: JsonIn<ProviderIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    let id = id.into_inner();
    check_id("the provider's id", &id)?;
    check(&state, &input)?;
    let config = state.services.config.acting_as(caller.actor());
    let tenant = caller.tenant_scope();
    let before = config
        .list_providers(tenant)
        .await?
        .into_iter()
        .find(|view| view.id == id);
    config
        .put_provider(
            tenant,
            ProviderDraft {
                id: id.clone(),
                api: input.api,
                base_url: input.base_url,
                config: merged(before.map(|view| view.config), &input.models, input.key_order),
                enabled: input.enabled,
                api_key: input.api_key.filter(|key| !key.is_empty()),
            },
        )
        .await?;
    state.directory.config_changed(tenant.tenant());
    one(&caller, &state, &id).await
}

/// The provider as it is now.
async fn one(caller: &Caller, state: &AppState, id: &str) -> ApiResult<HttpResponse> {
    let config = &state.services.config;
    let mut providers = config.list_providers(caller.tenant_scope()).await?;
    providers.retain(|view| view.id == id);
    let keys = config.key_views(caller.scope(), &providers).await?;
    let shown = providers.into_iter().zip(keys).next();
    let (view, keys) = shown.ok_or(Error::NotFound { what: "provider" })?;
    Ok(HttpResponse::Ok().json(ProviderOut::new(view, keys)))
}

#[utoipa::path(put, path = "/api/providers/{id}/keys/{name}", operation_id = "putProviderKey", tag = "providers",
    params(("id" = String, Path), ("name" = String, Path)), request_body = ProviderKeyIn,
    responses((status = 200, body = ProviderOut)))]
pub async fn put_key(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    path: Path<(String, String)>,
    body: JsonIn<ProviderKeyIn>,
) -> ApiResult<HttpResponse> {
    let input = body.read().await?;
    let (id, name) = path.into_inner();
    let config = state.services.config.acting_as(caller.actor());
    let key = Secret::new(input.api_key.expose().trim());
    config.put_provider_key(caller.tenant_scope(), &id, &name, &key).await?;
    state.directory.config_changed(caller.scope().tenant());
    one(&caller, &state, &id).await
}

#[utoipa::path(delete, path = "/api/providers/{id}/keys/{name}", operation_id = "deleteProviderKey", tag = "providers",
    params(("id" = String, Path), ("name" = String, Path)), responses((status = 204)))]
pub async fn delete_key(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> ApiResult<HttpResponse> {
    let (id, name) = path.into_inner();
    let config = state.services.config.acting_as(caller.actor());
    config.delete_provider_key(caller.tenant_scope(), &id, &name).await?;
    state.directory.config_changed(caller.scope().tenant());
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(put, path = "/api/providers/{id}/key-order", operation_id = "orderProviderKeys", tag = "providers",
    params(("id" = String, Path)), request_body = KeyOrderIn, responses((status = 200, body = ProviderOut)))]
pub async fn order_keys(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    id: Path<String>,
    body: JsonIn<KeyOrderIn>,
) -> ApiResult<HttpResponse> {
    let KeyOrderIn { order } = body.read().await?;
    let config = state.services.config.acting_as(caller.actor());
    let order = (!order.is_empty()).then_some(order.as_slice());
    config.order_provider_keys(caller.tenant_scope(), &id, order).await?;
    state.directory.config_changed(caller.scope().tenant());
    one(&caller, &state, &id).await
}

#[utoipa::path(post, path = "/api/providers/{id}/keys/{name}/retry", operation_id = "retryProviderKey",
    tag = "providers", params(("id" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = ProviderOut, description = "The key rests for nobody any more")))]
pub async fn retry_key(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> ApiResult<HttpResponse> {
    let (id, name) = path.into_inner();
    let config = state.services.config.acting_as(caller.actor());
    config.retry_provider_key(caller.tenant_scope(), &id, &name).await?;
    one(&caller, &state, &id).await
}

#[utoipa::path(delete, path = "/api/providers/{id}", operation_id = "deleteProvider", tag = "providers",
    params(("id" = String, Path)), responses((status = 204)))]
pub async fn delete(
    AdminCaller(caller): AdminCaller,
    state: Data<AppState>,
    id: Path<String>,
) -> ApiResult<HttpResponse> {
    let config = state.services.config.acting_as(caller.actor());
    config.delete_provider(caller.tenant_scope(), &id).await?;
    state.directory.config_changed(caller.scope().tenant());
    Ok(HttpResponse::NoContent().finish())
}

/// The built-in provider is not one that people set up.
fn apis(state: &AppState) -> impl Iterator<Item = &'static str> {
    state.services.ports.apis().into_iter().filter(|api| *api != DEMO_API)
}

fn check(state: &AppState, input: &ProviderIn) -> ApiResult<()> {
    if !apis(state).any(|api| api == input.api) {
        let known: Vec<_> = apis(state).collect();
        return Err(Error::invalid(format!("api must be one of {}", known.join(", "))).into());
    }
    let address = Url::parse(&input.base_url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.username().is_empty());
    if address.is_none() || input.base_url.len() > 2048 {
        return Err(Error::invalid("baseUrl must be an http or https address without a user name").into());
    }
    if input.models.len() > MOST_MODELS {
        return Err(Error::invalid(format!("a provider has at most {MOST_MODELS} models")).into());
    }
    let mut seen = std::collections::HashSet::new();
    for model in &input.models {
        let fits =
            (1..=200).contains(&model.id.len()) && !model.id.chars().any(|c| c.is_control() || c.is_whitespace());
        if !fits || !seen.insert(&model.id) {
            return Err(Error::invalid("every model needs an id of its own, without spaces").into());
        }
    }
    Ok(())
}

/// The stored settings with the models replaced. What a person cannot edit here (prices, headers) stays.
fn merged(before: Option<Value>, models: &[ProviderModel], key_order: Option<Vec<String>>) -> Value {
    let mut config = match before {
        Some(Value::Object(config)) => config,
        Some(_) | None => Map::new(),
    };
    let old = config.remove("models").unwrap_or_default();
    let models = models.iter().map(|model| {
        let known = old
            .as_array()
            .into_iter()
            .flatten()
            .find(|known| known["id"] == model.id.as_str());
        let mut entry = known.and_then(Value::as_object).cloned().unwrap_or_default();
        if let Value::Object(fields) = json!(model) {
            entry.extend(fields);
        }
        Value::Object(entry)
    });
    let models = models.collect();
    config.insert("models".to_owned(), Value::Array(models));
    match key_order {
        Some(names) if names.is_empty() => drop(config.remove("keyOrder")),
        Some(names) => drop(config.insert("keyOrder".to_owned(), json!(names))),
        None => {}
    }
    Value::Object(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_edited_stays() {
        let before = json!({
            "headers": {"x": "y"},
            "models": [{"id": "a", "cost": {"input": 1.5}, "contextWindow": 10}, {"id": "gone"}],
        });
        let models: Vec<ProviderModel> =
            serde_json::from_value(json!([{"id": "a", "contextWindow": 20}, {"id": "b"}])).expect("models");
        assert_eq!(
            merged(Some(before), &models, None),
            json!({
                "headers": {"x": "y"},
                "models": [{"id": "a", "cost": {"input": 1.5}, "contextWindow": 20}, {"id": "b"}],
            })
        );
    }
}
