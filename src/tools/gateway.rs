//! `gateway`: the user's configuration, read and changed by their agent.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answered, reach, read, refused};

/// The tool.
pub(super) struct Gateway {
    spec: Arc<ToolSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "config.get")]
    Get,
    #[serde(rename = "config.schema.lookup")]
    Lookup,
    #[serde(rename = "config.patch")]
    Patch,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    action: Action,
    path: Option<String>,
    raw: Option<String>,
    base_hash: Option<String>,
}

impl Gateway {
    pub(super) fn new() -> Self {
        let text = |about: &str| json!({"type": "string", "description": about});
        Self {
            spec: Arc::new(ToolSpec {
                name: "gateway".to_owned(),
                description: "Reads the user's configuration (config.get), says what may stand where \
                    (config.schema.lookup), and merges a change into it (config.patch, with the hash config.get gave). \
                    Only when the user asks for it. Models, channels, tools, clients' rights and secrets are changed by \
                    the user alone."
                    .to_owned(),
                summary: "read and change the user's configuration".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {"type": "string", "enum": ["config.get", "config.schema.lookup", "config.patch"]},
                        "path": text("config.get, config.schema.lookup: dotted path, e.g. agents.defaults."),
                        "raw": text("config.patch: the merge patch, JSON5; null takes a key away."),
                        "baseHash": text("config.patch: hash of the configuration it changes."),
                    },
                    "required": ["action"],
                    "additionalProperties": false,
                }).into(),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(60),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: Arguments = read(arguments)?;
        let reach = reach(context)?;
        let needed = |value: &Option<String>, name: &str| {
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| ToolOutput::error(format!("{name} is missing.")))
        };
        let shown = match given.action {
            Action::Get => reach.config_get(given.path.as_deref()).await,
            Action::Lookup => reach.config_lookup(&needed(&given.path, "path")?).await,
            Action::Patch => {
                let (raw, hash) = (needed(&given.raw, "raw")?, needed(&given.base_hash, "baseHash")?);
                reach.config_patch(&raw, &hash).await
            }
        };
        Ok(ToolOutput::json(&shown.map_err(refused)?))
    }
}

impl Tool for Gateway {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        match arguments["action"].as_str() {
            Some("config.patch") | None => Effect::External,
            Some(_) => Effect::ReadOnly,
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
