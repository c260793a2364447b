//! `config.get`: the user's configuration document, secrets blotted out.

use serde_json::{Value, json};

use super::Nothing;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;

/// What stands in for a secret; written back it means "as it was".
const REDACTED: &str = "__OPENCLAW_REDACTED__";

pub(super) fn register(methods: &mut Methods) {
    methods.add("config.get", Access::Scope(READ), get);
}

async fn get(call: Call, _: Nothing) -> Result<Value, WireError> {
    let document = call.state.services.config.document(call.scope()).await?;
    let doc = redact(document.doc);
    Ok(json!({
        "path": "openclaw.json", "includedPaths": [], "exists": true,
        "raw": serde_json::to_string_pretty(&doc).ok(),
        "parsed": doc, "sourceConfig": doc, "resolved": doc, "runtimeConfig": doc, "config": doc,
        "valid": true, "hash": document.hash, "configRevisionHash": document.hash,
        "issues": [], "warnings": [], "legacyIssues": [],
    }))
}

fn redact(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, field)| {
                    let field = if secret(&name) && field.as_str().is_some_and(|text| !text.is_empty()) {
                        json!(REDACTED)
                    } else {
                        redact(field)
                    };
                    (name, field)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(redact).collect()),
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
    }
}

/// Does a field of this name hold a secret.
fn secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "token",
        "password",
        "secret",
        "apikey",
        "api_key",
        "privatekey",
        "serviceaccount",
        "credential",
    ]
    .iter()
    .any(|part| name.contains(part))
        && !name.ends_with("tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_leave() {
        let doc = json!({
            "models": {"providers": {"x": {"apiKey": "sk-1", "baseUrl": "https://a"}}},
            "channels": {"telegram": {"botToken": "1:a", "accounts": [{"signingSecret": "s"}]}},
            "agents": {"defaults": {"maxTokens": 5, "contextTokens": "9"}},
        });
        let shown = redact(doc);
        assert_eq!(shown["models"]["providers"]["x"]["apiKey"], REDACTED);
        assert_eq!(shown["models"]["providers"]["x"]["baseUrl"], "https://a");
        assert_eq!(shown["channels"]["telegram"]["botToken"], REDACTED);
        assert_eq!(shown["channels"]["telegram"]["accounts"][0]["signingSecret"], REDACTED);
        assert_eq!(
            shown["agents"]["defaults"],
            json!({"maxTokens": 5, "contextTokens": "9"})
        );
    }
}
