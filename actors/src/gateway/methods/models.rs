//! `models.list`.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;
use crate::ports::model::Thinking;

pub(super) fn register(methods: &mut Methods) {
    methods.add("models.list", Access::Scope(READ), list);
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

/// What a model has, whether it can think or not.
pub(super) fn levels(reasoning: bool) -> &'static [Thinking] {
    if reasoning { &Thinking::ALL } else { &[Thinking::Off] }
}

/// The same as clients list it.
pub(super) fn shown_levels(reasoning: bool) -> Value {
    let shown = levels(reasoning).iter();
    shown
        .map(|level| json!({"id": level.name(), "label": level.name()}))
        .collect()
}

/// Their names alone.
pub(super) fn level_names(reasoning: bool) -> Value {
    levels(reasoning).iter().map(|level| json!(level.name())).collect()
}

/// The models the caller may use, as clients list them.
pub(super) async fn views(call: &Call) -> Result<Vec<Value>, WireError> {
    let models = call.state.services.config.list_models(call.scope()).await?;
    Ok(models
        .into_iter()
        .map(|model| {
            let tags: &[&str] = if model.default { &["default"] } else { &[] };
            let mut row = json!({
                "id": model.id, "name": model.name, "provider": model.provider, "contextWindow": model.context_window,
                "reasoning": model.reasoning, "input": model.takes.names(), "tags": tags, "available": model.rest.is_none(),
                "thinkingLevels": shown_levels(model.reasoning), "thinkingDefault": model.thinking.name(),
            });
            if let Some(rest) = model.rest {
                let failed = rest.reason.starts_with("auth");
                row["unavailableReason"] = json!(if failed { "auth-failed" } else { "cooldown" });
                row["unavailableUntil"] = json!(rest.until);
            }
            row
        })
        .collect())
}
