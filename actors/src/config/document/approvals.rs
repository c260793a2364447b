//! `approvals.exec`: chats that are told of commands which wait for a person's word (`agent-runtime` §13.7).

use regex::RegexBuilder;
use serde_json::Value;

use super::parse::{at, text, texts};
use crate::config::cron::job::Target;

/// Chats that are told at most.
pub const MOST_TARGETS: usize = 16;
/// Filters of one kind, and compiled size of one, bytes.
const MOST_FILTERS: usize = 32;
const LARGEST_FILTER: usize = 64 * 1024;

/// Which requests are told, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalSettings {
    pub enabled: bool,
    /// In the chat of the session that asks.
    pub in_session: bool,
    /// In these chats.
    pub targets: Vec<Target>,
    /// Only of these agents; empty: of all.
    agents: Vec<String>,
    /// Only of sessions whose key holds one of these, or fits it as an expression; empty: of all.
    sessions: Vec<String>,
}

impl ApprovalSettings {
    pub(super) fn parse(section: &Value) -> Self {
        let list = |pointer| {
            let mut list = texts(at(section, pointer)).unwrap_or_default();
            list.truncate(MOST_FILTERS);
            list
        };
        let mode = text(at(section, "/mode"));
        let (in_session, in_targets) = match mode.as_deref() {
            Some("targets") => (false, true),
            Some("both") => (true, true),
            Some(_) | None => (true, false),
        };
        let targets = at(section, "/targets").as_array().filter(|_| in_targets);
        let targets = targets.into_iter().flatten().filter_map(|target| {
            let target = Target {
                channel: Some(text(at(target, "/channel"))?.to_lowercase()),
                to: Some(text(at(target, "/to"))?),
                account_id: text(at(target, "/accountId")),
                thread_id: Some(at(target, "/threadId").clone()).filter(|id| !id.is_null()),
            };
            Some(target)
        });
        Self {
            enabled: at(section, "/enabled").as_bool().unwrap_or(false),
            in_session,
            targets: targets.take(MOST_TARGETS).collect(),
            agents: list("/agentFilter"),
            sessions: list("/sessionFilter"),
        }
    }

    /// Is a request of this agent and session told. A filter lets nothing through that does not say what it asks for.
    pub fn wants(&self, agent_id: Option<&str>, session_key: Option<&str>) -> bool {
        let agent = self.agents.is_empty()
            || agent_id.is_some_and(|id| self.agents.iter().any(|wanted| wanted.eq_ignore_ascii_case(id)));
        let session = self.sessions.is_empty()
            || session_key.is_some_and(|key| self.sessions.iter().any(|filter| fits(filter, key)));
        self.enabled && agent && session
    }
}

fn fits(filter: &str, key: &str) -> bool {
    key.contains(filter) || {
        let expression = RegexBuilder::new(filter).size_limit(LARGEST_FILTER).build();
        expression.is_ok_and(|expression| expression.is_match(key))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_told_and_where() {
        let settings = ApprovalSettings::parse(&json!({
            "enabled": true, "mode": "both", "agentFilter": ["main"], "sessionFilter": ["telegram:", "^agent:main:m.*n$", "("],
            "targets": [{"channel": "Telegram", "to": 77, "threadId": 5}, {"channel": "slack"}, 7],
        }));
        assert!(settings.in_session && settings.targets.len() == 1, "{settings:?}");
        let target = &settings.targets[0];
        assert_eq!(
            (target.channel.as_deref(), target.to.as_deref()),
            (Some("telegram"), Some("77"))
        );
        assert!(settings.wants(Some("Main"), Some("agent:main:main")));
        assert!(settings.wants(Some("main"), Some("agent:main:telegram:direct:9")));
        assert!(!settings.wants(Some("main"), Some("agent:main:slack:direct:9")));
        assert!(!settings.wants(Some("work"), Some("agent:main:main")) && !settings.wants(None, None));
        let usual = ApprovalSettings::parse(&json!({"enabled": true, "targets": [{"channel": "slack", "to": "C1"}]}));
        assert!(usual.in_session && usual.targets.is_empty() && usual.wants(None, None));
        assert!(!ApprovalSettings::parse(&Value::Null).wants(Some("main"), Some("x")));
    }
}
