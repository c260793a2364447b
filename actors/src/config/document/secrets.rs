//! Secrets inside a document: found, taken out, shown as a marker.

use serde_json::Value;

use crate::crypto::Secret;

/// What stands where a secret is; written back it means "unchanged". As the original gateway spells it.
pub const REDACTED: &str = "__OPENCLAW_REDACTED__";

/// Ends of keys, lower-cased and without `-` and `_`, whose text is a secret.
const ENDS: [&str; 9] = [
    "token",
    "apikey",
    "secret",
    "password",
    "passwd",
    "privatekey",
    "accesskey",
    "secretkey",
    "authorization",
];

/// Is the text under this key a secret: `botToken`, `api_key`, `clientSecret`, ….
pub fn is_secret_key(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(|c| *c != '-' && *c != '_')
        .flat_map(char::to_lowercase)
        .collect();
    ENDS.iter().any(|end| plain.ends_with(end)) || plain == "cookie"
}

/// The document with every secret text replaced by the marker.
pub fn redact(doc: &Value) -> Value {
    let mut shown = doc.clone();
    walk(&mut shown, &mut String::new(), false, &mut |_, text| {
        *text = REDACTED.to_owned()
    });
    shown
}

/// Takes the secrets out of `doc`, leaving markers. Gives each with its JSON pointer, and the pointers of markers
/// that were there already.
pub(super) fn extract(doc: &mut Value) -> (Vec<(String, Secret)>, Vec<String>) {
    let mut taken = Vec::new();
    let mut kept = Vec::new();
    walk(doc, &mut String::new(), false, &mut |path, text| {
        if text == REDACTED {
            kept.push(path.to_owned());
        } else {
            taken.push((
                path.to_owned(),
                Secret::new(std::mem::replace(text, REDACTED.to_owned())),
            ));
        }
    });
    (taken, kept)
}

/// Where the secret at this pointer of `after` stood in `before`: entries of lists are found again by their id, or by
/// being the same. `None`: nowhere.
pub(super) fn origin(before: &Value, after: &Value, pointer: &str) -> Option<String> {
    let (mut old, mut new) = (before, after);
    let mut found = String::new();
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        let index = match (old, new) {
            (Value::Array(olds), Value::Array(news)) => {
                let entry = news.get(name.parse::<usize>().ok()?)?;
                let same = |old: &&Value| match (entry_id(old), entry_id(entry)) {
                    (Some(old), Some(new)) => old == new,
                    (None, None) => *old == entry,
                    (Some(_), None) | (None, Some(_)) => false,
                };
                // Where it stood, if that fits: entries without an id look the same but for their secrets.
                let at = name.parse::<usize>().ok()?;
                new = entry;
                let stayed = olds.get(at).is_some_and(|old| same(&old));
                Some(if stayed {
                    at
                } else {
                    olds.iter().position(|old| same(&old))?
                })
            }
            (_, new_value) => {
                new = new_value.get(&name)?;
                None
            }
        };
        found.push('/');
        match index {
            Some(index) => {
                old = old.get(index)?;
                found.push_str(&index.to_string());
            }
            None => {
                old = old.get(&name)?;
                found.push_str(part);
            }
        }
    }
    Some(found)
}

/// What an entry of a list is known by.
fn entry_id(entry: &Value) -> Option<&str> {
    ["id", "name"].iter().find_map(|key| entry.get(key)?.as_str())
}

/// Visits every secret text with its JSON pointer. Below `env` and `headers` every text counts.
fn walk(value: &mut Value, path: &mut String, all: bool, visit: &mut impl FnMut(&str, &mut String)) {
    let length = path.len();
    match value {
        Value::Object(map) => {
            for (key, item) in map {
                path.push('/');
                path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                let secret = all || is_secret_key(key);
                if let Some(text) = text_of(item).filter(|text| secret && !text.is_empty()) {
                    visit(path, text);
                } else {
                    walk(
                        item,
                        path,
                        all || ["env", "headers", "apiKeys"].contains(&key.as_str()),
                        visit,
                    );
                }
                path.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push('/');
                path.push_str(&index.to_string());
                walk(item, path, all, visit);
                path.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn text_of(value: &mut Value) -> Option<&mut String> {
    if let Value::String(text) = value {
        Some(text)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_hold_secrets() {
        for yes in [
            "token",
            "botToken",
            "api_key",
            "apiKey",
            "X-Api-Key",
            "clientSecret",
            "PASSWORD",
            "Authorization",
        ] {
            assert!(is_secret_key(yes), "{yes}");
        }
        for no in ["maxTokens", "contextTokens", "name", "tokenFile", "keys", "secretary"] {
            assert!(!is_secret_key(no), "{no}");
        }
    }

    #[test]
    fn entries_that_look_alike_keep_their_own_secret() {
        let before = json!({"list": [{"url": "u", "token": REDACTED}, {"url": "u", "token": REDACTED}]});
        let origin = |after: &Value, pointer: &str| origin(&before, after, pointer);
        assert_eq!(origin(&before, "/list/1/token").as_deref(), Some("/list/1/token"));
        // One that moved is found by what it says.
        let moved = json!({"list": [{"url": "new"}, {"url": "u", "token": REDACTED}, {"url": "u", "token": REDACTED}]});
        assert_eq!(origin(&moved, "/list/2/token").as_deref(), Some("/list/0/token"));
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let doc = json!({
            "skills": {"entries": {"gh/x": {"apiKey": "k1", "env": {"HOME": "/h"}}}},
            "list": [{"password": "p"}, {"password": ""}],
            "auth": {"token": {"source": "tenant", "id": "x"}},
            "maxTokens": 5,
        });
        let shown = redact(&doc);
        assert_eq!(
            shown,
            json!({
                "skills": {"entries": {"gh/x": {"apiKey": REDACTED, "env": {"HOME": REDACTED}}}},
                "list": [{"password": REDACTED}, {"password": ""}],
                "auth": {"token": {"source": "tenant", "id": "x"}},
                "maxTokens": 5,
            })
        );
        let mut stored = doc.clone();
        let (taken, kept) = extract(&mut stored);
        assert_eq!(stored, shown);
        assert!(kept.is_empty());
        assert!(taken.contains(&("/skills/entries/gh~1x/apiKey".to_owned(), Secret::new("k1"))));
        assert_eq!(taken.len(), 3);
        let (taken, kept) = extract(&mut stored);
        assert!(taken.is_empty());
        assert_eq!(kept.len(), 3);
    }
}
