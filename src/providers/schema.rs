//! JSON schemas of tools, cut down to what a provider takes.

use std::cell::Cell;

use serde_json::{Map, Value, json};

/// Deepest nesting that is kept; below it anything goes.
const DEEPEST: usize = 24;

/// What Gemini's `Schema` knows.
const GEMINI: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "anyOf",
    "propertyOrdering",
    "default",
];
const GEMINI_FORMATS: &[&str] = &["enum", "date-time", "float", "double", "int32", "int64"];

/// The schema without these keywords, wherever they stand.
pub(super) fn without(schema: &Value, keywords: &[&str]) -> Value {
    stripped(schema, keywords, DEEPEST)
}

fn stripped(schema: &Value, keywords: &[&str], depth: usize) -> Value {
    let Some(fields) = schema.as_object().filter(|_| depth > 0) else {
        return match schema {
            Value::Array(items) if depth > 0 => items.iter().map(|item| stripped(item, keywords, depth - 1)).collect(),
            Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                schema.clone()
            }
        };
    };
    let kept = fields.iter().filter(|(name, _)| !keywords.contains(&name.as_str()));
    let kept = kept.map(|(name, value)| {
        let value = match (name.as_str(), value) {
            // Names in here are people's, not keywords.
            ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                let named = named.iter();
                Value::Object(
                    named
                        .map(|(name, value)| (name.clone(), stripped(value, keywords, depth - 1)))
                        .collect(),
                )
            }
            ("default" | "enum" | "const" | "examples", value) => value.clone(),
            (_, value) => stripped(value, keywords, depth - 1),
        };
        (name.clone(), value)
    });
    Value::Object(kept.collect())
}

/// The schema with each type that stands beside choices moved into them, which is where Moonshot wants it.
pub(super) fn types_in_choices(schema: &Value) -> Value {
    choosing(schema, DEEPEST)
}

fn choosing(schema: &Value, depth: usize) -> Value {
    match schema {
        Value::Array(items) if depth > 0 => items.iter().map(|item| choosing(item, depth - 1)).collect(),
        Value::Object(fields) if depth > 0 => {
            let mut fields: Map<String, Value> = fields
                .iter()
                .map(|(name, value)| match name.as_str() {
                    "default" | "enum" | "const" | "examples" => (name.clone(), value.clone()),
                    _ => (name.clone(), choosing(value, depth - 1)),
                })
                .collect();
            if fields.get("anyOf").is_some_and(Value::is_array)
                && let Some(kind) = fields.remove("type")
            {
                let choices = fields.get_mut("anyOf").and_then(Value::as_array_mut);
                for choice in choices.into_iter().flatten().filter_map(Value::as_object_mut) {
                    choice.entry("type").or_insert_with(|| kind.clone());
                }
            }
            Value::Object(fields)
        }
        Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            schema.clone()
        }
    }
}

/// The schema as Gemini takes it: its own keywords only, references put in, alternatives as `anyOf`, texts in enums.
pub(super) fn gemini(schema: &Value) -> Value {
    let whole = Whole {
        root: schema,
        left: Cell::new(MOST_NODES),
    };
    Value::Object(plain(schema, &whole, DEEPEST))
}

/// The schema that references point into, and how many places of it may still be written: one that refers to itself
/// twice doubles at each level.
struct Whole<'a> {
    root: &'a Value,
    left: Cell<usize>,
}

/// Places of a schema with its references put in.
const MOST_NODES: usize = 1_000;

fn plain(schema: &Value, whole: &Whole<'_>, depth: usize) -> Map<String, Value> {
    let left = whole.left.get();
    let Some(fields) = schema.as_object().filter(|_| depth > 0 && left > 0) else {
        return Map::new();
    };
    whole.left.set(left - 1);
    let mut fields = fields.clone();
    if let Some(Value::String(reference)) = fields.remove("$ref") {
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| whole.root.pointer(pointer));
        for (name, value) in target.and_then(Value::as_object).into_iter().flatten() {
            fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    // All of them hold at once.
    if let Some(Value::Array(parts)) = fields.remove("allOf") {
        for part in &parts {
            merge(&mut fields, plain(part, whole, depth - 1));
        }
    }
    if let Some(choices) = fields.remove("oneOf") {
        fields.entry("anyOf").or_insert(choices);
    }
    if let Some(only) = fields.remove("const") {
        fields.entry("enum").or_insert_with(|| json!([only]));
    }
    let mut out = Map::new();
    for (name, value) in fields {
        if !GEMINI.contains(&name.as_str()) {
            continue;
        }
        match (name.as_str(), value) {
            ("type", Value::Array(types)) => types_of(&types, &mut out),
            ("items", Value::Array(items)) => {
                let first = items.first().map(|item| plain(item, whole, depth - 1));
                out.insert(name, Value::Object(first.unwrap_or_default()));
            }
            ("items", value) => {
                out.insert(name, Value::Object(plain(&value, whole, depth - 1)));
            }
            ("properties", Value::Object(named)) => {
                let named = named.iter();
                let named: Map<String, Value> = named
                    .map(|(name, value)| (name.clone(), Value::Object(plain(value, whole, depth - 1))))
                    .collect();
                // Merged parts may have put some there.
                let known = out.entry(name).or_insert_with(|| json!({}));
                if let Value::Object(known) = known {
                    known.extend(named);
                }
            }
            ("anyOf", Value::Array(choices)) => any_of(&choices, whole, depth, &mut out),
            ("enum", Value::Array(values)) => {
                let values = values.iter().filter(|value| !value.is_null());
                let texts = values.map(|value| match value {
                    Value::String(text) => text.clone(),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        value.to_string()
                    }
                });
                out.insert("enum".to_owned(), texts.collect());
                out.insert("type".to_owned(), json!("string"));
            }
            ("format", Value::String(format)) if !GEMINI_FORMATS.contains(&format.as_str()) => {}
            (_, value) => {
                out.entry(name).or_insert(value);
            }
        }
    }
    if out.contains_key("enum") {
        out.insert("type".to_owned(), json!("string"));
    }
    if out
        .get("properties")
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        out.remove("properties");
    }
    let names: Vec<String> = out
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect();
    if let Some(Value::Array(required)) = out.get_mut("required") {
        // What is required must be there.
        required.retain(|name| {
            name.as_str()
                .is_some_and(|name| names.iter().any(|known| known == name))
        });
    }
    out
}

fn types_of(types: &[Value], out: &mut Map<String, Value>) {
    let mut named: Vec<&str> = types.iter().filter_map(Value::as_str).collect();
    if named.contains(&"null") {
        out.insert("nullable".to_owned(), json!(true));
        named.retain(|name| *name != "null");
    }
    match named.as_slice() {
        [] => {}
        [only] => drop(out.insert("type".to_owned(), json!(only))),
        several => {
            let choices: Vec<Value> = several.iter().map(|name| json!({"type": name})).collect();
            out.insert("anyOf".to_owned(), json!(choices));
        }
    }
}

fn any_of(choices: &[Value], whole: &Whole<'_>, depth: usize, out: &mut Map<String, Value>) {
    let is_null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
    if choices.iter().any(|choice| is_null(&choice)) {
        out.insert("nullable".to_owned(), json!(true));
    }
    let mut kept: Vec<Map<String, Value>> = choices
        .iter()
        .filter(|choice| !is_null(choice))
        .map(|choice| plain(choice, whole, depth - 1))
        .collect();
    if kept.len() == 1 {
        merge(out, kept.remove(0));
    } else if !kept.is_empty() {
        out.insert("anyOf".to_owned(), json!(kept));
    }
}

/// Adds what is not said yet; properties and required names add up.
fn merge(into: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(more)) if name == "properties" => known.extend(more),
            (Some(Value::Array(known)), Value::Array(more)) if name == "required" => known.extend(more),
            (Some(_), _) => {}
            (None, value) => drop(into.insert(name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_refers_to_itself_stays_small() {
        let twice =
            json!({"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"$ref": "#"}}});
        let written = gemini(&twice).to_string();
        assert!(written.len() < 100_000, "{} bytes", written.len());
    }

    #[test]
    fn for_gemini() {
        let schema = json!({
            "$schema": "x", "type": "object", "additionalProperties": false,
            "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number", "format": "uuid"}}, "required": ["x"]}},
            "properties": {
                "at": {"$ref": "#/$defs/point", "description": "where"},
                "kind": {"const": "a"},
                "level": {"enum": [1, 2, null]},
                "maybe": {"type": ["string", "null"], "format": "email"},
                "either": {"oneOf": [{"type": "string"}, {"type": "integer", "exclusiveMinimum": 0}]},
                "opt": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
                "both": {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
                "list": {"type": "array", "items": {"type": "string", "patternProperties": {}}, "uniqueItems": true},
                "format": {"type": "string"},
                "loop": {"$ref": "#"},
            },
            "required": ["at", "gone"],
        });
        let mut plain = gemini(&schema);
        assert!(plain["properties"]["loop"].is_object());
        plain["properties"].as_object_mut().unwrap().remove("loop");
        assert_eq!(
            plain,
            json!({
                "type": "object",
                "properties": {
                    "at": {"type": "object", "description": "where", "properties": {"x": {"type": "number"}}, "required": ["x"]},
                    "kind": {"type": "string", "enum": ["a"]},
                    "level": {"type": "string", "enum": ["1", "2"]},
                    "maybe": {"type": "string", "nullable": true},
                    "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                    "opt": {"type": "string", "format": "date-time", "nullable": true},
                    "both": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["b"]},
                    "list": {"type": "array", "items": {"type": "string"}},
                    "format": {"type": "string"},
                },
                "required": ["at"],
            })
        );
        assert_eq!(
            gemini(&json!({"type": "object", "properties": {}})),
            json!({"type": "object"})
        );
        assert_eq!(gemini(&json!(3)), json!({}));
    }

    #[test]
    fn types_move_into_choices() {
        let schema = json!({"type": "object", "properties": {
            "type": {"type": "string", "anyOf": [{"enum": ["a"]}, {"type": "integer"}]}}});
        assert_eq!(
            types_in_choices(&schema),
            json!({"type": "object", "properties": {
                "type": {"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "integer"}]}}})
        );
    }

    #[test]
    fn keywords_go_and_names_stay() {
        let schema = json!({"type": "object", "minLength": 1, "properties": {
            "minLength": {"type": "string", "minLength": 3}, "list": {"items": {"maxItems": 2}}}});
        assert_eq!(
            without(&schema, &["minLength", "maxItems"]),
            json!({"type": "object", "properties": {"minLength": {"type": "string"}, "list": {"items": {}}}})
        );
    }
}
