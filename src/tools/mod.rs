//! Built-in tools: what the model writes becomes a call of the outbound client, or of what the run reaches. Whether one
//! may be called, and what it reaches, is decided in the session, not here.

mod cache;
mod canvas;
mod cron;
mod exec;
mod gateway;
mod image;
mod media;
mod memory;
mod message;
mod nodes;
mod pdf;
mod private;
mod read;
mod session_status;
mod sessions;
mod subagents;
mod tts;
mod web_fetch;
mod web_search;
mod workspace;

use std::sync::Arc;

use claw_actors::ports::tool::{Tool, ToolContext, ToolOutput};
use claw_actors::session::reach::{Reach, Refusal};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::egress::Egress;

/// Every tool of this build.
pub fn all(egress: &Egress) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(workspace::edit()),
        Arc::new(workspace::list()),
        Arc::new(memory::get()),
        Arc::new(memory::read()),
        Arc::new(memory::search()),
        Arc::new(memory::write()),
        Arc::new(canvas::Canvas::new()),
        Arc::new(cron::Cron::new()),
        Arc::new(exec::Exec::new()),
        Arc::new(gateway::Gateway::new()),
        Arc::new(image::Image::new(egress.clone())),
        Arc::new(message::Message::new(egress.clone())),
        Arc::new(nodes::NodesTool::new()),
        Arc::new(pdf::Pdf::new(egress.clone())),
        Arc::new(read::Read::new()),
        Arc::new(session_status::SessionStatus::new()),
        Arc::new(sessions::Agents::new()),
        Arc::new(sessions::History::new()),
        Arc::new(sessions::List::new()),
        Arc::new(sessions::Send::new()),
        Arc::new(subagents::Spawn::new()),
        Arc::new(subagents::Subagents::new()),
        Arc::new(subagents::Yield::new()),
        Arc::new(tts::Tts::new()),
        Arc::new(web_fetch::WebFetch::new(egress.clone())),
        Arc::new(workspace::write()),
        Arc::new(web_search::WebSearch::new(egress.clone())),
    ]
}

/// What the run reaches.
fn reach(context: &ToolContext) -> Result<&Reach, ToolOutput> {
    let reach = context.reach.as_ref();
    reach.ok_or_else(|| ToolOutput::error("Nothing can be reached from here."))
}

/// The arguments as a tool's own type.
fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, ToolOutput> {
    serde_json::from_value(arguments).map_err(|error| ToolOutput::error(format!("Invalid arguments: {error}.")))
}

/// A refusal as the model reads it.
fn refused(why: Refusal) -> ToolOutput {
    let status = if why.starts_with("forbidden") {
        "forbidden"
    } else {
        "error"
    };
    ToolOutput {
        is_error: true,
        ..ToolOutput::json(&json!({"status": status, "error": why}))
    }
}

/// Whichever it came to.
fn answered(outcome: Result<ToolOutput, ToolOutput>) -> ToolOutput {
    match outcome {
        Ok(output) | Err(output) => output,
    }
}

#[cfg(test)]
mod tests {
    use claw_actors::ports::message::Part;
    use claw_actors::ports::tool::{Effect, SessionSnapshot, ToolSpec};
    use claw_entities::{Scope, SessionKey, TenantId, UserId};
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// The owner of tenant `acme`, in Vienna.
    pub(super) fn context() -> ToolContext {
        ToolContext {
            scope: Scope::vouch(TenantId::from("acme"), UserId::from("ada")),
            session_key: SessionKey::from("agent:main:main"),
            run_id: "run-1".to_owned(),
            call_id: "call-1".to_owned(),
            agent_id: "main".to_owned(),
            owner: true,
            time_zone: "Europe/Vienna".to_owned(),
            status: SessionSnapshot {
                session_key: "agent:main:main".to_owned(),
                session_id: "s-1".to_owned(),
                model: "anthropic/claude-test".to_owned(),
                fallback: None,
                context_tokens: Some(12_345),
                context_window: 200_000,
                input_tokens: 1_234_567,
                output_tokens: 890,
                cost_usd: 1.2345,
                queue_mode: "collect".to_owned(),
                queued: 2,
                compactions: 1,
                options: None,
            },
            nodes: None,
            skills: None,
            workspace: None,
            reach: None,
            updates: claw_actors::ports::tool::Updates::default(),
            cancel: CancellationToken::new(),
        }
    }

    /// The one text of an output.
    #[track_caller]
    pub(super) fn text(output: &ToolOutput) -> &str {
        match output.content.as_slice() {
            [Part::Text { text }] => text,
            other => panic!("not one text: {other:?}"),
        }
    }

    #[test]
    fn specs() {
        let tools = all(&Egress::new(Default::default()));
        let specs: Vec<&ToolSpec> = tools.iter().map(|tool| tool.spec().as_ref()).collect();
        insta::assert_json_snapshot!("specs", specs);
        let private: Vec<&str> = tools
            .iter()
            .filter(|tool| tool.is_private())
            .map(|tool| tool.spec().name.as_str())
            .collect();
        let notes = ["memory_get", "memory_read", "memory_search", "memory_write"];
        assert_eq!(
            private,
            [&["edit", "ls"][..], &notes[..], &["cron", "write"][..]].concat()
        );
        for spec in specs {
            let effect = match spec.name.as_str() {
                "agents_list" | "image" | "ls" | "memory_get" | "memory_read" | "memory_search" | "pdf" | "read"
                | "session_status" | "sessions_history" | "sessions_list" | "sessions_yield" | "web_fetch"
                | "web_search" => Effect::ReadOnly,
                "edit" | "memory_write" | "write" => Effect::Idempotent,
                _ => Effect::External,
            };
            assert_eq!(spec.effect, effect, "{}", spec.name);
            // What acts, acts for the owner alone.
            assert!(effect == Effect::ReadOnly || spec.owner_only, "{}", spec.name);
            assert_eq!(spec.parameters["type"], "object", "{}", spec.name);
            assert_eq!(spec.parameters["additionalProperties"], Value::Bool(false));
            let text = spec.parameters.to_string();
            for keyword in ["anyOf", "oneOf", "allOf", "$ref"] {
                assert!(!text.contains(keyword), "{} uses {keyword}", spec.name);
            }
        }
    }

    #[test]
    fn the_configuration_knows_every_tool() {
        let tools = all(&Egress::new(Default::default()));
        let mut names: Vec<&str> = tools.iter().map(|tool| tool.spec().name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, claw_actors::config::schema::BUILT_IN_TOOLS);
    }

    #[test]
    fn calls_that_write_to_the_same_are_known_by_it() {
        let tools = all(&Egress::new(Default::default()));
        let place = |name: &str, arguments: Value| {
            let tool = tools.iter().find(|tool| tool.spec().name == name).expect("is there");
            tool.writes_to(&arguments)
        };
        let chat = |target: &str| json!({"action": "send", "channel": "Slack", "target": target, "message": "x"});
        let file = place("write", json!({"path": "notes/a.md", "content": "x"}));
        assert!(file.is_some());
        assert_eq!(
            file,
            place("edit", json!({"path": " notes/a.md", "old": "x", "new": "y"}))
        );
        assert_eq!(
            place("memory_write", json!({"content": "a"})),
            place("memory_write", json!({"content": "b"}))
        );
        assert_eq!(place("message", chat("C1")), place("message", chat("c1 ")));
        assert_ne!(place("message", chat("C1")), place("message", chat("C2")));
        for (name, arguments) in [
            ("read", json!({"path": "notes/a.md"})),
            ("ls", json!({})),
            ("message", json!({"action": "read", "channel": "slack", "target": "C1"})),
            ("web_fetch", json!({"url": "https://a.example/"})),
        ] {
            assert_eq!(place(name, arguments), None, "{name}");
        }
    }
}
