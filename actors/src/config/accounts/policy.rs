//! Access policy: read leniently from an account's settings, checked strictly when they are saved.

use std::collections::HashMap;

use serde_json::Value;

use super::{AccessPolicy, DmPolicy, GroupPolicy, GroupRule};
use crate::config::document::{AccessGroups, ToolRules};
use crate::error::{Error, Result};

impl AccessPolicy {
    /// What `channels.<id>` says, with the account owner's groups of people. Whatever is missing or unreadable closes:
    /// pairing for direct chats, an empty allowlist for groups.
    pub fn parse(channel: &str, config: &Value, people: &AccessGroups) -> Self {
        let legacy = config.get("dm").unwrap_or(&Value::Null);
        let allow_from = config
            .get("allowFrom")
            .or_else(|| legacy.get("allowFrom"))
            .map(|list| senders(channel, list, people))
            .unwrap_or_default();
        let dm = match config
            .get("dmPolicy")
            .or_else(|| legacy.get("policy"))
            .and_then(Value::as_str)
        {
            _ if legacy.get("enabled").and_then(Value::as_bool) == Some(false) => DmPolicy::Disabled,
            None | Some("pairing") => DmPolicy::Pairing,
            Some("open") if allow_from.iter().any(|entry| entry == "*") => DmPolicy::Open,
            Some("disabled") => DmPolicy::Disabled,
            // `open` without `*` opens nothing, and neither does a word we do not know.
            Some(_) => DmPolicy::Allowlist,
        };
        let group = match config.get("groupPolicy").and_then(Value::as_str) {
            Some("open") => GroupPolicy::Open,
            Some("disabled") => GroupPolicy::Disabled,
            None | Some(_) => GroupPolicy::Allowlist,
        };
        let mut groups = HashMap::new();
        for key in ["groups", "channels"] {
            if let Some(entries) = config.get(key).and_then(Value::as_object) {
                groups.extend(entries.iter().map(|(id, entry)| {
                    let entry = with_default(channel, entry, entries.get("*"));
                    (id.clone(), rule(channel, config, &entry, people))
                }));
            }
        }
        Self {
            dm,
            allow_from,
            group,
            groups,
            group_allow_from: config.get("groupAllowFrom").map(|list| senders(channel, list, people)),
            allow_bots: config.get("allowBots").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

impl AccessPolicy {
    /// The settings of a group, or of a thread of it: its own entry, else that of `*`.
    pub fn group_rule(&self, id: &str, thread: Option<&str>) -> Option<&GroupRule> {
        let own = self.own_rule(id).or_else(|| self.groups.get("*"))?;
        Some(thread.and_then(|thread| own.topics.get(thread)).unwrap_or(own))
    }

    fn own_rule(&self, id: &str) -> Option<&GroupRule> {
        let spelled = self.groups.get(id);
        spelled.or_else(|| {
            let mut others = self.groups.iter();
            others.find_map(|(listed, rule)| listed.eq_ignore_ascii_case(id).then_some(rule))
        })
    }

    /// Which tools there are in a group for this sender: the sender's rules there, else the group's, else those of `*` in
    /// the same order.
    pub fn group_tools(&self, id: &str, thread: Option<&str>, sender: &str) -> Option<&ToolRules> {
        let places = [self.own_rule(id), self.groups.get("*")];
        places.into_iter().flatten().find_map(|place| {
            let place = thread.and_then(|thread| place.topics.get(thread)).unwrap_or(place);
            let of = |wanted: &str| {
                let mut listed = place.tools_by_sender.iter();
                listed.find_map(|(id, rules)| id.eq_ignore_ascii_case(wanted).then_some(rules))
            };
            of(sender).or_else(|| of("*")).or(place.tools.as_ref())
        })
    }

    /// Do senders of a group have different tools.
    pub fn parts_senders(&self, id: &str, thread: Option<&str>) -> bool {
        let places = [self.own_rule(id), self.groups.get("*")];
        places.into_iter().flatten().any(|place| {
            let topic = thread.and_then(|thread| place.topics.get(thread));
            !topic.unwrap_or(place).tools_by_sender.is_empty()
        })
    }
}

/// What an entry has from `*`, each with its spellings. Tools are found by [`AccessPolicy::group_tools`].
const FROM_DEFAULT: &[&[&str]] = &[
    &["requireMention"],
    &["enabled", "allow"],
    &["allowFrom", "users"],
    &["skills"],
    &["systemPrompt"],
];

/// A group's entry, and what `*` says where it says nothing itself: all of it on Slack, elsewhere only `requireMention`.
fn with_default(channel: &str, entry: &Value, default: Option<&Value>) -> Value {
    let fields = if channel == "slack" {
        FROM_DEFAULT
    } else {
        &FROM_DEFAULT[..1]
    };
    let mut whole = entry.as_object().cloned().unwrap_or_default();
    for spellings in fields {
        if spellings.iter().any(|key| whole.contains_key(*key)) {
            continue;
        }
        for key in *spellings {
            if let Some(value) = default.and_then(|default| default.get(key)) {
                whole.insert((*key).to_owned(), value.clone());
            }
        }
    }
    Value::Object(whole)
}

/// What a group's entry says, overlaid with what one of its topics says.
fn rule(channel: &str, config: &Value, entry: &Value, people: &AccessGroups) -> GroupRule {
    let topics = entry.get("topics").and_then(Value::as_object);
    let topics = topics.into_iter().flatten().map(|(id, topic)| {
        let mut whole = entry.as_object().cloned().unwrap_or_default();
        whole.remove("topics");
        whole.extend(topic.as_object().cloned().unwrap_or_default());
        (id.clone(), rule(channel, config, &Value::Object(whole), people))
    });
    let by_sender = entry.get("toolsBySender").and_then(Value::as_object);
    GroupRule {
        tools: entry
            .get("tools")
            .filter(|rules| rules.is_object())
            .map(ToolRules::parse),
        tools_by_sender: by_sender
            .into_iter()
            .flatten()
            .map(|(id, rules)| (sender_of(channel, id), ToolRules::parse(rules)))
            .collect(),
        skills: entry.get("skills").and_then(Value::as_array).map(|list| {
            let names = list.iter().filter_map(Value::as_str);
            names.map(|name| name.trim().to_owned()).collect()
        }),
        system_prompt: entry
            .get("systemPrompt")
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        topics: topics.collect(),
        require_mention: entry
            .get("requireMention")
            .or_else(|| config.get("requireMention"))
            .and_then(Value::as_bool)
            .unwrap_or(true),
        enabled: ["enabled", "allow"]
            .iter()
            .all(|key| entry.get(key).and_then(Value::as_bool).unwrap_or(true)),
        // Slack spells the senders of a channel `users`.
        allow_from: ["allowFrom", "users"]
            .iter()
            .find_map(|key| entry.get(key))
            .map(|list| senders(channel, list, people)),
    }
}

/// A sender's id as `toolsBySender` spells it: perhaps with `id:` or the channel's name in front. Names are nobody's.
fn sender_of(channel: &str, spelled: &str) -> String {
    let id = spelled.trim();
    let id = id.strip_prefix("id:").unwrap_or(id);
    without_channel(channel, id).to_owned()
}

/// A sender's id without the channel's name in front.
pub(crate) fn without_channel<'a>(channel: &str, id: &'a str) -> &'a str {
    let short = if channel == "telegram" { "tg" } else { channel };
    id.split_once(':')
        .filter(|(prefix, _)| prefix.eq_ignore_ascii_case(channel) || prefix.eq_ignore_ascii_case(short))
        .map_or(id, |(_, id)| id)
}

/// A list of sender ids: texts or numbers, with or without the channel's name in front, and groups of people.
pub(super) fn senders(channel: &str, list: &Value, people: &AccessGroups) -> Vec<String> {
    let Some(items) = list.as_array() else {
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| match item {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        })
        .flat_map(|entry| people.stand_for(channel, entry))
        .map(|id| without_channel(channel, &id).to_owned())
        .filter(|id| !id.is_empty())
        .collect()
}

/// Refuses settings whose policy would not mean what it says.
pub(super) fn check(config: &Value) -> Result<()> {
    if !config.is_object() {
        return Err(Error::invalid("the settings of a channel are an object"));
    }
    let word = |key: &str, allowed: &[&str]| match config.get(key) {
        None => Ok(()),
        Some(Value::String(text)) if allowed.contains(&text.as_str()) => Ok(()),
        Some(_) => Err(Error::Invalid(format!("{key} is one of {}", allowed.join(", ")))),
    };
    word("dmPolicy", &["pairing", "allowlist", "open", "disabled"])?;
    word("groupPolicy", &["allowlist", "open", "disabled"])?;
    word("reactionNotifications", &["off", "own", "all", "allowlist"])?;
    for key in ["allowFrom", "groupAllowFrom"] {
        if config.get(key).is_some_and(|list| !list.is_array()) {
            return Err(Error::Invalid(format!("{key} is a list of sender ids")));
        }
    }
    for key in ["groups", "channels"] {
        if config.get(key).is_some_and(|groups| !groups.is_object()) {
            return Err(Error::Invalid(format!("{key} is an object by id")));
        }
    }
    let listed = |wanted: Option<&str>| {
        config.get("allowFrom").and_then(Value::as_array).is_some_and(|list| {
            wanted.map_or(!list.is_empty(), |wanted| {
                list.iter().any(|item| item.as_str() == Some(wanted))
            })
        })
    };
    match config.get("dmPolicy").and_then(Value::as_str) {
        Some("open") if !listed(Some("*")) => Err(Error::invalid("dmPolicy open needs allowFrom [\"*\"]")),
        Some("allowlist") if !listed(None) => Err(Error::invalid(
            "dmPolicy allowlist needs at least one entry in allowFrom",
        )),
        None | Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::document::UserSettings;

    fn parse(channel: &str, config: &Value) -> AccessPolicy {
        AccessPolicy::parse(channel, config, &AccessGroups::default())
    }

    #[test]
    fn each_list_may_name_a_group_of_people() {
        let document = json!({"accessGroups": {
            "team": {"type": "message.senders", "members": {"*": ["7"], "telegram": ["tg:8", "*"]}},
        }});
        let people = UserSettings::parse(&document).access_groups;
        let check = |channel: &str, ids: &[&str]| {
            let list = json!(["1", "accessGroup:team", "accessGroup:nobody"]);
            let config = json!({
                "dmPolicy": "open", "allowFrom": list, "groupAllowFrom": list,
                "groups": {"-1": {"allowFrom": list, "topics": {"2": {"allowFrom": list}}}},
                "channels": {"C1": {"users": list}},
            });
            let policy = AccessPolicy::parse(channel, &config, &people);
            assert_eq!(
                policy.dm,
                DmPolicy::Allowlist,
                "a group opens to nobody but its members"
            );
            assert_eq!(policy.allow_from, ids);
            assert_eq!(policy.group_allow_from.as_deref().expect("a list"), ids);
            for rule in [
                &policy.groups["-1"],
                &policy.groups["-1"].topics["2"],
                &policy.groups["C1"],
            ] {
                assert_eq!(rule.allow_from.as_deref().expect("a list"), ids);
            }
        };
        check("telegram", &["1", "7", "8"]);
        check("slack", &["1", "7"]);
    }

    #[test]
    fn direct_chats_close_by_default() {
        let check = |config: Value, expected| assert_eq!(parse("telegram", &config).dm, expected, "{config}");
        check(json!({}), DmPolicy::Pairing);
        check(json!(null), DmPolicy::Pairing);
        check(json!({"dmPolicy": "open"}), DmPolicy::Allowlist);
        check(json!({"dmPolicy": "open", "allowFrom": ["*"]}), DmPolicy::Open);
        check(json!({"dmPolicy": "allowlist", "allowFrom": [1]}), DmPolicy::Allowlist);
        check(json!({"dmPolicy": "everyone"}), DmPolicy::Allowlist);
        check(json!({"dmPolicy": 3}), DmPolicy::Pairing);
        check(json!({"dm": {"policy": "disabled"}}), DmPolicy::Disabled);
        check(
            json!({"dm": {"enabled": false}, "dmPolicy": "pairing"}),
            DmPolicy::Disabled,
        );
    }

    #[test]
    fn groups_and_senders_are_read_in_both_spellings() {
        let policy = parse(
            "telegram",
            &json!({
                "allowFrom": ["tg:42", "telegram:43", 44, " 45 ", "", null],
                "groupPolicy": "open",
                "groupAllowFrom": [],
                "groups": {"*": {"requireMention": false}, "-100": {"enabled": false, "allowFrom": ["1"]}},
            }),
        );
        assert_eq!(policy.allow_from, ["42", "43", "44", "45"]);
        assert_eq!(policy.group, GroupPolicy::Open);
        assert_eq!(policy.group_allow_from, Some(vec![]));
        assert!(!policy.groups["*"].require_mention && policy.groups["*"].enabled);
        let closed = &policy.groups["-100"];
        assert!(!closed.require_mention && !closed.enabled && closed.allow_from == Some(vec!["1".to_owned()]));

        let slack = parse("slack", &json!({"channels": {"C1": {"allow": true, "users": ["U1"]}}}));
        assert_eq!(slack.group, GroupPolicy::Allowlist);
        assert_eq!(slack.groups["C1"].allow_from, Some(vec!["U1".to_owned()]));
        assert!(!slack.allow_bots && slack.group_allow_from.is_none());
    }

    #[test]
    fn a_listed_group_has_from_the_default_entry_what_it_does_not_say() {
        let groups = json!({
            "*": {"requireMention": false, "allow": false, "users": ["U1"], "skills": ["weather"],
                "systemPrompt": "Short."},
            "listed": {"topics": {"7": {}, "8": {"requireMention": true}}},
            "own": {"requireMention": true, "enabled": true, "allowFrom": [], "skills": [], "systemPrompt": "Long."},
        });
        let of = |channel: &str, config: Value| parse(channel, &config).groups;

        let telegram = of("telegram", json!({"requireMention": true, "groups": groups}));
        let listed = &telegram["listed"];
        assert!(!listed.require_mention && !listed.topics["7"].require_mention && listed.topics["8"].require_mention);
        assert!(listed.enabled && listed.allow_from.is_none() && listed.system_prompt.is_none());
        assert!(listed.skills.is_none() && telegram["own"].require_mention);

        let slack = of("slack", json!({"requireMention": true, "channels": groups}));
        let listed = &slack["listed"];
        assert!(!listed.require_mention && !listed.enabled);
        assert_eq!(listed.allow_from, Some(vec!["U1".to_owned()]));
        assert_eq!(listed.skills, Some(vec!["weather".to_owned()]));
        assert_eq!(listed.system_prompt.as_deref(), Some("Short."));
        let own = &slack["own"];
        assert!(own.require_mention && own.enabled && own.allow_from == Some(vec![]) && own.skills == Some(vec![]));
        assert_eq!(own.system_prompt.as_deref(), Some("Long."));

        let account = of(
            "telegram",
            json!({"requireMention": false, "groups": {"*": {}, "-1": {}}}),
        );
        assert!(
            !account["-1"].require_mention,
            "the account's word, where no entry has one"
        );
    }

    #[test]
    fn tools_are_the_senders_then_the_groups_then_those_of_all_groups() {
        let policy = parse(
            "telegram",
            &json!({"groups": {
                "*": {"tools": {"deny": ["all"]}, "toolsBySender": {"9": {"deny": ["nine"]}}},
                "-1": {"tools": {"deny": ["group"]}, "toolsBySender": {"id:1": {"deny": ["one"]}, "tg:2": {}},
                    "systemPrompt": " Be short. ", "skills": ["weather"], "requireMention": false,
                    "topics": {"7": {"tools": {"deny": ["topic"]}, "toolsBySender": {}, "systemPrompt": "Seven."}}},
                "-2": {"toolsBySender": {"*": {"deny": ["others"]}}},
                "-3": {},
            }}),
        );
        let denied = |group: &str, thread: Option<&str>, sender: &str| {
            let rules = policy.group_tools(group, thread, sender);
            rules.map(|rules| rules.deny.join(" "))
        };
        for (group, thread, sender, expected) in [
            ("-1", None, "1", "one"),
            ("-1", None, "2", ""),
            ("-1", None, "3", "group"),
            ("-1", Some("7"), "1", "topic"),
            ("-2", None, "1", "others"),
            ("-3", None, "9", "nine"),
            ("-4", None, "1", "all"),
        ] {
            assert_eq!(
                denied(group, thread, sender).as_deref(),
                Some(expected),
                "{group} {sender}"
            );
        }
        let topic = policy.group_rule("-1", Some("7")).unwrap();
        assert_eq!(topic.system_prompt.as_deref(), Some("Seven."));
        assert!(!topic.require_mention && topic.skills == Some(vec!["weather".to_owned()]));
        assert_eq!(
            policy.group_rule("-1", Some("8")).unwrap().system_prompt.as_deref(),
            Some("Be short.")
        );
        assert!(policy.parts_senders("-2", None) && !AccessPolicy::default().parts_senders("-2", None));
    }

    #[test]
    fn saving_is_strict() {
        for good in [
            json!({}),
            json!({"dmPolicy": "open", "allowFrom": ["*"]}),
            json!({"groups": {"*": {}}}),
        ] {
            assert!(check(&good).is_ok(), "{good}");
        }
        for bad in [
            json!([]),
            json!({"dmPolicy": "open"}),
            json!({"dmPolicy": "allowlist", "allowFrom": []}),
            json!({"dmPolicy": "all"}),
            json!({"groupPolicy": true}),
            json!({"allowFrom": "*"}),
            json!({"groups": ["-1"]}),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
