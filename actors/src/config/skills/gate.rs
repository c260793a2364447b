//! Which skills are of use now (`agent-runtime` §16.3). Programs and operating systems are those of the user's
//! connected nodes; variables are what the user stored for the skill, never the server's own.

use std::collections::HashSet;

use super::Skill;

/// A connected, approved node.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    pub id: String,
    /// For people.
    pub name: String,
    /// `darwin`, `linux` or `win32`, where it is one of them.
    pub os: Option<&'static str>,
    /// Programs it was asked for and has.
    pub programs: HashSet<String>,
}

/// What is missing, by kind; all empty when nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub bins: Vec<String>,
    /// One of these would do.
    pub any_bins: Vec<String>,
    pub env: Vec<String>,
    pub config: Vec<String>,
    pub os: Vec<String>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn count(&self) -> usize {
        self.bins.len() + usize::from(!self.any_bins.is_empty()) + usize::from(!self.os.is_empty())
    }
}

/// How a skill stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Enabled, and nothing is missing.
    pub eligible: bool,
    pub missing: Missing,
    /// Name of the node it can work with, where it needs one.
    pub node: Option<String>,
}

/// `darwin`, `linux` or `win32` of a platform's name as nodes say it.
pub fn os_of(platform: &str) -> Option<&'static str> {
    let platform = platform.trim().to_ascii_lowercase();
    [
        ("darwin", "darwin"),
        ("macos", "darwin"),
        ("linux", "linux"),
        ("win", "win32"),
    ]
    .into_iter()
    .find_map(|(start, os)| platform.starts_with(start).then_some(os))
}

/// How a skill stands with these nodes. One node must have all that is asked of nodes; where none has, the one that
/// comes closest says what is missing.
pub(super) fn judge(skill: &Skill, nodes: &[NodeFacts]) -> Standing {
    let mut standing = Standing::default();
    if !skill.manifest.always {
        let fitting = nodes
            .iter()
            .filter(|node| skill.is_own() || node.id == skill.node_id)
            .map(|node| (lacks(skill, Some(node)), Some(node)))
            .min_by_key(|(missing, _)| missing.count());
        let (missing, node) = fitting.unwrap_or_else(|| (lacks(skill, None), None));
        standing.node = node
            .filter(|_| skill.needs_node() && missing.is_empty())
            .map(|node| node.name.clone());
        standing.missing = Missing {
            env: missing_env(skill),
            config: missing_config(skill),
            ..missing
        };
    }
    standing.eligible = !skill.entry.disabled && standing.missing.is_empty();
    standing
}

/// What a node lacks that the skill asks of nodes.
fn lacks(skill: &Skill, node: Option<&NodeFacts>) -> Missing {
    let has = |program: &String| node.is_some_and(|node| node.programs.contains(program));
    let manifest = &skill.manifest;
    let os = node.and_then(|node| node.os);
    let os_fits = manifest.os.is_empty() || os.is_some_and(|os| manifest.os.iter().any(|wanted| wanted == os));
    let any = &manifest.requires.any_bins;
    Missing {
        bins: manifest
            .requires
            .bins
            .iter()
            .filter(|program| !has(program))
            .cloned()
            .collect(),
        any_bins: if any.iter().any(has) { Vec::new() } else { any.clone() },
        os: if os_fits { Vec::new() } else { manifest.os.clone() },
        ..Missing::default()
    }
}

fn missing_env(skill: &Skill) -> Vec<String> {
    let entry = &skill.entry;
    let has = |name: &String| {
        entry.env.contains(name) || (entry.has_api_key && skill.manifest.primary_env.as_ref() == Some(name))
    };
    let wanted = skill.manifest.requires.env.iter();
    wanted.filter(|name| !has(name)).cloned().collect()
}

fn missing_config(skill: &Skill) -> Vec<String> {
    let unset = skill.config_checks.iter().filter(|(_, set)| !set);
    unset.map(|(path, _)| path.clone()).collect()
}
