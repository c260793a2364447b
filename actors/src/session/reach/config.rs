//! The user's configuration, as their agent may read and change it in a chat of theirs alone.
//!
//! Who provides models and bots, what clients may do, and which tools there are is no business of an agent's: words it
//! read somewhere could talk it into widening its own rights.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Reach, Refusal, away};
use crate::config::document::is_secret_key;
use crate::config::identity::User;
use crate::config::schema;
use crate::config::whole::{Change, Written};
use crate::gateway::methods::config::{read, shown};

/// Longest path, bytes.
const LONGEST_PATH: usize = 1024;
/// Keys an agent does not change, wherever they stand.
const NOT_FOR_AGENTS: [&str; 14] = [
    "models",
    "channels",
    "gateway",
    "tools",
    "subagents",
    "commands",
    "hooks",
    "bindings",
    "auth",
    "mcp",
    // Where a skill's keys go, and who others are.
    "secretHosts",
    "guests",
    "accessGroups",
    "identityLinks",
];
/// What holds such keys below it: it is changed piece by piece, and neither taken away nor replaced.
const HOLDERS: [&str; 6] = ["agents", "list", "defaults", "skills", "entries", "cron"];

impl Reach {
    async fn user(&self) -> Result<Arc<User>, Refusal> {
        let run = &self.0;
        if !run.alone {
            return Err("The configuration is only for a chat of the owner's alone.".to_owned());
        }
        let scope = &run.authority.scope;
        let config = &run.directory.services().config;
        config.user(scope.tenant_scope(), scope.user()).await.map_err(away)
    }

    /// The configuration with its secrets blotted out, or the part at a dotted path, and the hash a change needs.
    pub async fn config_get(&self, path: Option<&str>) -> Result<Value, Refusal> {
        let user = self.user().await?;
        let whole = self.0.directory.services().config.whole(&user).await.map_err(away)?;
        let mut parts = path.unwrap_or_default().split('.').filter(|part| !part.is_empty());
        let found = parts.try_fold(&whole.config, |value, part| value.get(part));
        Ok(json!({"hash": whole.hash, "config": found}))
    }

    /// What may stand at a dotted path.
    pub async fn config_lookup(&self, path: &str) -> Result<Value, Refusal> {
        self.user().await?;
        let found = (path.len() <= LONGEST_PATH).then(|| schema::lookup(path)).flatten();
        let found = found.ok_or_else(|| format!("There is no configuration key {path}."))?;
        Ok(json!({"path": found.path, "schema": found.schema, "children": found.children}))
    }

    /// Merges a patch (JSON5) into the configuration that has this hash.
    pub async fn config_patch(&self, raw: &str, base_hash: &str) -> Result<Value, Refusal> {
        let user = self.user().await?;
        let patch = read("config.patch", raw).map_err(|error| error.message)?;
        if let Some(key) = kept_away(&patch) {
            return Err(format!(
                "forbidden: agents do not change {key}. Ask the user to do that."
            ));
        }
        let run = &self.0;
        let services = run.directory.services();
        let change = Change::Patch {
            patch,
            replace: Vec::new(),
        };
        let apis: Vec<&'static str> = services.ports.apis();
        let written = services.config.change_whole(&user, Some(base_hash), change, &apis);
        match written.await.map_err(away)? {
            Written::Stored {
                whole,
                changed,
                notices,
            } => {
                if !changed.is_empty() {
                    run.directory.config_is(&run.authority.scope, whole.hash.clone());
                }
                Ok(json!({"ok": true, "hash": whole.hash, "changedPaths": changed, "warnings": shown(&notices)}))
            }
            Written::Refused(issues) => Err(format!(
                "The configuration would not be valid: {}",
                json!(shown(&issues))
            )),
        }
    }
}

/// The first key in the patch that is not for agents: a section, or a secret.
fn kept_away(patch: &Value) -> Option<String> {
    match patch {
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let holder = HOLDERS.contains(&key.as_str());
            if NOT_FOR_AGENTS.contains(&key.as_str())
                || is_secret_key(key)
                || key == "env"
                || key == "headers"
                || (holder && !is_in_pieces(value))
            {
                return Some(key.clone());
            }
            kept_away(value)
        }),
        Value::Array(items) => items.iter().find_map(kept_away),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// An object, or a list that names each of its entries: both are merged into what is there.
fn is_in_pieces(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(|value| !value.is_null()),
        Value::Array(items) => !items.is_empty() && items.iter().all(|item| item["id"].is_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_changes_neither_rights_nor_secrets() {
        for patch in [
            json!({"tools": {"allow": ["*"]}}),
            json!({"gateway": {}}),
            json!({"agents": {"list": [{"id": "main", "tools": null}]}}),
            json!({"agents": {"defaults": {"subagents": {"maxSpawnDepth": 5}}}}),
            json!({"skills": {"entries": {"x": {"apiKey": "k"}}}}),
            json!({"skills": {"entries": {"x": {"env": {"A": "b"}}}}}),
            json!({"models": null}),
            json!({"agents": null}),
            json!({"agents": {"list": []}}),
            json!({"agents": {"list": [{}]}}),
            json!({"agents": {"defaults": null}}),
            json!({"skills": {"entries": {"x": null}}}),
            json!({"hooks": {"enabled": true}}),
            json!({"mcp": {"servers": {"docs": {"url": "https://elsewhere.example/"}}}}),
            json!({"cron": {"webhookToken": "x"}}),
            json!({"skills": {"entries": {"x": {"secretHosts": ["evil.example"]}}}}),
            json!({"skills": {"entries": {"x": {"guests": true}}}}),
            json!({"accessGroups": {"friends": {"telegram": ["7"]}}}),
            json!({"session": {"identityLinks": {"ada": ["telegram:7"]}}}),
        ] {
            assert!(kept_away(&patch).is_some(), "{patch}");
        }
        let fine =
            json!({"agents": {"defaults": {"userTimezone": "Europe/Vienna"}}, "messages": {"responsePrefix": "x"}});
        assert_eq!(kept_away(&fine), None);
    }
}
