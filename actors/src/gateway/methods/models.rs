//! `models.list` and `models.authStatus`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Nothing;
use crate::clock::now_ms;
use crate::config::providers::ProviderView;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

pub(super) fn register(methods: &mut Methods) {
    methods.add("models.list", Access::Scope(READ), list);
    methods.add("models.authStatus", Access::Scope(READ), auth_status);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    /// Only this provider's.
    provider: Option<String>,
}

/// Every view shows the same: what the tenant's providers offer (`published-model-catalog`).
async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    let mut models = views(&call).await?;
    if let Some(provider) = params.provider {
        models.retain(|model| model["provider"] == provider);
    }
    Ok(json!({"models": models}))
}

/// The models the caller may use, as clients list them.
pub(super) async fn views(call: &Call) -> Result<Vec<Value>, WireError> {
    let models = call.state.services.config.list_models(call.scope()).await?;
    Ok(models
        .into_iter()
        .map(|model| {
            let input: &[&str] = if model.takes_images {
                &["text", "image"]
            } else {
                &["text"]
            };
            let tags: &[&str] = if model.default { &["default"] } else { &[] };
            json!({
                "id": model.id, "name": model.name, "provider": model.provider, "contextWindow": model.context_window,
                "reasoning": model.reasoning, "input": input, "tags": tags, "available": true,
                "thinkingLevels": [{"id": "off", "label": "off"}], "thinkingDefault": "off",
            })
        })
        .collect())
}

/// The tenant's providers, and whether a key is stored for each.
async fn auth_status(call: Call, _: Nothing) -> Result<Value, WireError> {
    let tenant = call.scope().tenant_scope();
    let providers = call.state.services.config.list_providers(tenant).await?;
    let shown: Vec<Value> = providers.iter().filter(|view| view.enabled).map(auth_of).collect();
    Ok(json!({"ts": now_ms(), "providers": shown, "providerCapabilities": []}))
}

fn auth_of(view: &ProviderView) -> Value {
    let mut row = json!({
        "provider": view.id, "authProvider": view.id, "displayName": view.id, "profiles": [],
        "status": if view.key_set { "static" } else { "missing" },
    });
    if view.key_set {
        row["apiKey"] = json!({"source": "config"});
    }
    row
}
