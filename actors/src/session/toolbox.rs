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
use super::prompt::Audience;
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
    audience: Audience,
    /// Patterns that narrow the user's policy for this run.
    only: Option<Vec<String>>,
}

impl Toolbox {
    pub(crate) fn new(
        services: &Services,
        settings: Arc<UserSettings>,
        audience: Audience,
        only: Option<Vec<String>>,
    ) -> Self {
        Self {
            services: services.clone(),
            settings,
            audience,
            only,
        }
    }

    /// What the model is offered.
    pub(crate) fn specs(&self) -> Vec<ToolSpec> {
        self.services
            .ports
            .tools()
            .iter()
            .filter(|tool| self.allowed(tool.as_ref()))
            .map(|tool| tool.spec().clone())
            .collect()
    }

    /// Deny wins; an allow list that names nothing known is ignored, so that a typo does not take everything away.
    fn allowed(&self, tool: &dyn Tool) -> bool {
        let spec = tool.spec();
        if spec.owner_only && !self.audience.speaks_with_owner() {
            return false;
        }
        if tool.is_private() && !self.audience.is_private() {
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
                let output = tokio::select! {
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
                emitter.tool_result(&call.id, &call.name, output.is_error).await;
                results.push(result(context, call, output));
            }
        }
        results
    }

    /// Runs the calls one after the other, and tells nobody.
    pub(crate) async fn quietly(
        &self,
        authority: &Authority,
        context: &ToolContext,
        calls: &[ToolCall],
    ) -> Vec<Message> {
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            let output = self.one(authority, context, call).await;
            results.push(result(context, call, output));
        }
        results
    }

    async fn one(&self, authority: &Authority, context: &ToolContext, call: &ToolCall) -> ToolOutput {
        let Some(tool) = self
            .services
            .ports
            .tool(&call.name)
            .filter(|tool| self.allowed(tool.as_ref()))
            .cloned()
        else {
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

/// What a call gave, as the transcript has it.
fn result(context: &ToolContext, call: &ToolCall, mut output: ToolOutput) -> Message {
    tool_result::guard(&mut output.content, context.status.context_window);
    Message::ToolResult {
        tool_call_id: call.id.clone(),
        tool_name: call.name.clone(),
        content: output.content,
        details: output.details,
        is_error: output.is_error,
        timestamp: now_ms(),
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
fn check(spec: &ToolSpec, arguments: &Value) -> Result<(), String> {
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
