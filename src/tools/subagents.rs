//! `sessions_spawn` and `subagents`: agents that an agent begins, looks at, tells more and stops.

use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::reach::subagents::SpawnWish;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answered, reach, read, refused};

/// `sessions_spawn`.
pub(super) struct Spawn {
    spec: ToolSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpawnArguments {
    task: String,
    label: Option<String>,
    agent_id: Option<String>,
    model: Option<String>,
    thinking: Option<String>,
    run_timeout_seconds: Option<u64>,
    cleanup: Option<String>,
}

impl Spawn {
    pub(super) fn new() -> Self {
        let text = |about: &str| json!({"type": "string", "description": about});
        Self {
            spec: ToolSpec {
                name: "sessions_spawn".to_owned(),
                description:
                    "Begins a sub-agent in a session of its own for one task, and returns at once. Its result \
                    comes to this session by itself when it is done; do not poll for it."
                        .to_owned(),
                summary: "begin a sub-agent for a task".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "task": text("What it is to do, complete: it sees nothing of this conversation."),
                        "label": text("A short name."),
                        "agentId": text("Another agent, from agents_list."),
                        "model": text("Another model, provider/model."),
                        "thinking": text("Thinking level."),
                        "runTimeoutSeconds": {"type": "integer", "minimum": 0, "description": "Longest run."},
                        "mode": {"type": "string", "enum": ["run"]},
                        "cleanup": {
                            "type": "string", "enum": ["delete", "keep"],
                            "description": "delete: its session goes when its result was told. Default: keep.",
                        },
                    },
                    "required": ["task"],
                    "additionalProperties": false,
                }),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(60),
            },
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: SpawnArguments = read(arguments)?;
        let wish = SpawnWish {
            task: given.task,
            label: given.label,
            agent_id: given.agent_id,
            model: given.model,
            thinking: given.thinking,
            timeout_seconds: given.run_timeout_seconds,
            delete: given.cleanup.as_deref() == Some("delete"),
        };
        let begun = reach(context)?.spawn(wish).await.map_err(refused)?;
        Ok(ToolOutput::json(&begun))
    }
}

impl Tool for Spawn {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}

/// `subagents`.
pub(super) struct Subagents {
    spec: ToolSpec,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    List,
    Kill,
    Steer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    #[serde(default)]
    action: Action,
    target: Option<String>,
    message: Option<String>,
    recent_minutes: Option<u64>,
}

impl Subagents {
    pub(super) fn new() -> Self {
        Self {
            spec: ToolSpec {
                name: "subagents".to_owned(),
                description:
                    "Lists the sub-agents of this session, stops them (kill), or tells one that runs something \
                    more (steer)."
                        .to_owned(),
                summary: "list, stop or steer sub-agents".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {"type": "string", "enum": ["list", "kill", "steer"]},
                        "target": {
                            "type": "string",
                            "description": "Number in the list, label, key, run, last; with kill also all.",
                        },
                        "message": {"type": "string", "description": "steer: what it is told."},
                        "recentMinutes": {
                            "type": "integer", "minimum": 1, "description": "list: ended ones since (30).",
                        },
                    },
                    "additionalProperties": false,
                }),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(60),
            },
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: Arguments = read(arguments)?;
        let reach = reach(context)?;
        let target = || {
            let target = given
                .target
                .as_deref()
                .map(str::trim)
                .filter(|target| !target.is_empty());
            target.ok_or_else(|| ToolOutput::error("Say which sub-agent: target."))
        };
        let shown = match given.action {
            Action::List => reach.list_subagents(given.recent_minutes).await,
            Action::Kill => reach.kill_subagents(target()?).await,
            Action::Steer => {
                reach
                    .steer_subagent(target()?, given.message.as_deref().unwrap_or(""))
                    .await
            }
        };
        Ok(ToolOutput::json(&shown.map_err(refused)?))
    }
}

impl Tool for Subagents {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        match arguments["action"].as_str() {
            None | Some("list") => Effect::ReadOnly,
            Some(_) => Effect::External,
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
