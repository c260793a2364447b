//! `sessions.resolve`: which session a client means, by key, transcript, label or the short id of its address.

use claw_entities::SessionKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MOST_ROWS, newest, spawner};
use crate::config::devices::without_nulls;
use crate::conversation::history::{Archived, SessionFilter, SessionRow};
use crate::gateway::methods::session_key;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;

/// Characters of a UUID with its dashes.
const UUID: usize = 36;
/// Digits of a UUID before its first dash: a short id has at least so many.
const FIRST_DIGITS: usize = 8;
/// Digits of a UUID.
const DIGITS: usize = 32;
/// Sessions that are named where a short id fits several, as the original.
const CANDIDATES: usize = 10;
/// Longest name in an address, as the original.
const SLUG: usize = 48;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResolveParams {
    key: Option<String>,
    session_id: Option<String>,
    label: Option<String>,
    short_id: Option<String>,
    slug_hint: Option<String>,
    agent_id: Option<String>,
    spawned_by: Option<String>,
    #[serde(default)]
    allow_missing: bool,
}

pub(super) async fn resolve(call: Call, params: ResolveParams) -> Result<Value, WireError> {
    if params.slug_hint.is_some() && params.short_id.is_none() {
        return Err(WireError::invalid("slugHint requires shortId"));
    }
    let filter = SessionFilter {
        spawned_by: spawner(&call, params.spawned_by.as_deref()).await?,
        ..SessionFilter::default()
    };
    let (found, wanted) = match (params.key, params.session_id, params.label, params.short_id) {
        (Some(key), None, None, None) => {
            let filter = SessionFilter {
                keys: Some(vec![session_key(&call, &key).await?.into()]),
                ..filter
            };
            (newest(&call, filter).await?, key)
        }
        (None, Some(id), None, None) => {
            let filter = SessionFilter {
                session_id: Some(id.clone()),
                ..filter
            };
            (newest(&call, filter).await?, id)
        }
        (None, None, Some(label), None) => {
            let filter = SessionFilter {
                label: Some(label.clone()),
                agent_id: params.agent_id,
                ..filter
            };
            (newest(&call, filter).await?, label)
        }
        (None, None, None, Some(short)) => {
            let filter = SessionFilter {
                agent_id: params.agent_id,
                ..filter
            };
            let mut found = by_short_id(&call, &short, params.slug_hint.as_deref(), filter).await?;
            if found.len() > 1 {
                let candidates: Vec<Value> = found.iter().take(CANDIDATES).map(candidate).collect();
                return Ok(json!({"ok": false, "candidates": candidates}));
            }
            (found.pop(), short)
        }
        _ => {
            return Err(WireError::invalid(
                "Provide exactly one of key, sessionId, label, shortId",
            ));
        }
    };
    match found {
        Some(row) => {
            let mut answer = candidate(&row);
            answer["ok"] = json!(true);
            Ok(answer)
        }
        None if params.allow_missing => Ok(json!({"ok": false})),
        None => Err(WireError::invalid(format!("No session found: {wanted}"))),
    }
}

fn candidate(row: &SessionRow) -> Value {
    without_nulls(json!({"key": row.key, "agentId": row.agent_id, "displayName": row.label}))
}

/// The sessions whose key ends with a UUID that begins so; of several those the hint names, if it names any.
async fn by_short_id(
    call: &Call,
    short: &str,
    hint: Option<&str>,
    filter: SessionFilter,
) -> Result<Vec<SessionRow>, WireError> {
    let wanted = short.trim().to_ascii_lowercase();
    let first = wanted
        .get(..FIRST_DIGITS)
        .filter(|_| wanted.len() <= DIGITS && wanted.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .ok_or_else(|| WireError::invalid("shortId must be 8-32 hexadecimal characters"))?;
    let filter = SessionFilter {
        // The database finds more than is meant.
        search: Some(format!("{first}-")),
        archived: Archived::With,
        ..filter
    };
    let conversation = &call.state.services.conversation;
    let (rows, _) = conversation.find_sessions(call.scope(), &filter, MOST_ROWS, 0).await?;
    let fits = |row: &SessionRow| digits(&row.key).is_some_and(|digits| digits.starts_with(&wanted));
    let found: Vec<SessionRow> = rows.into_iter().filter(fits).collect();
    let is_named = |row: &&SessionRow| {
        let name = row.label.as_deref().map(slug);
        name.is_some() && name.as_deref() == hint
    };
    let named: Vec<SessionRow> = found.iter().filter(is_named).cloned().collect();
    Ok(if named.is_empty() { found } else { named })
}

/// Digits of the UUID at the end of a key.
fn digits(key: &SessionKey) -> Option<String> {
    let key = key.as_str();
    let end = key.get(key.len().checked_sub(UUID)?..)?;
    let uuid = uuid::Uuid::try_parse(end).ok()?;
    Some(uuid.simple().to_string())
}

/// A name as it stands in an address before the short id. It ends with a word that is no hexadecimal number.
fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.to_lowercase().chars() {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let Some(last) = slug.rfind(|c: char| matches!(c, 'g'..='z')) else {
        return String::new();
    };
    let end = slug[last..].find('-').map_or(slug.len(), |dash| last + dash);
    slug.truncate(end.min(SLUG));
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_those_at_the_end_of_the_key() {
        let uuid = "0a1b2c3d-4e5f-4789-8abc-def012345678";
        let found = digits(&format!("agent:main:dashboard:{uuid}").into());
        assert_eq!(found.as_deref(), Some("0a1b2c3d4e5f47898abcdef012345678"));
        for key in [
            "agent:main:main".to_owned(),
            format!("agent:main:{uuid}:thread:1"),
            "agent:main:dashboard:0a1b2c3d4e5f47898abcdef012345678".to_owned(),
            format!("agent:main:{}", "é".repeat(20)),
        ] {
            assert_eq!(digits(&key.as_str().into()), None, "{key}");
        }
    }

    #[test]
    fn names_become_parts_of_an_address() {
        for (name, part) in [
            ("Trip to Rome!", "trip-to-rome"),
            ("  Über 42  ", "ber"),
            ("Plan 2026", "plan"),
            ("dead beef", ""),
            ("", ""),
        ] {
            assert_eq!(slug(name), part, "{name:?}");
        }
        assert_eq!(slug(&"word ".repeat(20)).len(), SLUG);
    }
}
