//! Tools of a run: which the model sees, which may be called, and the batch.
//!
//! The policy is asked at call time again: sessions live long, and policies change.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesOrdered, StreamExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::events::Emitter;
use super::intake::ClientTool;
use super::turn::{self, Authority};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::UserSettings;
use crate::conversation::tool_result;
use crate::ports::message::{Message, ToolCall};
use crate::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec, Updates};

/// Tools that run at once in one batch.
const PARALLEL: usize = 8;

/// The tools of one run.
pub(crate) struct Toolbox {
    services: Services,
    settings: Arc<UserSettings>,
    owner: bool,
    /// Patterns that narrow the user's policy for this run.
    only: Option<Vec<String>>,
    /// What the client runs itself.
    client: Vec<ToolSpec>,
}

impl Toolbox {
    pub(crate) fn new(
        services: &Services,
        settings: Arc<UserSettings>,
        owner: bool,
        only: Option<Vec<String>>,
    ) -> Self {
        Self {
            services: services.clone(),
            settings,
            owner,
            only,
            client: Vec::new(),
        }
    }

    /// With tools that the client runs. A name that is ours stays ours.
    pub(crate) fn with_client(mut self, tools: &[ClientTool]) -> Self {
        let theirs = tools
            .iter()
            .filter(|tool| self.services.ports.tool(&tool.name).is_none());
        self.client = theirs
            .map(|tool| ToolSpec {
                name: tool.name.clone(),
                description: tool.description.clone(),
                summary: tool.description.lines().next().unwrap_or_default().to_owned(),
                parameters: tool.parameters.clone(),
                effect: Effect::ReadOnly,
                owner_only: false,
                timeout: Duration::ZERO,
            })
            .collect();
        self
    }

    /// Does the client run this tool.
    pub(crate) fn is_clients(&self, name: &str) -> bool {
        self.client.iter().any(|spec| spec.name == name)
    }

    /// A tool of ours that may be called.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn Tool>> {
        let tool = self.services.ports.tool(name)?;
        self.allowed(tool.spec()).then(|| Arc::clone(tool))
    }

    /// What the model is offered.
    pub(crate) fn specs(&self) -> Vec<ToolSpec> {
        self.services
            .ports
            .tools()
            .iter()
            .map(|tool| tool.spec())
            .filter(|spec| self.allowed(spec))
            .chain(&self.client)
            .cloned()
            .collect()
    }

    /// Deny wins; an allow list that names nothing known is ignored, so that a typo does not take everything away.
    fn allowed(&self, spec: &ToolSpec) -> bool {
        if spec.owner_only && !self.owner {
            return false;
        }
        if self
            .settings
            .tools_deny
            .iter()
            .any(|pattern| matches(pattern, &spec.name))
        {
            return false;
        }
        if let Some(only) = &self.only
            && !only.iter().any(|pattern| matches(pattern, &spec.name))
        {
            return false;
        }
        let Some(allow) = &self.settings.tools_allow else {
            return true;
        };
        let known = |pattern: &String| {
            self.services
                .ports
                .tools()
                .iter()
                .any(|tool| matches(pattern, &tool.spec().name))
        };
        !allow.iter().any(known) || allow.iter().any(|pattern| matches(pattern, &spec.name))
    }

    /// Runs the calls of one assistant message. Results come in the order the model made the calls.
    pub(crate) async fn batch(
        &self,
        authority: &Authority,
        context: &ToolContext,
        calls: &[ToolCall],
        emitter: &mut Emitter,
    ) -> Vec<Message> {
        let mut results = Vec::with_capacity(calls.len());
        let (updates, mut news) = Updates::channel();
        let context = &ToolContext {
            updates,
            ..context.clone()
        };
        for group in calls.chunks(PARALLEL) {
            let mut running = FuturesOrdered::new();
            for call in group {
                emitter.tool_start(&call.id, &call.name, &call.arguments).await;
                running.push_back(self.one(authority, context, call));
            }
            let mut at = 0;
            loop {
                let mut output = tokio::select! {
                    Some(id) = news.recv() => {
                        tell(emitter, group, &id).await;
                        continue;
                    }
                    output = running.next() => match output {
                        Some(output) => output,
                        None => break,
                    },
                };
                while let Ok(id) = news.try_recv() {
                    tell(emitter, group, &id).await;
                }
                let call = &group[at];
                at += 1;
                tool_result::guard(&mut output.content, context.status.context_window);
                emitter.tool_result(&call.id, &call.name, output.is_error).await;
                results.push(Message::ToolResult {
                    tool_call_id: call.id.clone(),
                    tool_name: call.name.clone(),
                    content: output.content,
                    details: output.details,
                    is_error: output.is_error,
                    timestamp: now_ms(),
                });
            }
        }
        results
    }

    /// One call. What acts outside writes first that it is about to.
    pub(crate) async fn one(&self, authority: &Authority, context: &ToolContext, call: &ToolCall) -> ToolOutput {
        if self.is_clients(&call.name) {
            return ToolOutput::text("The client runs this tool. Its result comes with the next message.");
        }
        let Some(tool) = self.find(&call.name) else {
            return ToolOutput::error(format!("There is no tool named {}.", call.name));
        };
        if let Err(reason) = check(tool.spec(), &call.arguments) {
            return ToolOutput::error(reason);
        }
        if tool.effect(&call.arguments) == Effect::External {
            let intended = turn::intend(&self.services, authority, &context.run_id, &call.id, &call.name).await;
            if intended.is_err() {
                return ToolOutput::error("The call was not made: it could not be recorded first.");
            }
        }
        let context = &ToolContext {
            call_id: call.id.clone(),
            ..context.clone()
        };
        let timeout = tool.spec().timeout;
        let started = std::time::Instant::now();
        let output = guarded(tool, context, call.arguments.clone(), timeout, &context.cancel).await;
        metrics::histogram!("claw_tool_seconds", "tool" => call.name.clone()).record(started.elapsed().as_secs_f64());
        tracing::debug!(
            tool.name = %call.name, outcome = if output.is_error { "error" } else { "ok" },
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX), "tool call"
        );
        output
    }
}

/// Shows that one of these calls goes on.
async fn tell(emitter: &mut Emitter, calls: &[ToolCall], id: &str) {
    if let Some(call) = calls.iter().find(|call| call.id == id) {
        emitter.tool_update(&call.id, &call.name).await;
    }
}

/// Calls the tool with a time limit; a panic in it is a failed call.
async fn guarded(
    tool: Arc<dyn Tool>,
    context: &ToolContext,
    arguments: Value,
    timeout: Duration,
    cancel: &CancellationToken,
) -> ToolOutput {
    let name = tool.spec().name.clone();
    let call = std::panic::AssertUnwindSafe(tool.call(context, arguments)).catch_unwind();
    tokio::select! {
        () = cancel.cancelled() => ToolOutput::error("The call was cancelled because the run was aborted."),
        outcome = tokio::time::timeout(timeout, call) => match outcome {
            Ok(Ok(output)) => output,
            Ok(Err(_)) => {
                tracing::error!(tool.name = %name, "tool panicked");
                ToolOutput::error("The tool failed inside. Nothing more is known.")
            }
            Err(_) => ToolOutput::error(format!("The tool did not answer within {} s.", timeout.as_secs())),
        }
    }
}

/// Do the arguments match the schema.
pub(super) fn check(spec: &ToolSpec, arguments: &Value) -> Result<(), String> {
    if !arguments.is_object() {
        return Err("The arguments are not a JSON object.".to_owned());
    }
    let validator = jsonschema::validator_for(&spec.parameters)
        .map_err(|_| format!("The tool {} has no usable schema.", spec.name))?;
    match validator.validate(arguments) {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("The arguments do not match: {error}.")),
    }
}

/// `*` at either end is a wildcard; case does not matter.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), _) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("*", "web_fetch"));
        assert!(matches("web_*", "web_fetch"));
        assert!(matches("*_fetch", "WEB_FETCH"));
        assert!(!matches("web", "web_fetch"));
    }
}
