//! `sessions.*`: lists and subscriptions.

use serde::Deserialize;
use serde_json::{Value, json};

use super::session_key;
use crate::clock::now_ms;
use crate::config::devices::without_nulls;
use crate::conversation::history::SessionRow;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Local, Methods};
use crate::gateway::scopes::READ;

/// Rows of `sessions.list` without `limit`.
const ROWS: u64 = 100;
const MOST_ROWS: u64 = 500;
/// Sessions a search by id or label looks at.
const SEARCHED: u64 = 1000;
/// Keys of one `sessions.preview`.
const MOST_KEYS: usize = 64;

pub(super) fn register(methods: &mut Methods) {
    methods.add("sessions.list", Access::Scope(READ), list);
    methods.add("sessions.describe", Access::Scope(READ), describe);
    methods.add("sessions.preview", Access::Scope(READ), preview);
    methods.add("sessions.resolve", Access::Scope(READ), resolve).hidden();
    methods.add_local("sessions.subscribe", Access::Scope(READ), Local::SubscribeSessions);
    methods.add_local("sessions.unsubscribe", Access::Scope(READ), Local::UnsubscribeSessions);
    methods.add_local(
        "sessions.messages.subscribe",
        Access::Scope(READ),
        Local::SubscribeMessages,
    );
    methods.add_local(
        "sessions.messages.unsubscribe",
        Access::Scope(READ),
        Local::UnsubscribeMessages,
    );
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListParams {
    limit: Option<u64>,
    offset: Option<u64>,
    agent_id: Option<String>,
    search: Option<String>,
    label: Option<String>,
    active_minutes: Option<i64>,
}

async fn list(call: Call, params: ListParams) -> Result<Value, WireError> {
    let limit = params.limit.unwrap_or(ROWS).clamp(1, MOST_ROWS);
    let offset = params.offset.unwrap_or(0);
    let conversation = &call.state.services.conversation;
    let filtered = params.agent_id.is_some()
        || params.search.is_some()
        || params.label.is_some()
        || params.active_minutes.is_some();
    let (rows, total) = if filtered {
        let (rows, _) = conversation.list_sessions(call.scope(), SEARCHED, 0).await?;
        let kept: Vec<SessionRow> = rows.into_iter().filter(|row| matches(row, &params)).collect();
        let total = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        (kept.into_iter().skip(from).take(most).collect(), total)
    } else {
        conversation.list_sessions(call.scope(), limit, offset).await?
    };
    let next = offset + u64::try_from(rows.len()).unwrap_or(0);
    let has_more = next < total;
    Ok(json!({
        "ts": now_ms(), "path": "", "count": rows.len(), "totalCount": total, "limitApplied": limit,
        "nextOffset": has_more.then_some(next), "hasMore": has_more, "owners": [],
        "defaults": defaults(&call).await?, "sessions": rows.iter().map(row).collect::<Vec<_>>(),
    }))
}

fn matches(row: &SessionRow, params: &ListParams) -> bool {
    let has = |text: &str| {
        let text = text.to_lowercase();
        row.key.as_str().to_lowercase().contains(&text)
            || row
                .label
                .as_deref()
                .is_some_and(|label| label.to_lowercase().contains(&text))
    };
    params.agent_id.as_ref().is_none_or(|agent| *agent == row.agent_id)
        && params
            .label
            .as_ref()
            .is_none_or(|label| row.label.as_ref() == Some(label))
        && params.search.as_deref().is_none_or(has)
        && params
            .active_minutes
            .is_none_or(|minutes| row.updated_at >= now_ms() - minutes.saturating_mul(60_000))
}

/// What sessions have when they say nothing else.
pub(super) async fn defaults(call: &Call) -> Result<Value, WireError> {
    let models = call.state.services.config.list_models(call.scope()).await?;
    let default = models.iter().find(|model| model.default).or(models.first());
    Ok(without_nulls(json!({
        "modelProvider": default.map(|model| &model.provider), "model": default.map(|model| &model.id),
        "contextTokens": default.map(|model| model.context_window),
        "thinkingLevels": [{"id": "off", "label": "off"}], "thinkingOptions": ["off"], "thinkingDefault": "off",
    })))
}

/// A session as lists show it. Counters and overrides of the stored entry keep their wire names.
pub(super) fn row(row: &SessionRow) -> Value {
    let parts: Vec<&str> = row.key.as_str().split(':').collect();
    let main = matches!(parts.as_slice(), ["agent", _, "main"]);
    let group = parts.iter().any(|part| ["group", "channel", "room"].contains(part));
    let kind = if group { "group" } else { "direct" };
    let mut view = match &row.entry {
        Value::Object(_) => row.entry.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => json!({}),
    };
    for (name, value) in [
        ("key", json!(row.key)),
        ("sessionId", json!(row.session_id)),
        ("agentId", json!(row.agent_id)),
        ("kind", json!(kind)),
        ("chatType", json!(kind)),
        ("classification", json!(if main { "main" } else { kind })),
        ("isMain", json!(main)),
        ("isBackground", json!(false)),
        ("label", json!(row.label)),
        ("displayName", json!(row.label)),
        ("createdAt", json!(row.created_at)),
        ("updatedAt", json!(row.updated_at)),
        ("lastInteractionAt", json!(row.updated_at)),
        ("archived", json!(false)),
        ("pinned", json!(false)),
        ("unread", json!(false)),
    ] {
        view[name] = value;
    }
    without_nulls(view)
}

#[derive(Deserialize)]
struct KeyParams {
    key: String,
}

async fn describe(call: Call, params: KeyParams) -> Result<Value, WireError> {
    let key = session_key(&call, &params.key).await?;
    let found = call.state.services.conversation.session(call.scope(), &key).await?;
    let mut session = found.as_ref().map(row);
    if let Some(session) = &mut session {
        let live = call.state.directory.observe_session(call.scope(), &key).await?;
        session["hasActiveRun"] = json!(live.running.is_some());
    }
    Ok(json!({"ts": now_ms(), "session": session}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreviewParams {
    keys: Vec<String>,
    limit: Option<u64>,
    max_chars: Option<usize>,
}

async fn preview(call: Call, params: PreviewParams) -> Result<Value, WireError> {
    if params.keys.is_empty() || params.keys.len() > MOST_KEYS {
        return Err(WireError::invalid(format!(
            "invalid sessions.preview params: at /keys: must have 1 to {MOST_KEYS} items"
        )));
    }
    let limit = params.limit.unwrap_or(12).clamp(1, 50);
    let most = params.max_chars.unwrap_or(240).clamp(20, 2000);
    let mut previews = Vec::with_capacity(params.keys.len());
    for given in params.keys {
        let key = session_key(&call, &given).await?;
        let page = call
            .state
            .services
            .conversation
            .history(call.scope(), &key, limit)
            .await?;
        let items: Vec<Value> = page
            .messages
            .iter()
            .filter_map(|message| preview_item(message, most))
            .collect();
        let status = if page.session_id.is_empty() {
            "missing"
        } else if items.is_empty() {
            "empty"
        } else {
            "ok"
        };
        previews.push(json!({"key": given, "status": status, "items": items}));
    }
    Ok(json!({"ts": now_ms(), "previews": previews}))
}

fn preview_item(message: &Value, most: usize) -> Option<Value> {
    let role = message["role"].as_str()?;
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            texts.join(" ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() {
        return None;
    }
    let shown: String = text.chars().take(most).collect();
    Some(json!({"role": role, "text": shown}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResolveParams {
    key: Option<String>,
    session_id: Option<String>,
    label: Option<String>,
    agent_id: Option<String>,
    #[serde(default)]
    allow_missing: bool,
}

async fn resolve(call: Call, params: ResolveParams) -> Result<Value, WireError> {
    let (found, wanted) = match (params.key, params.session_id, params.label) {
        (Some(key), None, None) => {
            let full = session_key(&call, &key).await?;
            (
                call.state.services.conversation.session(call.scope(), &full).await?,
                key,
            )
        }
        (None, Some(id), None) => (by_session_id(&call, &id).await?, id),
        (None, None, Some(label)) => {
            let agent = params.agent_id;
            let fits = |row: &SessionRow| {
                row.label.as_ref() == Some(&label) && agent.as_ref().is_none_or(|agent| *agent == row.agent_id)
            };
            (search(&call, fits).await?, label)
        }
        _ => return Err(WireError::invalid("Provide exactly one of key, sessionId, label")),
    };
    match found {
        Some(row) => Ok(json!({"ok": true, "key": row.key, "agentId": row.agent_id})),
        None if params.allow_missing => Ok(json!({"ok": false})),
        None => Err(WireError::invalid(format!("No session found: {wanted}"))),
    }
}

/// The session whose current transcript has this id.
pub(super) async fn by_session_id(call: &Call, id: &str) -> Result<Option<SessionRow>, WireError> {
    search(call, |row| row.session_id == id).await
}

/// The newest session that fits.
async fn search(call: &Call, fits: impl Fn(&SessionRow) -> bool) -> Result<Option<SessionRow>, WireError> {
    let conversation = &call.state.services.conversation;
    let (rows, _) = conversation.list_sessions(call.scope(), SEARCHED, 0).await?;
    Ok(rows.into_iter().find(|row| fits(row)))
}

#[cfg(test)]
mod tests {
    use claw_entities::SessionKey;

    use super::*;

    fn stored(key: &str) -> SessionRow {
        SessionRow {
            key: SessionKey::from(key),
            session_id: "s1".to_owned(),
            agent_id: "main".to_owned(),
            label: None,
            entry: json!({"inputTokens": 3, "key": "not this"}),
            destination: Value::Null,
            created_at: 1,
            updated_at: 2,
        }
    }

    #[test]
    fn rows_tell_what_a_session_is() {
        for (key, kind, main) in [
            ("agent:main:main", "direct", true),
            ("agent:main:telegram:direct:42", "direct", false),
            ("agent:main:slack:channel:c1", "group", false),
        ] {
            let view = row(&stored(key));
            assert_eq!((view["key"].as_str(), view["kind"].as_str()), (Some(key), Some(kind)));
            assert_eq!(view["isMain"], json!(main), "{key}");
            assert_eq!(view["inputTokens"], 3);
            assert!(view.get("label").is_none());
        }
    }

    #[test]
    fn previews_are_short_lines() {
        let message =
            json!({"role": "user", "content": [{"type": "text", "text": "a\n b"}, {"type": "text", "text": "cdé"}]});
        assert_eq!(
            preview_item(&message, 5),
            Some(json!({"role": "user", "text": "a b c"}))
        );
        assert_eq!(preview_item(&json!({"role": "assistant", "content": []}), 5), None);
    }
}
