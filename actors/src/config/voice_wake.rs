//! The wake words a user's apps and nodes listen for, and where a spoken request goes.

use claw_entities::{Scope, UserOwned, voice_wake};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::ConfigService;
use crate::clock::now_ms;
use crate::error::{Error, Result};

/// The original's wake words: what a user has who chose none.
const DEFAULT_TRIGGERS: [&str; 3] = ["openclaw", "claude", "computer"];
/// As the original: more are cut off.
const MOST_TRIGGERS: usize = 32;
const MOST_ROUTES: usize = 32;
/// Longest wake word, characters; what is longer is cut.
const LONGEST_TRIGGER: usize = 64;

/// What a user listens for.
#[derive(Clone, Debug, PartialEq)]
pub struct VoiceWake {
    pub triggers: Vec<String>,
    /// `{version, defaultTarget, routes, updatedAtMs}`.
    pub routing: Value,
}

impl ConfigService {
    pub async fn voice_wake(&self, scope: &Scope) -> Result<VoiceWake> {
        let tx = self.db.read(scope).await?;
        let row = find(&*tx, scope).await?;
        tx.commit().await?;
        Ok(view(row.as_ref()))
    }

    /// Replaces the wake words; an empty list brings the usual ones back.
    pub async fn set_wake_words(&self, scope: &Scope, triggers: &[String]) -> Result<VoiceWake> {
        let triggers = json!(clean(triggers));
        self.put_voice_wake(scope, |row| row.triggers = triggers).await
    }

    /// Replaces the routing. `Invalid` says what is wrong with it.
    pub async fn set_wake_routing(&self, scope: &Scope, config: &Value) -> Result<VoiceWake> {
        let routing = routing(config, now_ms()).map_err(Error::Invalid)?;
        self.put_voice_wake(scope, |row| row.routing = routing).await
    }

    async fn put_voice_wake(&self, scope: &Scope, change: impl FnOnce(&mut voice_wake::Model)) -> Result<VoiceWake> {
        let tx = self.db.write(scope).await?;
        let known = find(&*tx, scope).await?;
        let mut row = known.unwrap_or_else(|| voice_wake::Model {
            tenant_id: scope.tenant().clone(),
            user_id: scope.user().clone(),
            triggers: json!(DEFAULT_TRIGGERS),
            routing: Value::Null,
            updated_at: 0,
        });
        change(&mut row);
        row.updated_at = now_ms();
        let view = view(Some(&row));
        voice_wake::Entity::delete_owned(scope)
            .filter(voice_wake::Column::UserId.eq(scope.user().clone()))
            .exec(&*tx)
            .await?;
        voice_wake::Entity::insert(voice_wake::ActiveModel::from(row))
            .exec_without_returning(&*tx)
            .await?;
        tx.commit().await?;
        Ok(view)
    }
}

async fn find(tx: &impl ConnectionTrait, scope: &Scope) -> Result<Option<voice_wake::Model>> {
    Ok(voice_wake::Entity::owned_by(scope).one(tx).await?)
}

fn view(row: Option<&voice_wake::Model>) -> VoiceWake {
    let usual = || DEFAULT_TRIGGERS.map(str::to_owned).to_vec();
    VoiceWake {
        triggers: row.map_or_else(usual, |row| super::devices::strings(&row.triggers)),
        routing: row
            .map(|row| row.routing.clone())
            .filter(Value::is_object)
            .unwrap_or_else(
                || json!({"version": 1, "defaultTarget": {"mode": "current"}, "routes": [], "updatedAtMs": 0}),
            ),
    }
}

fn clean(triggers: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = triggers
        .iter()
        .map(|word| word.trim().chars().take(LONGEST_TRIGGER).collect())
        .filter(|word: &String| !word.is_empty())
        .take(MOST_TRIGGERS)
        .collect();
    if kept.is_empty() {
        kept = DEFAULT_TRIGGERS.map(str::to_owned).to_vec();
    }
    kept
}

/// A routing in the form it is stored. The error says what is wrong.
fn routing(config: &Value, now: i64) -> std::result::Result<Value, String> {
    let fields = config.as_object().ok_or("config must be an object")?;
    let default_target = match fields.get("defaultTarget") {
        None | Some(Value::Null) => json!({"mode": "current"}),
        Some(given) => target(given).ok_or_else(|| bad_target("config.defaultTarget"))?,
    };
    let given: &[Value] = match fields.get("routes") {
        None | Some(Value::Null) => &[],
        Some(routes) => routes.as_array().ok_or("config.routes must be an array")?,
    };
    if given.len() > MOST_ROUTES {
        return Err(format!("config.routes must contain at most {MOST_ROUTES} entries"));
    }
    let mut routes: Vec<Value> = Vec::new();
    for (at, route) in given.iter().enumerate() {
        let words = route["trigger"].as_str().unwrap_or_default().to_lowercase();
        let trigger = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if trigger.is_empty() {
            return Err(format!("config.routes[{at}].trigger must be a non-empty string"));
        }
        if trigger.chars().count() > LONGEST_TRIGGER {
            return Err(format!(
                "config.routes[{at}].trigger must be at most {LONGEST_TRIGGER} characters"
            ));
        }
        if routes.iter().any(|known| known["trigger"] == trigger) {
            return Err(format!("config.routes[{at}].trigger is there twice"));
        }
        let target = target(&route["target"]).ok_or_else(|| bad_target(&format!("config.routes[{at}].target")))?;
        routes.push(json!({"trigger": trigger, "target": target}));
    }
    Ok(json!({"version": 1, "defaultTarget": default_target, "routes": routes, "updatedAtMs": now}))
}

/// `{mode: "current"}`, `{agentId}` or `{sessionKey}`, and nothing beside it.
fn target(given: &Value) -> Option<Value> {
    let fields = given.as_object()?;
    let [(name, value)] = fields.iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    let text = value.as_str()?.trim();
    let fits = match name.as_str() {
        "mode" => text == "current",
        "agentId" => {
            let legal = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            (1..=64).contains(&text.len()) && text.chars().all(legal)
        }
        "sessionKey" => text.len() <= 512 && text.strip_prefix("agent:").is_some_and(|rest| rest.contains(':')),
        _ => false,
    };
    fits.then(|| json!({name.as_str(): text}))
}

fn bad_target(place: &str) -> String {
    format!("{place} must be {{mode:\"current\"}}, {{agentId}} or {{sessionKey}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::identity::Role;
    use crate::config::testing;

    #[test]
    fn words_are_cleaned() {
        let words = |list: &[&str]| clean(&list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&[" hey you ", "", "  "]), ["hey you"]);
        assert_eq!(words(&[" "]), DEFAULT_TRIGGERS);
        assert_eq!(words(&["x"; 40]).len(), MOST_TRIGGERS);
        assert_eq!(words(&[&"ä".repeat(70)])[0].chars().count(), LONGEST_TRIGGER);
    }

    #[test]
    fn routes_are_read_strictly() {
        let good = json!({"routes": [
            {"trigger": "  Robot   Wake ", "target": {"agentId": "main"}},
            {"trigger": "b", "target": {"sessionKey": "agent:main:x"}},
        ], "brandNew": 1});
        let stored = json!({"version": 1, "defaultTarget": {"mode": "current"}, "routes": [
            {"trigger": "robot wake", "target": {"agentId": "main"}},
            {"trigger": "b", "target": {"sessionKey": "agent:main:x"}},
        ], "updatedAtMs": 7});
        assert_eq!(routing(&good, 7), Ok(stored));
        let route = |trigger: &str, target: Value| json!({"routes": [{"trigger": trigger, "target": target}]});
        for bad in [
            json!([]),
            json!({"routes": {}}),
            json!({"defaultTarget": {"mode": "other"}}),
            route(" ", json!({"mode": "current"})),
            route(&"x".repeat(65), json!({"mode": "current"})),
            route("a", json!({})),
            route("a", json!({"agentId": "a b"})),
            route("a", json!({"agentId": "main", "sessionKey": "agent:main:x"})),
            route("a", json!({"sessionKey": "main"})),
            json!({"routes": vec![json!({"trigger": "a", "target": {"mode": "current"}}); 2]}),
            json!({"routes": vec![json!(1); 33]}),
        ] {
            assert!(routing(&bad, 7).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn each_user_has_their_own() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let config = &server.config;
        let member = testing::user(config, owner.tenant_scope(), "m@acme.test", Role::Member).await;
        config.set_wake_words(&owner, &["hey".to_owned()]).await.expect("sets");
        let routed = json!({"defaultTarget": {"agentId": "home"}});
        let set = config.set_wake_routing(&owner, &routed).await.expect("sets");
        assert_eq!(set.triggers, ["hey"], "the words stay");
        assert_eq!(server.another_process().voice_wake(&owner).await.expect("reads"), set);
        let theirs = config.voice_wake(&member).await.expect("reads");
        assert_eq!(theirs.triggers, DEFAULT_TRIGGERS);
        assert_eq!(theirs.routing["defaultTarget"], json!({"mode": "current"}));
    }
}
