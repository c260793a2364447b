//! `tts`: reads a text aloud, into the chat the agent is in.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answered, reach, read, refused};

/// The tool.
pub(super) struct Tts {
    spec: Arc<ToolSpec>,
}

#[derive(Deserialize)]
struct Arguments {
    text: String,
    channel: Option<String>,
}

impl Tts {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "tts".to_owned(),
                description:
                    "Reads a text aloud. In a chat it goes out as a voice message by itself: answer NO_REPLY then. \
                    Elsewhere you get where the sound is stored. Use it when the user asks for speech."
                        .to_owned(),
                summary: "read a text aloud".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "text": {"type": "string", "minLength": 1, "maxLength": 4096},
                        "channel": {"type": "string", "description": "For which channel, if not the one you are in."},
                    },
                    "required": ["text"],
                    "additionalProperties": false,
                })
                .into(),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(90),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: Arguments = read(arguments)?;
        let spoken = reach(context)?.speak(&given.text, given.channel.as_deref()).await;
        Ok(ToolOutput::json(&spoken.map_err(refused)?))
    }
}

impl Tool for Tts {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
