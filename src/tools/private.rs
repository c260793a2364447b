//! A tool over the agent's workspace. Only conversations that nobody but the owner reads have such tools. Their rows are
//! in our own database: made twice with the same arguments, as after a crash, a change is there once.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::workspace::Workspace;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a call gave, or why there is nothing; both are for the model.
pub(super) type Answer = Result<ToolOutput, ToolOutput>;

type Run = for<'a> fn(&'a Workspace, Value) -> BoxFuture<'a, Answer>;

/// The tool.
pub(super) struct PrivateTool {
    spec: Arc<ToolSpec>,
    run: Run,
}

/// What is particular about one.
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) summary: &'static str,
    pub(super) effect: Effect,
    /// JSON schema of each argument.
    pub(super) arguments: Value,
    pub(super) required: &'static [&'static str],
}

impl PrivateTool {
    pub(super) fn new(about: About, run: Run) -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: about.name.to_owned(),
                description: about.description.to_owned(),
                summary: about.summary.to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": about.arguments,
                    "required": about.required,
                    "additionalProperties": false,
                })
                .into(),
                effect: about.effect,
                owner_only: true,
                timeout: Duration::from_secs(30),
            }),
            run,
        }
    }
}

impl Tool for PrivateTool {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn is_private(&self) -> bool {
        true
    }

    /// A note that names no file goes into the day's.
    fn writes_to(&self, arguments: &Value) -> Option<String> {
        let writes = self.spec.effect != Effect::ReadOnly;
        writes.then(|| format!("file:{}", arguments["path"].as_str().unwrap_or_default().trim()))
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            match workspace(context) {
                Ok(workspace) => (self.run)(workspace, arguments).await.unwrap_or_else(|refusal| refusal),
                Err(refusal) => refusal,
            }
        })
    }
}

/// The agent's files, where the conversation has them.
pub(super) fn workspace(context: &ToolContext) -> Result<&Workspace, ToolOutput> {
    let refusal = || ToolOutput::error("Only the owner's private conversations have the files of the workspace.");
    context.workspace.as_ref().ok_or_else(refusal)
}

/// A tool's arguments as its type. They match the schema already; what does not fit the type is told.
pub(super) fn arguments_of<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolOutput> {
    serde_json::from_value(arguments).map_err(|error| ToolOutput::error(format!("Invalid arguments: {error}.")))
}

/// The text of a file.
pub(super) async fn text_of(workspace: &Workspace, path: &str) -> Result<String, ToolOutput> {
    let text = workspace.read(path).await.map_err(ToolOutput::error)?;
    text.ok_or_else(|| ToolOutput::error(format!("There is no file {path}. The tool ls lists them.")))
}
