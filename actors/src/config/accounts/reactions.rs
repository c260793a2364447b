//! `reactionNotifications`: which signs under messages the agent hears of.

use serde_json::Value;

use super::policy::senders;
use crate::config::document::AccessGroups;

/// What an account's settings say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReactionNotices {
    Off,
    /// Under messages of the bot.
    Own,
    All,
    /// Of these senders.
    Listed(Vec<String>),
}

impl ReactionNotices {
    /// Of an account's settings, as far as they alone say it: with a group of people on the list any sender may be meant.
    pub fn at_first_sight(channel: &str, config: &Value) -> Self {
        let listed = config["reactionAllowlist"].as_array().into_iter().flatten();
        let mut listed = listed.filter_map(Value::as_str);
        let told = Self::of(channel, config, &AccessGroups::default());
        if matches!(told, Self::Listed(_)) && listed.any(AccessGroups::is_reference) {
            return Self::All;
        }
        told
    }

    /// Of an account's settings; `own` where they say nothing we know.
    pub(super) fn of(channel: &str, config: &Value, people: &AccessGroups) -> Self {
        match config["reactionNotifications"].as_str() {
            Some("off") => Self::Off,
            Some("all") => Self::All,
            Some("allowlist") => {
                let listed = &config["reactionAllowlist"];
                Self::Listed(senders(channel, listed, people))
            }
            None | Some(_) => Self::Own,
        }
    }

    /// Is this one of them. `to_bot`: is it under a message of the bot, as far as that is known.
    pub fn takes(&self, sender: &str, to_bot: Option<bool>) -> bool {
        match self {
            Self::Off => false,
            Self::Own => to_bot != Some(false),
            Self::All => true,
            Self::Listed(senders) => senders.iter().any(|listed| listed.eq_ignore_ascii_case(sender)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::document::UserSettings;

    #[test]
    fn reactions_are_taken_as_the_settings_say() {
        let check = |config: Value, sender: &str, taken: [bool; 3]| {
            let people = UserSettings::parse(&json!({"accessGroups": {
                "team": {"type": "message.senders", "members": {"slack": ["U1"]}}}}));
            let notices = ReactionNotices::of("slack", &config, &people.access_groups);
            let seen = ReactionNotices::at_first_sight("slack", &config);
            let told = [Some(true), Some(false), None].map(|to_bot| notices.takes(sender, to_bot));
            assert_eq!(told, taken, "{config}");
            let passed = [Some(true), Some(false), None].map(|to_bot| seen.takes(sender, to_bot));
            assert!(
                told.iter().zip(passed).all(|(told, passed)| passed || !told),
                "{config}"
            );
        };
        check(json!({}), "U1", [true, false, true]);
        check(json!({"reactionNotifications": "own"}), "U1", [true, false, true]);
        check(json!({"reactionNotifications": 3}), "U1", [true, false, true]);
        check(json!({"reactionNotifications": "off"}), "U1", [false; 3]);
        let team = json!({"reactionNotifications": "allowlist", "reactionAllowlist": ["accessGroup:team"]});
        check(team.clone(), "u1", [true; 3]);
        check(team, "U2", [false; 3]);
        check(json!({"reactionNotifications": "all"}), "U1", [true; 3]);
        let listed = json!({"reactionNotifications": "allowlist", "reactionAllowlist": ["slack:u1"]});
        check(listed.clone(), "U1", [true; 3]);
        check(listed, "U2", [false; 3]);
        check(json!({"reactionNotifications": "allowlist"}), "U1", [false; 3]);
    }
}
