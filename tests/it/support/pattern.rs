//! What a scenario expects of a frame: a JSON value with placeholders.
//!
//! An object matches one that has at least its keys. A list matches item by item; a list that starts with `"$some"`
//! matches one that has a different place for each of the other items. Texts that start with `$` are placeholders:
//!
//! | Placeholder | Matches |
//! | --- | --- |
//! | `$any` | anything that is there |
//! | `$absent` | nothing: the key must not be there |
//! | `$text` | a text that is not empty |
//! | `$number`, `$bool`, `$list`, `$object` | a value of that kind |
//! | `$time` | Unix milliseconds of this century |
//! | `$uuid` | a UUID |
//! | `$empty` | an empty list or object |
//! | `$starts:X`, `$has:X` | a text that starts with X, or has X in it |
//! | `$over:N` | a number above N, where N may be a name |
//! | `$=NAME` | the value of that name; the first time, anything, which gets the name |

use std::collections::HashMap;

use serde_json::Value;

/// Values by name.
pub(crate) type Names = HashMap<String, Value>;

/// A moment of this century, milliseconds.
const CENTURY: std::ops::Range<f64> = 946_684_800_000.0..4_102_444_800_000.0;

/// Does `value` fit? Gives names to what `$=NAME` meets. `Err` says where it does not, as `path: reason`.
pub(crate) fn fits(pattern: &Value, value: Option<&Value>, names: &mut Names) -> Result<(), String> {
    at("", pattern, value, names)
}

/// `value` with each `$=NAME` replaced by its value.
///
/// # Errors
/// A name that nothing has.
pub(crate) fn filled(value: &Value, names: &Names) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix("$=") {
            Some(name) => names.get(name).cloned().ok_or(format!("nothing is named {name}"))?,
            None => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, names)).collect::<Result<_, _>>()?),
        Value::Object(items) => Value::Object(
            items
                .iter()
                .map(|(key, item)| Ok((key.clone(), filled(item, names)?)))
                .collect::<Result<_, String>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn at(path: &str, pattern: &Value, value: Option<&Value>, names: &mut Names) -> Result<(), String> {
    let wrong = |what: &str| {
        let seen = value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let seen: String = seen.chars().take(300).collect();
        Err(format!(
            "{}: {what}, not {seen}",
            if path.is_empty() { "frame" } else { path }
        ))
    };
    if *pattern == "$absent" {
        return if value.is_none() { Ok(()) } else { wrong("nothing") };
    }
    let Some(value) = value else {
        return wrong(&pattern.to_string());
    };
    match pattern {
        Value::String(text) if text.starts_with('$') => placeholder(text, value, names).or_else(|what| wrong(&what)),
        Value::Object(wanted) => {
            let Some(found) = value.as_object() else {
                return wrong("an object");
            };
            wanted
                .iter()
                .try_for_each(|(key, wanted)| at(&format!("{path}/{key}"), wanted, found.get(key), names))
        }
        Value::Array(wanted) => {
            let Some(found) = value.as_array() else {
                return wrong("a list");
            };
            if wanted.first().is_some_and(|first| first == "$some") {
                return some(path, &wanted[1..], found, names);
            }
            if found.len() != wanted.len() {
                return wrong(&format!("{} items", wanted.len()));
            }
            wanted
                .iter()
                .zip(found)
                .enumerate()
                .try_for_each(|(place, (wanted, found))| at(&format!("{path}/{place}"), wanted, Some(found), names))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) if value == pattern => Ok(()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => wrong(&pattern.to_string()),
    }
}

/// Each of `wanted` has an item of its own; taken in order, so the more particular one stands first.
fn some(path: &str, wanted: &[Value], found: &[Value], names: &mut Names) -> Result<(), String> {
    let mut left: Vec<_> = found.iter().collect();
    for wanted in wanted {
        let mut reasons = Vec::new();
        let place = left.iter().position(|item| {
            let mut tried = names.clone();
            match at(path, wanted, Some(item), &mut tried) {
                Ok(()) => *names = tried,
                Err(reason) => {
                    reasons.push(reason);
                    return false;
                }
            }
            true
        });
        match place {
            Some(place) => drop(left.remove(place)),
            None => return Err(format!("{path}: no item fits: {}", reasons.join("; "))),
        }
    }
    Ok(())
}

/// `Err`: what was expected.
fn placeholder(text: &str, value: &Value, names: &mut Names) -> Result<(), String> {
    let said = value.as_str();
    let fits = match text {
        "$any" => true,
        "$text" => said.is_some_and(|said| !said.is_empty()),
        "$number" => value.is_number(),
        "$bool" => value.is_boolean(),
        "$list" => value.is_array(),
        "$object" => value.is_object(),
        "$time" => value.as_f64().is_some_and(|time| CENTURY.contains(&time)),
        "$uuid" => said.is_some_and(is_uuid),
        "$empty" => {
            value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
        }
        _ => {
            if let Some(start) = text.strip_prefix("$starts:") {
                said.is_some_and(|said| said.starts_with(start))
            } else if let Some(part) = text.strip_prefix("$has:") {
                said.is_some_and(|said| said.contains(part))
            } else if let Some(least) = text.strip_prefix("$over:") {
                let least = names.get(least).and_then(Value::as_f64).or_else(|| least.parse().ok());
                matches!((least, value.as_f64()), (Some(least), Some(value)) if value > least)
            } else if let Some(name) = text.strip_prefix("$=") {
                let known = names.entry(name.to_owned()).or_insert_with(|| value.clone());
                if known == value {
                    return Ok(());
                }
                return Err(format!("{name} = {known}"));
            } else {
                return Err(format!("{text}, which is no placeholder"));
            }
        }
    };
    if fits { Ok(()) } else { Err(text.to_owned()) }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, letter)| match at {
            8 | 13 | 18 | 23 => letter == '-',
            _ => letter.is_ascii_hexdigit(),
        })
}

#[test]
fn patterns_take_what_fits_and_nothing_else() {
    use serde_json::json;
    let mut names = Names::new();
    let value = json!({"id": "a", "at": 1_795_359_000_000_u64, "list": [{"k": 1}, {"k": 2}], "text": "hello"});
    for good in [
        json!({"id": "$=id", "at": "$time", "list": ["$some", {"k": 2}], "text": "$has:ell", "none": "$absent"}),
        json!({"id": "$=id", "list": [{"k": "$over:0"}, "$any"], "text": "$starts:he"}),
    ] {
        assert_eq!(fits(&good, Some(&value), &mut names), Ok(()));
    }
    for bad in [
        json!({"id": "$uuid"}),
        json!({"id": "$absent"}),
        json!({"at": "$=id"}),
        json!({"list": [{"k": 1}]}),
        json!({"list": ["$some", {"k": 2}, {"k": 2}]}),
        json!({"list": [{"k": "$over:1"}, "$any"]}),
        json!({"missing": "$any"}),
        json!({"text": "$nonsense"}),
    ] {
        assert!(fits(&bad, Some(&value), &mut names).is_err(), "{bad}");
    }
    assert_eq!(filled(&json!({"x": ["$=id"]}), &names), Ok(json!({"x": ["a"]})));
    assert!(filled(&json!("$=other"), &names).is_err());
}
