//! `models.providers.*` → AI providers of the tenant.

use claw_actors::config::providers::ProviderDraft;
use claw_actors::crypto::Secret;
use serde_json::{Map, Value, json};

use super::placeholders;
use super::plan::{Plan, object};
use super::report::Outcome;

/// Where a provider lives whose entry has no `baseUrl`: id, wire family, address.
const KNOWN: &[(&str, &str, &str)] = &[
    ("anthropic", "anthropic-messages", "https://api.anthropic.com"),
    ("openai", "openai-completions", "https://api.openai.com/v1"),
    ("openrouter", "openai-completions", "https://openrouter.ai/api/v1"),
    ("groq", "openai-completions", "https://api.groq.com/openai/v1"),
    ("mistral", "openai-completions", "https://api.mistral.ai/v1"),
    ("xai", "openai-completions", "https://api.x.ai/v1"),
    ("deepseek", "openai-completions", "https://api.deepseek.com/v1"),
    ("zai", "openai-completions", "https://api.z.ai/api/paas/v4"),
];

/// Keys of an entry that are kept in the provider's settings.
const KEPT: [&str; 4] = ["models", "headers", "authHeader", "compat"];

pub(super) fn read(section: &Value, plan: &mut Plan) {
    for (key, value) in object(section) {
        match key.as_str() {
            "providers" => {
                for (id, entry) in object(&value) {
                    provider(&id, &entry, plan);
                }
            }
            "mode" => plan.report.add(
                Outcome::NoMeaning,
                "models.mode",
                "there is no built-in catalogue to merge with: the models listed are the models",
            ),
            "bedrockDiscovery" | "catalog" | "pricing" => {
                plan.report
                    .add(Outcome::NoMeaning, format!("models.{key}"), "not available");
            }
            _ => plan.report.add(Outcome::Unknown, format!("models.{key}"), ""),
        }
    }
}

fn provider(id: &str, entry: &Value, plan: &mut Plan) {
    let setting = format!("models.providers.{id}");
    let id = id.trim().to_lowercase();
    let entry = object(entry);
    let known = KNOWN.iter().find(|(known, ..)| *known == id);
    let text = |key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let Some(base_url) = text("baseUrl").or(known.map(|(_, _, url)| *url)) else {
        plan.report.add(Outcome::NotTaken, setting, "it has no baseUrl");
        return;
    };
    if let Some(name) = placeholders::missing(&json!(base_url)) {
        let note = format!("its baseUrl needs the environment variable {name}, which is not in the file");
        plan.report.add(Outcome::NotTaken, setting, note);
        return;
    }
    let api = text("api")
        .or(known.map(|(_, api, _)| *api))
        .unwrap_or("openai-completions");
    let mut config = Map::new();
    let mut notes = Vec::new();
    for (key, value) in &entry {
        match key.as_str() {
            "baseUrl" | "api" | "apiKey" => {}
            "auth" if value == "api-key" => {}
            "auth" => {
                let note = "only API keys can be used here; enter one under Settings → AI Providers";
                plan.report.add(Outcome::NotTaken, format!("{setting}.auth"), note);
            }
            "injectNumCtxForOpenAICompat" | "timeoutSeconds" | "proxy" | "request" => {
                plan.report.add(Outcome::NoMeaning, format!("{setting}.{key}"), "");
            }
            kept if KEPT.contains(&kept) => {
                config.insert(kept.to_owned(), value.clone());
            }
            _ => plan.report.add(Outcome::Unknown, format!("{setting}.{key}"), ""),
        }
    }
    drop_unfilled_headers(&mut config, &setting, plan);
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
        enabled: true,
        api_key,
    });
    plan.report.add(Outcome::Taken, setting, notes.join("; "));
}

fn drop_unfilled_headers(config: &mut Map<String, Value>, setting: &str, plan: &mut Plan) {
    let Some(headers) = config.get_mut("headers").and_then(Value::as_object_mut) else {
        return;
    };
    headers.retain(|name, value| {
        let usable = value.is_string() && placeholders::missing(value).is_none();
        if !usable {
            let note = "its value is not in the file";
            plan.report
                .add(Outcome::NotTaken, format!("{setting}.headers.{name}"), note);
        }
        usable
    });
}
