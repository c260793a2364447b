//! Agents in a document: added, changed, removed, in the spelling the document uses.

use claw_entities::Scope;
use serde_json::{Map, Value, json};

use super::super::ConfigService;
use super::UserSettings;
use super::parse::agent_id;
use crate::error::{Error, Result};

/// Agents of one user.
const MOST: usize = 100;
/// Characters of a name.
const LONGEST: usize = 100;

/// What a person sets of an agent. An absent field stays as it is.
#[derive(Clone, Debug, Default)]
pub struct AgentChange {
    pub name: Option<String>,
    /// `Some(None)` takes the agent's own model away.
    pub model: Option<Option<String>>,
    pub emoji: Option<String>,
    pub avatar: Option<String>,
}

impl ConfigService {
    /// Adds an agent and gives its id, which follows from the name.
    pub async fn create_agent(&self, scope: &Scope, change: AgentChange) -> Result<String> {
        let name = change.name.clone().unwrap_or_default();
        let id = agent_id(&name);
        let made = id.clone();
        self.update_document(scope, move |mut doc| {
            add(&mut doc, &made, &change)?;
            Ok(doc)
        })
        .await?;
        Ok(id)
    }

    pub async fn update_agent(&self, scope: &Scope, id: &str, change: AgentChange) -> Result<()> {
        let id = id.to_owned();
        self.update_document(scope, move |mut doc| {
            adopt_default(&mut doc);
            let entry = entry(&mut doc, &id).ok_or(Error::NotFound { what: "agent" })?;
            apply(entry, &change)?;
            Ok(doc)
        })
        .await?;
        Ok(())
    }

    /// Removes an agent and what binds it, and gives how many bindings went. The default agent stays. Its
    /// conversations are kept.
    pub async fn delete_agent(&self, scope: &Scope, id: &str) -> Result<usize> {
        let id = id.to_owned();
        let (tell, told) = std::sync::mpsc::channel();
        self.update_document(scope, move |mut doc| {
            // The receiver outlives this.
            let _ = tell.send(remove(&mut doc, &id)?);
            Ok(doc)
        })
        .await?;
        Ok(told.try_recv().unwrap_or(0))
    }
}

fn add(doc: &mut Value, id: &str, change: &AgentChange) -> Result<()> {
    let settings = UserSettings::parse(doc);
    if settings.agent(id).is_some() {
        return Err(Error::Conflict(format!("agent \"{id}\" already exists")));
    }
    if settings.agents.len() >= MOST {
        return Err(Error::TooLarge(format!("a user has at most {MOST} agents")));
    }
    adopt_default(doc);
    let mut entry = json!({});
    apply(&mut entry, change)?;
    if let Some(list) = doc.pointer_mut("/agents/list").and_then(Value::as_array_mut) {
        entry["id"] = json!(id);
        list.push(entry);
    } else {
        section(doc)?.insert(id.to_owned(), entry);
    }
    Ok(())
}

/// Without any agent in the document there is one by default; it must not vanish when another comes.
fn adopt_default(doc: &mut Value) {
    let has = |pointer: &str| match doc.pointer(pointer) {
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
        _ => false,
    };
    if has("/agents/list") || has("/agents/entries") {
        return;
    }
    let id = UserSettings::parse(doc).default_agent;
    if let Some(Value::Array(list)) = doc.pointer_mut("/agents/list") {
        list.push(json!({"id": id, "default": true}));
    } else if let Ok(entries) = section(doc) {
        entries.insert(id, json!({"default": true}));
    }
}

/// `agents.entries`, made if it is not there.
fn section(doc: &mut Value) -> Result<&mut Map<String, Value>> {
    let broken = || Error::invalid("agents.entries is not an object");
    let object = |value: &'_ mut Value| {
        if value.is_null() {
            *value = json!({});
        }
    };
    let agents = doc
        .as_object_mut()
        .ok_or_else(broken)?
        .entry("agents")
        .or_insert(Value::Null);
    object(agents);
    let entries = agents
        .as_object_mut()
        .ok_or_else(broken)?
        .entry("entries")
        .or_insert(Value::Null);
    object(entries);
    entries.as_object_mut().ok_or_else(broken)
}

fn entry<'a>(doc: &'a mut Value, id: &str) -> Option<&'a mut Value> {
    let listed = |entry: &Value| {
        entry
            .get("id")
            .and_then(Value::as_str)
            .is_some_and(|own| agent_id(own) == id)
    };
    let in_list = doc
        .pointer("/agents/list")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(listed));
    if in_list {
        let list = doc.pointer_mut("/agents/list")?.as_array_mut()?;
        return list.iter_mut().find(|entry| listed(entry));
    }
    let entries = doc.pointer_mut("/agents/entries")?.as_object_mut()?;
    let found = entries.iter_mut().find(|(own, _)| agent_id(own) == id)?;
    Some(found.1)
}

fn apply(entry: &mut Value, change: &AgentChange) -> Result<()> {
    if !entry.is_object() {
        *entry = json!({});
    }
    if let Some(name) = &change.name {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST || name.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("an agent's name has 1 to {LONGEST} characters")));
        }
        entry["name"] = json!(name);
    }
    match &change.model {
        Some(Some(model)) => entry["model"] = json!(model.trim()),
        Some(None) => {
            if let Value::Object(entry) = entry {
                entry.remove("model");
            }
        }
        None => {}
    }
    for (key, value) in [("emoji", &change.emoji), ("avatar", &change.avatar)] {
        let Some(value) = value else { continue };
        if value.len() > 100_000 {
            return Err(Error::TooLarge(format!("an agent's {key} has at most 100 kB")));
        }
        if !entry["identity"].is_object() {
            entry["identity"] = json!({});
        }
        entry["identity"][key] = json!(value.trim());
    }
    Ok(())
}

fn remove(doc: &mut Value, id: &str) -> Result<usize> {
    let settings = UserSettings::parse(doc);
    if id == settings.default_agent {
        return Err(Error::Invalid(format!(
            "\"{id}\" is the default agent and cannot be deleted"
        )));
    }
    if settings.agent(id).is_none() {
        return Err(Error::NotFound { what: "agent" });
    }
    if let Some(list) = doc.pointer_mut("/agents/list").and_then(Value::as_array_mut) {
        list.retain(|entry| {
            entry
                .get("id")
                .and_then(Value::as_str)
                .is_none_or(|own| agent_id(own) != id)
        });
    }
    if let Some(entries) = doc.pointer_mut("/agents/entries").and_then(Value::as_object_mut) {
        entries.retain(|own, _| agent_id(own) != id);
    }
    let Some(bindings) = doc.get_mut("bindings").and_then(Value::as_array_mut) else {
        return Ok(0);
    };
    let before = bindings.len();
    bindings.retain(|binding| {
        let agent = binding.get("agentId").and_then(Value::as_str);
        agent.is_none_or(|agent| agent_id(agent) != id)
    });
    Ok(before - bindings.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> AgentChange {
        AgentChange {
            name: Some(name.to_owned()),
            ..AgentChange::default()
        }
    }

    #[test]
    fn the_default_agent_stays_when_others_come_and_go() {
        for start in [
            json!({}),
            json!({"agents": {"list": []}}),
            json!({"agents": {"list": [{"id": "main"}]}}),
        ] {
            let mut doc = start.clone();
            add(&mut doc, "alpha", &named("Alpha")).expect("adds");
            let settings = UserSettings::parse(&doc);
            assert_eq!(
                (settings.default_agent.as_str(), settings.agents.len()),
                ("main", 2),
                "{start}"
            );
            assert!(matches!(
                add(&mut doc, "alpha", &named("Alpha")),
                Err(Error::Conflict(_))
            ));
            assert!(matches!(add(&mut doc, "main", &named("Main")), Err(Error::Conflict(_))));
            doc["bindings"] = json!([{"agentId": "Alpha"}, {"agentId": "main"}]);
            assert!(matches!(remove(&mut doc, "main"), Err(Error::Invalid(_))));
            assert!(matches!(remove(&mut doc, "nobody"), Err(Error::NotFound { .. })));
            assert_eq!(remove(&mut doc, "alpha").expect("removes"), 1);
            assert_eq!(doc["bindings"], json!([{"agentId": "main"}]));
            assert_eq!(UserSettings::parse(&doc).agents.len(), 1);
        }
    }

    #[test]
    fn a_change_sets_and_takes_away() {
        let mut doc = json!({"agents": {"entries": {"Work": {"model": "a/b", "identity": {"name": "W"}}}}});
        let change = AgentChange {
            model: Some(None),
            emoji: Some("🦞".to_owned()),
            ..named(" Boss ")
        };
        apply(entry(&mut doc, "work").expect("is there"), &change).expect("applies");
        assert_eq!(
            doc["agents"]["entries"]["Work"],
            json!({"name": "Boss", "identity": {"name": "W", "emoji": "🦞"}})
        );
        assert!(apply(&mut json!({}), &named(" ")).is_err());
    }
}
