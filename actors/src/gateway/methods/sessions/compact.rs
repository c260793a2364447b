//! `sessions.compact`: summarises a session's conversation so far, or leaves out all but its newest entries.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::gateway::methods::{filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::session::compaction::manual::{Done, Wish};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CompactParams {
    key: String,
    max_lines: Option<usize>,
}

/// A summary that fails is an answer, not an error: the session is as it was, and `reason` says why.
pub(super) async fn compact(call: Call, params: CompactParams) -> Result<Value, WireError> {
    filled("sessions.compact", "key", &params.key)?;
    if params.max_lines == Some(0) {
        return Err(WireError::invalid(
            "invalid sessions.compact params: at /maxLines: must be >= 1",
        ));
    }
    let key = session_key(&call, &params.key).await?;
    let wish = Wish {
        instructions: None,
        keep_entries: params.max_lines,
    };
    let undone = |ok: bool, reason: &str| json!({"ok": ok, "key": key, "compacted": false, "reason": reason});
    Ok(match call.state.directory.compact(call.scope(), &key, wish).await? {
        Done::Compacted { kept: Some(kept), .. } => json!({"ok": true, "key": key, "compacted": true, "kept": kept}),
        Done::Compacted { body, kept: None, .. } => {
            let list = |name: &str| {
                let details = body.details.as_ref();
                details
                    .and_then(|details| details.get(name))
                    .cloned()
                    .unwrap_or_else(|| json!([]))
            };
            json!({
                "ok": true, "key": key, "compacted": true,
                "result": {
                    "summary": body.summary, "firstKeptEntryId": body.first_kept_entry_id,
                    "tokensBefore": body.tokens_before,
                    "details": {"readFiles": list("readFiles"), "modifiedFiles": list("modifiedFiles")},
                },
            })
        }
        Done::Missing => undone(true, "no sessionId"),
        Done::Nothing => undone(true, "nothing to compact"),
        Done::Aborted => undone(false, "aborted"),
        Done::Failed(why) => undone(false, &why),
    })
}
