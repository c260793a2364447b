//! `skills.*`, and what nodes say about skills.
//!
//! The library, the curator, proposals and the workshop are absent: they keep skills that agents write on their own machine.
//! Nothing is installed on a machine from here.

mod store;

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::{Value, json};

use super::agents::{known_agent, workspace};
use super::{Nothing, config, filled, session_key};
use crate::config::skills::frontmatter::MAX_DESCRIPTION;
use crate::config::skills::{NodeSkill, SkillChange};
use crate::crypto::Secret;
use crate::gateway::messages::Event;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::{Access, Call, Methods};
use crate::gateway::scopes::{ADMIN, READ};
use crate::gateway::skills;
use crate::session::skills::left_out;

/// What a node may offer (`gateway-methods`, `node.skills.update`).
const MOST_OFFERED: usize = 64;
const LONGEST_CONTENT: usize = 65_536;

pub(super) fn register(methods: &mut Methods) {
    methods.add("skills.status", Access::Scope(READ), status);
    methods.add("skills.update", Access::Scope(ADMIN), update);
    methods.add("skills.bins", Access::Node, bins);
    methods.add("node.skills.update", Access::Node, offer);
    store::register(methods);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusParams {
    agent_id: Option<String>,
    session_key: Option<String>,
}

async fn status(call: Call, params: StatusParams) -> Result<Value, WireError> {
    let settings = call.state.services.config.settings(call.scope()).await?;
    let agent = match (params.agent_id, params.session_key) {
        (Some(id), _) => {
            known_agent(&call, &id).await?;
            id
        }
        (None, Some(key)) => super::agent_of(&session_key(&call, &key).await?).to_owned(),
        (None, None) => settings.default_agent.clone(),
    };
    let (set, nodes) = skills::standing(&call.state.directory, call.scope()).await?;
    let rows: Vec<Value> = set
        .judged(&nodes)
        .into_iter()
        .map(|(skill, standing)| skills::row(skill, &standing, left_out(&settings, &agent, skill)))
        .collect();
    Ok(json!({
        "workspaceDir": workspace(&agent), "managedSkillsDir": "skill://", "agentId": agent, "skills": rows,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateParams {
    #[serde(default)]
    skill_key: String,
    enabled: Option<bool>,
    api_key: Option<Secret>,
    #[serde(default)]
    env: BTreeMap<String, Secret>,
    source: Option<String>,
    slug: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    force: bool,
}

async fn update(call: Call, params: UpdateParams) -> Result<Value, WireError> {
    if let Some(source) = params.source {
        return store::update(&call, &source, (params.slug, params.all, params.force)).await;
    }
    filled("skills.update", "skillKey", &params.skill_key)?;
    let change = SkillChange {
        enabled: params.enabled,
        api_key: params.api_key,
        env: params.env.into_iter().collect(),
        ..SkillChange::default()
    };
    let service = &call.state.services.config;
    let entry = service.change_skill(call.scope(), &params.skill_key, change).await?;
    config::changed(&call).await?;
    Ok(json!({"ok": true, "skillKey": params.skill_key, "config": entry}))
}

/// Programs the user's skills ask nodes for.
async fn bins(call: Call, _: Nothing) -> Result<Value, WireError> {
    let set = call.state.services.config.skills(call.scope()).await?;
    Ok(json!({"bins": set.programs()}))
}

#[derive(Deserialize)]
struct OfferParams {
    skills: Vec<OfferedSkill>,
}

#[derive(Deserialize)]
struct OfferedSkill {
    name: String,
    description: String,
    content: String,
}

/// Skills a node offers. They count while it is connected and its surface is approved.
async fn offer(call: Call, params: OfferParams) -> Result<Value, WireError> {
    let wrong = |at: String, what: String| {
        Err(WireError::invalid(format!(
            "invalid node.skills.update params: at {at}: {what}"
        )))
    };
    if params.skills.len() > MOST_OFFERED {
        return wrong(
            "/skills".to_owned(),
            format!("must NOT have more than {MOST_OFFERED} items"),
        );
    }
    let mut names = HashSet::new();
    for (at, skill) in params.skills.iter().enumerate() {
        for (field, text, longest) in [
            ("name", &skill.name, 64),
            ("description", &skill.description, MAX_DESCRIPTION),
            ("content", &skill.content, LONGEST_CONTENT),
        ] {
            let at = format!("/skills/{at}/{field}");
            if text.is_empty() {
                return wrong(at, "must NOT have fewer than 1 characters".to_owned());
            }
            if text.encode_utf16().count() > longest {
                return wrong(at, format!("must NOT have more than {longest} characters"));
            }
        }
        if !is_offered_name(&skill.name) {
            let pattern = "must match pattern \"^(?!.*--)[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$\"";
            return wrong(format!("/skills/{at}/name"), pattern.to_owned());
        }
        if !names.insert(skill.name.as_str()) {
            return wrong(format!("/skills/{at}/name"), "is there twice".to_owned());
        }
    }
    let node_id = call.connection.device_id.clone().unwrap_or_default();
    let offered: Vec<NodeSkill> = params
        .skills
        .iter()
        .map(|skill| NodeSkill {
            name: skill.name.clone(),
            description: skill.description.clone(),
            content: skill.content.replace('\0', ""),
        })
        .collect();
    let service = &call.state.services.config;
    if service.put_node_skills(call.scope(), &node_id, &offered).await? {
        let payload = json!({"reason": "remote-node"});
        call.state
            .directory
            .publish(call.scope(), Event::new("skills.changed", &payload));
    }
    let taken: Vec<Value> = params
        .skills
        .into_iter()
        .map(|skill| json!({"name": skill.name, "description": skill.description, "content": skill.content}))
        .collect();
    Ok(json!({"nodeId": node_id, "skills": taken}))
}

fn is_offered_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
