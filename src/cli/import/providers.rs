//! `models.providers.*` → AI providers of the tenant.

use claw_actors::config::providers::{API_KEYS, ProviderDraft, known};
use claw_actors::config::schema;
use claw_actors::crypto::Secret;
use serde_json::{Map, Value, json};

use super::placeholders;
use super::plan::{Plan, object};
use super::report::Outcome;

pub(super) fn read(section: &Value, plan: &mut Plan) {
    for (key, value) in object(section) {
        match key.as_str() {
            "providers" => {
                for (id, entry) in object(&value) {
                    provider(&id, &entry, plan);
                }
            }
            other => match schema::at(&format!("models.{other}")) {
                Some(known) => plan
                    .report
                    .add(Outcome::NoMeaning, format!("models.{key}"), known.note()),
                None => plan.report.add(Outcome::Unknown, format!("models.{key}"), ""),
            },
        }
    }
}

fn provider(id: &str, entry: &Value, plan: &mut Plan) {
    let setting = format!("models.providers.{id}");
    let id = id.trim().to_lowercase();
    let entry = object(entry);
    let known = known(&id);
    let text = |key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let Some(base_url) = text("baseUrl").or(known.map(|known| known.base_url)) else {
        plan.report.add(Outcome::NotTaken, setting, "it has no baseUrl");
        return;
    };
    if let Some(name) = placeholders::missing(&json!(base_url)) {
        let note = format!("its baseUrl needs the environment variable {name}, which is not in the file");
        plan.report.add(Outcome::NotTaken, setting, note);
        return;
    }
    let api = text("api")
        .or(known.map(|known| known.api))
        .unwrap_or("openai-completions");
    let mut config = Map::new();
    let mut notes = Vec::new();
    let mut enabled = true;
    let keys = schema::at("models.providers").and_then(|key| key.kind.entry());
    for (key, value) in &entry {
        match key.as_str() {
            "baseUrl" | "api" | "apiKey" => {}
            "auth" if value == "api-key" => {}
            "auth" => {
                let note = "only API keys can be used here; enter one under Settings → AI Providers";
                plan.report.add(Outcome::NotTaken, format!("{setting}.auth"), note);
            }
            "enabled" => enabled = value.as_bool().unwrap_or(true),
            other => match keys.and_then(|keys| keys.child(other)) {
                Some(known) if known.taken() => {
                    config.insert(other.to_owned(), value.clone());
                }
                Some(known) => plan
                    .report
                    .add(Outcome::NoMeaning, format!("{setting}.{key}"), known.note()),
                None => plan.report.add(Outcome::Unknown, format!("{setting}.{key}"), ""),
            },
        }
    }
    for field in ["headers", API_KEYS] {
        drop_unfilled(field, &mut config, &setting, plan);
    }
    let api_key = match entry.get("apiKey") {
        None => None,
        Some(value) => match (placeholders::missing(value), value.as_str()) {
            (Some(name), _) => {
                notes.push(format!(
                    "its key is in the environment variable {name}: enter it under Settings → AI Providers"
                ));
                None
            }
            (None, Some(key)) if !key.trim().is_empty() => Some(Secret::new(key.trim())),
            (None, _) => {
                notes.push("its key is not in the file: enter it under Settings → AI Providers".to_owned());
                None
            }
        },
    };
    let models = entry.get("models").and_then(Value::as_array).map_or(0, Vec::len);
    notes.insert(
        0,
        format!("{models} models{}", if api_key.is_some() { ", key sealed" } else { "" }),
    );
    plan.providers.push(ProviderDraft {
        id,
        api: api.to_owned(),
        base_url: base_url.to_owned(),
        config: Value::Object(config),
        enabled,
        api_key,
    });
    plan.report.add(Outcome::Taken, setting, notes.join("; "));
}

/// Takes out secrets whose value is not in the file.
fn drop_unfilled(field: &str, config: &mut Map<String, Value>, setting: &str, plan: &mut Plan) {
    let Some(values) = config.get_mut(field).and_then(Value::as_object_mut) else {
        return;
    };
    values.retain(|name, value| {
        let usable = value.is_string() && placeholders::missing(value).is_none();
        if !usable {
            let note = "its value is not in the file";
            plan.report
                .add(Outcome::NotTaken, format!("{setting}.{field}.{name}"), note);
        }
        usable
    });
}
