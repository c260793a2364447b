//! Skills as slash commands (`agent-runtime` §16.4). Pure.

use super::{Skill, Standing};

/// Longest name and description, characters.
const MAX_NAME: usize = 32;
const MAX_DESCRIPTION: usize = 100;

/// A skill that a person calls by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkillCommand {
    /// Without the slash: a-z, 0-9 and `_`.
    pub name: String,
    pub key: String,
    pub node_id: String,
    /// As the skill calls itself.
    pub skill: String,
    pub description: String,
    /// `skill://<key>/SKILL.md`.
    pub location: String,
    /// Is it in the prompt's list.
    pub model_visible: bool,
    /// Its command calls this tool instead of asking the model.
    pub tool: Option<String>,
    /// May guests call it.
    pub guests: bool,
}

/// The commands of these skills, each with a name of its own; `taken` are names that mean something else.
pub fn commands<'a>(skills: impl Iterator<Item = (&'a Skill, &'a Standing)>, taken: &[&str]) -> Vec<SkillCommand> {
    let mut found: Vec<SkillCommand> = Vec::new();
    for (skill, standing) in skills {
        let manifest = &skill.manifest;
        if !standing.eligible || manifest.hidden_from_user {
            continue;
        }
        let base = plain(&manifest.name);
        let free = |name: &str| !taken.contains(&name) && found.iter().all(|known| known.name != name);
        let Some(name) = (1..=1000).map(|number| numbered(&base, number)).find(|name| free(name)) else {
            continue;
        };
        found.push(SkillCommand {
            name,
            key: skill.key.clone(),
            node_id: skill.node_id.clone(),
            skill: manifest.name.clone(),
            description: manifest.description.chars().take(MAX_DESCRIPTION).collect(),
            location: skill.location(),
            model_visible: !manifest.hidden_from_model,
            tool: manifest.command_tool.clone(),
            guests: skill.entry.guests,
        });
    }
    found
}

/// The command that is meant: by its own name, the skill's key, or what the skill calls itself.
pub fn named<'a>(commands: &'a [SkillCommand], name: &str) -> Option<&'a SkillCommand> {
    let name = name.trim_start_matches('/');
    let fits = |known: &str| known.eq_ignore_ascii_case(name);
    let by = |part: fn(&SkillCommand) -> &str| commands.iter().find(|command| fits(part(command)));
    by(|command| &command.name)
        .or_else(|| by(|command| &command.key))
        .or_else(|| by(|command| &command.skill))
}

/// What remains of a name where only a-z, 0-9 and `_` may stand.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() {
            plain.push(c);
        } else if !plain.ends_with('_') {
            plain.push('_');
        }
    }
    let plain: String = plain.trim_matches('_').chars().take(MAX_NAME).collect();
    let plain = plain.trim_end_matches('_');
    if plain.is_empty() {
        "skill".to_owned()
    } else {
        plain.to_owned()
    }
}

fn numbered(base: &str, number: u32) -> String {
    if number == 1 {
        return base.to_owned();
    }
    let end = format!("_{number}");
    let start: String = base.chars().take(MAX_NAME - end.len()).collect();
    format!("{start}{end}")
}

#[cfg(test)]
mod tests {
    use super::super::{Manifest, SkillEntry};
    use super::*;

    fn skill(name: &str) -> Skill {
        Skill {
            key: name.to_owned(),
            node_id: String::new(),
            manifest: Manifest {
                name: name.to_owned(),
                description: "é".repeat(200),
                ..Manifest::default()
            },
            source: "upload".to_owned(),
            origin: None,
            sha256: String::new(),
            files: 1,
            size: 1,
            created_at: 0,
            updated_at: 0,
            entry: SkillEntry::default(),
            config_checks: Vec::new(),
        }
    }

    fn names(skills: &[Skill]) -> Vec<String> {
        let ready = Standing {
            eligible: true,
            ..Standing::default()
        };
        let with = skills.iter().map(|skill| (skill, &ready));
        commands(with, &["status"])
            .into_iter()
            .map(|command| command.name)
            .collect()
    }

    #[test]
    fn names_are_short_plain_and_each_ones_own() {
        let long = "x".repeat(40);
        let skills: Vec<Skill> = ["My Skill!", "my-skill", "status", "茶", &long, &long]
            .into_iter()
            .map(skill)
            .collect();
        let cut = "x".repeat(32);
        let second = format!("{}_2", "x".repeat(30));
        assert_eq!(
            names(&skills),
            ["my_skill", "my_skill_2", "status_2", "skill", &cut, &second]
        );
    }

    #[test]
    fn only_what_can_be_used_and_may_be_called() {
        let mut hidden = skill("hidden");
        hidden.manifest.hidden_from_user = true;
        let tea = skill("tea");
        let (ready, not) = (
            Standing {
                eligible: true,
                ..Standing::default()
            },
            Standing::default(),
        );
        let found = commands([(&hidden, &ready), (&tea, &not), (&tea, &ready)].into_iter(), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].description.chars().count(), 100);
        assert_eq!(named(&found, "/TEA").map(|command| command.key.as_str()), Some("tea"));
        assert_eq!(named(&found, "coffee"), None);
    }
}
