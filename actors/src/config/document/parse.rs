//! The typed view of a document. Lenient: a value that cannot be read is its default, never an error.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::approvals::ApprovalSettings;
use super::heartbeat::heartbeats;
use super::memory::memories;
use super::models::{fallbacks, thinking};
use super::reply::{fast, human_delay, reasoning, verbose};
use super::{
    AccessGroups, AckSettings, AgentSettings, Binding, CommandSettings, CronSettings, DmScope, DropPolicy,
    HearingSettings, HeartbeatSettings, HookSettings, HttpTools, LoopSettings, MaintenanceSettings, MannerSettings,
    McpSettings, MemorySettings, ModelParams, ModelSettings, NodeCommands, QueueMode, QueueSettings, ReplySettings,
    ResetRule, RoomSettings, SendPolicy, SessionSettings, SpeechSettings, SubagentSettings, ToolSet, ToolSettings,
    UserSettings,
};

const DEFAULT_AGENT: &str = "main";
const RESET_HOUR: u32 = 4;
const IDLE_MINUTES: u64 = 60;
const GROUP_HISTORY: usize = 50;

impl UserSettings {
    /// The person's time zone; UTC until there is one.
    pub fn zone(&self) -> chrono_tz::Tz {
        let named = self.time_zone.as_deref().and_then(|name| name.parse().ok());
        named.unwrap_or(chrono_tz::Tz::UTC)
    }

    /// Is there an agent of this id.
    pub fn has_agent(&self, id: &str) -> bool {
        self.agents.iter().any(|agent| agent.id == id)
    }

    /// What this document means.
    pub fn parse(doc: &Value) -> Self {
        let defaults = at(doc, "/agents/defaults");
        let messages = at(doc, "/messages");
        let default_model = model(at(defaults, "/model"));
        let mut agents = agents(doc, default_model.as_deref());
        let default_agent = default_agent(doc, &agents);
        if agents.is_empty() {
            agents.push(AgentSettings {
                id: default_agent.clone(),
                model: default_model.clone(),
                mention_patterns: texts(at(messages, "/groupChat/mentionPatterns")).unwrap_or_default(),
                subagents: SubagentSettings::parse(&Value::Null, at(defaults, "/subagents")),
                ..AgentSettings::default()
            });
        }
        let models = at(defaults, "/models").as_object();
        let (default_memory, memories) = memories(doc);
        Self {
            access_groups: AccessGroups::parse(at(doc, "/accessGroups")),
            acks: AckSettings::parse(doc),
            default_memory,
            speech: SpeechSettings::parse(doc),
            hearing: HearingSettings::parse(doc),
            image_models: chain(at(defaults, "/imageModel")),
            pdf_models: chain(at(defaults, "/pdfModel")),
            memories,
            heartbeats: heartbeats(doc, &default_agent),
            agents,
            default_agent,
            default_model,
            model_aliases: models
                .into_iter()
                .flatten()
                .filter_map(|(name, entry)| Some((text(at(entry, "/alias"))?.to_lowercase(), name.clone())))
                .collect(),
            allowed_models: models.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            models: ModelSettings::parse(defaults, at(doc, "/auth")),
            bindings: bindings(doc),
            session: session(at(doc, "/session")),
            queue: queue(at(messages, "/queue")),
            max_concurrent: number(at(defaults, "/maxConcurrent"))
                .and_then(|count| usize::try_from(count).ok())
                .filter(|count| *count > 0),
            run_timeout: number(at(defaults, "/timeoutSeconds"))
                .map(|seconds| (seconds > 0).then(|| Duration::from_secs(seconds))),
            time_zone: text(at(defaults, "/userTimezone")).filter(|zone| zone.parse::<chrono_tz::Tz>().is_ok()),
            response_prefix: text(at(messages, "/responsePrefix")),
            group_history: group_history(messages).unwrap_or(GROUP_HISTORY),
            inbound_debounce: millis(at(messages, "/inbound/debounceMs")).unwrap_or_default(),
            inbound_debounce_by_channel: inbound_by_channel(at(messages, "/inbound")),
            default_skills: texts(at(defaults, "/skills")),
            tools: ToolSettings::parse(doc),
            approvals: ApprovalSettings::parse(at(doc, "/approvals/exec")),
            default_subagents: SubagentSettings::parse(&Value::Null, at(defaults, "/subagents")),
            cron: cron(at(doc, "/cron")),
            room: RoomSettings::parse(defaults),
            reply: ReplySettings::parse(defaults),
            manner: MannerSettings::parse(defaults, at(doc, "/session")),
            commands: CommandSettings::parse(at(doc, "/commands")),
            nodes: node_commands(at(doc, "/gateway/nodes")),
            http_tools: HttpTools {
                allow: texts(at(doc, "/gateway/tools/allow")).unwrap_or_default(),
                deny: texts(at(doc, "/gateway/tools/deny")).unwrap_or_default(),
            },
            hooks: HookSettings::parse(at(doc, "/hooks")),
            mcp: McpSettings::parse(doc),
        }
    }

    /// The agent of this id, if it is configured.
    pub fn agent(&self, id: &str) -> Option<&AgentSettings> {
        self.agents.iter().find(|agent| agent.id == id)
    }

    /// How the notes of the agent of this id are searched.
    pub fn memory(&self, id: &str) -> &MemorySettings {
        let own = self.memories.iter().find(|(agent, _)| agent == id);
        own.map_or(&self.default_memory, |(_, settings)| settings)
    }

    /// How calls of the agent of this id are watched.
    pub fn loops(&self, id: &str) -> &LoopSettings {
        self.agent(id).map_or(&self.tools.loops, |agent| &agent.loops)
    }

    /// How the agent of this id works with sub-agents.
    pub fn subagents(&self, id: &str) -> &SubagentSettings {
        self.agent(id).map_or(&self.default_subagents, |agent| &agent.subagents)
    }

    /// The agent's heartbeat, if it has one.
    pub fn heartbeat(&self, agent: &str) -> Option<&HeartbeatSettings> {
        self.heartbeats.iter().find(|beat| beat.agent_id == agent)
    }
}

/// Both spellings together: `allowCommands` is the older one of `commands.allow`.
fn node_commands(section: &Value) -> NodeCommands {
    let both = |older: &str, newer: &str| {
        let lists = [at(section, older), at(section, newer)].into_iter();
        lists.filter_map(texts).flatten().collect()
    };
    NodeCommands {
        allow: both("/allowCommands", "/commands/allow"),
        deny: both("/denyCommands", "/commands/deny"),
    }
}

fn cron(section: &Value) -> CronSettings {
    let usual = CronSettings::default();
    let count = |pointer| number(at(section, pointer)).and_then(|count| usize::try_from(count).ok());
    let backoff = at(section, "/retry/backoffMs").as_array();
    let retention = at(section, "/sessionRetention");
    CronSettings {
        enabled: at(section, "/enabled").as_bool().unwrap_or(usual.enabled),
        max_concurrent_runs: count("/maxConcurrentRuns")
            .filter(|count| *count > 0)
            .unwrap_or(usual.max_concurrent_runs),
        retry_attempts: count("/retry/maxAttempts").unwrap_or(usual.retry_attempts),
        retry_backoff: backoff
            .map(|list| list.iter().filter_map(millis).collect::<Vec<_>>())
            .filter(|list| !list.is_empty())
            .unwrap_or(usual.retry_backoff),
        session_retention: if *retention == Value::Bool(false) {
            None
        } else {
            text(retention)
                .and_then(|text| span(&text, "h"))
                .or(usual.session_retention)
        },
    }
}

/// `90m`, `24h`, `7d`; a bare number is in `usual`.
pub(in crate::config) fn span(text: &str, usual: &str) -> Option<Duration> {
    let text = text.trim().to_lowercase();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let count: u64 = text.get(..text.len() - unit.len())?.parse().ok()?;
    let unit = match unit.trim() {
        "" => usual,
        unit => unit,
    };
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(count.checked_mul(seconds)?))
}

/// A model and those that stand in for it.
fn chain(section: &Value) -> Vec<String> {
    let others = fallbacks(section).unwrap_or_default();
    model(section).into_iter().chain(others).collect()
}

/// `agents.list[]`, or `agents.entries.<id>` as newer files spell it.
fn agents(doc: &Value, default_model: Option<&str>) -> Vec<AgentSettings> {
    let shared = texts(at(doc, "/messages/groupChat/mentionPatterns"));
    let mut agents: Vec<AgentSettings> = Vec::new();
    for (id, entry) in agent_entries(doc) {
        if agents.iter().any(|agent| agent.id == id) {
            continue;
        }
        let name = text(at(entry, "/name"));
        let identity = at(entry, "/identity").clone();
        agents.push(AgentSettings {
            model: model(at(entry, "/model")).or_else(|| default_model.map(str::to_owned)),
            fallbacks: fallbacks(at(entry, "/model")),
            thinking: thinking(at(entry, "/thinkingDefault")),
            mention_patterns: texts(at(entry, "/groupChat/mentionPatterns"))
                .or_else(|| shared.clone())
                .unwrap_or_else(|| derived_patterns(name.as_deref(), &identity)),
            group_history: group_history(entry),
            id,
            name,
            identity,
            skills: texts(at(entry, "/skills")),
            tools: ToolSet::parse(at(entry, "/tools")),
            loops: LoopSettings::parse(&[at(entry, "/tools/loopDetection"), at(doc, "/tools/loopDetection")]),
            exec: at(entry, "/tools/exec").clone(),
            subagents: SubagentSettings::parse(at(entry, "/subagents"), at(doc, "/agents/defaults/subagents")),
            human_delay: human_delay(entry),
            verbose: verbose(entry),
            reasoning: reasoning(entry),
            fast: fast(entry),
            params: ModelParams::parse(at(entry, "/params")),
        });
    }
    agents
}

fn group_history(of: &Value) -> Option<usize> {
    number(at(of, "/groupChat/historyLimit")).and_then(|count| usize::try_from(count).ok())
}

pub(super) fn agent_entries(doc: &Value) -> Vec<(String, &Value)> {
    let listed = at(doc, "/agents/list").as_array();
    let named = at(doc, "/agents/entries").as_object();
    listed
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((agent_id(&text(at(entry, "/id"))?), entry)))
        .chain(named.into_iter().flatten().map(|(id, entry)| (agent_id(id), entry)))
        .collect()
}

/// `default: true`, else the first, else `main`.
fn default_agent(doc: &Value, agents: &[AgentSettings]) -> String {
    agent_entries(doc)
        .into_iter()
        .find(|(_, entry)| at(entry, "/default").as_bool() == Some(true))
        .map(|(id, _)| id)
        .or_else(|| agents.first().map(|agent| agent.id.clone()))
        .unwrap_or_else(|| DEFAULT_AGENT.to_owned())
}

/// Lower-cased, other characters as `-`, at most 64; `main` when nothing is left.
pub(super) fn agent_id(id: &str) -> String {
    let id: String = id
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .take(64)
        .collect();
    let id = id.trim_start_matches(['-', '_']);
    if id.is_empty() {
        DEFAULT_AGENT.to_owned()
    } else {
        id.to_owned()
    }
}

fn derived_patterns(name: Option<&str>, identity: &Value) -> Vec<String> {
    let name = text(at(identity, "/name")).or_else(|| name.map(str::to_owned));
    let word = name.map(|name| format!(r"\b@?{}\b", regex::escape(&name)));
    let emoji = text(at(identity, "/emoji")).map(|emoji| regex::escape(&emoji));
    word.into_iter().chain(emoji).collect()
}

fn bindings(doc: &Value) -> Vec<Binding> {
    let items = at(doc, "/bindings").as_array();
    items
        .into_iter()
        .flatten()
        .filter_map(|item| {
            let wanted = at(item, "/match");
            let peer = at(wanted, "/peer");
            if !can_be_checked(item) {
                return None;
            }
            Some(Binding {
                agent_id: agent_id(&text(at(item, "/agentId"))?),
                channel: text(at(wanted, "/channel"))?.to_lowercase(),
                account_id: text(at(wanted, "/accountId")),
                peer: text(at(peer, "/id")).map(|id| {
                    let kind = text(at(peer, "/kind")).unwrap_or_else(|| "direct".to_owned());
                    (if kind == "dm" { "direct".to_owned() } else { kind }, id)
                }),
                team_id: text(at(wanted, "/teamId")),
            })
        })
        .collect()
}

/// Is all that a binding asks for known here. One of which a part were passed over would take more than it means.
fn can_be_checked(binding: &Value) -> bool {
    let said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
    let wanted = at(binding, "/match").as_object();
    let known = wanted.into_iter().flatten().all(|(name, value)| {
        let checked = ["channel", "accountId", "teamId"].contains(&name.as_str());
        let peer = name == "peer" && text(at(value, "/id")).is_some();
        checked || peer || !said(value)
    });
    known && text(at(binding, "/type")).is_none_or(|kind| kind == "route")
}

fn session(session: &Value) -> SessionSettings {
    let mut identity_links = HashMap::new();
    for (canonical, ids) in at(session, "/identityLinks").as_object().into_iter().flatten() {
        for id in texts(ids).unwrap_or_default() {
            identity_links.insert(id.to_lowercase(), canonical.clone());
        }
    }
    let rule = match (at(session, "/reset"), number(at(session, "/idleMinutes"))) {
        // Only the legacy key: pure idle mode.
        (Value::Null, Some(minutes)) => ResetRule {
            at_hour: None,
            idle: Some(minutes_of(minutes)),
        },
        (reset, _) => reset_rule(reset),
    };
    let mut by_type = by_name(at(session, "/resetByType"), |rule| Some(reset_rule(rule)));
    // `dm` is the older spelling.
    if let Some(rule) = by_type.remove("dm") {
        by_type.entry("direct".to_owned()).or_insert(rule);
    }
    SessionSettings {
        dm_scope: match text(at(session, "/dmScope")).as_deref() {
            Some("main") => DmScope::Main,
            Some("per-peer") => DmScope::PerPeer,
            Some("per-account-channel-peer") => DmScope::PerAccountChannelPeer,
            _ => DmScope::PerChannelPeer,
        },
        identity_links,
        reset_at_hour: rule.at_hour,
        reset_idle: rule.idle,
        reset_by_type: by_type,
        reset_by_channel: by_name(at(session, "/resetByChannel"), |rule| Some(reset_rule(rule))),
        maintenance: MaintenanceSettings::parse(at(session, "/maintenance")),
        send_policy: SendPolicy::parse(at(session, "/sendPolicy")),
        reset_triggers: texts(at(session, "/resetTriggers")).unwrap_or_default(),
    }
}

fn reset_rule(rule: &Value) -> ResetRule {
    let hour = number(at(rule, "/atHour")).map_or(RESET_HOUR, |hour| u32::try_from(hour).unwrap_or(23).min(23));
    let idle = number(at(rule, "/idleMinutes"));
    match text(at(rule, "/mode")).as_deref() {
        Some("idle") => ResetRule {
            at_hour: None,
            idle: Some(minutes_of(idle.unwrap_or(IDLE_MINUTES))),
        },
        Some("off" | "never" | "none") => ResetRule::default(),
        _ => ResetRule {
            at_hour: Some(hour),
            idle: idle.map(minutes_of),
        },
    }
}

fn minutes_of(minutes: u64) -> Duration {
    Duration::from_secs(minutes.clamp(1, 60 * 24 * 365) * 60)
}

fn queue(queue: &Value) -> QueueSettings {
    let defaults = QueueSettings::default();
    QueueSettings {
        mode: text(at(queue, "/mode"))
            .and_then(|mode| QueueMode::parse(&mode))
            .unwrap_or(defaults.mode),
        by_channel: by_name(at(queue, "/byChannel"), |mode| QueueMode::parse(&text(mode)?)),
        debounce: millis(at(queue, "/debounceMs")).unwrap_or(defaults.debounce),
        debounce_by_channel: by_name(at(queue, "/debounceMsByChannel"), millis),
        cap: number(at(queue, "/cap"))
            .and_then(|cap| usize::try_from(cap).ok())
            .filter(|cap| *cap > 0)
            .map_or(defaults.cap, |cap| cap.min(1000)),
        drop: text(at(queue, "/drop"))
            .and_then(|drop| DropPolicy::parse(&drop))
            .unwrap_or(defaults.drop),
    }
}

impl QueueMode {
    /// The mode of this name; the aliases of `agent-runtime` §5.2 count.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.trim().to_lowercase().as_str() {
            "collect" | "coalesce" => Self::Collect,
            "followup" | "followups" | "follow-up" | "follow-ups" => Self::Followup,
            "steer" | "steering" | "queue" | "queued" => Self::Steer,
            "steer-backlog" | "steer+backlog" | "steer_backlog" => Self::SteerBacklog,
            "interrupt" | "interrupts" | "abort" => Self::Interrupt,
            _ => return None,
        })
    }
}

impl DropPolicy {
    /// The policy of this name; the aliases of `agent-runtime` §5.3 count.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.trim().to_lowercase().as_str() {
            "old" | "oldest" => Self::Old,
            "new" | "newest" => Self::New,
            "summarize" | "summary" => Self::Summarize,
            _ => return None,
        })
    }
}

/// A missing value reads as null.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// A text or number, trimmed; blank is nothing.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array().map(|items| items.iter().filter_map(text).collect())
}

/// A whole number, also as a text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number of bytes, or one with its unit: `512kb`, `2mb`.
pub(super) fn bytes(value: &Value) -> Option<u64> {
    if let Some(plain) = number(value) {
        return Some(plain);
    }
    let text = value.as_str()?.trim().to_lowercase();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let count: u64 = text.get(..text.len() - unit.len())?.parse().ok()?;
    let factor = match unit.trim() {
        "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    count.checked_mul(factor)
}

fn millis(value: &Value) -> Option<Duration> {
    // A minute is the longest wait that still feels like an answer.
    number(value).map(|ms| Duration::from_millis(ms.min(60_000)))
}

fn model(value: &Value) -> Option<String> {
    text(value).or_else(|| text(at(value, "/primary")))
}

/// Telegram's clients send a long text in pieces.
const TELEGRAM_PIECES: Duration = Duration::from_millis(300);

/// `messages.inbound.byChannel`; what is said for all channels holds where nothing is said for one.
fn inbound_by_channel(inbound: &Value) -> HashMap<String, Duration> {
    let mut waits = by_name(at(inbound, "/byChannel"), millis);
    if millis(at(inbound, "/debounceMs")).is_none() {
        waits.entry("telegram".to_owned()).or_insert(TELEGRAM_PIECES);
    }
    waits
}

fn by_name<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> HashMap<String, T> {
    let entries = value.as_object();
    entries
        .into_iter()
        .flatten()
        .filter_map(|(name, entry)| Some((name.clone(), read(entry)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_document_has_the_defaults() {
        for doc in [
            json!({}),
            json!(null),
            json!({"agents": 3, "session": [], "messages": "x", "bindings": {}}),
        ] {
            let settings = UserSettings::parse(&doc);
            assert_eq!(settings.default_agent, "main");
            assert_eq!(settings.agents.len(), 1);
            assert_eq!(settings.session.dm_scope, DmScope::PerChannelPeer);
            assert_eq!(
                (settings.session.reset_at_hour, settings.session.reset_idle),
                (Some(4), None)
            );
            assert_eq!(settings.queue.mode, QueueMode::Collect);
            assert_eq!(
                (settings.queue.cap, settings.queue.debounce),
                (20, Duration::from_secs(1))
            );
            assert_eq!(settings.group_history, 50);
            assert!(settings.run_timeout.is_none() && settings.inbound_debounce.is_zero());
            assert_eq!(settings.inbound_debounce_by_channel["telegram"], TELEGRAM_PIECES);
        }
    }

    #[test]
    fn agents_in_both_spellings() {
        let settings = UserSettings::parse(&json!({
            "agents": {
                "defaults": {
                    "model": {"primary": "anthropic/claude"},
                    "models": {"anthropic/claude": {"alias": "Opus"}, "x/y": {}},
                    "maxConcurrent": "3", "timeoutSeconds": 0, "userTimezone": "Europe/Paris",
                },
                "list": [
                    {"id": "Work Bot", "identity": {"name": "Clawd (x)", "emoji": "🦞"}},
                    {"id": "home", "default": true, "model": "x/y", "groupChat": {"mentionPatterns": ["home"], "historyLimit": 5}},
                    {"name": "no id"},
                ],
                "entries": {"third": {"name": "Third"}, "home": {"model": "ignored/twin"}},
            },
        }));
        let ids: Vec<_> = settings.agents.iter().map(|agent| agent.id.as_str()).collect();
        assert_eq!(ids, ["work-bot", "home", "third"]);
        assert_eq!(settings.default_agent, "home");
        assert_eq!(settings.agents[0].model.as_deref(), Some("anthropic/claude"));
        assert_eq!(settings.agents[1].model.as_deref(), Some("x/y"));
        let history: Vec<_> = settings.agents.iter().map(|agent| agent.group_history).collect();
        assert_eq!(history, [None, Some(5), None]);
        assert_eq!(settings.agents[0].mention_patterns, [r"\b@?Clawd \(x\)\b", "🦞"]);
        assert_eq!(settings.agents[1].mention_patterns, ["home"]);
        assert_eq!(settings.model_aliases["opus"], "anthropic/claude");
        assert_eq!(settings.allowed_models.len(), 2);
        assert_eq!((settings.max_concurrent, settings.run_timeout), (Some(3), Some(None)));
        assert_eq!(settings.time_zone.as_deref(), Some("Europe/Paris"));
    }

    #[test]
    fn resets() {
        let check = |session: Value, hour, idle_minutes: Option<u64>| {
            let settings = UserSettings::parse(&json!({ "session": session })).session;
            let idle = idle_minutes.map(|minutes| Duration::from_secs(minutes * 60));
            assert_eq!((settings.reset_at_hour, settings.reset_idle), (hour, idle), "{session}");
        };
        check(json!({"idleMinutes": 30}), None, Some(30));
        check(json!({"reset": {"mode": "daily", "atHour": 99}}), Some(23), None);
        check(json!({"reset": {"mode": "idle"}}), None, Some(60));
        check(json!({"reset": {"mode": "idle", "idleMinutes": 0}}), None, Some(1));
        check(json!({"reset": {"atHour": 6, "idleMinutes": 120}}), Some(6), Some(120));
        check(json!({"reset": {"mode": "off"}}), None, None);
        let by_type = UserSettings::parse(&json!({"session": {"resetByType": {"group": {"mode": "idle"}}}}));
        assert_eq!(by_type.session.reset_by_type["group"].at_hour, None);
        let older = UserSettings::parse(&json!({"session": {"resetByType": {"dm": {"mode": "off"}}}}));
        assert_eq!(older.session.reset_by_type["direct"], ResetRule::default());
    }

    #[test]
    fn queue_bindings_and_links() {
        let settings = UserSettings::parse(&json!({
            "messages": {
                "queue": {"mode": "queued", "byChannel": {"slack": "abort", "x": "?"}, "cap": 0, "drop": "newest"},
                "responsePrefix": " ", "groupChat": {"historyLimit": 0},
                "inbound": {"debounceMs": 300, "byChannel": {"slack": "50"}},
            },
            "bindings": [
                {"agentId": "work", "match": {"channel": "Telegram", "accountId": "*", "peer": {"kind": "dm", "id": 7}}},
                {"agentId": "work"},
                {"agentId": "work", "type": "acp", "match": {"channel": "telegram"}},
                {"agentId": "work", "match": {"channel": "discord", "guildId": "7"}},
                {"agentId": "work", "match": {"channel": "discord", "roles": ["admin"]}},
                {"agentId": "work", "match": {"channel": "telegram", "peer": {"kind": "group"}}},
                {"agentId": "work", "match": {"channel": "telegram", "new": true}},
                {"agentId": "work", "type": "route", "match": {"channel": "slack", "roles": [], "guildId": null}},
            ],
            "session": {"dmScope": "per-peer", "identityLinks": {"ada": ["telegram:7", "U1"]}},
            "tools": {"deny": ["web_fetch"], "allow": ["read"]},
        }));
        assert_eq!(settings.queue.mode, QueueMode::Steer);
        assert_eq!(settings.queue.by_channel.len(), 1);
        assert_eq!((settings.queue.cap, settings.queue.drop), (20, DropPolicy::New));
        assert_eq!((settings.group_history, settings.response_prefix), (0, None));
        assert_eq!(settings.inbound_debounce_by_channel["slack"], Duration::from_millis(50));
        let channels: Vec<_> = settings.bindings.iter().map(|binding| &binding.channel).collect();
        assert_eq!(channels, ["telegram", "slack"], "what cannot be checked fits nowhere");
        let binding = &settings.bindings[0];
        assert_eq!(
            (binding.channel.as_str(), binding.account_id.as_deref()),
            ("telegram", Some("*"))
        );
        assert_eq!(binding.peer, Some(("direct".to_owned(), "7".to_owned())));
        assert_eq!(settings.session.dm_scope, DmScope::PerPeer);
        assert_eq!(settings.session.identity_links["u1"], "ada");
        assert_eq!(settings.tools.set.rules.allow, Some(vec!["read".to_owned()]));
    }

    #[test]
    fn scheduled_jobs_have_their_own_settings() {
        let read = |section: Value| UserSettings::parse(&json!({"cron": section})).cron;
        let usual = read(Value::Null);
        assert_eq!(
            (usual.enabled, usual.max_concurrent_runs, usual.retry_attempts),
            (true, 1, 3)
        );
        assert_eq!(usual.session_retention, Some(Duration::from_secs(86_400)));
        let chosen = read(
            json!({"enabled": false, "maxConcurrentRuns": 4, "sessionRetention": "90m",
            "retry": {"maxAttempts": 1, "backoffMs": [7]}}),
        );
        assert_eq!(
            (chosen.enabled, chosen.max_concurrent_runs, chosen.retry_attempts),
            (false, 4, 1)
        );
        assert_eq!(chosen.session_retention, Some(Duration::from_secs(5400)));
        assert_eq!(chosen.retry_backoff, [Duration::from_millis(7)]);
        assert_eq!(read(json!({"sessionRetention": false})).session_retention, None);
        let odd = read(json!({"maxConcurrentRuns": 0, "sessionRetention": "soon", "retry": {"backoffMs": []}}));
        assert_eq!(
            (odd.max_concurrent_runs, odd.session_retention),
            (1, usual.session_retention)
        );
        assert_eq!(odd.retry_backoff, usual.retry_backoff);
    }
}
