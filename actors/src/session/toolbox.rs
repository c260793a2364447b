//! Tools of a run: which the model sees, which may be called, and the batch.
//!
//! The policy is asked at call time again: sessions live long, and policies change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use claw_entities::Scope;
use futures::FutureExt;
use futures::stream::{FuturesOrdered, StreamExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::field::Empty;

use super::events::Emitter;
use super::intake::ClientTool;
use super::remote::Remote;
use super::steering::Steering;
use super::tool_loops::{Loops, Verdict};
use super::tool_policy::{self, Caller};
use super::turn::{self, Authority};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::{LoopSettings, ToolRules, UserSettings};
use crate::config::providers::ResolvedModel;
use crate::conversation::tool_result;
use crate::ports::message::{Message, Part, ToolCall};
use crate::ports::nul;
use crate::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec, Updates};

/// Tools that run at once in one batch.
const PARALLEL: usize = 8;
/// What a call gave that was not begun.
const SKIPPED: &str = "Skipped: the user said something meanwhile, which comes next.";
/// How long a run waits for servers that nothing is known of yet.
const PATIENCE: Duration = Duration::from_secs(8);

/// What calls of one answer that write to the same have one after the other.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// The tools of one run.
pub(crate) struct Toolbox {
    services: Services,
    scope: Scope,
    caller: Caller,
    /// What the caller's groups say, for the list.
    groups: Vec<ToolRules>,
    loops: Mutex<Loops>,
    /// What the client runs itself.
    client: Vec<Arc<ToolSpec>>,
    /// Of the user's MCP servers.
    remote: Remote,
}

impl Toolbox {
    pub(crate) fn new(services: &Services, scope: &Scope, caller: Caller) -> Self {
        Self {
            services: services.clone(),
            scope: scope.clone(),
            caller,
            groups: Vec::new(),
            loops: Mutex::default(),
            client: Vec::new(),
            remote: Remote::default(),
        }
    }

    /// With the tools of the user's MCP servers, as far as they are there, and by the rules of the caller's groups.
    pub(crate) async fn with_servers(mut self, settings: &UserSettings) -> Self {
        let groups = tool_policy::of_groups(&self.services, &self.scope, &self.caller).await;
        self.groups = groups.unwrap_or_else(|_| vec![tool_policy::nothing()]);
        self.remote = Remote::gather(&self.services, &self.scope, settings, &self.caller, PATIENCE).await;
        self
    }

    /// Which of them are not there, for the model.
    pub(crate) fn away(&self) -> &[String] {
        self.remote.away()
    }

    /// With tools that the client runs. A name that is ours stays ours.
    pub(crate) fn with_client(mut self, tools: &[ClientTool]) -> Self {
        let theirs = tools
            .iter()
            .filter(|tool| self.services.ports.tool(&tool.name).is_none() && !self.remote.has(&tool.name));
        self.client = theirs
            .map(|tool| {
                Arc::new(ToolSpec {
                    name: tool.name.clone(),
                    description: tool.description.clone(),
                    summary: tool.description.lines().next().unwrap_or_default().to_owned(),
                    parameters: tool.parameters.clone().into(),
                    effect: Effect::ReadOnly,
                    owner_only: false,
                    timeout: Duration::ZERO,
                })
            })
            .collect();
        self
    }

    /// Does the client run this tool.
    pub(crate) fn is_clients(&self, name: &str) -> bool {
        self.client.iter().any(|spec| spec.name == name)
    }

    /// From now on the calls are this model's.
    pub(crate) fn serve(&mut self, model: &ResolvedModel) {
        self.caller.provider.clone_from(&model.provider);
        self.caller.model.clone_from(&model.model);
        self.caller.takes_tools = model.compat.tools != Some(false);
    }

    /// What the model is offered.
    pub(crate) fn specs(&self, settings: &UserSettings) -> Vec<Arc<ToolSpec>> {
        self.all()
            .filter(|tool| self.allowed(settings, &self.groups, *tool))
            .map(Tool::spec)
            .chain(self.client.iter().filter(|_| self.caller.takes_tools))
            .cloned()
            .collect()
    }

    /// The same by where they come from: ours under `None`, then each server's under its name.
    pub(crate) fn by_origin(&self, settings: &UserSettings) -> Vec<(Option<&str>, Vec<Arc<ToolSpec>>)> {
        let (theirs, ours): (Vec<_>, Vec<_>) = self
            .specs(settings)
            .into_iter()
            .partition(|spec| self.remote.has(&spec.name));
        let servers = self.remote.groups().into_iter().map(|(server, offered)| {
            let allowed = theirs
                .iter()
                .filter(|spec| offered.iter().any(|tool| tool.name == spec.name));
            (Some(server), allowed.cloned().collect::<Vec<_>>())
        });
        let servers = servers.filter(|(_, specs)| !specs.is_empty());
        std::iter::once((None, ours)).chain(servers).collect()
    }

    /// Ours, then those of servers.
    fn all(&self) -> impl Iterator<Item = &dyn Tool> {
        let ours = self.services.ports.tools().iter().map(AsRef::as_ref);
        ours.chain(self.remote.tools())
    }

    fn allowed(&self, settings: &UserSettings, groups: &[ToolRules], tool: &dyn Tool) -> bool {
        if tool.is_private() && !self.caller.audience.is_private() {
            return false;
        }
        let known = |fits: &dyn Fn(&str) -> bool| self.all().any(|tool| fits(&tool.spec().name));
        tool_policy::allows(settings, &self.caller, groups, tool.spec(), known)
    }

    /// The tool, if it may be called now: sessions live long, and policies change.
    pub(crate) async fn tool(&self, name: &str) -> Result<Arc<dyn Tool>, ToolOutput> {
        let missing = || ToolOutput::error(format!("There is no tool named {name}."));
        let ours = self.services.ports.tool(name).cloned();
        if ours.is_none() && !self.remote.has(name) {
            return Err(missing());
        }
        let settings = self.services.config.settings(&self.scope).await;
        let groups = tool_policy::of_groups(&self.services, &self.scope, &self.caller).await;
        let (Ok(settings), Ok(groups)) = (settings, groups) else {
            return Err(ToolOutput::error(
                "The call was not made: whether it is allowed is not known right now.",
            ));
        };
        let tool = ours.or_else(|| self.remote.tool(name, &settings)).ok_or_else(missing)?;
        if !self.allowed(&settings, &groups, tool.as_ref()) {
            return Err(missing());
        }
        Ok(tool)
    }

    /// What is to be done about a call that may go round in circles.
    async fn judge(&self, call: &ToolCall) -> (u64, Verdict) {
        let settings = self.services.config.settings(&self.scope).await;
        let rules = settings.map_or_else(
            |_| LoopSettings::default(),
            |settings| *settings.loops(&self.caller.agent_id),
        );
        if !rules.enabled {
            return (0, Verdict::Go);
        }
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.judge(&rules, &call.name, &call.arguments)
    }

    fn ended(&self, number: u64, output: &ToolOutput) {
        let texts = output.content.iter().map(|part| match part {
            Part::Text { text } => text.as_str(),
            Part::Image { blob, .. } | Part::File { blob, .. } => blob.as_deref().unwrap_or_default(),
        });
        let all: Vec<&str> = texts.collect();
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.ended(number, &all.join("\n"));
    }

    /// Runs the calls of one assistant message. Results come in the order the model made the calls. Calls that have not
    /// begun when a person says something are left.
    pub(crate) async fn batch(
        &self,
        authority: &Authority,
        context: &ToolContext,
        calls: &[ToolCall],
        emitter: &mut Emitter,
        steering: &Steering,
    ) -> Vec<Message> {
        let mut results = Vec::with_capacity(calls.len());
        let (updates, mut news) = Updates::channel();
        let context = &ToolContext {
            updates,
            ..context.clone()
        };
        for (number, group) in calls.chunks(PARALLEL).enumerate() {
            if number > 0 && steering.waits() {
                // What goes on is finished; what has not begun may not be wanted any more.
                results.extend(
                    group
                        .iter()
                        .map(|call| result(context, call, ToolOutput::error(SKIPPED))),
                );
                continue;
            }
            let turns = self.turns(group);
            let mut running = FuturesOrdered::new();
            for (call, turn) in group.iter().zip(turns) {
                emitter.tool_start(&call.id, &call.name, &call.arguments).await;
                running.push_back(async move {
                    // Those that wait are asked in the order of the calls, and so have it in that order.
                    let _turn = match &turn {
                        Some(turn) => Some(turn.lock().await),
                        None => None,
                    };
                    self.one(authority, context, call).await
                });
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
                emitter.tool_result(&call.id, &call.name, &output).await;
                results.push(result(context, call, output));
            }
        }
        results
    }

    /// For each call that writes somewhere, what it shares with the others that write there.
    fn turns(&self, calls: &[ToolCall]) -> Vec<Option<Turn>> {
        let mut places: HashMap<String, Turn> = HashMap::new();
        let place = |call: &ToolCall| self.services.ports.tool(&call.name)?.writes_to(&call.arguments);
        calls
            .iter()
            .map(|call| Some(places.entry(place(call)?).or_default().clone()))
            .collect()
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

    /// One call. What acts outside writes first that it is about to.
    pub(crate) async fn one(&self, authority: &Authority, context: &ToolContext, call: &ToolCall) -> ToolOutput {
        if self.is_clients(&call.name) {
            return ToolOutput::text("The client runs this tool. Its result comes with the next message.");
        }
        let tool = match self.tool(&call.name).await {
            Ok(tool) => tool,
            Err(refusal) => return refusal,
        };
        if let Err(reason) = check(tool.as_ref(), &call.arguments) {
            return ToolOutput::error(reason);
        }
        let (number, verdict) = self.judge(call).await;
        let warning = match verdict {
            Verdict::Go => None,
            Verdict::Warn(warning) => Some(warning),
            Verdict::Block(refusal) => {
                metrics::counter!("claw_tool_loops_total").increment(1);
                return ToolOutput::error(refusal);
            }
        };
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
        // Names of servers' tools are without number.
        let counted = if tool.is_remote() { "mcp" } else { call.name.as_str() }.to_owned();
        let span = tracing::info_span!("tool.call", tool.name = %call.name, outcome = Empty, duration_ms = Empty);
        let started = std::time::Instant::now();
        let called = guarded(tool, context, call.arguments.clone(), timeout, &context.cancel);
        let mut output = called.instrument(span.clone()).await;
        nul::strip_output(&mut output);
        let took = started.elapsed();
        metrics::histogram!("claw_tool_seconds", "tool" => counted).record(took.as_secs_f64());
        span.record("outcome", if output.is_error { "error" } else { "ok" });
        span.record("duration_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        tracing::debug!(parent: &span, "tool call ended");
        self.ended(number, &output);
        if let Some(text) = warning {
            output.content.push(Part::Text { text });
        }
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
        () = cancel.cancelled() => ToolOutput::error("The call was cut off: the run was stopped, or its time was over."),
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

/// Do the arguments match the schema, as far as that is ours to say.
pub(super) fn check(tool: &dyn Tool, arguments: &Value) -> Result<(), String> {
    if !arguments.is_object() {
        return Err("The arguments are not a JSON object.".to_owned());
    }
    if tool.is_remote() {
        return Ok(());
    }
    let spec = tool.spec();
    let checker = spec.parameters.checker();
    let checker = checker.ok_or_else(|| format!("The tool {} has no usable schema.", spec.name))?;
    match checker.validate(arguments) {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("The arguments do not match: {error}.")),
    }
}
