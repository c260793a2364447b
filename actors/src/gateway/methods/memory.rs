//! `memory.search`: an agent's notes, as its own tool searches them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::agents::known_agent;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::READ;
use crate::session::recall::{Question, recall};

/// Characters of a question, as `sessions.search` has it.
const LONGEST: usize = 4_096;

pub(super) fn register(methods: &mut Methods) {
    methods.add("memory.search", Access::Scope(READ), search);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SearchParams {
    #[serde(default)]
    query: String,
    agent_id: Option<String>,
    max_results: Option<f64>,
    min_score: Option<f64>,
}

async fn search(call: Call, params: SearchParams) -> Result<Value, WireError> {
    let query = params.query.trim();
    if query.is_empty() {
        return Err(WireError::invalid("query must be a non-empty string"));
    }
    if query.chars().count() > LONGEST {
        return Err(WireError::invalid(format!(
            "invalid memory.search params: at /query: must NOT have more than {LONGEST} characters"
        )));
    }
    let services = &call.state.services;
    let agent = match params.agent_id {
        Some(agent) => agent,
        None => services.config.settings(call.scope()).await?.default_agent.clone(),
    };
    known_agent(&call, &agent).await?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number out of range means the nearest one in it"
    )]
    let question = Question {
        text: query.to_owned(),
        most: params.max_results.map(|most| most as usize),
        least: params.min_score,
    };
    let recalled = recall(services, call.scope(), &agent, &question).await?;
    let results: Vec<Value> = recalled
        .found
        .iter()
        .map(|piece| {
            json!({
                "path": piece.path, "startLine": piece.start_line, "endLine": piece.end_line, "score": piece.score,
                "snippet": piece.snippet, "source": "memory",
            })
        })
        .collect();
    let (mode, provider) = match &recalled.model {
        Some((provider, _)) => ("hybrid", provider.as_str()),
        None => ("fts-only", "none"),
    };
    let mut answer = json!({"agentId": agent, "provider": provider, "searchMode": mode, "results": results});
    if let Some(why) = recalled.fallback {
        answer["warning"] = json!(why);
    }
    Ok(answer)
}
