//! `message`: writes into chats of the user's channels.

use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::reach::message::MessageWish;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answered, reach, read, refused};

/// Chats of one broadcast.
const MOST_TARGETS: usize = 20;

/// The tool.
pub(super) struct Message {
    spec: ToolSpec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Send,
    Broadcast,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    action: Action,
    channel: Option<String>,
    #[serde(alias = "to")]
    target: Option<String>,
    #[serde(default)]
    targets: Vec<String>,
    account_id: Option<String>,
    thread_id: Option<String>,
    reply_to: Option<String>,
    message: String,
    #[serde(default)]
    dry_run: bool,
}

impl Message {
    pub(super) fn new() -> Self {
        let text = |about: &str| json!({"type": "string", "description": about});
        Self {
            spec: ToolSpec {
                name: "message".to_owned(),
                description: "Writes into a chat of one of the user's channels: send to one target, or broadcast to \
                    several. Your final answer reaches the chat you are in by itself: use this for others, and answer \
                    NO_REPLY when everything was said with it."
                    .to_owned(),
                summary: "write into other chats".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {"type": "string", "enum": ["send", "broadcast"]},
                        "channel": text("telegram, slack, …; left out: the channel you are in."),
                        "target": text("The platform's id of a chat or person, perhaps behind channel:, group: or user:."),
                        "to": text("As target."),
                        "targets": {
                            "type": "array", "items": {"type": "string"}, "maxItems": MOST_TARGETS,
                            "description": "broadcast: the targets.",
                        },
                        "accountId": text("The bot, if not the default one."),
                        "threadId": text("Topic or thread."),
                        "replyTo": text("Id of the message this answers."),
                        "message": {"type": "string", "minLength": 1, "maxLength": 65536},
                        "dryRun": {"type": "boolean", "description": "Only say where it would go."},
                    },
                    "required": ["action", "message"],
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
        let wish = |target: Option<String>| MessageWish {
            channel: given.channel.clone(),
            target,
            account_id: given.account_id.clone(),
            thread_id: given.thread_id.clone(),
            reply_to: given.reply_to.clone(),
            text: given.message.clone(),
            dry_run: given.dry_run,
        };
        if given.action == Action::Send {
            let sent = reach.message(wish(given.target.clone())).await.map_err(refused)?;
            return Ok(ToolOutput::json(&sent));
        }
        if given.targets.is_empty() {
            return Err(ToolOutput::error("targets is missing."));
        }
        let mut results = Vec::with_capacity(given.targets.len());
        for target in &given.targets {
            results.push(match reach.message(wish(Some(target.clone()))).await {
                Ok(sent) => sent,
                Err(why) => json!({"ok": false, "target": {"to": target}, "error": why}),
            });
        }
        Ok(ToolOutput::json(&json!({"results": results})))
    }
}

impl Tool for Message {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        if arguments["dryRun"] == true {
            Effect::ReadOnly
        } else {
            Effect::External
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
