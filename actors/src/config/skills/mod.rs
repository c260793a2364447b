//! Skills: folders of instructions that the agent reads when a task calls for them (`agent-runtime` §16).
//!
//! A user installs them, or a connected node offers them. Nothing of a skill is ever run here: it is text for the model,
//! and its keys are settings (`skills.entries.<key>`) like any other.

pub mod bundle;
pub mod commands;
pub mod frontmatter;
pub mod gate;
mod keys;
mod store;
mod uploads;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use bundle::{Bundle, BundleFile, SKILL};
pub use frontmatter::{Manifest, is_key, is_variable};
pub use gate::{Missing, NodeFacts, Standing};
pub use keys::SkillKeys;
pub use store::{FileFacts, NodeSkill, SkillChange};
pub use uploads::{NewUpload, Upload};

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
    /// `upload`, `import`, `url`, `clawhub` or `node`.
    pub source: String,
    /// Where it was fetched, for `url` and `clawhub`.
    pub origin: Option<Origin>,
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
    /// Hosts that the agent may send its key and variables to, in headers of a request.
    pub secret_hosts: Vec<String>,
    /// May people other than the user call it by its command.
    pub guests: bool,
}

/// How a skill came here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that a person sent.
    Upload,
    /// A file with everything a user has.
    Import,
    Fetched(Origin),
}

impl Source {
    /// As it is stored and shown.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Import => "import",
            Self::Fetched(Origin::Url { .. }) => "url",
            Self::Fetched(Origin::Clawhub(_)) => "clawhub",
        }
    }
}

/// Where a skill was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// An archive at an address, kept without what followed a `?`: that may be a key.
    Url {
        url: String,
        folder: Option<String>,
    },
    Clawhub(Listing),
}

/// A version of a skill in a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listing {
    /// Its address, without a slash at the end.
    pub registry: String,
    pub slug: String,
    /// Who publishes it there.
    pub publisher: Option<String>,
    pub version: String,
    /// The registry found something odd about it, and the person took it all the same.
    pub suspicious: bool,
    /// The newest version when somebody last looked.
    pub latest: Option<String>,
    /// Epoch milliseconds.
    pub checked_at: i64,
}

impl Listing {
    /// The version that may be updated to, as far as is known.
    pub fn update(&self) -> Option<&str> {
        self.latest.as_deref().filter(|latest| *latest != self.version)
    }
}

impl Skill {
    /// Did the user install it, rather than a node offer it.
    pub fn is_own(&self) -> bool {
        self.node_id.is_empty()
    }

    /// Its version in a registry, if it is from one.
    pub fn listing(&self) -> Option<&Listing> {
        match &self.origin {
            Some(Origin::Clawhub(listing)) => Some(listing),
            Some(Origin::Url { .. }) | None => None,
        }
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
        secret_hosts: hosts(&entry["secretHosts"]),
        guests: entry["guests"] == Value::Bool(true),
    }
}

fn hosts(value: &Value) -> Vec<String> {
    let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    names
        .map(str::to_ascii_lowercase)
        .filter(|name| is_host(name))
        .collect()
}

/// Is this the full name of a host: no address, no port, no pattern.
pub fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.contains('.')
        && name.split('.').all(label)
        && last.starts_with(|first: char| first.is_ascii_lowercase())
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
