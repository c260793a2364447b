//! `session.sendPolicy`: where answers may go (`agent-runtime` §6.6). Pure.

use serde_json::Value;

use super::parse::{at, text};

/// What the settings say. Nothing said allows everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendPolicy {
    denies: bool,
    rules: Vec<Rule>,
}

/// All of what it names has to fit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    denies: bool,
    channel: Option<String>,
    chat_type: Option<String>,
    /// With or without the agent before it.
    key_prefix: Option<String>,
    /// Of the whole key.
    raw_key_prefix: Option<String>,
}

/// What a rule is held against.
#[derive(Clone, Copy, Debug)]
pub struct SendTarget<'a> {
    /// The session's whole key.
    pub key: &'a str,
    /// The key without `agent:<id>:`.
    pub rest: &'a str,
    pub channel: Option<&'a str>,
    /// `direct`, `group` or `channel`.
    pub chat_type: &'a str,
}

impl SendPolicy {
    pub(super) fn parse(section: &Value) -> Self {
        let rules = at(section, "/rules").as_array();
        Self {
            denies: denies(at(section, "/default")).unwrap_or(false),
            rules: rules.into_iter().flatten().filter_map(Rule::parse).collect(),
        }
    }

    /// A rule that denies wins over one that allows, and that over the default.
    pub fn allows(&self, target: SendTarget<'_>) -> bool {
        let mut fitting = self.rules.iter().filter(|rule| rule.fits(target)).peekable();
        if fitting.peek().is_none() {
            return !self.denies;
        }
        !fitting.any(|rule| rule.denies)
    }
}

impl Rule {
    /// A rule whose action is not known says nothing.
    fn parse(rule: &Value) -> Option<Self> {
        let wanted = at(rule, "/match");
        let lower = |pointer| text(at(wanted, pointer)).map(|text| text.to_lowercase());
        Some(Self {
            denies: denies(at(rule, "/action"))?,
            channel: lower("/channel"),
            chat_type: lower("/chatType").map(|kind| if kind == "dm" { "direct".to_owned() } else { kind }),
            key_prefix: lower("/keyPrefix"),
            raw_key_prefix: lower("/rawKeyPrefix"),
        })
    }

    fn fits(&self, target: SendTarget<'_>) -> bool {
        let (key, rest) = (target.key.to_lowercase(), target.rest.to_lowercase());
        let is = |wanted: &Option<String>, fits: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(fits);
        is(&self.channel, &|channel| {
            target.channel.is_some_and(|here| here.eq_ignore_ascii_case(channel))
        }) && is(&self.chat_type, &|kind| kind == target.chat_type)
            && is(&self.key_prefix, &|prefix| {
                key.starts_with(prefix) || rest.starts_with(prefix)
            })
            && is(&self.raw_key_prefix, &|prefix| key.starts_with(prefix))
    }
}

fn denies(action: &Value) -> Option<bool> {
    match text(action)?.to_lowercase().as_str() {
        "deny" => Some(true),
        "allow" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn target(key: &str) -> SendTarget<'_> {
        let rest = key.splitn(3, ':').nth(2).unwrap_or(key);
        let mut words = rest.split(':');
        let channel = words.next().filter(|word| *word != "main");
        SendTarget {
            key,
            rest,
            channel,
            chat_type: words.next().unwrap_or("direct"),
        }
    }

    #[test]
    fn a_denial_wins_and_the_default_comes_last() {
        let policy = SendPolicy::parse(&json!({"default": "allow", "rules": [
            {"action": "deny", "match": {"channel": "Slack", "chatType": "group"}},
            {"action": "allow", "match": {"channel": "slack"}},
            {"action": "deny", "match": {"keyPrefix": "telegram:direct:66"}},
            {"action": "deny", "match": {"rawKeyPrefix": "cron:"}},
            {"action": "maybe", "match": {}},
        ]}));
        for (key, allowed) in [
            ("agent:main:slack:group:g1", false),
            ("agent:main:slack:direct:u1", true),
            ("agent:main:telegram:direct:66", false),
            ("agent:main:telegram:direct:7", true),
            ("agent:main:cron:job", true),
        ] {
            assert_eq!(policy.allows(target(key)), allowed, "{key}");
        }
        let closed = SendPolicy::parse(&json!({"default": "deny", "rules": [
            {"action": "allow", "match": {"keyPrefix": "agent:main:main"}}]}));
        assert!(closed.allows(target("agent:main:main")));
        assert!(!closed.allows(target("agent:main:slack:direct:u1")));
        assert!(SendPolicy::parse(&json!(7)).allows(target("agent:main:main")));
    }
}
