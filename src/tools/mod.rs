//! Built-in tools that need nothing but their arguments and the outbound client. Whether one may be called is decided
//! in the session, not here.

mod nodes;
mod read;
mod session_status;
pub(crate) mod untrusted;
mod web_fetch;

use std::sync::Arc;

use claw_actors::ports::tool::Tool;

use crate::egress::Egress;

/// Every tool of this build.
pub fn all(egress: &Egress) -> Vec<Arc<dyn Tool>> {
    vec![
        Arc::new(nodes::NodesTool::new()),
        Arc::new(read::Read::new()),
        Arc::new(session_status::SessionStatus::new()),
        Arc::new(web_fetch::WebFetch::new(egress.clone())),
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
        for spec in specs {
            let effect = if spec.name == "nodes" {
                Effect::External
            } else {
                Effect::ReadOnly
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
