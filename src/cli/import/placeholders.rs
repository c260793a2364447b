//! `${NAME}` in texts, and `{source: "env", id: "NAME"}` references: filled from the file's own `env` block only. The
//! environment of this process belongs to the operator, not to the tenant.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values of the file's `env` block: `env.NAME` and `env.vars.NAME`.
pub(super) fn variables(file: &Value) -> BTreeMap<String, String> {
    let env = file.get("env").unwrap_or(&Value::Null);
    [Some(env), env.get("vars")]
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Fills every placeholder it can, everywhere below `value`.
pub(super) fn fill(value: &mut Value, variables: &BTreeMap<String, String>) {
    if let Some(text) = reference(value).and_then(|name| variables.get(name)) {
        *value = Value::String(text.clone());
        return;
    }
    match value {
        Value::String(text) if text.contains("${") => {
            for (name, filled) in variables {
                *text = text.replace(&format!("${{{name}}}"), filled);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, variables)),
        Value::Object(map) => map.values_mut().for_each(|item| fill(item, variables)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The name of an environment variable that is still missing, when `value` needs one.
pub(super) fn missing(value: &Value) -> Option<String> {
    if let Some(name) = reference(value) {
        return Some(name.to_owned());
    }
    let text = value.as_str()?;
    let (_, rest) = text.split_once("${")?;
    let (name, _) = rest.split_once('}')?;
    Some(name.to_owned())
}

fn reference(value: &Value) -> Option<&str> {
    (value.get("source")?.as_str()? == "env")
        .then(|| value.get("id")?.as_str())
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_are_filled_from_the_file_alone() {
        let mut file = json!({
            "env": {"KEY": "k", "vars": {"OTHER": "o"}},
            "a": "${KEY}-${OTHER}", "b": ["${PATH}"], "c": {"source": "env", "provider": "default", "id": "KEY"},
            "d": {"source": "env", "id": "HOME"},
        });
        let variables = variables(&file);
        fill(&mut file, &variables);
        assert_eq!((&file["a"], &file["c"]), (&json!("k-o"), &json!("k")));
        assert_eq!(missing(&file["b"][0]).as_deref(), Some("PATH"));
        assert_eq!(missing(&file["d"]).as_deref(), Some("HOME"));
        assert_eq!(missing(&file["a"]), None);
    }
}
