//! Which tools agents may use, as a document says it (`agent-runtime` §12.3), and how far the session tools reach.

use serde_json::Value;

use super::fetch::FetchSettings;
use super::loops::LoopSettings;
use super::parse::{agent_id, at, number, text, texts};
use super::search::SearchSettings;

/// Depth of sub-agents nobody can configure beyond (`agent-runtime` §12.2).
const DEEPEST: u64 = 5;
/// Children of one session nobody can configure beyond.
const MOST_CHILDREN: u64 = 20;
const MOST_AT_ONCE: usize = 64;
/// Files one can be begun with, the bytes of one, and of all.
const MOST_FILES: usize = 20;
const FILE_BYTES: usize = 1024 * 1024;
const ALL_FILES_BYTES: usize = 5 * 1024 * 1024;

/// One place's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolRules {
    /// `minimal`, `coding`, `messaging` or `full`; anything else is no profile.
    pub profile: Option<String>,
    /// Beside the profile.
    pub also_allow: Vec<String>,
    /// Only these; `None`: all.
    pub allow: Option<Vec<String>>,
    /// Never these.
    pub deny: Vec<String>,
}

impl ToolRules {
    pub(crate) fn parse(section: &Value) -> Self {
        Self {
            profile: text(at(section, "/profile")).map(|name| name.to_lowercase()),
            also_allow: texts(at(section, "/alsoAllow")).unwrap_or_default(),
            allow: texts(at(section, "/allow")),
            deny: texts(at(section, "/deny")).unwrap_or_default(),
        }
    }
}

/// Rules of a place, and those that count with some providers or models only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolSet {
    pub rules: ToolRules,
    /// By `provider` or `provider/model`, lower-cased.
    pub by_provider: Vec<(String, ToolRules)>,
}

impl ToolSet {
    pub(super) fn parse(section: &Value) -> Self {
        let named = at(section, "/byProvider").as_object();
        Self {
            rules: ToolRules::parse(section),
            by_provider: named
                .into_iter()
                .flatten()
                .map(|(name, rules)| (name.trim().to_lowercase(), ToolRules::parse(rules)))
                .collect(),
        }
    }

    /// The rules for this model: its own, else its provider's.
    pub fn of_model(&self, provider: &str, model: &str) -> Option<&ToolRules> {
        let find = |wanted: &str| {
            let entry = self
                .by_provider
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            entry.map(|(_, rules)| rules)
        };
        find(&format!("{provider}/{model}")).or_else(|| find(provider))
    }
}

/// `tools.sessions.visibility`: which sessions the session tools reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// The one that asks.
    Own,
    /// And those it began.
    #[default]
    Tree,
    /// All of its agent.
    Agent,
    /// All of the user, as far as `tools.agentToAgent` lets agents reach each other.
    All,
}

/// `tools`, as far as it is for all agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSettings {
    pub set: ToolSet,
    /// `subagents.tools`: refines what sub-agents have.
    pub subagents: ToolRules,
    pub visibility: Visibility,
    /// `agentToAgent.allow`, if agents may reach each other at all: patterns of ids.
    pub agent_to_agent: Option<Vec<String>>,
    /// `loopDetection`, for agents that are not configured.
    pub loops: LoopSettings,
    /// `exec`, as it stands: how far commands on nodes may go.
    pub exec: Value,
    /// `message.crossContext`: may an agent write elsewhere than into the chat it is in: on the same channel, on others.
    pub message_within: bool,
    pub message_across: bool,
    /// `web.search`.
    pub search: SearchSettings,
    /// `web.fetch`.
    pub fetch: FetchSettings,
    /// `sessions_spawn.attachments`.
    pub enclosures: EnclosureSettings,
    /// `session.agentToAgent.maxPingPongTurns`: how often two sessions may answer each other.
    pub ping_pong: u32,
}

impl Default for ToolSettings {
    fn default() -> Self {
        Self::parse(&Value::Null)
    }
}

impl ToolSettings {
    pub(super) fn parse(doc: &Value) -> Self {
        let section = at(doc, "/tools");
        let flag = |pointer: &str, usual: bool| at(section, pointer).as_bool().unwrap_or(usual);
        let visibility = match text(at(section, "/sessions/visibility")).as_deref() {
            Some("self") => Visibility::Own,
            Some("agent") => Visibility::Agent,
            Some("all") => Visibility::All,
            Some(_) | None => Visibility::Tree,
        };
        let turns = number(at(doc, "/session/agentToAgent/maxPingPongTurns"))
            .unwrap_or(5)
            .min(5);
        Self {
            set: ToolSet::parse(section),
            subagents: ToolRules::parse(at(section, "/subagents/tools")),
            visibility,
            agent_to_agent: flag("/agentToAgent/enabled", false)
                .then(|| texts(at(section, "/agentToAgent/allow")).unwrap_or_default()),
            loops: LoopSettings::parse(&[at(section, "/loopDetection")]),
            exec: at(section, "/exec").clone(),
            message_within: flag("/message/crossContext/allowWithinProvider", true),
            message_across: flag("/message/crossContext/allowAcrossProviders", false),
            search: SearchSettings::parse(at(section, "/web/search")),
            fetch: FetchSettings::parse(at(section, "/web/fetch")),
            enclosures: EnclosureSettings::parse(at(section, "/sessions_spawn/attachments")),
            ping_pong: u32::try_from(turns).unwrap_or(5),
        }
    }
}

/// `tools.sessions_spawn.attachments`: files that a sub-agent is begun with. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnclosureSettings {
    pub enabled: bool,
    pub files: usize,
    pub file_bytes: usize,
    pub total_bytes: usize,
}

impl EnclosureSettings {
    fn parse(section: &Value) -> Self {
        let most = |pointer: &str, usual: usize| {
            let said = number(at(section, pointer)).and_then(|said| usize::try_from(said).ok());
            said.map_or(usual, |said| said.min(usual))
        };
        Self {
            enabled: at(section, "/enabled").as_bool().unwrap_or(true),
            files: most("/maxFiles", MOST_FILES),
            file_bytes: most("/maxFileBytes", FILE_BYTES),
            total_bytes: most("/maxTotalBytes", ALL_FILES_BYTES),
        }
    }
}

/// `subagents` of an agent, with `agents.defaults.subagents` where it says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubagentSettings {
    /// Agents it may begin: ids, or `*`. Empty: itself.
    pub allow_agents: Vec<String>,
    /// `None`: as the agent's own turns.
    pub model: Option<String>,
    /// `None`: as the agent's own turns.
    pub thinking: Option<String>,
    /// 1: sub-agents begin none of their own.
    pub depth: u32,
    pub children: u64,
    /// Runs of all sub-agents of the user at the same time.
    pub at_once: usize,
    /// Minutes after which an ended one is put away; 0 = never.
    pub archive_minutes: u64,
    /// Seconds; `None`: as any turn.
    pub timeout_seconds: Option<u64>,
}

impl Default for SubagentSettings {
    fn default() -> Self {
        Self::parse(&Value::Null, &Value::Null)
    }
}

impl SubagentSettings {
    pub(super) fn parse(own: &Value, defaults: &Value) -> Self {
        let pick = |pointer: &str| number(at(own, pointer)).or_else(|| number(at(defaults, pointer)));
        let model = |section: &Value| text(at(section, "/model")).or_else(|| text(at(section, "/model/primary")));
        let allowed = texts(at(own, "/allowAgents")).or_else(|| texts(at(defaults, "/allowAgents")));
        let listed = allowed.unwrap_or_default().into_iter();
        Self {
            allow_agents: listed
                .map(|id| {
                    if id.trim() == "*" {
                        "*".to_owned()
                    } else {
                        agent_id(&id)
                    }
                })
                .collect(),
            model: model(own).or_else(|| model(defaults)),
            thinking: text(at(own, "/thinking")).or_else(|| text(at(defaults, "/thinking"))),
            depth: u32::try_from(pick("/maxSpawnDepth").unwrap_or(1).clamp(1, DEEPEST)).unwrap_or(1),
            children: pick("/maxChildrenPerAgent").unwrap_or(5).clamp(1, MOST_CHILDREN),
            at_once: pick("/maxConcurrent")
                .and_then(|most| usize::try_from(most).ok())
                .unwrap_or(8)
                .clamp(1, MOST_AT_ONCE),
            archive_minutes: pick("/archiveAfterMinutes").unwrap_or(60),
            timeout_seconds: pick("/runTimeoutSeconds").filter(|seconds| *seconds > 0),
        }
    }

    /// May `agent` begin a sub-agent of `wanted`.
    pub fn may_begin(&self, agent: &str, wanted: &str) -> bool {
        agent == wanted || self.allow_agents.iter().any(|id| id == "*" || id == wanted)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_the_default_and_limits_hold() {
        let usual = ToolSettings::default();
        assert_eq!(
            (usual.visibility, usual.loops.enabled, usual.ping_pong),
            (Visibility::Tree, true, 5)
        );
        assert_eq!(
            (usual.message_within, usual.message_across, &usual.agent_to_agent),
            (true, false, &None)
        );
        let said = ToolSettings::parse(&json!({
            "tools": {"profile": "Coding", "sessions": {"visibility": "all"}, "agentToAgent": {"enabled": true},
                "byProvider": {"OpenAI/gpt": {"deny": ["cron"]}, "openai": {"profile": "minimal"}}},
            "session": {"agentToAgent": {"maxPingPongTurns": 99}},
        }));
        assert_eq!((said.visibility, said.ping_pong), (Visibility::All, 5));
        assert_eq!(said.agent_to_agent, Some(Vec::new()));
        assert_eq!(said.set.rules.profile.as_deref(), Some("coding"));
        assert_eq!(said.set.of_model("openai", "GPT").unwrap().deny, ["cron"]);
        assert_eq!(
            said.set.of_model("openai", "o9").unwrap().profile.as_deref(),
            Some("minimal")
        );
        assert_eq!(said.set.of_model("google", "g"), None);
    }

    #[test]
    fn sub_agents_are_an_agents_own_then_the_defaults() {
        let defaults = json!({"thinking": "high", "maxSpawnDepth": 9, "maxChildrenPerAgent": 0, "model": "a/b", "runTimeoutSeconds": 0});
        let own = json!({"allowAgents": ["Work Bot"], "archiveAfterMinutes": 5});
        let settings = SubagentSettings::parse(&own, &defaults);
        assert_eq!((settings.depth, settings.children, settings.archive_minutes), (5, 1, 5));
        assert_eq!(
            (settings.model.as_deref(), settings.timeout_seconds),
            (Some("a/b"), None)
        );
        assert_eq!(settings.thinking.as_deref(), Some("high"));
        assert!(settings.may_begin("main", "work-bot") && settings.may_begin("main", "main"));
        assert!(!settings.may_begin("main", "other"));
        let any = SubagentSettings::parse(&json!({"allowAgents": ["*"]}), &Value::Null);
        assert!(any.may_begin("main", "other"));
    }
}
