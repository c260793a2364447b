//! What a user's connected nodes have that skills ask for: their operating system, and which programs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_entities::Scope;
use dashmap::DashMap;
use futures::future::join_all;
use serde_json::{Value, json};

use super::messages::ConnectionInfo;
use super::methods::node::callable;
use super::nodes;
use crate::config::devices::surface::Node;
use crate::config::skills::gate::os_of;
use crate::config::skills::{NodeFacts, SkillSet};
use crate::error::Result;
use crate::supervisor::directory::{Directory, InvokeNode};

/// The command that says where programs are.
const WHICH: &str = "system.which";
/// A turn waits this long for a node at most; one that did not answer is asked again after [`PAUSE`].
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(60);
/// Programs asked for at once.
const MOST: usize = 256;
/// Connections kept; when there are more, all are asked again.
const CAPACITY: usize = 50_000;

/// Answers of nodes, each good for one connection. Only a hint: lost with the process and asked again.
#[derive(Debug, Default)]
pub(crate) struct Programs(DashMap<Arc<str>, Known>);

/// What one connection said.
#[derive(Clone, Debug, Default)]
struct Known {
    asked: HashSet<String>,
    found: HashSet<String>,
    /// Not asked before then, because it did not answer.
    again_at: Option<Instant>,
}

/// The user's connected, approved nodes; nobody is asked anything while no skill cares.
pub(crate) async fn facts(directory: &Directory, scope: &Scope, skills: &SkillSet) -> Result<Vec<NodeFacts>> {
    if !skills.needs_nodes() {
        return Ok(Vec::new());
    }
    let connected = directory.connected_nodes(scope).await?;
    if connected.is_empty() {
        return Ok(Vec::new());
    }
    let config = &directory.services().config;
    let (nodes, settings) = (config.nodes(scope).await?, config.settings(scope).await?);
    let allowed = &settings.nodes;
    let mut wanted = skills.programs();
    wanted.truncate(MOST);
    let looks = nodes
        .iter()
        .filter(|node| node.approved().is_some())
        .filter_map(|node| {
            let id = node.device.id.as_str();
            let live = connected.iter().find(|info| info.device_id.as_deref() == Some(id))?;
            let asks = callable(node, Some(live), allowed)
                .iter()
                .any(|command| command == WHICH);
            Some(look(directory, scope, node, live, if asks { &wanted } else { &[] }))
        });
    Ok(join_all(looks).await)
}

async fn look(
    directory: &Directory,
    scope: &Scope,
    node: &Node,
    live: &ConnectionInfo,
    wanted: &[String],
) -> NodeFacts {
    let id = node.device.id.clone();
    let programs = if wanted.is_empty() {
        HashSet::new()
    } else {
        programs(directory, scope, &id, live, wanted).await
    };
    NodeFacts {
        name: node.display_name().unwrap_or(&id).to_owned(),
        os: os_of(&live.program.platform),
        programs,
        id,
    }
}

/// Which of the wanted programs the node has, as far as it said.
async fn programs(
    directory: &Directory,
    scope: &Scope,
    node_id: &str,
    live: &ConnectionInfo,
    wanted: &[String],
) -> HashSet<String> {
    let kept = &directory.programs().0;
    let mut known = kept.get(&live.conn_id).map(|known| known.clone()).unwrap_or_default();
    let unknown: Vec<&String> = wanted.iter().filter(|name| !known.asked.contains(*name)).collect();
    let paused = known.again_at.is_some_and(|again_at| Instant::now() < again_at);
    if unknown.is_empty() || paused {
        return known.found;
    }
    let call = InvokeNode {
        node_id: node_id.to_owned(),
        command: WHICH.to_owned(),
        params: json!({"bins": unknown}),
        timeout: PATIENCE,
        idempotency_key: uuid::Uuid::new_v4().to_string(),
    };
    let answer = tokio::time::timeout(PATIENCE, nodes::ask(directory, scope, call)).await;
    match answer {
        Ok(Ok(answer)) => {
            let bins = &answer.payload["bins"];
            let there = |name: &&&String| bins[name.as_str()].as_str().is_some_and(|path| !path.is_empty());
            known
                .found
                .extend(unknown.iter().filter(there).map(|name| (*name).clone()));
            known.asked.extend(unknown.into_iter().cloned());
            known.again_at = None;
        }
        Ok(Err(_)) | Err(_) => known.again_at = Some(Instant::now() + PAUSE),
    }
    if kept.len() >= CAPACITY {
        kept.clear();
    }
    let found = known.found.clone();
    kept.insert(Arc::clone(&live.conn_id), known);
    found
}

/// Every skill of the user as it stands now, for whoever shows or uses them.
pub async fn standing(directory: &Directory, scope: &Scope) -> Result<(Arc<SkillSet>, Vec<NodeFacts>)> {
    let skills = directory.services().config.skills(scope).await?;
    let nodes = facts(directory, scope, &skills).await?;
    Ok((skills, nodes))
}

/// One skill as `skills.status` shows it; `agent_filter`: the agent's list leaves it out.
pub(super) fn row(
    skill: &crate::config::skills::Skill,
    standing: &crate::config::skills::Standing,
    agent_filter: bool,
) -> Value {
    let manifest = &skill.manifest;
    let requires = &manifest.requires;
    let missing = &standing.missing;
    let base = format!("skill://{}", skill.key);
    let usable = standing.eligible && !agent_filter;
    crate::config::devices::without_nulls(json!({
        "name": manifest.name, "description": manifest.description,
        "source": if skill.is_own() { "openclaw-managed" } else { "openclaw-extra" },
        "bundled": false, "filePath": skill.location(), "baseDir": base, "skillKey": skill.key,
        "emoji": manifest.emoji, "homepage": manifest.homepage, "primaryEnv": manifest.primary_env,
        "always": manifest.always, "disabled": skill.entry.disabled,
        "blockedByAllowlist": false, "blockedByAgentFilter": agent_filter, "eligible": standing.eligible,
        "platformIncompatible": !missing.os.is_empty(),
        "modelVisible": usable && !manifest.hidden_from_model,
        "userInvocable": !manifest.hidden_from_user,
        "commandVisible": usable && !manifest.hidden_from_user,
        "requirements": {"bins": requires.bins, "anyBins": requires.any_bins, "env": requires.env,
            "config": requires.config, "os": manifest.os},
        "missing": {"bins": missing.bins, "anyBins": missing.any_bins, "env": missing.env,
            "config": missing.config, "os": missing.os},
        "configChecks": skill.config_checks.iter()
            .map(|(path, set)| json!({"path": path, "satisfied": set})).collect::<Vec<_>>(),
        "install": manifest.install.iter()
            .map(|way| json!({"id": way.id, "kind": way.kind, "label": way.label, "bins": way.bins}))
            .collect::<Vec<_>>(),
    }))
}
