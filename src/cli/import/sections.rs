//! Sections that go into the user's document as they are: what the table of keys takes of agents, bindings, session,
//! messages, cron, hooks, gateway.nodes, skills, tools, mcp, commands and ui.

use claw_actors::config::document::is_secret_key;
use claw_actors::config::schema::{self, Key, Kind};
use claw_actors::crypto::Secret;
use serde_json::{Map, Value, json};

use super::placeholders;
use super::plan::{Plan, object};
use super::report::Outcome;

pub(super) fn known(name: &str) -> bool {
    schema::at(name).is_some_and(Key::taken)
}

pub(super) fn read(name: &str, mut section: Value, plan: &mut Plan) {
    if name == "cron" {
        plan.cron_jobs = jobs(&mut section, plan);
    }
    if name == "hooks"
        && let Some(Value::String(token)) = section.as_object_mut().and_then(|section| section.remove("token"))
    {
        match placeholders::missing(&json!(token)) {
            None => plan.hook_token = Some(Secret::new(token)),
            Some(variable) => plan.report.add(
                Outcome::NotTaken,
                "hooks.token".to_owned(),
                format!("it is in the environment variable {variable}: make one under Settings → Tokens and hooks"),
            ),
        }
    }
    let mut kept = match name {
        "agents" => Value::Object(agents(&section, plan)),
        "bindings" => bindings(section, plan),
        "gateway" => match gateway(&section, plan) {
            kept if kept.is_empty() => return,
            kept => Value::Object(kept),
        },
        "mcp" => mcp(&section, plan),
        other => match schema::at(other) {
            Some(key) => Value::Object(filtered(&key.kind, other, &section, plan)),
            None => return,
        },
    };
    without_placeholders(&mut kept, name, false, plan);
    plan.document.insert(name.to_owned(), kept);
}

/// Takes secrets out that stand in environment variables of another machine: their names are no secrets.
fn without_placeholders(value: &mut Value, path: &str, secret: bool, plan: &mut Plan) {
    match value {
        Value::Object(map) => map.retain(|key, value| {
            let path = format!("{path}.{key}");
            let secret = secret || is_secret_key(key) || matches!(key.as_str(), "env" | "headers");
            if let Some(variable) = placeholders::missing(value).filter(|_| secret) {
                let note = format!("it is in the environment variable {variable}: enter it once more");
                plan.report.add(Outcome::NotTaken, path, note);
                return false;
            }
            without_placeholders(value, &path, secret, plan);
            true
        }),
        Value::Array(items) => {
            for item in items {
                without_placeholders(item, path, secret, plan);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn agents(section: &Value, plan: &mut Plan) -> Map<String, Value> {
    let mut kept = Map::new();
    for (key, value) in object(section) {
        let path = format!("agents.{key}");
        let Some(known) = schema::at(&path) else {
            plan.report.add(Outcome::Unknown, path, "");
            continue;
        };
        let agent = known.kind.entry().unwrap_or(&known.kind);
        match (key.as_str(), &value) {
            ("defaults", _) => {
                kept.insert(key, Value::Object(filtered(&known.kind, &path, &value, plan)));
            }
            ("list", Value::Array(items)) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let id = item
                        .get("id")
                        .and_then(Value::as_str)
                        .map_or_else(|| index.to_string(), str::to_owned);
                    Value::Object(filtered(agent, &format!("agents.list[{id}]"), item, plan))
                });
                let items = items.collect();
                kept.insert(key, Value::Array(items));
            }
            ("entries", Value::Object(entries)) => {
                let entries = entries.iter().map(|(id, item)| {
                    let entry = filtered(agent, &format!("agents.entries.{id}"), item, plan);
                    (id.clone(), Value::Object(entry))
                });
                let entries = entries.collect();
                kept.insert(key, Value::Object(entries));
            }
            _ => plan.report.add(Outcome::Unknown, path, ""),
        }
    }
    kept
}

/// Servers one by one: those that are started as programs, or spoken to in another way, stay behind.
fn mcp(section: &Value, plan: &mut Plan) -> Value {
    let mut kept = Map::new();
    let entry = schema::at("mcp.servers").and_then(|key| key.kind.entry());
    let program = entry.and_then(|entry| entry.child("command"));
    for (name, server) in object(section.get("servers").unwrap_or(&Value::Null)) {
        let path = format!("mcp.servers.{name}");
        let Some(kind) = entry.filter(|_| server.get("url").is_some()) else {
            plan.report.add(Outcome::NoMeaning, path, program.map_or("", Key::note));
            continue;
        };
        let taken: Map<String, Value> = object(&server)
            .into_iter()
            .filter(|(key, _)| kind.child(key).is_some_and(Key::taken))
            .collect();
        let alone = json!({"mcp": {"servers": {name.clone(): taken}}});
        let mut wrong = schema::check(&alone).into_iter();
        match wrong.find(|issue| issue.weight == schema::Weight::Refused) {
            Some(issue) => plan.report.add(Outcome::NotTaken, issue.path, issue.message),
            None => {
                kept.insert(name, Value::Object(filtered(kind, &path, &server, plan)));
            }
        }
    }
    json!({"servers": kept})
}

/// Most of it is the machine it ran on; what is taken is taken key by key.
fn gateway(section: &Value, plan: &mut Plan) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in object(section) {
        let path = format!("gateway.{name}");
        match schema::at(&path) {
            Some(key) if key.taken() => {
                let inner = filtered(&key.kind, &path, &value, plan);
                if !inner.is_empty() {
                    kept.insert(name, Value::Object(inner));
                }
            }
            Some(key) => plan.report.add(Outcome::NoMeaning, path, key.note()),
            None => plan.report.add(Outcome::Unknown, path, ""),
        }
    }
    kept
}

fn bindings(section: Value, plan: &mut Plan) -> Value {
    let count = section.as_array().map_or(0, Vec::len);
    if section.is_array() {
        plan.report.add(Outcome::Taken, "bindings", format!("{count} bindings"));
        section
    } else {
        plan.report.add(Outcome::NotTaken, "bindings", "it is not a list");
        Value::Array(Vec::new())
    }
}

/// Takes the jobs out of the section: they are rows of their own.
fn jobs(section: &mut Value, plan: &mut Plan) -> Vec<Value> {
    match section.as_object_mut().and_then(|section| section.remove("jobs")) {
        None => Vec::new(),
        Some(Value::Array(jobs)) => jobs,
        Some(_) => {
            plan.report.add(Outcome::NotTaken, "cron.jobs", "it is not a list");
            Vec::new()
        }
    }
}

fn filtered(kind: &Kind, path: &str, section: &Value, plan: &mut Plan) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in object(section) {
        let setting = format!("{path}.{name}");
        match kind.child(&name) {
            Some(key) if key.taken() => {
                plan.report.add(Outcome::Taken, setting, note(path, key, &value));
                kept.insert(name, value);
            }
            Some(key) => plan.report.add(Outcome::NoMeaning, setting, key.note()),
            // An object that takes any key.
            None if kind.entry().is_some() => {
                plan.report.add(Outcome::Taken, setting, "");
                kept.insert(name, value);
            }
            None => plan.report.add(Outcome::Unknown, setting, ""),
        }
    }
    kept
}

fn note(path: &str, key: &Key, value: &Value) -> String {
    if path == "session" && key.name == "dmScope" && value == "main" {
        return "all direct chats share one session, also those of different people".to_owned();
    }
    key.note().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::plan::plan;
    use super::*;

    /// The name of a variable is known to everybody: as a token it would let anybody in.
    #[test]
    fn what_stands_in_variables_of_another_machine_is_no_secret() {
        let taken = plan(json!({
            "hooks": {"enabled": true, "token": "${OPENCLAW_HOOKS_TOKEN}"},
            "skills": {"entries": {"gh": {"enabled": true, "apiKey": "${GH_TOKEN}", "env": {"A": "x ${B}", "C": "d"}}}},
            "messages": {"responsePrefix": "${model}"},
        }));
        assert!(taken.hook_token.is_none());
        let document = taken.document_patch();
        assert_eq!(
            document["skills"]["entries"]["gh"],
            json!({"enabled": true, "env": {"C": "d"}})
        );
        assert_eq!(document["messages"]["responsePrefix"], "${model}", "no secret");
        assert_eq!(document["hooks"], json!({"enabled": true}));
    }

    #[test]
    fn what_the_file_holds_is_taken() {
        let file = json!({"env": {"T": "a-token-of-some-length"}, "hooks": {"token": "${T}"}});
        assert!(plan(file).hook_token.is_some());
    }
}
