//! `sessions_list`, `sessions_history`, `sessions_send` and `agents_list`. What may be reached from where is decided in
//! the session (`claw_actors::session::reach`).

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::message::Part;
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::reach::sessions::{ListWish, SendWish};
use claw_actors::session::untrusted;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answered, reach, read, refused};

/// Wait for an answer without `timeoutSeconds`, and the longest.
const WAIT: u64 = 30;
const LONGEST_WAIT: u64 = 600;

/// `sessions_list`.
pub(super) struct List {
    spec: Arc<ToolSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListArguments {
    #[serde(default)]
    kinds: Vec<String>,
    limit: Option<u64>,
    active_minutes: Option<u64>,
    message_limit: Option<u64>,
}

impl List {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "sessions_list".to_owned(),
                description: "Lists the sessions you may see: this one, those of your sub-agents, and more where the \
                    user allows it. With messageLimit the newest messages of each are shown."
                    .to_owned(),
                summary: "list the user's sessions".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "kinds": {
                            "type": "array",
                            "items": {"type": "string", "enum": ["main", "group", "cron", "hook", "node", "other"]},
                            "description": "Only these kinds.",
                        },
                        "limit": {"type": "integer", "minimum": 1, "description": "Most rows (50, at most 200)."},
                        "activeMinutes": {"type": "integer", "minimum": 1, "description": "Only those used since."},
                        "messageLimit": {
                            "type": "integer", "minimum": 0, "description": "Newest messages of each (0, at most 20).",
                        },
                    },
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: false,
                timeout: Duration::from_secs(30),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: ListArguments = read(arguments)?;
        let messages = given.message_limit.unwrap_or(0);
        let wish = ListWish {
            kinds: given.kinds,
            limit: given.limit,
            active_minutes: given.active_minutes,
            message_limit: messages,
        };
        let shown = reach(context)?.list_sessions(wish).await.map_err(refused)?;
        Ok(if messages > 0 {
            quoted("sessions of the user", &shown)
        } else {
            ToolOutput::json(&shown)
        })
    }
}

impl Tool for List {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}

/// `sessions_history`.
pub(super) struct History {
    spec: Arc<ToolSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HistoryArguments {
    session_key: String,
    limit: Option<u64>,
    #[serde(default)]
    include_tools: bool,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "sessions_history".to_owned(),
                description:
                    "Shows what was said in a session you may see. Long texts are cut, credentials blotted out."
                        .to_owned(),
                summary: "read what was said in a session".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "sessionKey": {"type": "string", "description": "Key from sessions_list, or current."},
                        "limit": {"type": "integer", "minimum": 1, "description": "Newest messages (50, at most 500)."},
                        "includeTools": {"type": "boolean", "description": "Tool calls and results too."},
                    },
                    "required": ["sessionKey"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::ReadOnly,
                owner_only: false,
                timeout: Duration::from_secs(30),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: HistoryArguments = read(arguments)?;
        let found = reach(context)?.session_history(&given.session_key, given.limit, given.include_tools);
        let (name, shown) = found.await.map_err(refused)?;
        Ok(quoted(&format!("history of session {name}"), &shown))
    }
}

impl Tool for History {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}

/// `sessions_send`.
pub(super) struct Send {
    spec: Arc<ToolSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendArguments {
    session_key: Option<String>,
    label: Option<String>,
    agent_id: Option<String>,
    message: String,
    timeout_seconds: Option<u64>,
}

impl Send {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "sessions_send".to_owned(),
                description:
                    "Writes to another session, by key or label, and waits for its answer. With timeoutSeconds \
                    0 it does not wait. The answer is only told to you, not to that session's chat."
                        .to_owned(),
                summary: "write to another session".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "sessionKey": {"type": "string", "description": "Key from sessions_list."},
                        "label": {"type": "string", "description": "The session's label, instead of its key."},
                        "agentId": {"type": "string", "description": "Whose session has the label."},
                        "message": {"type": "string", "minLength": 1, "maxLength": 65536},
                        "timeoutSeconds": {
                            "type": "integer", "minimum": 0, "maximum": LONGEST_WAIT,
                            "description": "How long to wait (30); 0: not at all.",
                        },
                    },
                    "required": ["message"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(LONGEST_WAIT + 30),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: SendArguments = read(arguments)?;
        let wish = SendWish {
            session_key: given.session_key,
            label: given.label,
            agent_id: given.agent_id,
            message: given.message,
            wait: Duration::from_secs(given.timeout_seconds.unwrap_or(WAIT).min(LONGEST_WAIT)),
        };
        let sent = reach(context)?.send_to_session(wish).await.map_err(refused)?;
        let mut output = ToolOutput::json(&sent.shown);
        output.is_error = sent.shown["status"] == "error";
        if let Some(reply) = sent.reply {
            let text = untrusted::wrap("answer of another session", &reply);
            output.content.push(Part::Text { text });
        }
        Ok(output)
    }
}

impl Tool for Send {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}

/// `agents_list`.
pub(super) struct Agents {
    spec: Arc<ToolSpec>,
}

impl Agents {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "agents_list".to_owned(),
                description: "Lists the agents that sessions_spawn may begin.".to_owned(),
                summary: "list agents that may be begun".to_owned(),
                parameters: json!({"type": "object", "properties": {}, "additionalProperties": false}).into(),
                effect: Effect::ReadOnly,
                owner_only: true,
                timeout: Duration::from_secs(10),
            }),
        }
    }
}

impl Tool for Agents {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, _: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            let reach = match reach(context) {
                Ok(reach) => reach,
                Err(output) => return output,
            };
            let shown = reach.agents().await.map_err(refused);
            answered(shown.map(|shown| ToolOutput::json(&shown)))
        })
    }
}

/// What was said elsewhere, wrapped: it is no instruction here.
pub(super) fn quoted(source: &str, shown: &Value) -> ToolOutput {
    let text = serde_json::to_string_pretty(shown).unwrap_or_default();
    ToolOutput::text(untrusted::wrap(source, &text))
}
