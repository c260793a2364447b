//! `sessions.search`: words in what was said.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::conversation::search::{Ask, MOST};
use crate::gateway::methods::{filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;

/// Characters of a question, and sessions of one search, as the original.
const LONGEST: usize = 4_096;
const MOST_KEYS: usize = 200;
/// Results without `limit`.
const RESULTS: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SearchParams {
    query: String,
    agent_id: Option<String>,
    session_keys: Option<Vec<String>>,
    limit: Option<usize>,
}

pub(super) async fn search(call: Call, params: SearchParams) -> Result<Value, WireError> {
    let method = "sessions.search";
    filled(method, "query", &params.query)?;
    if params.query.chars().count() > LONGEST {
        return Err(WireError::invalid(format!(
            "invalid {method} params: at /query: must NOT have more than {LONGEST} characters"
        )));
    }
    let keys = match params.session_keys {
        None => None,
        Some(given) if given.is_empty() || given.len() > MOST_KEYS => {
            return Err(WireError::invalid(format!(
                "invalid {method} params: at /sessionKeys: must have 1 to {MOST_KEYS} items"
            )));
        }
        Some(given) => {
            let mut keys = Vec::with_capacity(given.len());
            for one in given {
                keys.push(session_key(&call, &one).await?);
            }
            Some(keys)
        }
    };
    let ask = Ask {
        text: params.query,
        agent_id: params.agent_id,
        keys,
        most: params.limit.unwrap_or(RESULTS).clamp(1, MOST),
    };
    let services = &call.state.services;
    let hits = services
        .conversation
        .search(&services.writer, call.scope(), &ask)
        .await?;
    let results: Vec<Value> = hits
        .found
        .into_iter()
        .map(|hit| {
            json!({
                "sessionKey": hit.session_key, "sessionId": hit.session_id, "messageId": hit.message_id,
                "role": hit.role, "timestamp": hit.timestamp, "snippet": hit.snippet, "score": hit.score,
            })
        })
        .collect();
    let mut answer = json!({"results": results});
    if hits.indexing {
        answer["indexing"] = json!(true);
    }
    if hits.truncated {
        answer["truncated"] = json!(true);
    }
    Ok(answer)
}
