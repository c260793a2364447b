//! Skills in a run: which the model is told of, and their files when it asks for one.
//!
//! Only a run of the user's own has them: a guest sees the agent's instruction files and nothing else.

pub(crate) mod calls;
mod dispatch;

pub(crate) use dispatch::run_of;

use std::fmt;

use claw_entities::Scope;

use super::assembly::Place;
use super::blobs;
use crate::config::document::UserSettings;
use crate::config::skills::{Skill, SkillKeys, Standing};
use crate::error::Result;
use crate::gateway::skills;
use crate::ports::message::Part;
use crate::supervisor::directory::Directory;

/// What a location begins with.
const SCHEME: &str = "skill://";

/// Does the path name a file of a skill.
pub fn is_skill(path: &str) -> bool {
    path.starts_with(SCHEME)
}

/// One line of the prompt's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    pub name: String,
    pub description: String,
    /// `skill://<key>/SKILL.md`.
    pub location: String,
}

/// Does the agent's own list of skills, if it has one, leave this one out.
pub(crate) fn left_out(settings: &UserSettings, agent_id: &str, skill: &Skill) -> bool {
    let own = settings.agent(agent_id).and_then(|agent| agent.skills.as_ref());
    own.or(settings.default_skills.as_ref()).is_some_and(|list| {
        !list
            .iter()
            .any(|name| *name == skill.key || *name == skill.manifest.name)
    })
}

/// The skills the agent's model is told of here, by key; none for guests.
pub(crate) async fn offered(directory: &Directory, place: Place<'_>, settings: &UserSettings) -> Result<Vec<Offered>> {
    let Place {
        scope, agent_id, last, ..
    } = place;
    if !last.guest.is_empty() {
        return Ok(Vec::new());
    }
    let set = directory.services().config.skills(scope).await?;
    if set.skills.is_empty() {
        return Ok(Vec::new());
    }
    let group = last.group_rule(directory.services(), scope).await?;
    let only = group.and_then(|group| group.skills);
    let elsewhere = |skill: &Skill| {
        only.as_ref().is_some_and(|only| {
            !only
                .iter()
                .any(|name| *name == skill.key || *name == skill.manifest.name)
        })
    };
    let nodes = skills::facts(directory, scope, &set).await?;
    let usable = |(skill, standing): &(&Skill, Standing)| {
        standing.eligible
            && !skill.manifest.hidden_from_model
            && !left_out(settings, agent_id, skill)
            && !elsewhere(skill)
    };
    let judged = set.judged(&nodes).into_iter().filter(usable);
    Ok(judged
        .map(|(skill, _)| Offered {
            name: skill.manifest.name.clone(),
            description: skill.manifest.description.clone(),
            location: skill.location(),
        })
        .collect())
}

/// What is stored for a skill that the agent may use now. `Err` is for the model.
pub(crate) async fn keys_of(
    directory: &Directory,
    scope: &Scope,
    agent_id: &str,
    name: &str,
) -> std::result::Result<(Skill, SkillKeys), String> {
    let away = |_| "The skills cannot be read right now.".to_owned();
    let config = &directory.services().config;
    let settings = config.settings(scope).await.map_err(away)?;
    let (set, nodes) = skills::standing(directory, scope).await.map_err(away)?;
    let judged = set.judged(&nodes);
    let found = judged.iter().find(|(skill, standing)| {
        (skill.key == name || skill.manifest.name == name) && standing.eligible && !left_out(&settings, agent_id, skill)
    });
    let Some((skill, _)) = found else {
        return Err("There is no such skill, or it cannot be used now.".to_owned());
    };
    let keys = config.skill_keys(scope, skill).await.map_err(away)?;
    Ok(((*skill).clone(), keys))
}

/// The skills of the user whose run this is, to read from. Cheap to clone.
#[derive(Clone)]
pub struct Shelf {
    directory: Directory,
    scope: Scope,
    agent_id: String,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shelf").finish_non_exhaustive()
    }
}

impl Shelf {
    pub(crate) fn new(directory: &Directory, scope: &Scope, agent_id: &str) -> Self {
        Self {
            directory: directory.clone(),
            scope: scope.clone(),
            agent_id: agent_id.to_owned(),
        }
    }

    /// The bytes of a file of an enabled skill. `Err` is for the model.
    pub async fn read(&self, location: &str) -> std::result::Result<Vec<u8>, String> {
        let config = &self.directory.services().config;
        let away = |_| "The skills cannot be read right now.".to_owned();
        let Some((key, path)) = location.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')) else {
            return Err(format!(
                "Only files of skills can be read here; their path is {SCHEME}<skill>/<file>, e.g. {SCHEME}weather/SKILL.md."
            ));
        };
        let settings = config.settings(&self.scope).await.map_err(away)?;
        let (set, nodes) = skills::standing(&self.directory, &self.scope).await.map_err(away)?;
        let judged = set.judged(&nodes);
        let found = judged.iter().find(|(skill, _)| skill.key == key);
        let Some((skill, _)) =
            found.filter(|(skill, standing)| standing.eligible && !left_out(&settings, &self.agent_id, skill))
        else {
            return Err("There is no such skill, or it cannot be used now.".to_owned());
        };
        let file = config
            .skill_file(&self.scope, &skill.node_id, key, path)
            .await
            .map_err(away)?;
        if let Some(content) = file {
            return Ok(content);
        }
        let files = config
            .skill_files(&self.scope, &skill.node_id, key)
            .await
            .map_err(away)?;
        let names: Vec<&str> = files.iter().take(50).map(|file| file.path.as_str()).collect();
        Err(format!("The skill has no such file. It has: {}.", names.join(", ")))
    }

    /// What is stored for a skill, and the hosts it may be sent to. `Err` is for the model.
    pub async fn keys(&self, name: &str) -> std::result::Result<(Vec<String>, SkillKeys), String> {
        let (skill, keys) = keys_of(&self.directory, &self.scope, &self.agent_id, name).await?;
        Ok((skill.entry.secret_hosts, keys))
    }

    /// Stores a picture of a skill, for the transcript.
    pub async fn keep_image(&self, mime_type: &str, bytes: Vec<u8>) -> Result<Part> {
        blobs::store_image(self.directory.services(), &self.scope, mime_type, bytes).await
    }
}
