//! `commands` (`agent-runtime` §20): which commands there are, and whose are heard.

use std::collections::HashMap;

use serde_json::Value;

use super::AccessGroups;
use super::parse::{at, texts};
use crate::config::accounts::without_channel;

/// For every channel without a list of its own.
const ANY_CHANNEL: &str = "*";
const ANYBODY: &str = "*";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandSettings {
    /// May the owner change the configuration by a command.
    pub config: bool,
    /// By channel: guests whose commands are heard. Where nothing is said, all are.
    allow_from: HashMap<String, Vec<String>>,
}

impl CommandSettings {
    pub(super) fn parse(section: &Value) -> Self {
        let lists = at(section, "/allowFrom").as_object();
        Self {
            config: at(section, "/config").as_bool().unwrap_or(false),
            allow_from: lists
                .into_iter()
                .flatten()
                .filter_map(|(channel, list)| Some((channel.trim().to_lowercase(), texts(list)?)))
                .collect(),
        }
    }

    /// Are this guest's commands heard. It gives them nothing that is the owner's.
    pub fn hears(&self, channel: &str, sender: &str, people: &AccessGroups) -> bool {
        let own = self.allow_from.get(channel);
        let Some(list) = own.or_else(|| self.allow_from.get(ANY_CHANNEL)) else {
            return true;
        };
        list.iter().any(|listed| {
            listed == ANYBODY
                || people
                    .stand_for(channel, listed.clone())
                    .iter()
                    .any(|id| without_channel(channel, id).eq_ignore_ascii_case(sender))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_heard_is_said_by_channel() {
        let settings = CommandSettings::parse(&json!({"config": true, "allowFrom": {
            "telegram": [42, "telegram:43"], "slack": [], "discord": ["accessGroup:team", "u2"], "*": ["*"]}}));
        let people = AccessGroups::parse(&json!({
            "team": {"type": "message.senders", "members": {"discord": ["7"]}}}));
        assert!(settings.config);
        for (channel, sender, heard) in [
            ("telegram", "42", true),
            ("telegram", "43", true),
            ("telegram", "44", false),
            ("slack", "U1", false),
            ("discord", "7", true),
            ("discord", "U2", true),
            ("discord", "8", false),
            ("matrix", "@a:b.c", true),
        ] {
            assert_eq!(settings.hears(channel, sender, &people), heard, "{channel} {sender}");
        }
        assert!(CommandSettings::default().hears("telegram", "44", &people));
    }
}
