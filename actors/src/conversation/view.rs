//! A session's row as people see it: the wire form of `sessions.list` rows and of the `session` in events.

use serde_json::{Map, Value, json};

use super::history::SessionRow;
use super::transcript::{BRANCHED_AT, SessionHead};
use crate::session::key::{self, Kind};
use crate::session::turn;

/// Stored fields that are nobody's business outside.
const HIDDEN: [&str; 7] = [
    BRANCHED_AT,
    "skillsSnapshot",
    "systemPromptReport",
    turn::COMPACTION_FAILED,
    turn::NOTES_KEPT,
    turn::NOTES_KEPT_AT,
    turn::NOTES_FAILED,
];

impl From<&SessionHead> for SessionRow {
    fn from(head: &SessionHead) -> Self {
        Self {
            key: head.key.clone(),
            session_id: head.session_id.clone(),
            agent_id: head.agent_id.clone(),
            label: head.label.clone(),
            entry: head.entry.clone(),
            destination: head.destination.clone(),
            created_at: head.created_at,
            updated_at: head.updated_at,
        }
    }
}

/// The agent's main session: it can be reset, not deleted.
pub fn is_main(row_key: &str) -> bool {
    key::parse(row_key).is_some_and(|parsed| parsed.kind == Kind::Main && parsed.thread_id.is_none())
}

/// Was there something after the person last looked, or did they mark it themselves.
fn unread(row: &SessionRow) -> bool {
    let at = |name: &str| row.entry.get(name).and_then(Value::as_i64);
    let active = row.updated_at.max(at("endedAt").unwrap_or(0));
    at("markedUnreadAt").is_some() || at("lastReadAt").is_some_and(|read| active > read)
}

/// A session as lists show it. Counters and overrides of the stored entry keep their wire names.
pub fn session(row: &SessionRow) -> Value {
    let main = is_main(row.key.as_str());
    let group = key::parse(row.key.as_str()).is_some_and(|parsed| parsed.is_shared());
    let kind = if group { "group" } else { "direct" };
    let stored = row.entry.as_object().into_iter().flatten();
    let shown = stored.filter(|(name, value)| !value.is_null() && !HIDDEN.contains(&name.as_str()));
    let mut view: Map<String, Value> = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
    let has = |name: &str| row.entry.get(name).is_some_and(|value| !value.is_null());
    for (name, value) in [
        ("key", json!(row.key)),
        ("sessionId", json!(row.session_id)),
        ("agentId", json!(row.agent_id)),
        ("kind", json!(kind)),
        ("chatType", json!(kind)),
        ("classification", json!(if main { "main" } else { kind })),
        ("isMain", json!(main)),
        ("isBackground", json!(false)),
        ("createdAt", json!(row.created_at)),
        ("updatedAt", json!(row.updated_at)),
        ("lastInteractionAt", json!(row.updated_at)),
        ("archived", json!(has("archivedAt"))),
        ("pinned", json!(has("pinnedAt"))),
        ("unread", json!(unread(row))),
    ] {
        view.insert(name.to_owned(), value);
    }
    for name in ["label", "displayName"] {
        match &row.label {
            Some(label) => view.insert(name.to_owned(), json!(label)),
            None => view.remove(name),
        };
    }
    Value::Object(view)
}

#[cfg(test)]
mod tests {
    use claw_entities::SessionKey;

    use super::*;

    fn stored(key: &str, entry: Value) -> SessionRow {
        SessionRow {
            key: SessionKey::from(key),
            session_id: "s1".to_owned(),
            agent_id: "main".to_owned(),
            label: None,
            entry,
            destination: Value::Null,
            created_at: 1,
            updated_at: 20,
        }
    }

    #[test]
    fn rows_tell_what_a_session_is() {
        for (key, kind, main) in [
            ("agent:main:main", "direct", true),
            ("agent:main:telegram:direct:42", "direct", false),
            ("agent:main:slack:channel:c1", "group", false),
        ] {
            let view = session(&stored(key, json!({"inputTokens": 3, "key": "not this"})));
            assert_eq!((view["key"].as_str(), view["kind"].as_str()), (Some(key), Some(kind)));
            assert_eq!(view["isMain"], json!(main), "{key}");
            assert_eq!(view["inputTokens"], 3);
            assert!(view.get("label").is_none());
        }
    }

    #[test]
    fn flags_come_from_their_times() {
        for (entry, archived, pinned, unread) in [
            (json!({}), false, false, false),
            (json!({"archivedAt": 5, "pinnedAt": 6}), true, true, false),
            (json!({"archivedAt": null}), false, false, false),
            (json!({"lastReadAt": 19}), false, false, true),
            (json!({"lastReadAt": 20}), false, false, false),
            (json!({"lastReadAt": 20, "endedAt": 30}), false, false, true),
            (json!({"lastReadAt": 90, "markedUnreadAt": 91}), false, false, true),
        ] {
            let view = session(&stored("agent:main:x", entry.clone()));
            let seen = (&view["archived"], &view["pinned"], &view["unread"]);
            assert_eq!(seen, (&json!(archived), &json!(pinned), &json!(unread)), "{entry}");
        }
    }
}
