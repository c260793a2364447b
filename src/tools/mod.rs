//! Built-in tools that need nothing but their arguments and the outbound client. Whether one may be called is decided
//! in the session, not here.

mod memory;
mod nodes;
mod private;
mod read;
mod session_status;
mod untrusted;
mod web_fetch;
mod workspace;

use std::sync::Arc;

use claw_actors::ports::tool::Tool;

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
        Arc::new(nodes::NodesTool::new()),
        Arc::new(read::Read::new()),
        Arc::new(session_status::SessionStatus::new()),
        Arc::new(web_fetch::WebFetch::new(egress.clone())),
        Arc::new(workspace::write()),
    ]
}

#[cfg(test)]
mod tests {
    use claw_actors::ports::message::Part;
    use claw_actors::ports::tool::{Effect, SessionSnapshot, ToolContext, ToolOutput, ToolSpec};
    use claw_entities::{Scope, SessionKey, TenantId, UserId};
    use serde_json::Value;
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
                context_tokens: Some(12_345),
                context_window: 200_000,
                input_tokens: 1_234_567,
                output_tokens: 890,
                cost_usd: 1.2345,
                queue_mode: "collect".to_owned(),
                queued: 2,
                compactions: 1,
            },
            nodes: None,
            skills: None,
            workspace: None,
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
        let specs: Vec<&ToolSpec> = tools.iter().map(|tool| tool.spec()).collect();
        insta::assert_json_snapshot!("specs", specs);
        let private: Vec<&str> = tools
            .iter()
            .filter(|tool| tool.is_private())
            .map(|tool| tool.spec().name.as_str())
            .collect();
        let notes = ["memory_get", "memory_read", "memory_search", "memory_write"];
        assert_eq!(private, [&["edit", "ls"][..], &notes[..], &["write"][..]].concat());
        for spec in specs {
            let effect = match spec.name.as_str() {
                "nodes" => Effect::External,
                "edit" | "memory_write" | "write" => Effect::Idempotent,
                _ => Effect::ReadOnly,
            };
            assert_eq!(spec.effect, effect, "{}", spec.name);
            assert_eq!(spec.parameters["type"], "object", "{}", spec.name);
            assert_eq!(spec.parameters["additionalProperties"], Value::Bool(false));
            let text = spec.parameters.to_string();
            for keyword in ["anyOf", "oneOf", "allOf", "$ref"] {
                assert!(!text.contains(keyword), "{} uses {keyword}", spec.name);
            }
        }
    }
}
