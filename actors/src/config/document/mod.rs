//! A user's OpenClaw configuration document and the typed view the runtime works from.

mod access_groups;
mod acks;
mod agents;
mod approvals;
mod commands;
mod fetch;
mod glob;
mod hearing;
mod heartbeat;
mod hooks;
mod loops;
mod maintenance;
mod manner;
mod mcp;
mod memory;
mod models;
mod parse;
mod reply;
mod room;
mod search;
mod secrets;
mod send_policy;
mod speech;
pub(in crate::config) mod store;
mod tools;

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::ports::model::Thinking;

pub use access_groups::AccessGroups;
pub use acks::AckSettings;
pub use agents::AgentChange;
pub use approvals::{ApprovalSettings, MOST_TARGETS as MOST_APPROVAL_TARGETS};
pub use commands::CommandSettings;
pub use fetch::FetchSettings;
pub(crate) use glob::glob;
pub use hearing::HearingSettings;
pub use heartbeat::{ActiveHours, HeartbeatSettings, HeartbeatTarget, pause, time_of_day};
pub use hooks::{HookAction, HookSettings, Mapping};
pub use loops::LoopSettings;
pub use maintenance::MaintenanceSettings;
pub use manner::{MannerSettings, TypingMode};
pub use mcp::{MOST_SERVERS as MOST_MCP_SERVERS, McpServer, McpSettings, is_transport as is_mcp_transport};
pub use memory::{Embedder, MOST_RESULTS, MemorySettings};
pub use models::{Cooldowns, ModelParams, ModelSettings};
pub(in crate::config) use parse::span;
pub use reply::{BlockBreak, BlockSettings, Bounds, Break, Cut, HumanDelay, Joining, ReplySettings};
pub use room::{CompactionMode, CompactionSettings, FlushSettings, Identifiers, PruningSettings, RoomSettings};
pub use search::{SearchEngine, SearchPlace, SearchSettings};
pub use secrets::{REDACTED, is_secret_key, redact};
pub use send_policy::{SendPolicy, SendTarget};
pub use speech::SpeechSettings;
pub use store::{MAX_BYTES, hash};
pub use tools::{EnclosureSettings, SubagentSettings, ToolRules, ToolSet, ToolSettings, Visibility};

/// The stored document.
#[derive(Clone, Debug)]
pub struct Document {
    pub doc: Value,
    pub revision: i64,
    /// What `config.get` shows as `hash`: writers compare it.
    pub hash: String,
}

/// What the runtime reads from a document, parsed once and cached.
#[derive(Clone, Debug, Default)]
pub struct UserSettings {
    pub access_groups: AccessGroups,
    /// `messages.ackReaction`.
    pub acks: AckSettings,
    pub agents: Vec<AgentSettings>,
    pub default_agent: String,
    /// `agents.defaults.model`: what an agent without one of its own uses.
    pub default_model: Option<String>,
    /// Lower-cased alias → `provider/model`, from `agents.defaults.models`.
    pub model_aliases: HashMap<String, String>,
    /// Refs of `agents.defaults.models`: when there are any, nothing else may be picked.
    pub allowed_models: Vec<String>,
    /// What stands in for a model, and how its provider's keys are used.
    pub models: ModelSettings,
    pub bindings: Vec<Binding>,
    pub session: SessionSettings,
    pub queue: QueueSettings,
    /// `agents.defaults.maxConcurrent`.
    pub max_concurrent: Option<usize>,
    /// `agents.defaults.timeoutSeconds`; `Some(None)` means none.
    pub run_timeout: Option<Option<Duration>>,
    /// `agents.defaults.userTimezone`, else the profile's.
    pub time_zone: Option<String>,
    /// `messages.responsePrefix`.
    pub response_prefix: Option<String>,
    /// `messages.groupChat.historyLimit`.
    pub group_history: usize,
    /// `messages.inbound.debounceMs` and `byChannel`.
    pub inbound_debounce: Duration,
    pub inbound_debounce_by_channel: HashMap<String, Duration>,
    /// `agents.defaults.skills`: the only skills of agents without a list of their own.
    pub default_skills: Option<Vec<String>>,
    pub tools: ToolSettings,
    /// `agents.defaults.subagents`, for agents that are not configured.
    pub default_subagents: SubagentSettings,
    pub cron: CronSettings,
    /// `agents.defaults.contextTokens`, `compaction` and `contextPruning`.
    pub room: RoomSettings,
    /// `agents.defaults.blockStreaming*` and `humanDelay`.
    pub reply: ReplySettings,
    /// Headers, "… is typing", sizes of files in the prompt.
    pub manner: MannerSettings,
    pub commands: CommandSettings,
    /// Agents that look by themselves.
    pub heartbeats: Vec<HeartbeatSettings>,
    pub nodes: NodeCommands,
    /// `approvals.exec`.
    pub approvals: ApprovalSettings,
    /// `gateway.tools`: what programs may call over HTTP.
    pub http_tools: HttpTools,
    pub hooks: HookSettings,
    /// `mcp`.
    pub mcp: McpSettings,
    /// `agents.defaults.memorySearch`, for agents that are not configured, and each agent's by id.
    pub default_memory: MemorySettings,
    pub memories: Vec<(String, MemorySettings)>,
    /// `messages.tts`.
    pub speech: SpeechSettings,
    /// `tools.media.audio`.
    pub hearing: HearingSettings,
    /// `agents.defaults.imageModel`: models that look at images, in the order they are tried.
    pub image_models: Vec<String>,
    /// `agents.defaults.pdfModel`: models that read documents; none: those that look at images.
    pub pdf_models: Vec<String>,
}

/// `gateway.tools`: patterns of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpTools {
    /// Of those that are kept back otherwise.
    pub allow: Vec<String>,
    /// Not called, whatever else is said.
    pub deny: Vec<String>,
}

/// `gateway.nodes`: exact names of commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCommands {
    /// Allowed although they are off by default.
    pub allow: Vec<String>,
    /// Not allowed, whatever else is said.
    pub deny: Vec<String>,
}

/// `cron`.
#[derive(Clone, Debug)]
pub struct CronSettings {
    pub enabled: bool,
    /// Agent turns of scheduled jobs that go on at once.
    pub max_concurrent_runs: usize,
    /// `cron.retry`: how often a one-shot job is tried again after a failure that may pass, and after what pauses.
    pub retry_attempts: usize,
    pub retry_backoff: Vec<Duration>,
    /// `cron.sessionRetention`: how long transcripts of ended isolated runs stay; `None` = for good.
    pub session_retention: Option<Duration>,
}

impl Default for CronSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            max_concurrent_runs: 1,
            retry_attempts: 3,
            retry_backoff: [30, 60, 300].map(Duration::from_secs).to_vec(),
            session_retention: Some(Duration::from_secs(24 * 3600)),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct AgentSettings {
    pub id: String,
    pub name: Option<String>,
    /// `model` or `model.primary`, else the defaults'.
    pub model: Option<String>,
    /// `model.fallbacks`, where the agent has a list of its own.
    pub fallbacks: Option<Vec<String>>,
    /// `thinkingDefault`.
    pub thinking: Option<Thinking>,
    /// Regular expressions without case: the configured ones, else made from the agent's name and emoji.
    pub mention_patterns: Vec<String>,
    /// `groupChat.historyLimit`, where the agent has one of its own.
    pub group_history: Option<usize>,
    pub identity: Value,
    /// The only skills it has, where it has a list.
    pub skills: Option<Vec<String>>,
    /// Takes away from what all agents may use, and never adds to it.
    pub tools: ToolSet,
    /// `tools.loopDetection`, its own before that for all.
    pub loops: LoopSettings,
    /// Its own `tools.exec`, as it stands.
    pub exec: Value,
    pub subagents: SubagentSettings,
    /// `humanDelay`, where the agent has one of its own.
    pub human_delay: Option<HumanDelay>,
    /// `verboseDefault`, `reasoningDefault` and `fastModeDefault`, where the agent has some of its own.
    pub verbose: Option<&'static str>,
    pub reasoning: Option<&'static str>,
    pub fast: Option<&'static str>,
    /// `params`.
    pub params: ModelParams,
}

/// `{agentId, match{channel, accountId?, peer?, teamId?}}`.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    pub agent_id: String,
    pub channel: String,
    /// `None` = the default account only; `*` = any.
    pub account_id: Option<String>,
    pub peer: Option<(String, String)>,
    pub team_id: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DmScope {
    Main,
    PerPeer,
    #[default]
    PerChannelPeer,
    PerAccountChannelPeer,
}

#[derive(Clone, Debug, Default)]
pub struct SessionSettings {
    pub dm_scope: DmScope,
    /// Lower-cased peer id or `channel:peer` → canonical name.
    pub identity_links: HashMap<String, String>,
    /// `session.reset`: daily hour, idle minutes. `None` = never by itself.
    pub reset_at_hour: Option<u32>,
    pub reset_idle: Option<Duration>,
    /// `session.resetByType`: `direct`, `group`, `thread`.
    pub reset_by_type: HashMap<String, ResetRule>,
    /// `session.resetByChannel`; overrides the rest completely.
    pub reset_by_channel: HashMap<String, ResetRule>,
    /// `session.maintenance`.
    pub maintenance: MaintenanceSettings,
    /// `session.sendPolicy`.
    pub send_policy: SendPolicy,
    /// `session.resetTriggers`, beside `/new` and `/reset`.
    pub reset_triggers: Vec<String>,
}

/// When a session goes stale; neither = never by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetRule {
    pub at_hour: Option<u32>,
    pub idle: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueMode {
    #[default]
    Collect,
    Followup,
    Steer,
    SteerBacklog,
    Interrupt,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropPolicy {
    Old,
    New,
    #[default]
    Summarize,
}

/// `messages.queue`, with the defaults of `agent-runtime` §5.3.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    pub mode: QueueMode,
    pub by_channel: HashMap<String, QueueMode>,
    pub debounce: Duration,
    pub debounce_by_channel: HashMap<String, Duration>,
    pub cap: usize,
    pub drop: DropPolicy,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            mode: QueueMode::Collect,
            by_channel: HashMap::new(),
            debounce: Duration::from_secs(1),
            debounce_by_channel: HashMap::new(),
            cap: 20,
            drop: DropPolicy::Summarize,
        }
    }
}
