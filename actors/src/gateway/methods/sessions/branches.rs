//! `sessions.branches.*`, `sessions.rewind` and `sessions.fork`: the transcript as a tree. Results as the protocol's
//! schemas have them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat};
use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::conversation::history::SessionRow;
use crate::conversation::tree::Question;
use crate::error::Error;
use crate::gateway::methods::{agent_of, filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::session::edit::{Edit, Leaf};
use crate::session::events::session_changed;
use crate::session::{blobs, branches, key};

/// Looks at a session that works, and the pause between two: half a second in all.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of images that go back into an editor, all together.
const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListParams {
    session_key: String,
}

pub(super) async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    filled("sessions.branches.list", "sessionKey", &params.session_key)?;
    let key = session_key(&call, &params.session_key).await?;
    let tips = call.state.services.conversation.branches(call.scope(), &key).await?;
    let branches: Vec<Value> = tips
        .into_iter()
        .map(|tip| {
            let at = DateTime::from_timestamp_millis(tip.updated_at).unwrap_or_default();
            json!({
                "leafEntryId": tip.leaf_id, "headline": tip.headline, "messageCount": tip.messages,
                "updatedAt": at.to_rfc3339_opts(SecondsFormat::Millis, true), "active": tip.active,
            })
        })
        .collect();
    Ok(json!({"branches": branches}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SwitchParams {
    session_key: String,
    leaf_entry_id: String,
}

pub(super) async fn switch(call: Call, params: SwitchParams) -> Result<Value, WireError> {
    let method = "sessions.branches.switch";
    filled(method, "leafEntryId", &params.leaf_entry_id)?;
    let key = known(&call, method, &params.session_key).await?;
    turn(&call, &key, Leaf::At(params.leaf_entry_id)).await?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryParams {
    session_key: String,
    entry_id: String,
}

/// Goes back in front of a question. What came after stays stored, as a branch of its own.
pub(super) async fn rewind(call: Call, params: EntryParams) -> Result<Value, WireError> {
    let method = "sessions.rewind";
    filled(method, "entryId", &params.entry_id)?;
    let key = known(&call, method, &params.session_key).await?;
    let conversation = &call.state.services.conversation;
    let question = conversation.question(call.scope(), &key, &params.entry_id).await?;
    turn(&call, &key, Leaf::Before(params.entry_id)).await?;
    editor(&call, question).await
}

/// A session of its own that begins with what stands before a question.
pub(super) async fn fork(call: Call, params: EntryParams) -> Result<Value, WireError> {
    let method = "sessions.fork";
    filled(method, "entryId", &params.entry_id)?;
    let from = known(&call, method, &params.session_key).await?;
    let directory = &call.state.directory;
    quiet(&call, &from).await?;
    let conversation = &call.state.services.conversation;
    let question = conversation.question(call.scope(), &from, &params.entry_id).await?;
    let to = key::under(agent_of(&from), &format!("dashboard:{}", uuid::Uuid::new_v4()));
    let head = branches::fork(directory, call.scope(), &from, &params.entry_id, &to).await?;
    let row = SessionRow::from(&head);
    directory.publish(
        call.scope(),
        session_changed(&to, &head.agent_id, "fork", Some(&row), None),
    );
    let mut answer = editor(&call, question).await?;
    answer["sessionKey"] = json!(to);
    Ok(answer)
}

/// The full key of a session that exists.
async fn known(call: &Call, method: &str, given: &str) -> Result<SessionKey, WireError> {
    filled(method, "sessionKey", given)?;
    let key = session_key(call, given).await?;
    match call.state.services.conversation.session(call.scope(), &key).await? {
        Some(_) => Ok(key),
        None => Err(WireError::invalid(format!("session not found: {given}"))),
    }
}

/// Waits a moment for a turn to end whose last words were just heard.
async fn quiet(call: &Call, key: &SessionKey) -> Result<(), WireError> {
    for _ in 0..LOOKS {
        let seen = call.state.directory.observe_session(call.scope(), key).await?;
        if seen.running.is_none() && seen.queued == 0 {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(WireError::unavailable("not available while the agent is working").retry_after(Duration::from_secs(1)))
}

async fn turn(call: &Call, key: &SessionKey, leaf: Leaf) -> Result<(), WireError> {
    quiet(call, key).await?;
    let edit = Edit::Turn { leaf };
    match call.state.directory.edit(call.scope(), key, edit).await {
        Ok(_) => Ok(()),
        // It was there a moment ago.
        Err(Error::NotFound { .. }) => Err(WireError::invalid(format!("session not found: {key}"))),
        Err(error) => Err(error.into()),
    }
}

/// What goes back into the editor. Images whose bytes are gone, or too many, stay out.
async fn editor(call: &Call, question: Question) -> Result<Value, WireError> {
    let mut answer = json!({});
    if !question.text.is_empty() {
        answer["editorText"] = json!(question.text);
    }
    let (mut images, mut room) = (Vec::new(), MOST_BYTES);
    for (mime_type, blob) in question.images {
        let stored = blobs::read(&call.state.services, call.scope(), &blob).await?;
        let Some(stored) = stored.filter(|stored| stored.bytes.len() <= room) else {
            continue;
        };
        room -= stored.bytes.len();
        images.push(json!({"mimeType": mime_type, "data": STANDARD.encode(stored.bytes)}));
    }
    if !images.is_empty() {
        answer["editorAttachments"] = json!(images);
    }
    Ok(answer)
}
