//! `accessGroups`: lists of senders with a name, which any list of senders may hold as `accessGroup:<name>`.

use std::collections::HashMap;

use serde_json::Value;

use super::parse::texts;

/// How a list of senders names a group.
const REFERENCE: &str = "accessGroup:";
/// Members on every channel.
const EVERYWHERE: &str = "*";
/// The one kind of group that lists people.
const SENDERS: &str = "message.senders";

/// Members by group and channel. A group that is not there, or is of another kind, has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessGroups(HashMap<String, HashMap<String, Vec<String>>>);

impl AccessGroups {
    /// What `accessGroups` of a document says.
    pub(super) fn parse(groups: &Value) -> Self {
        let groups = groups.as_object().into_iter().flatten();
        let groups = groups.filter(|(_, group)| group["type"] == SENDERS);
        Self(
            groups
                .map(|(name, group)| {
                    let members = group["members"].as_object().into_iter().flatten();
                    let members = members.map(|(channel, ids)| (channel.clone(), texts(ids).unwrap_or_default()));
                    (name.clone(), members.collect())
                })
                .collect(),
        )
    }

    /// Does the entry of a list name a group.
    pub(in crate::config) fn is_reference(entry: &str) -> bool {
        entry.trim().starts_with(REFERENCE)
    }

    /// Who the entry of a list stands for on this channel: itself, or the members of the group it names. `*` among those is
    /// nobody: a group is for people that were named.
    pub(in crate::config) fn stand_for(&self, channel: &str, entry: String) -> Vec<String> {
        let Some(name) = entry.strip_prefix(REFERENCE) else {
            return vec![entry];
        };
        let Some(members) = self.0.get(name.trim()) else {
            return Vec::new();
        };
        let lists = [EVERYWHERE, channel].into_iter().filter_map(|place| members.get(place));
        lists.flatten().filter(|id| *id != "*").cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_group_stands_for_its_members_and_a_wrong_one_for_nobody() {
        let groups = AccessGroups::parse(&json!({
            "team": {"type": "message.senders", "members": {"*": ["7"], "telegram": ["8", 9, "*"], "slack": ["U1"]}},
            "rooms": {"type": "discord.channelAudience", "members": {"*": ["7"]}},
            "bare": {"members": {"*": ["7"]}},
            "odd": 3,
        }));
        let check = |channel: &str, entry: &str, stands_for: &[&str]| {
            assert_eq!(
                groups.stand_for(channel, entry.to_owned()),
                stands_for,
                "{channel} {entry}"
            );
        };
        check("telegram", "accessGroup:team", &["7", "8", "9"]);
        check("slack", "accessGroup:team", &["7", "U1"]);
        check("matrix", "accessGroup:team", &["7"]);
        check("telegram", "42", &["42"]);
        check("telegram", "*", &["*"]);
        for wrong in ["rooms", "bare", "odd", "nobody", ""] {
            check("telegram", &format!("accessGroup:{wrong}"), &[]);
        }
    }
}
