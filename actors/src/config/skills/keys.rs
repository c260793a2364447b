//! The key and variables of a skill, opened for one call of a tool that the user allowed them for.

use claw_entities::Scope;

use super::Skill;
use crate::config::ConfigService;
use crate::crypto::Secret;
use crate::error::Result;

/// What the user stored for a skill.
#[derive(Clone, Debug, Default)]
pub struct SkillKeys {
    pub api_key: Option<Secret>,
    /// By name, the one that the key fills included.
    pub env: Vec<(String, Secret)>,
}

impl SkillKeys {
    /// Takes the values out of a text that goes to a model or a person. Short ones stay: they stand in any text.
    pub fn hide(&self, text: &str) -> String {
        const SHORTEST: usize = 6;
        let mut shown = text.to_owned();
        for secret in self.env.iter().map(|(_, value)| value).chain(&self.api_key) {
            let value = secret.expose();
            if value.len() >= SHORTEST && shown.contains(value) {
                shown = shown.replace(value, "[hidden]");
            }
        }
        shown
    }
}

impl ConfigService {
    /// Opens what is stored for a skill.
    pub async fn skill_keys(&self, scope: &Scope, skill: &Skill) -> Result<SkillKeys> {
        let at = format!("/skills/entries/{}", skill.key);
        let mut keys = SkillKeys::default();
        if skill.entry.has_api_key {
            keys.api_key = self.document_secret(scope, &format!("{at}/apiKey")).await?;
        }
        for name in &skill.entry.env {
            if let Some(value) = self.document_secret(scope, &format!("{at}/env/{name}")).await? {
                keys.env.push((name.clone(), value));
            }
        }
        if let (Some(name), Some(value)) = (&skill.manifest.primary_env, &keys.api_key)
            && !keys.env.iter().any(|(known, _)| known == name)
        {
            keys.env.push((name.clone(), value.clone()));
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_of_texts() {
        let keys = SkillKeys {
            api_key: Some(Secret::new("sk-abcdef")),
            env: vec![
                ("TOKEN".to_owned(), Secret::new("zebra-secret")),
                ("FLAG".to_owned(), Secret::new("1")),
            ],
        };
        let text = "1 zebra-secret sk-abcdef and zebra-secret";
        assert_eq!(keys.hide(text), "1 [hidden] [hidden] and [hidden]");
    }
}
