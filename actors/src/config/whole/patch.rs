//! Merging and comparing configurations: pure.

use serde_json::{Value, json};

/// Paths named as changed; more are not counted.
pub(super) const MOST_PATHS: usize = 256;

/// JSON merge patch (RFC 7396): objects merge, `null` removes, everything else replaces. As the original does, lists
/// whose entries all have an `id` merge by it, unless their dotted path is among `replace`.
pub(super) fn merge(target: &mut Value, patch: &Value, replace: &[String]) {
    merge_at(target, patch, replace, "");
}

fn merge_at(target: &mut Value, patch: &Value, replace: &[String], path: &str) {
    if let (Value::Array(items), Value::Array(changes)) = (&mut *target, patch)
        && !changes.is_empty()
        && !replace.iter().any(|replaced| replaced == path)
        && items.iter().chain(changes).all(|entry| id(entry).is_some())
    {
        for change in changes {
            match items.iter_mut().find(|item| id(item) == id(change)) {
                Some(item) => merge_at(item, change, replace, path),
                None => items.push(change.clone()),
            }
        }
        return;
    }
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    if let Value::Object(map) = target {
        for (key, change) in changes {
            if change.is_null() {
                map.remove(key);
            } else {
                let below = join(path, key);
                merge_at(map.entry(key.clone()).or_insert(Value::Null), change, replace, &below);
            }
        }
    }
}

fn id(entry: &Value) -> Option<&str> {
    entry.get("id")?.as_str()
}

/// Dotted paths at which the two differ, lists as a whole.
pub(super) fn changed_paths(before: &Value, after: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    differ(before, after, "", &mut paths);
    paths
}

fn differ(before: &Value, after: &Value, path: &str, paths: &mut Vec<String>) {
    if before == after || paths.len() >= MOST_PATHS {
        return;
    }
    let nothing = serde_json::Map::new();
    let (old, new) = match (before, after) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        // What comes or goes as a whole is named by its parts.
        (Value::Null, Value::Object(new)) if !new.is_empty() => (&nothing, new),
        (Value::Object(old), Value::Null) if !old.is_empty() => (old, &nothing),
        _ => {
            paths.push(path.to_owned());
            return;
        }
    };
    for (key, value) in old {
        differ(value, new.get(key).unwrap_or(&Value::Null), &join(path, key), paths);
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        differ(&Value::Null, value, &join(path, key), paths);
    }
}

/// `value` with the markers in it replaced by what stands at the same place of `before`. Gives the dotted path of a
/// marker that stands for nothing.
pub(super) fn unmask(value: &mut Value, before: &Value, path: &str) -> Result<(), String> {
    use super::super::document::REDACTED;
    match value {
        Value::String(text) if text == REDACTED => match before.as_str().filter(|text| *text != REDACTED) {
            Some(original) => original.clone_into(text),
            None => return Err(path.to_owned()),
        },
        Value::Object(map) => {
            for (key, item) in map {
                unmask(item, before.get(key).unwrap_or(&Value::Null), &join(path, key))?;
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let old = match id(item) {
                    Some(wanted) => before
                        .as_array()
                        .into_iter()
                        .flatten()
                        .find(|old| id(old) == Some(wanted)),
                    None => before.get(index),
                };
                unmask(item, old.unwrap_or(&Value::Null), &join(path, &index.to_string()))?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::document::REDACTED;
    use super::*;

    #[test]
    fn merging() {
        let check = |mut target: Value, patch: Value, replace: &[&str], expected: Value| {
            let replace: Vec<String> = replace.iter().map(|path| (*path).to_owned()).collect();
            merge(&mut target, &patch, &replace);
            assert_eq!(target, expected);
        };
        check(
            json!({"a": 1, "b": {"c": 2}}),
            json!({"a": null, "b": {"d": 3}}),
            &[],
            json!({"b": {"c": 2, "d": 3}}),
        );
        check(json!({"a": [1, 2]}), json!({"a": [3]}), &[], json!({"a": [3]}));
        check(
            json!({"a": 1}),
            json!({"a": {"b": null, "c": 1}}),
            &[],
            json!({"a": {"c": 1}}),
        );
        check(json!({"a": 1}), json!([1]), &[], json!([1]));
        let listed = json!({"l": [{"id": "x", "n": 1}, {"id": "y"}]});
        let patch = json!({"l": [{"id": "x", "m": 2}, {"id": "z"}]});
        check(
            listed.clone(),
            patch.clone(),
            &[],
            json!({"l": [{"id": "x", "n": 1, "m": 2}, {"id": "y"}, {"id": "z"}]}),
        );
        check(listed.clone(), patch.clone(), &["l"], patch);
        check(listed, json!({"l": []}), &[], json!({"l": []}));
    }

    #[test]
    fn differences_name_their_path() {
        let paths = |before: Value, after: Value| changed_paths(&before, &after);
        assert!(paths(json!({"a": [1]}), json!({"a": [1]})).is_empty());
        assert_eq!(
            paths(
                json!({"a": {"b": 1, "c": 2}, "l": [1], "gone": {"x": 1}}),
                json!({"a": {"b": 1, "c": 3}, "l": [1, 2], "new": {"y": {"z": 1}}}),
            ),
            ["a.c", "gone.x", "l", "new.y.z"]
        );
    }

    #[test]
    fn markers_become_what_they_stand_for() {
        let before = json!({"token": "t", "list": [{"id": "a", "key": "1"}, {"id": "b", "key": "2"}]});
        let mut value = json!({"token": REDACTED, "list": [{"id": "b", "key": REDACTED}]});
        unmask(&mut value, &before, "").expect("all are known");
        assert_eq!(value, json!({"token": "t", "list": [{"id": "b", "key": "2"}]}));
        let mut unknown = json!({"list": [{"id": "c", "key": REDACTED}]});
        assert_eq!(unmask(&mut unknown, &before, "p"), Err("p.list.0.key".to_owned()));
    }
}
