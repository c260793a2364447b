//! `chat.history`, `chat.startup`, `chat.metadata` and `chat.message.get`: what a client needs to show a chat.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use claw_entities::SessionKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::devices::without_nulls;
use crate::conversation::history::{Delta, HistoryPage, OneMessage, PageQuery};
use crate::gateway::methods::{filled, models, session_key, sessions, small};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::session::key;
use crate::session::record::{self, Pending};

/// Messages without `limit`.
const HISTORY: u64 = 200;
const MOST_HISTORY: u64 = 1000;
const MOST_CHARS: usize = 500_000;
/// Characters of one text of `chat.message.get`, asked for nothing and at most, as the original.
const MESSAGE_CHARS: usize = 1_000_000;
const MOST_MESSAGE_CHARS: usize = 2_000_000;
/// Bytes of one message of `chat.message.get`: what fits a frame (`policy.maxPayload`), with room for the rest.
const MESSAGE_BYTES: usize = 24 * 1024 * 1024;
/// Before the id of a message that waits; such a message has no place in the transcript yet.
const PENDING: &str = "pending:";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryParams {
    session_key: String,
    cursor: Option<String>,
    limit: Option<u64>,
    offset: Option<u64>,
    message_id: Option<String>,
    session_id: Option<String>,
    max_chars: Option<usize>,
    max_bytes: Option<usize>,
}

impl HistoryParams {
    fn check(&self, method: &str) -> Result<PageQuery, WireError> {
        filled(method, "sessionKey", &self.session_key)?;
        let limit = self.limit.unwrap_or(HISTORY);
        let bounds = [
            ("limit", limit, MOST_HISTORY),
            ("maxChars", self.max_chars.unwrap_or(1) as u64, MOST_CHARS as u64),
        ];
        for (field, value, most) in bounds {
            if !(1..=most).contains(&value) {
                return Err(WireError::invalid(format!(
                    "invalid {method} params: at /{field}: must be between 1 and {most}"
                )));
            }
        }
        let conflict = match (&self.offset, &self.message_id, &self.cursor, &self.session_id) {
            (Some(_), Some(_), _, _) => Some("offset and messageId cannot be used together"),
            (Some(_), _, Some(_), _) | (_, Some(_), Some(_), _) => {
                Some("cursor cannot be used with offset or messageId")
            }
            (_, None, _, Some(_)) => Some("sessionId requires messageId"),
            _ => None,
        };
        if let Some(conflict) = conflict {
            return Err(WireError::invalid(conflict));
        }
        Ok(PageQuery {
            limit,
            offset: self.offset.unwrap_or(0),
            around: self.message_id.clone(),
            session_id: self.session_id.clone(),
            max_chars: self.max_chars,
            max_bytes: self.max_bytes,
        })
    }
}

pub(super) async fn history(call: Call, params: HistoryParams) -> Result<Value, WireError> {
    let query = params.check("chat.history")?;
    answer(&call, &params, &query).await
}

/// The history together with what else a chat shows at first: models and commands.
pub(super) async fn startup(call: Call, params: HistoryParams) -> Result<Value, WireError> {
    let query = params.check("chat.startup")?;
    let mut view = answer(&call, &params, &query).await?;
    if view["kind"] != "reset" {
        view["metadata"] = about(&call).await?;
    }
    Ok(view)
}

async fn answer(call: &Call, params: &HistoryParams, query: &PageQuery) -> Result<Value, WireError> {
    let key = session_key(call, &params.session_key).await?;
    match &params.cursor {
        Some(cursor) => since(call, &key, cursor).await,
        None => page(call, &key, query).await,
    }
}

async fn page(call: &Call, key: &SessionKey, query: &PageQuery) -> Result<Value, WireError> {
    let page = call.state.services.conversation.page(call.scope(), key, query).await?;
    let mut info = sessions::info(call, key).await?;
    let in_flight = info.in_flight();
    let newest = query.offset == 0 && query.around.is_none();
    if newest {
        // Null too: a client that saw another transcript forgets its leaf.
        info.view["activeLeafEntryId"] = json!(page.leaf_id);
    }
    let cursor = (newest && !page.session_id.is_empty()).then(|| Cursor::after(key, &page).encode());
    let level = info
        .view
        .get("thinkingLevel")
        .or_else(|| info.view.get("thinkingDefault"));
    let level = level.cloned().unwrap_or_else(|| json!("off"));
    Ok(without_nulls(json!({
        "sessionKey": key, "sessionId": page.session_id, "messages": page.messages,
        "pendingInputs": pending_inputs(call, key).await?,
        "deltaCursor": cursor, "offset": (query.offset > 0).then_some(query.offset), "nextOffset": page.next_offset,
        "hasMore": page.has_more, "totalMessages": page.total, "defaults": sessions::defaults(call).await?,
        "sessionInfo": info.view, "thinkingLevel": level, "inFlightRun": in_flight,
    })))
}

/// What came after the cursor, in the form of `session.message` events; `reset` when a page has to be read anew.
async fn since(call: &Call, key: &SessionKey, cursor: &str) -> Result<Value, WireError> {
    let reset = json!({"kind": "reset"});
    let Some(cursor) = Cursor::decode(cursor) else {
        return Ok(reset);
    };
    let conversation = &call.state.services.conversation;
    let delta = conversation
        .since(call.scope(), key, &cursor.session_id, cursor.last_seq)
        .await?;
    let Delta::Since {
        messages,
        last_seq,
        leaf_id,
    } = delta
    else {
        return Ok(reset);
    };
    let agent_id = key::agent_of(key);
    let messages: Vec<Value> = messages
        .into_iter()
        .map(|(id, seq, message)| {
            json!({"sessionKey": key, "agentId": agent_id, "message": message, "messageId": id, "messageSeq": seq})
        })
        .collect();
    let mut info = sessions::info(call, key).await?;
    let in_flight = info.in_flight();
    info.view["activeLeafEntryId"] = json!(leaf_id);
    Ok(without_nulls(json!({
        "kind": "delta", "messages": messages, "deltaCursor": Cursor { last_seq, ..cursor }.encode(),
        "pendingInputs": pending_inputs(call, key).await?, "sessionInfo": info.view, "inFlightRun": in_flight,
    })))
}

/// A place in a transcript. The original's fields; clients take it as a whole.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cursor {
    agent_id: String,
    last_seq: i64,
    session_id: String,
    version: u8,
}

impl Cursor {
    fn after(key: &SessionKey, page: &HistoryPage) -> Self {
        Self {
            agent_id: key::agent_of(key).to_owned(),
            last_seq: page.last_seq,
            session_id: page.session_id.clone(),
            version: 1,
        }
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let cursor: Self = serde_json::from_slice(&bytes).ok()?;
        (cursor.version == 1).then_some(cursor)
    }
}

async fn pending_inputs(call: &Call, key: &SessionKey) -> Result<Value, WireError> {
    let (items, total) = record::pending(&call.state.services, call.scope(), key).await?;
    let items: Vec<Value> = items.iter().map(pending_input).collect();
    Ok(json!({"items": items, "total": total}))
}

fn pending_input(pending: &Pending) -> Value {
    json!({
        "id": pending.id, "acceptedAt": pending.accepted_at, "state": "queued", "runId": pending.run_id,
        "message": pending_message(pending),
    })
}

fn pending_message(pending: &Pending) -> Value {
    let text: String = pending.text.chars().take(MOST_CHARS).collect();
    json!({
        "role": if pending.injected { "assistant" } else { "user" }, "content": text,
        "timestamp": pending.accepted_at, "__openclaw": {"id": format!("{PENDING}{}", pending.id)},
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetadataParams {
    session_key: Option<String>,
}

pub(super) async fn metadata(call: Call, params: MetadataParams) -> Result<Value, WireError> {
    if let Some(given) = &params.session_key {
        session_key(&call, given).await?;
    }
    about(&call).await
}

/// Models and commands of the caller.
async fn about(call: &Call) -> Result<Value, WireError> {
    Ok(json!({
        "models": models::views(call).await?, "commands": small::command_views(call, None).await?, "swarmEnabled": false,
        "accountSelection": {"kind": "automatic", "label": "Automatic account selection"},
        "runtimeSelectionLocked": false,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MessageParams {
    session_key: String,
    message_id: String,
    max_chars: Option<usize>,
}

/// One message as a whole, where history shows its beginning.
pub(super) async fn message(call: Call, params: MessageParams) -> Result<Value, WireError> {
    filled("chat.message.get", "sessionKey", &params.session_key)?;
    filled("chat.message.get", "messageId", &params.message_id)?;
    let most = params.max_chars.unwrap_or(MESSAGE_CHARS);
    if !(1..=MOST_MESSAGE_CHARS).contains(&most) {
        return Err(WireError::invalid(format!(
            "invalid chat.message.get params: at /maxChars: must be between 1 and {MOST_MESSAGE_CHARS}"
        )));
    }
    let key = session_key(&call, &params.session_key).await?;
    let services = &call.state.services;
    if let Some(id) = params.message_id.strip_prefix(PENDING) {
        let (items, _) = record::pending(services, call.scope(), &key).await?;
        let found = items.iter().find(|item| item.id == id);
        return Ok(found.map_or_else(
            || unavailable("not_found"),
            |item| json!({"ok": true, "message": pending_message(item)}),
        ));
    }
    let found = services
        .conversation
        .message(call.scope(), &key, &params.message_id, most, MESSAGE_BYTES)
        .await?;
    Ok(match found {
        OneMessage::Found(message) => json!({"ok": true, "message": message}),
        OneMessage::Missing => unavailable("not_found"),
        OneMessage::Hidden => unavailable("not_visible"),
        OneMessage::TooLarge => unavailable("oversized"),
    })
}

fn unavailable(reason: &str) -> Value {
    json!({"ok": false, "unavailableReason": reason})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nonsense_does_not() {
        let cursor = Cursor {
            agent_id: "main".to_owned(),
            last_seq: 7,
            session_id: "s".to_owned(),
            version: 1,
        };
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        let later = Cursor {
            agent_id: String::new(),
            last_seq: 0,
            session_id: String::new(),
            version: 2,
        };
        for bad in ["", "!", "e30", &later.encode()] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn places_exclude_each_other() {
        let params = |more: Value| {
            let mut all = json!({"sessionKey": "main"});
            for (name, value) in more.as_object().expect("an object") {
                all[name] = value.clone();
            }
            serde_json::from_value::<HistoryParams>(all).expect("parses")
        };
        for (more, complaint) in [
            (json!({}), None),
            (json!({"limit": 1000, "offset": 5}), None),
            (json!({"messageId": "m", "sessionId": "s"}), None),
            (json!({"limit": 0}), Some("at /limit")),
            (json!({"limit": 1001}), Some("at /limit")),
            (json!({"maxChars": 0}), Some("at /maxChars")),
            (json!({"offset": 1, "messageId": "m"}), Some("offset and messageId")),
            (json!({"offset": 1, "cursor": "c"}), Some("cursor cannot")),
            (json!({"messageId": "m", "cursor": "c"}), Some("cursor cannot")),
            (json!({"sessionId": "s"}), Some("sessionId requires messageId")),
        ] {
            let got = params(more.clone())
                .check("chat.history")
                .err()
                .map(|error| error.message);
            match complaint {
                None => assert_eq!(got, None, "{more}"),
                Some(part) => assert!(got.as_ref().is_some_and(|got| got.contains(part)), "{more}: {got:?}"),
            }
        }
    }
}
