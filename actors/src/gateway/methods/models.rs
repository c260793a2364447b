//! `models.list`.

use serde_json::{Value, json};

use super::Nothing;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

pub(super) fn register(methods: &mut Methods) {
    methods.add("models.list", Access::Scope(READ), list);
}

async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(json!({"models": views(&call).await?}))
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
