//! `sessions_spawn`, `sessions_yield` and `subagents`: agents that an agent begins, waits for, looks at, tells more and
//! stops.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::reach::subagents::{Attachment, SpawnWish, YIELD};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sessions::quoted;
use super::{answered, reach, read, refused};

/// `sessions_spawn`.
pub(super) struct Spawn {
    spec: Arc<ToolSpec>,
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
    mode: Option<String>,
    #[serde(default)]
    thread: bool,
    #[serde(default)]
    attachments: Vec<AttachmentArguments>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentArguments {
    name: String,
    content: String,
    encoding: Option<String>,
    mime_type: Option<String>,
}

impl Spawn {
    pub(super) fn new() -> Self {
        let text = |about: &str| json!({"type": "string", "description": about});
        Self {
            spec: Arc::new(ToolSpec {
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
                        "mode": {
                            "type": "string", "enum": ["run", "session"],
                            "description": "session: its session stays, and is told more with subagents steer or \
                                sessions_send. Default: run.",
                        },
                        "thread": {"type": "boolean", "description": "Not possible here: leave it out."},
                        "attachments": {
                            "type": "array", "maxItems": 20, "description": "Files it begins with.",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "name": {"type": "string", "minLength": 1, "maxLength": 120},
                                    "content": {"type": "string"},
                                    "encoding": {"type": "string", "enum": ["utf8", "base64"]},
                                    "mimeType": {"type": "string", "maxLength": 120},
                                },
                                "required": ["name", "content"],
                                "additionalProperties": false,
                            },
                        },
                        "cleanup": {
                            "type": "string", "enum": ["delete", "keep"],
                            "description": "delete: its session goes when its result was told. Default: keep.",
                        },
                    },
                    "required": ["task"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(60),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: SpawnArguments = read(arguments)?;
        if given.thread {
            return Err(ToolOutput::error(
                "A sub-agent cannot be bound to a thread of a chat here. Leave thread out; with mode session its session \
                 stays and can be told more.",
            ));
        }
        let attachments = given
            .attachments
            .into_iter()
            .map(attachment)
            .collect::<Result<_, _>>()?;
        let wish = SpawnWish {
            stays: given.mode.as_deref() == Some("session"),
            attachments,
            task: given.task,
            label: given.label,
            agent_id: given.agent_id,
            model: given.model,
            thinking: given.thinking,
            timeout_seconds: given.run_timeout_seconds,
            delete: given.cleanup.as_deref() == Some("delete"),
            once: None,
        };
        let begun = reach(context)?.spawn(wish).await.map_err(refused)?;
        Ok(ToolOutput::json(&begun))
    }
}

impl Tool for Spawn {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}

/// The bytes of a file; `utf8` is what is not said to be something else.
fn attachment(given: AttachmentArguments) -> Result<Attachment, ToolOutput> {
    let text = given.encoding.as_deref() != Some("base64");
    let bytes = if text {
        given.content.into_bytes()
    } else {
        let decoded = STANDARD.decode(given.content.trim());
        decoded.map_err(|_| ToolOutput::error(format!("The file {} is no base64.", given.name)))?
    };
    let usual = if text { "text/plain" } else { "" };
    Ok(Attachment {
        name: given.name,
        mime_type: given.mime_type.unwrap_or_else(|| usual.to_owned()),
        bytes,
    })
}

/// `sessions_yield`.
pub(super) struct Yield {
    spec: Arc<ToolSpec>,
}

#[derive(Deserialize)]
struct YieldArguments {
    message: Option<String>,
}

impl Yield {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: YIELD.to_owned(),
                description:
                    "Ends your turn to wait for the sub-agents of this session: their results come as the next \
                    message. Call it after sessions_spawn when there is nothing else to do or say."
                        .to_owned(),
                summary: "end the turn and wait for sub-agents".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "message": {"type": "string", "maxLength": 2000, "description": "Why you wait, for yourself."},
                    },
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: true,
                timeout: Duration::from_secs(30),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: YieldArguments = read(arguments)?;
        reach(context)?.wait_for_subagents().await.map_err(refused)?;
        let message = given.message.as_deref().unwrap_or("Turn yielded.");
        Ok(ToolOutput::json(&json!({"status": "yielded", "message": message})))
    }
}

impl Tool for Yield {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}

/// `subagents`.
pub(super) struct Subagents {
    spec: Arc<ToolSpec>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    List,
    Kill,
    Steer,
    Log,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    #[serde(default)]
    action: Action,
    target: Option<String>,
    message: Option<String>,
    recent_minutes: Option<u64>,
    limit: Option<u64>,
}

impl Subagents {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "subagents".to_owned(),
                description:
                    "Lists the sub-agents of this session, stops them (kill), tells one that runs something more \
                    (steer), or shows what was said in one's session (log)."
                        .to_owned(),
                summary: "list, stop, steer or look at sub-agents".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {"type": "string", "enum": ["list", "kill", "steer", "log"]},
                        "target": {
                            "type": "string",
                            "description": "Number in the list, label, key, run, last; with kill also all.",
                        },
                        "message": {"type": "string", "description": "steer: what it is told."},
                        "recentMinutes": {
                            "type": "integer", "minimum": 1, "description": "list: ended ones since (30).",
                        },
                        "limit": {"type": "integer", "minimum": 1, "description": "log: newest messages (50)."},
                    },
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(60),
            }),
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
            Action::Log => {
                let (name, shown) = reach.subagent_log(target()?, given.limit).await.map_err(refused)?;
                return Ok(quoted(&format!("history of session {name}"), &shown));
            }
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
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        match arguments["action"].as_str() {
            None | Some("list" | "log") => Effect::ReadOnly,
            Some(_) => Effect::External,
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
