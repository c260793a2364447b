//! Skills: folders of instructions that the agent reads when a task calls for them (`agent-runtime` §16).
//!
//! A user installs them, or a connected node offers them. Nothing of a skill is ever run here: it is text for the model,
//! and its keys are settings (`skills.entries.<key>`) like any other.

pub mod bundle;
pub mod frontmatter;
pub mod gate;
mod store;

use std::collections::HashSet;

use serde_json::Value;

pub use bundle::{Bundle, BundleFile, SKILL};
pub use frontmatter::{Manifest, is_key, is_variable};
pub use gate::{Missing, NodeFacts, Standing};
pub use store::{FileFacts, NodeSkill, SkillChange};

pub(in crate::config) use store::forget_node;

/// Skills a user may install, and bytes of all their files.
const MAX_SKILLS: u64 = 200;
const MAX_BYTES: i64 = 64 * 1024 * 1024;

/// A stored skill, with what the user's configuration says about it.
#[derive(Clone, Debug)]
pub struct Skill {
    pub key: String,
    /// The node that offers it; empty for one the user installed.
    pub node_id: String,
    pub manifest: Manifest,
    /// `upload`, `import` or `node`.
    pub source: String,
    /// Of the bytes it was installed from, hex.
    pub sha256: String,
    pub files: i64,
    /// Bytes of all files.
    pub size: i64,
    /// Epoch milliseconds.
    pub created_at: i64,
    pub updated_at: i64,
    pub entry: SkillEntry,
    /// `requires.config`: is the path set to something.
    pub config_checks: Vec<(String, bool)>,
}

/// `skills.entries.<key>`, without its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkillEntry {
    pub disabled: bool,
    pub has_api_key: bool,
    /// Names of the variables that have a value.
    pub env: Vec<String>,
}

impl Skill {
    /// Did the user install it, rather than a node offer it.
    pub fn is_own(&self) -> bool {
        self.node_id.is_empty()
    }

    /// Where the agent reads it.
    pub fn location(&self) -> String {
        format!("skill://{}/{SKILL}", self.key)
    }

    /// Does anything about it depend on nodes.
    pub fn needs_node(&self) -> bool {
        let requires = &self.manifest.requires;
        let asks = !(self.manifest.os.is_empty() && requires.bins.is_empty() && requires.any_bins.is_empty());
        !self.is_own() || (asks && !self.manifest.always)
    }

    /// Programs it asks a node for.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let requires = &self.manifest.requires;
        let install = self.manifest.install.iter().flat_map(|way| way.bins.iter());
        let all = requires.bins.iter().chain(&requires.any_bins).chain(install);
        all.map(String::as_str)
    }
}

/// All skills of a user, own ones first, each group by key.
#[derive(Clone, Debug, Default)]
pub struct SkillSet {
    pub skills: Vec<Skill>,
}

impl SkillSet {
    /// Does it take a look at nodes to judge these skills.
    pub fn needs_nodes(&self) -> bool {
        self.skills.iter().any(Skill::needs_node)
    }

    /// Programs that nodes are asked for, in order, each once.
    pub fn programs(&self) -> Vec<String> {
        let mut found: Vec<String> = self
            .skills
            .iter()
            .flat_map(Skill::programs)
            .map(str::to_owned)
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// The skills there are while these nodes are connected, each with how it stands. Of several with one key or name the
    /// first counts: own ones before those of nodes.
    pub fn judged<'a>(&'a self, nodes: &[NodeFacts]) -> Vec<(&'a Skill, Standing)> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for skill in &self.skills {
            if !skill.is_own() && !nodes.iter().any(|node| node.id == skill.node_id) {
                continue;
            }
            if seen.contains(&skill.key) || seen.contains(&skill.manifest.name) {
                continue;
            }
            seen.insert(skill.key.clone());
            seen.insert(skill.manifest.name.clone());
            found.push((skill, gate::judge(skill, nodes)));
        }
        found
    }
}

/// What a document says about the skill of this key.
fn entry(doc: &Value, key: &str) -> SkillEntry {
    let entry = doc["skills"]["entries"].get(key).unwrap_or(&Value::Null);
    let filled = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty()) || value.is_object();
    let env = entry["env"].as_object();
    SkillEntry {
        disabled: entry["enabled"] == Value::Bool(false),
        has_api_key: filled(&entry["apiKey"]),
        env: env
            .into_iter()
            .flatten()
            .filter(|(_, value)| filled(value))
            .map(|(name, _)| name.clone())
            .collect(),
    }
}

/// Is the value at this dotted path something other than nothing, `false`, 0 and an empty text.
fn truthy(config: &Value, path: &str) -> bool {
    let found = path.split('.').try_fold(config, |value, part| value.get(part));
    match found {
        None | Some(Value::Null) => false,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64().is_some_and(|number| number != 0.0),
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => true,
    }
}

#[cfg(test)]
mod tests;
