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
    /// Of an account's settings; `own` where they say nothing we know.
    pub fn of(channel: &str, config: &Value) -> Self {
        match config["reactionNotifications"].as_str() {
            Some("off") => Self::Off,
            Some("all") => Self::All,
            Some("allowlist") => {
                let listed = &config["reactionAllowlist"];
                Self::Listed(senders(channel, listed, &AccessGroups::default()))
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

    #[test]
    fn reactions_are_taken_as_the_settings_say() {
        let check = |config: Value, sender: &str, taken: [bool; 3]| {
            let notices = ReactionNotices::of("slack", &config);
            let told = [Some(true), Some(false), None].map(|to_bot| notices.takes(sender, to_bot));
            assert_eq!(told, taken, "{config}");
        };
        check(json!({}), "U1", [true, false, true]);
        check(json!({"reactionNotifications": "own"}), "U1", [true, false, true]);
        check(json!({"reactionNotifications": 3}), "U1", [true, false, true]);
        check(json!({"reactionNotifications": "off"}), "U1", [false; 3]);
        check(json!({"reactionNotifications": "all"}), "U1", [true; 3]);
        let listed = json!({"reactionNotifications": "allowlist", "reactionAllowlist": ["slack:u1"]});
        check(listed.clone(), "U1", [true; 3]);
        check(listed, "U2", [false; 3]);
        check(json!({"reactionNotifications": "allowlist"}), "U1", [false; 3]);
    }
}
