//! `exec`: a command line on one of the user's nodes. The same way as `nodes` with action `run`; this server runs nothing
//! itself.

mod line;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::nodes::{Command, Nodes};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::nodes::{answer, is_name};
use super::{answered, read};

/// Longest command, seconds; also without `timeout`.
const LONGEST_SECONDS: u64 = 1800;
/// How long a call waits for its command, milliseconds: the longest.
const LONGEST_WAIT_MS: u64 = 120_000;
/// The longest wait, and the questions around it.
const WHOLE: Duration = Duration::from_secs(120 + 90);

/// The tool.
pub(super) struct Exec {
    spec: Arc<ToolSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    command: String,
    workdir: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    yield_ms: Option<u64>,
    #[serde(default)]
    background: bool,
    timeout: Option<f64>,
    #[serde(default)]
    pty: bool,
    #[serde(default)]
    elevated: bool,
    host: Option<String>,
    security: Option<String>,
    ask: Option<String>,
    node: Option<String>,
}

impl Exec {
    pub(super) fn new() -> Self {
        Self {
            spec: Arc::new(ToolSpec {
                name: "exec".to_owned(),
                description: "Runs a shell command on one of the user's paired devices (nodes). A command that takes \
                    longer goes on in the background, and one may have to be allowed by a person first \
                    (approval-pending): end your turn then, what comes of it is told to you by itself. A command that \
                    was denied must not be tried again in other words."
                    .to_owned(),
                summary: "run shell commands on the user's paired devices".to_owned(),
                parameters: parameters().into(),
                effect: Effect::External,
                owner_only: true,
                timeout: WHOLE,
            }),
        }
    }
}

fn parameters() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let flag = |about: &str| json!({"type": "boolean", "description": about});
    let words = |words: &[&str], about: &str| json!({"type": "string", "enum": words, "description": about});
    json!({
        "type": "object",
        "properties": {
            "command": text("The command line. One that needs a shell is given to the node's."),
            "workdir": text("Working folder on the node."),
            "env": {"type": "object", "additionalProperties": {"type": "string"},
                "description": "Variables of the command."},
            "yieldMs": {"type": "integer", "minimum": 0, "description":
                "How long to wait for the end before the command goes on in the background (10000)."},
            "background": flag("Do not wait at all."),
            "timeout": {"type": "number", "minimum": 0, "description": "Seconds the command may take (1800)."},
            "pty": flag("Not available on nodes."),
            "elevated": flag("Not available on nodes."),
            "host": words(&["auto", "node", "gateway", "sandbox"], "Commands run on nodes only."),
            "security": words(&["deny", "allowlist", "full"], "At most this; it opens nothing."),
            "ask": words(&["off", "on-miss", "always"], "At least this; it opens nothing."),
            "node": text("Id or name. Leave out when only one node runs commands."),
        },
        "required": ["command"],
        "additionalProperties": false,
    })
}

impl Tool for Exec {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move {
            let Some(nodes) = &context.nodes else {
                return ToolOutput::error("Only the owner's own conversations reach nodes.");
            };
            let nodes = nodes.telling(&context.updates, &context.call_id);
            answered(run(&nodes, &context.call_id, arguments).await)
        })
    }
}

async fn run(nodes: &Nodes, call_id: &str, arguments: Value) -> Result<ToolOutput, ToolOutput> {
    let arguments: Arguments = read(arguments)?;
    if let Some(host @ ("gateway" | "sandbox")) = arguments.host.as_deref() {
        let there = nodes.there().await.map_err(ToolOutput::error)?;
        return Err(ToolOutput::error(format!(
            "There is no host {host} here: commands run on the user's nodes only (host \"node\"). {there}"
        )));
    }
    let command = command(arguments).map_err(ToolOutput::error)?;
    let ran = nodes.run(call_id, command).await.map_err(ToolOutput::error)?;
    Ok(answer::of_command(ran))
}

fn command(arguments: Arguments) -> Result<Command, String> {
    for (asked, name) in [(arguments.pty, "pty"), (arguments.elevated, "elevated")] {
        if asked {
            return Err(format!("\"{name}\" is not available on nodes: leave it out."));
        }
    }
    if let Some(name) = arguments.env.keys().find(|name| !is_name(name)) {
        return Err(format!("\"env\" has a name that is none: {}", name.escape_debug()));
    }
    let workdir = arguments.workdir.filter(|folder| !folder.trim().is_empty());
    if workdir
        .as_deref()
        .is_some_and(|folder| folder.contains(char::is_control))
    {
        return Err("\"workdir\" is a path without control characters.".to_owned());
    }
    let seconds = arguments.timeout.filter(|seconds| *seconds > 0.0);
    let longest = Duration::from_secs(LONGEST_SECONDS);
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let wait_ms = match (arguments.background, arguments.yield_ms) {
        (true, _) => Some(0),
        (false, chosen) => chosen.map(|chosen| chosen.min(LONGEST_WAIT_MS)),
    };
    Ok(Command {
        node: arguments.node.filter(|node| !node.trim().is_empty()),
        line: line::read(&arguments.command)?,
        cwd: workdir,
        env: arguments.env,
        skill: None,
        timeout: timeout.map_or(longest, |timeout| timeout.min(longest)),
        waits: claw_actors::session::nodes::Waits::For(wait_ms),
        stricter: json!({"security": arguments.security, "ask": arguments.ask}),
    })
}

#[cfg(test)]
mod tests {
    use claw_actors::session::nodes::{Line, Waits};

    use super::*;

    fn made(arguments: Value) -> Result<Command, String> {
        command(serde_json::from_value(arguments).expect("arguments"))
    }

    #[test]
    fn what_a_call_asks_for_is_bounded() {
        let plain = made(json!({"command": "ls -l"})).expect("a command");
        assert_eq!(
            (plain.timeout, plain.waits),
            (Duration::from_secs(1800), Waits::For(None))
        );
        assert_eq!(plain.line, Line::Words(vec!["ls".to_owned(), "-l".to_owned()]));
        let asked =
            json!({"command": "make && make install", "timeout": 1e300, "yieldMs": 10_000_000, "env": {"A": "1"}});
        let bounded = made(asked).expect("a command");
        assert_eq!(
            (bounded.timeout, bounded.waits),
            (Duration::from_secs(1800), Waits::For(Some(LONGEST_WAIT_MS)))
        );
        assert_eq!(bounded.line, Line::Shell("make && make install".to_owned()));
        let behind =
            made(json!({"command": "x", "background": true, "yieldMs": 5, "timeout": 0.5})).expect("a command");
        assert_eq!(
            (behind.timeout, behind.waits),
            (Duration::from_millis(500), Waits::For(Some(0)))
        );
    }

    #[test]
    fn what_nodes_do_not_have_is_told() {
        for (arguments, part) in [
            (json!({"command": "x", "pty": true}), "pty"),
            (json!({"command": "x", "elevated": true}), "elevated"),
            (json!({"command": "x", "env": {"A B": "1"}}), "env"),
            (json!({"command": "x", "workdir": "/a\nb"}), "workdir"),
            (json!({"command": "  "}), "command"),
        ] {
            let refusal = made(arguments).expect_err(part);
            assert!(refusal.contains(part), "{refusal}");
        }
    }
}
