//! `sessions.patch`, `sessions.reset` and `sessions.delete`.

use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{defaults, shown};
use crate::clock::now_ms;
use crate::conversation::history::SessionRow;
use crate::conversation::view;
use crate::gateway::methods::{agent_of, filled, session_key};
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::gateway::scopes::ADMIN;
use crate::ports::model::Thinking;
use crate::session::choice::{self, Chosen};
use crate::session::commands::Switch;
use crate::session::edit::{self, Edit, Edited, Patch};
use crate::session::events::session_changed;
use crate::session::{queue, thinking};

/// Longest label, in characters.
const MOST_LABEL: usize = 512;

/// Fields of the original that this server has no other value for than these. A null means the same.
const FIXED: [(&str, &[&str]); 3] = [
    ("traceLevel", &["off"]),
    ("elevatedLevel", &["off"]),
    ("boardFace", &["chat"]),
];

/// Longest quiet time of a session's queue, milliseconds.
const MOST_DEBOUNCE: u64 = 86_400_000;

/// Fields that have a command too.
const SWITCHES: [Switch; 4] = [Switch::Verbose, Switch::Reasoning, Switch::Usage, Switch::Send];

/// Fields that only say what is shown beside the session, with their longest text in characters.
const SHOWN: [(&str, usize); 3] = [("icon", 64), ("color", 64), ("category", 512)];

/// Changes settings of a session. What this server would not act on is refused, so that nobody believes in it.
pub(super) async fn patch(call: Call, params: Map<String, Value>) -> Result<Value, WireError> {
    let row = changed(&call, &params).await?;
    Ok(json!({
        "ok": true, "path": "", "key": row.key, "entry": entry(&row), "resolved": resolved(&call, &row).await?,
    }))
}

/// Changes one session, and tells who watches.
pub(super) async fn changed(call: &Call, params: &Map<String, Value>) -> Result<SessionRow, WireError> {
    let key = required_key("sessions.patch", params)?;
    let key = session_key(call, &key).await?;
    let mut patch = Patch::default();
    for (name, value) in params {
        field(call, &key, &mut patch, name, value).await?;
    }
    let now = call.state.services.conversation.session(call.scope(), &key).await?;
    expected("sessions.patch", &key, params, now.as_ref())?;
    let head = edit::patch(&call.state.directory, call.scope(), &key, patch).await?;
    let row = SessionRow::from(&head);
    let running = call.state.directory.observe_session(call.scope(), &key).await?;
    let event = session_changed(
        &key,
        &head.agent_id,
        "patch",
        Some(&row),
        Some(running.in_flight.is_some()),
    );
    call.state.directory.publish(call.scope(), event);
    Ok(row)
}

fn required_key(method: &str, params: &Map<String, Value>) -> Result<String, WireError> {
    let Some(key) = params.get("key").and_then(Value::as_str) else {
        return Err(WireError::invalid(format!(
            "invalid {method} params: must have required property 'key'"
        )));
    };
    filled(method, "key", key)?;
    Ok(key.to_owned())
}

/// Takes one field into the patch.
pub(super) async fn field(
    call: &Call,
    key: &SessionKey,
    patch: &mut Patch,
    name: &str,
    value: &Value,
) -> Result<(), WireError> {
    let mut set = |field: &str, value: Value| {
        patch.fields.insert(field.to_owned(), value);
    };
    let stamp = |on: bool| if on { json!(now_ms()) } else { Value::Null };
    match name {
        "key" | "agentId" | "expectedLifecycleRevision" | "expectedMarkedUnreadAt" => {}
        "expectedSessionId" => patch.expected = optional_text(name, value)?,
        // Neither exists here, which is what null says.
        "expectedPermissionMode" | "expectedToolOverrides" if value.is_null() => {}
        "label" => {
            patch.label = Some(match optional_text(name, value)?.as_deref().map(str::trim) {
                None => None,
                Some("") => return Err(WireError::invalid("invalid label: empty")),
                Some(label) if label.chars().count() > MOST_LABEL => {
                    return Err(WireError::invalid(format!(
                        "invalid label: too long (max {MOST_LABEL})"
                    )));
                }
                Some(label) => Some(label.to_owned()),
            });
        }
        "model" => {
            let chosen = match optional_text(name, value)? {
                None => None,
                Some(wanted) => Some(model(call, key, &wanted).await?),
            };
            patch.fields.extend(choice::fields(chosen.as_ref()));
        }
        thinking::LEVEL => {
            let level = match optional_text(name, value)? {
                None => None,
                Some(wanted) => Some(level(call, key, &wanted).await?),
            };
            set(name, json!(level));
        }
        "groupActivation" => {
            call.require(ADMIN)?;
            let wanted = optional_text(name, value)?;
            if wanted
                .as_deref()
                .is_some_and(|wanted| !["mention", "always"].contains(&wanted))
            {
                return Err(WireError::invalid(
                    "invalid groupActivation (use \"mention\"|\"always\")",
                ));
            }
            set(name, json!(wanted));
        }
        "archived" => {
            let archived = flag(name, value)?;
            if archived && view::is_main(key.as_str()) {
                return Err(WireError::invalid(format!("Cannot archive the main session ({key}).")));
            }
            set("archivedAt", stamp(archived));
        }
        "pinned" => set("pinnedAt", stamp(flag(name, value)?)),
        "unread" => {
            let unread = flag(name, value)?;
            set("markedUnreadAt", stamp(unread));
            if !unread {
                set("lastReadAt", json!(now_ms()));
            }
        }
        _ => return plain_field(patch, name, value),
    }
    Ok(())
}

/// Fields that need no look at anything else.
fn plain_field(patch: &mut Patch, name: &str, value: &Value) -> Result<(), WireError> {
    if let Some(switch) = SWITCHES.into_iter().find(|switch| switch.field() == name) {
        let wanted = optional_text(name, value)?.map(|word| switch.listed(&word).to_owned());
        let known = |wanted: &String| switch.values().any(|value| value == wanted);
        if wanted.as_ref().is_some_and(|wanted| !known(wanted)) {
            let allowed: Vec<String> = switch.values().map(|value| format!("\"{value}\"")).collect();
            let allowed = allowed.join("|");
            return Err(WireError::invalid(format!("invalid {name} (use {allowed})")));
        }
        patch.fields.insert(name.to_owned(), json!(wanted));
        return Ok(());
    }
    if name == Switch::Fast.field() {
        let fast = match value {
            // Nothing here decides by itself how fast an answer has to be.
            Value::String(word) if word == "auto" => Value::Null,
            Value::Null | Value::Bool(_) => value.clone(),
            Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(WireError::invalid("invalid fastMode (use true, false, or \"auto\")"));
            }
        };
        patch.fields.insert(name.to_owned(), fast);
        return Ok(());
    }
    if let Some(value) = queue_field(name, value)? {
        patch.fields.insert(name.to_owned(), value);
        return Ok(());
    }
    if let Some((_, most)) = SHOWN.iter().find(|(shown, _)| *shown == name) {
        let text = optional_text(name, value)?;
        if text.as_ref().is_some_and(|text| text.chars().count() > *most) {
            return Err(WireError::invalid(format!("invalid {name}: too long (max {most})")));
        }
        if text.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(WireError::invalid(format!("invalid {name}: has control characters")));
        }
        patch.fields.insert(name.to_owned(), json!(text));
        return Ok(());
    }
    if let Some((_, allowed)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        let given = match value {
            Value::Null => return Ok(()),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        };
        if allowed.contains(&given.as_str()) {
            return Ok(());
        }
        let allowed = allowed.join("|");
        return Err(WireError::invalid(format!(
            "invalid {name} \"{given}\" (use {allowed})"
        )));
    }
    Err(WireError::invalid(format!(
        "invalid sessions.patch params: at /{name}: this server does not support it"
    )))
}

/// The session's own settings of its queue. `None`: it is none of them.
fn queue_field(name: &str, value: &Value) -> Result<Option<Value>, WireError> {
    let wrong = |allowed: &str| WireError::invalid(format!("invalid {name} (use {allowed})"));
    Ok(Some(match name {
        "queueMode" | "queueDrop" | "queueDebounceMs" | "queueCap" if value.is_null() => Value::Null,
        "queueMode" => {
            let mode = value.as_str().and_then(queue::parse_mode);
            json!(
                mode.map(queue::mode_name)
                    .ok_or_else(|| wrong("collect|followup|steer|steer-backlog|interrupt"))?
            )
        }
        "queueDrop" => {
            let drop = value.as_str().and_then(queue::parse_drop);
            json!(drop.map(queue::drop_name).ok_or_else(|| wrong("old|new|summarize"))?)
        }
        "queueDebounceMs" => {
            let debounce = value.as_u64().filter(|ms| *ms <= MOST_DEBOUNCE);
            json!(debounce.ok_or_else(|| wrong("0 to 86400000"))?)
        }
        "queueCap" => {
            let cap = value.as_u64().filter(|cap| (1..=1000).contains(cap));
            json!(cap.ok_or_else(|| wrong("1 to 1000"))?)
        }
        _ => return Ok(None),
    }))
}

fn optional_text(name: &str, value: &Value) -> Result<Option<String>, WireError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Err(WireError::invalid(format!(
            "invalid sessions.patch params: at /{name}: must be string"
        ))),
    }
}

/// A text that may be left out, but not be empty.
pub(super) fn expected_text(method: &str, name: &str, value: Option<&Value>) -> Result<Option<String>, WireError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            filled(method, name, text)?;
            Ok(Some(text.clone()))
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(WireError::invalid(
            format!("invalid {method} params: at /{name}: must be string"),
        )),
    }
}

fn flag(name: &str, value: &Value) -> Result<bool, WireError> {
    value
        .as_bool()
        .ok_or_else(|| WireError::invalid(format!("invalid sessions.patch params: at /{name}: must be boolean")))
}

/// A level that the session's model has.
async fn level(call: &Call, key: &SessionKey, wanted: &str) -> Result<&'static str, WireError> {
    let services = &call.state.services;
    let row = services.conversation.session(call.scope(), key).await?;
    let chosen = row.as_ref().and_then(|row| row.entry.get("modelOverride")?.as_str());
    let resolved = services
        .config
        .resolve_model(call.scope(), agent_of(key), chosen)
        .await?;
    let levels = super::super::models::levels(resolved.reasoning);
    let level = Thinking::parse(wanted).filter(|level| levels.contains(level));
    level.map(Thinking::name).ok_or_else(|| {
        let names: Vec<_> = levels.iter().map(|level| level.name()).collect();
        WireError::invalid(format!("invalid thinkingLevel \"{wanted}\" (use {})", names.join("|")))
    })
}

/// A model the caller may use.
async fn model(call: &Call, key: &SessionKey, wanted: &str) -> Result<Chosen, WireError> {
    let wanted = wanted.trim();
    if wanted.is_empty() {
        return Err(WireError::invalid("invalid model: empty"));
    }
    let config = &call.state.services.config;
    let chosen = choice::find(config, call.scope(), agent_of(key), wanted).await?;
    chosen.ok_or_else(|| WireError::invalid(format!("model not available: {wanted}")))
}

/// Refuses a change that was meant for another state of the session.
fn expected(
    method: &str,
    key: &SessionKey,
    params: &Map<String, Value>,
    now: Option<&SessionRow>,
) -> Result<(), WireError> {
    let stored = |name: &str| now.and_then(|row| row.entry.get(name)).cloned().unwrap_or_default();
    let session_id = json!(now.map(|row| row.session_id.as_str()));
    let facts = [
        ("expectedSessionId", session_id.clone()),
        // The transcript changes with the life of a session, and with nothing else.
        ("expectedLifecycleRevision", session_id),
        ("expectedSessionUpdatedAt", json!(now.map(|row| row.updated_at))),
        ("expectedMarkedUnreadAt", stored("markedUnreadAt")),
    ];
    for (name, fact) in facts {
        if params.get(name).is_some_and(|expected| *expected != fact) {
            return Err(WireError::invalid(format!(
                "{method}: session \"{key}\" changed meanwhile. Refresh and retry."
            )));
        }
    }
    Ok(())
}

/// The stored session as changes answer with it.
pub(super) fn entry(row: &SessionRow) -> Value {
    let mut entry = view::session(row);
    entry["lifecycleRevision"] = json!(row.session_id);
    entry
}

/// The model the session's next turn uses.
pub(super) async fn resolved(call: &Call, row: &SessionRow) -> Result<Value, WireError> {
    let models = call.state.services.config.list_models(call.scope()).await?;
    let view = shown(row, &models, None);
    if view.get("model").is_some() {
        return Ok(json!({"modelProvider": view["modelProvider"], "model": view["model"]}));
    }
    let default = defaults(call).await?;
    Ok(json!({"modelProvider": default["modelProvider"], "model": default["model"]}))
}

#[derive(Deserialize)]
pub(super) struct ResetParams {
    key: String,
    reason: Option<String>,
}

/// A new transcript under the same key, after what runs and what waits was aborted.
pub(super) async fn reset(call: Call, params: ResetParams) -> Result<Value, WireError> {
    filled("sessions.reset", "key", &params.key)?;
    let reason = match params.reason.as_deref() {
        None | Some("reset") => "reset",
        Some("new") => "new",
        Some(_) => {
            return Err(WireError::invalid(
                "invalid sessions.reset params: at /reason: must be equal to one of the allowed values",
            ));
        }
    };
    let key = session_key(&call, &params.key).await?;
    let edited = call
        .state
        .directory
        .edit(call.scope(), &key, Edit::Reset { reason })
        .await?;
    let Edited { head: Some(head), .. } = edited else {
        return Err(WireError::invalid(format!("No session found: {key}")));
    };
    let row = SessionRow::from(&head);
    Ok(json!({"ok": true, "key": key, "entry": entry(&row), "resolved": resolved(&call, &row).await?}))
}

/// Deletes a session with what was said in it. Whoever may write may delete what is archived already.
pub(super) async fn delete(call: Call, params: Map<String, Value>) -> Result<Value, WireError> {
    let method = "sessions.delete";
    let given = required_key(method, &params)?;
    let on = |name: &str, absent: bool| match params.get(name) {
        None | Some(Value::Null) => Ok(absent),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => Err(WireError::invalid(
            format!("invalid {method} params: at /{name}: must be boolean"),
        )),
    };
    let (transcript, archived_only) = (on("deleteTranscript", true)?, on("archivedOnly", false)?);
    if !archived_only {
        call.require(ADMIN)?;
    }
    let key = session_key(&call, &given).await?;
    if view::is_main(key.as_str()) {
        return Err(WireError::invalid(format!("Cannot delete the main session ({key}).")));
    }
    let found = call.state.services.conversation.session(call.scope(), &key).await?;
    let Some(found) = found else {
        return Ok(json!({"ok": true, "key": key, "deleted": false, "archived": []}));
    };
    expected(method, &key, &params, Some(&found))?;
    if archived_only && view::session(&found)["archived"] != true {
        return Err(WireError::invalid(format!("Session \"{key}\" is not archived.")));
    }
    let edit = Edit::Delete {
        transcript,
        expected: Some(found.session_id),
    };
    let edited = call.state.directory.edit(call.scope(), &key, edit).await?;
    Ok(json!({"ok": true, "key": key, "deleted": edited.found, "archived": []}))
}
