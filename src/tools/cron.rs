//! `cron`: the user's scheduled jobs, and waking their agent.

use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{answered, reach, read, refused};

/// The tool.
pub(super) struct Cron {
    spec: Arc<ToolSpec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Status,
    List,
    Add,
    Update,
    Remove,
    Run,
    Runs,
    Wake,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    action: Action,
    #[serde(default)]
    include_disabled: bool,
    job: Option<Value>,
    job_id: Option<String>,
    id: Option<String>,
    patch: Option<Value>,
    text: Option<String>,
    mode: Option<String>,
    run_mode: Option<String>,
    context_messages: Option<u64>,
}

impl Cron {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "cron".to_owned(),
                description: "Scheduled jobs of the user: status, list, add, update, remove, run (now), runs (the log), \
                    and wake (tell the main session something). A job is {name, schedule, payload, sessionTarget, \
                    delivery}. schedule: {kind:\"at\", at: ISO time} once, {kind:\"every\", everyMs}, or {kind:\"cron\", \
                    expr, tz}. payload: {kind:\"systemEvent\", text} with sessionTarget main, or {kind:\"agentTurn\", \
                    message} with sessionTarget isolated. Write a reminder as it should read when it fires."
                    .to_owned(),
                summary: "manage reminders and scheduled jobs".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {
                            "type": "string",
                            "enum": ["status", "list", "add", "update", "remove", "run", "runs", "wake"],
                        },
                        "includeDisabled": {"type": "boolean", "description": "list: those that are off too."},
                        "job": {"type": "object", "description": "add: the job."},
                        "jobId": {"type": "string", "description": "update, remove, run, runs: which job."},
                        "id": {"type": "string", "description": "As jobId."},
                        "patch": {"type": "object", "description": "update: what changes."},
                        "text": {"type": "string", "description": "wake: what happened."},
                        "mode": {"type": "string", "enum": ["now", "next-heartbeat"], "description": "wake: when."},
                        "runMode": {"type": "string", "enum": ["due", "force"], "description": "run: only if due."},
                        "contextMessages": {
                            "type": "integer", "minimum": 0, "maximum": 10,
                            "description": "add: newest messages told along with a reminder (0).",
                        },
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
        let missing = |what: &str| ToolOutput::error(format!("{what} is missing."));
        let id = || {
            let id = given.job_id.as_deref().or(given.id.as_deref());
            id.filter(|id| !id.is_empty()).ok_or_else(|| missing("jobId"))
        };
        let shown = match given.action {
            Action::Status => reach.cron_status().await,
            Action::List => reach.cron_list(given.include_disabled).await,
            Action::Add => {
                let job = given.job.as_ref().ok_or_else(|| missing("job"))?;
                reach.cron_add(job, given.context_messages.unwrap_or(0)).await
            }
            Action::Update => {
                let patch = given.patch.as_ref().ok_or_else(|| missing("patch"))?;
                reach.cron_update(id()?, patch).await
            }
            Action::Remove => reach.cron_remove(id()?).await,
            Action::Run => reach.cron_run(id()?, given.run_mode.as_deref() == Some("due")).await,
            Action::Runs => reach.cron_runs(id()?).await,
            Action::Wake => {
                let now = given.mode.as_deref() != Some("next-heartbeat");
                reach.cron_wake(given.text.as_deref().unwrap_or(""), now).await
            }
        };
        Ok(ToolOutput::json(&shown.map_err(refused)?))
    }
}

impl Tool for Cron {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    // A job runs with the owner's rights, and its text stays in the transcript.
    fn is_private(&self) -> bool {
        true
    }

    fn effect(&self, arguments: &Value) -> Effect {
        match arguments["action"].as_str() {
            Some("status" | "list" | "runs") => Effect::ReadOnly,
            Some(_) | None => Effect::External,
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
