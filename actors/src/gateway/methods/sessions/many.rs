//! `sessions.patchMany`, and `sessions.groups.*`: what is changed of several sessions at once.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::changed;
use crate::error::Error;
use crate::gateway::methods::Nothing;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::session::events::groups_changed;
use crate::session::groups::{self, Groups};

/// Sessions of one `sessions.patchMany`, as the original.
const MOST_AT_ONCE: usize = 100;
/// What says which session it is, and in which state, is the target's alone.
const OF_TARGETS: [&str; 4] = ["key", "agentId", "expectedSessionId", "expectedLifecycleRevision"];

#[derive(Deserialize)]
pub(super) struct ManyParams {
    targets: Vec<Map<String, Value>>,
    patch: Map<String, Value>,
}

/// One change of several sessions. Each succeeds or fails by itself.
pub(super) async fn patch(call: Call, params: ManyParams) -> Result<Value, WireError> {
    if params.targets.is_empty() || params.targets.len() > MOST_AT_ONCE {
        return Err(WireError::invalid(format!(
            "invalid sessions.patchMany params: at /targets: must have 1 to {MOST_AT_ONCE} items"
        )));
    }
    if let Some(name) = params.patch.keys().find(|name| OF_TARGETS.contains(&name.as_str())) {
        return Err(WireError::invalid(format!(
            "invalid sessions.patchMany params: at /patch/{name}: must NOT have additional properties"
        )));
    }
    let mut outcomes = Vec::with_capacity(params.targets.len());
    for mut target in params.targets {
        let given = target.get("key").cloned().unwrap_or_default();
        target.retain(|name, _| OF_TARGETS.contains(&name.as_str()));
        target.extend(params.patch.clone());
        outcomes.push(match changed(&call, &target).await {
            Ok(row) => json!({"ok": true, "key": row.key, "agentId": row.agent_id}),
            Err(error) => json!({"ok": false, "key": given, "error": error}),
        });
    }
    Ok(json!({"outcomes": outcomes}))
}

pub(super) async fn list(call: Call, _: Nothing) -> Result<Value, WireError> {
    Ok(groups::view(&groups::list(&call.state.services, call.scope()).await?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PutParams {
    names: Vec<String>,
    section_order: Option<Vec<String>>,
}

pub(super) async fn put(call: Call, params: PutParams) -> Result<Value, WireError> {
    let directory = &call.state.directory;
    let groups = groups::put(directory, call.scope(), params.names, params.section_order).await;
    told(&call, groups.map(|groups| (groups, None)))
}

#[derive(Deserialize)]
pub(super) struct RenameParams {
    name: String,
    to: String,
}

pub(super) async fn rename(call: Call, params: RenameParams) -> Result<Value, WireError> {
    let renamed = groups::rename(&call.state.directory, call.scope(), &params.name, &params.to).await;
    told(&call, renamed.map(|(groups, moved)| (groups, Some(moved))))
}

#[derive(Deserialize)]
pub(super) struct DeleteParams {
    name: String,
}

/// Sessions stay; they are in no group then.
pub(super) async fn delete(call: Call, params: DeleteParams) -> Result<Value, WireError> {
    let deleted = groups::delete(&call.state.directory, call.scope(), &params.name).await;
    told(&call, deleted.map(|(groups, moved)| (groups, Some(moved))))
}

fn told(call: &Call, changed: Result<(Groups, Option<u64>), Error>) -> Result<Value, WireError> {
    let (groups, moved) = changed?;
    call.state.directory.publish(call.scope(), groups_changed());
    let mut answer = groups::view(&groups);
    answer["ok"] = json!(true);
    if let Some(moved) = moved {
        answer["updatedSessions"] = json!(moved);
    }
    Ok(answer)
}
