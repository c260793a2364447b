//! The table itself: sections of the file, and what belongs to the whole of it.

mod agents;
mod auth;
mod channels;
mod gateway;
mod hooks;
mod mcp;
mod memory;
mod models;
mod room;
mod speech;
mod tools;

pub use channels::{PLATFORMS, Platform};
pub use tools::BUILT_IN_TOOLS;

use super::{Form, Key, Kind, State, bookkeeping, elsewhere, kept, live};

const TEXTS: Kind = Kind::List(&Kind::Text);
const WHOLE_MAP: Kind = Kind::Map(&Kind::Whole);
const ANY_MAP: Kind = Kind::Map(&Kind::Any);

/// The whole file.
pub const ROOT: Kind = Kind::Object(&[SECTIONS, ELSEWHERE]);

const SECTIONS: &[Key] = &[
    live(
        "agents",
        Kind::Object(&[agents::AGENTS]),
        "The agents and what they have in common.",
    ),
    live(
        "bindings",
        Kind::List(&Kind::Object(&[BINDING])),
        "Which agent answers where.",
    ),
    live(
        "session",
        Kind::Object(&[SESSION]),
        "How conversations are kept apart and end.",
    ),
    live(
        "messages",
        Kind::Object(&[MESSAGES]),
        "How messages are taken in and answered.",
    ),
    live(
        "accessGroups",
        Kind::Map(&Kind::Object(&[ACCESS_GROUP])),
        "Lists of senders with a name; allowlists of channels hold them as accessGroup:<name>.",
    ),
    live("cron", Kind::Object(&[CRON]), "Scheduled jobs."),
    live(
        "hooks",
        Kind::Object(&[hooks::HOOKS]),
        "What programs elsewhere may start here (/hooks).",
    ),
    live(
        "skills",
        Kind::Object(&[SKILLS]),
        "Which skills are on, and their keys.",
    ),
    live(
        "gateway",
        Kind::Object(&[gateway::GATEWAY, gateway::SERVICE]),
        "What clients may do. The rest of it is this service.",
    ),
    live("tools", Kind::Object(tools::TOOLS), "Which tools agents may use."),
    live(
        "mcp",
        Kind::Object(&[mcp::MCP]),
        "Servers elsewhere that offer tools (MCP).",
    ),
    live(
        "auth",
        Kind::Object(&[auth::AUTH]),
        "Which key of an AI provider is used when; the keys are with the provider.",
    ),
    live(
        "approvals",
        Kind::Object(&[APPROVALS]),
        "Chats that are told of commands which wait for a person's word.",
    ),
    live("commands", Kind::Object(&[COMMANDS]), "What commands in chats may do."),
    live("ui", Kind::Object(&[UI]), "What clients look like."),
    live(
        "models",
        Kind::Object(&[models::MODELS]),
        "AI providers of the tenant; owners and admins change them.",
    ),
    live(
        "channels",
        Kind::Object(channels::CHANNELS),
        "Bots of the tenant; owners and admins change them.",
    ),
];

/// Sections without meaning here, and why.
const ELSEWHERE: &[Key] = &[
    bookkeeping("$schema"),
    bookkeeping("meta"),
    bookkeeping("wizard"),
    elsewhere("acp", "no local coding agents in the cloud"),
    elsewhere("audio", "not available yet"),
    elsewhere("broadcast", "not available yet"),
    elsewhere("browser", "a browser belongs to a paired device"),
    elsewhere("canvasHost", "a canvas belongs to a paired device"),
    elsewhere("cli", "settings of the local command line"),
    elsewhere("diagnostics", "the operator's business"),
    elsewhere("discovery", "there is no local network to be found in"),
    elsewhere("env", "its values were used where the file refers to them"),
    elsewhere("logging", "the operator's business"),
    elsewhere("media", "not available yet"),
    elsewhere("memory", "memory is kept in the workspace"),
    elsewhere("nodeHost", "a setting of the device"),
    elsewhere("plugins", "plugins cannot run in the cloud"),
    elsewhere("secrets", "secrets are sealed by this service"),
    elsewhere("talk", "not available yet"),
    elsewhere("update", "updates are the operator's business"),
    elsewhere("web", "WhatsApp Web needs a machine of your own"),
];

const ACCESS_GROUP: &[Key] = &[
    live(
        "type",
        Kind::Text,
        "message.senders: people by their ids. Groups of another type have no members here.",
    ),
    live(
        "members",
        Kind::Map(&Kind::List(&Kind::Id)),
        "Sender ids by channel; * for all channels. * as an id is nobody.",
    ),
];

const APPROVALS: &[Key] = &[
    live("exec", Kind::Object(&[EXEC_APPROVALS]), "Commands on devices."),
    elsewhere("plugin", "plugins cannot run in the cloud"),
];

const EXEC_APPROVALS: &[Key] = &[
    live("enabled", Kind::Bool, "Off unless switched on."),
    live(
        "mode",
        Kind::Choice(&["session", "targets", "both"]),
        "The chat of the session that asks, the targets, or both.",
    ),
    live("agentFilter", Kind::List(&Kind::Text), "Only of these agents."),
    live(
        "sessionFilter",
        Kind::List(&Kind::Text),
        "Only of sessions whose key holds one of these, or fits it as an expression.",
    ),
    live(
        "targets",
        Kind::List(&Kind::Object(&[APPROVAL_TARGET])),
        "Chats of yours.",
    ),
];

const APPROVAL_TARGET: &[Key] = &[
    live("channel", Kind::Text, "telegram, slack, …"),
    live("to", Kind::Id, "The platform's id of the chat."),
    live("accountId", Kind::Text, "The bot, if not the default one."),
    live("threadId", Kind::Id, "Topic or thread."),
];

const COMMANDS: &[Key] = &[
    live(
        "config",
        Kind::Bool,
        "Whether /config shows and changes the configuration in the owner's own chats.",
    ),
    kept("text", Kind::Bool),
    kept("native", Kind::Any),
    kept("nativeSkills", Kind::Any),
    kept("bash", Kind::Bool),
    kept("bashForegroundMs", Kind::Whole),
    kept("mcp", Kind::Bool),
    kept("plugins", Kind::Bool),
    kept("debug", Kind::Bool),
    kept("restart", Kind::Bool),
    kept("useAccessGroups", Kind::Bool),
    live(
        "allowFrom",
        Kind::Map(&Kind::List(&Kind::Id)),
        "By channel, or *: guests whose commands are heard; others' are passed over.",
    ),
    kept("ownerAllowFrom", Kind::Any),
    kept("ownerDisplay", Kind::Text),
    kept("ownerDisplaySecret", Kind::Secret),
];

const PEER: &[Key] = &[
    live("kind", Kind::Choice(&["direct", "dm", "group", "channel"]), ""),
    live("id", Kind::Id, ""),
];

const MATCH: &[Key] = &[
    live("channel", Kind::Text, "Channel id, e.g. telegram."),
    live("accountId", Kind::Text, "Absent: the default account; *: any."),
    live("peer", Kind::Object(&[PEER]), "One chat."),
    live("teamId", Kind::Text, "One workspace or team."),
    unchecked("guildId", Kind::Id),
    unchecked("roles", TEXTS),
];

/// What a binding can ask for and nobody here can tell.
const fn unchecked(name: &'static str, kind: Kind) -> Key {
    Key {
        state: State::Kept("cannot be checked here: a binding with it fits nowhere"),
        ..kept(name, kind)
    }
}

const BINDING: &[Key] = &[
    live("agentId", Kind::Text, "Who answers."),
    live("match", Kind::Object(&[MATCH]), "Where."),
    kept("comment", Kind::Text),
    live(
        "type",
        Kind::Text,
        "route, or left out; a binding of another type fits nowhere.",
    ),
];

const TYPING: Kind = Kind::Choice(&["never", "instant", "thinking", "message"]);

const RESET_KIND: Kind = Kind::Object(&[RESET]);
const RESET: &[Key] = &[
    live(
        "mode",
        Kind::Choice(&["daily", "idle", "off", "never", "none"]),
        "When a conversation starts over by itself.",
    ),
    live(
        "atHour",
        Kind::Whole,
        "Hour of the day, 0 to 23, in the user's time zone.",
    ),
    live("idleMinutes", Kind::Whole, "Minutes without a message."),
];

const PING_PONG: &[Key] = &[live(
    "maxPingPongTurns",
    Kind::Whole,
    "How often they answer each other before they are stopped; at most 5.",
)];

const SEND_MATCH: &[Key] = &[
    live("channel", Kind::Text, "Channel id, e.g. slack."),
    live("chatType", Kind::Choice(&["direct", "dm", "group", "channel"]), ""),
    live(
        "keyPrefix",
        Kind::Text,
        "Of the session's key, with or without agent:<id>:.",
    ),
    live("rawKeyPrefix", Kind::Text, "Of the session's whole key."),
];

const SEND_RULE: &[Key] = &[
    live("action", Kind::Choice(&["allow", "deny"]), "deny goes before allow."),
    live("match", Kind::Object(&[SEND_MATCH]), "All that is named has to fit."),
];

const SEND_POLICY: &[Key] = &[
    live("default", Kind::Choice(&["allow", "deny"]), "Where no rule fits."),
    live(
        "rules",
        Kind::List(&Kind::Object(&[SEND_RULE])),
        "Which sessions may answer.",
    ),
];

const MAINTENANCE: &[Key] = &[
    live(
        "mode",
        Kind::Choice(&["warn", "enforce"]),
        "enforce deletes; warn, the default, only says so in the log.",
    ),
    live(
        "pruneAfter",
        Kind::Either(&[Kind::Text, Kind::Whole]),
        "Sessions unused for longer go, e.g. 30d.",
    ),
    live("pruneDays", Kind::Whole, "Older spelling of pruneAfter."),
    live(
        "maxEntries",
        Kind::Whole,
        "Of more sessions the oldest go; 500 by default.",
    ),
    live(
        "resetArchiveRetention",
        Kind::Either(&[Kind::Text, Kind::Whole, Kind::Bool]),
        "How long what was said before a reset stays; false: for good.",
    ),
    elsewhere("rotateBytes", "this service keeps the data"),
    elsewhere("maxDiskBytes", "this service keeps the data"),
    elsewhere("highWaterBytes", "this service keeps the data"),
];

const SESSION: &[Key] = &[
    live(
        "dmScope",
        Kind::Choice(&["main", "per-peer", "per-channel-peer", "per-account-channel-peer"]),
        "Who shares a conversation in direct chats.",
    ),
    live(
        "identityLinks",
        Kind::Map(&TEXTS),
        "Chat identities of one person, by their name.",
    ),
    live("reset", RESET_KIND, "When a conversation starts over by itself."),
    live(
        "resetByType",
        Kind::Map(&RESET_KIND),
        "By kind of chat: direct, group, thread.",
    ),
    live(
        "resetByChannel",
        Kind::Map(&RESET_KIND),
        "By channel; goes before the rest.",
    ),
    live("resetTriggers", TEXTS, "Words that start over, beside /new and /reset."),
    live("idleMinutes", Kind::Whole, "Older spelling of reset.idleMinutes."),
    kept("scope", Kind::Text),
    kept("groupScope", Kind::Text),
    live("sendPolicy", Kind::Object(&[SEND_POLICY]), "Where answers may go."),
    kept("mainKey", Kind::Text),
    kept("parentForkMaxTokens", Kind::Whole),
    live(
        "agentToAgent",
        Kind::Object(&[PING_PONG]),
        "How two conversations of agents answer each other.",
    ),
    live("typingMode", TYPING, "As agents.defaults.typingMode; goes before it."),
    live(
        "typingIntervalSeconds",
        Kind::Whole,
        "As agents.defaults.typingIntervalSeconds.",
    ),
    kept("threadBindings", Kind::Any),
    elsewhere("store", "this service keeps the data"),
    live(
        "maintenance",
        Kind::Object(&[MAINTENANCE]),
        "When sessions that nobody uses go away.",
    ),
];

const QUEUE_MODE: Kind = Kind::Formed(&Form {
    what: "one of collect, followup, steer, steer-backlog, interrupt",
    fits: |text| crate::config::document::QueueMode::parse(text).is_some(),
});
const DROP_POLICY: Kind = Kind::Formed(&Form {
    what: "one of old, new, summarize",
    fits: |text| crate::config::document::DropPolicy::parse(text).is_some(),
});

const QUEUE: &[Key] = &[
    live(
        "mode",
        QUEUE_MODE,
        "What happens to messages that come while an answer is written.",
    ),
    live("byChannel", Kind::Map(&QUEUE_MODE), "The mode by channel."),
    live(
        "debounceMs",
        Kind::Whole,
        "Milliseconds to wait for more; at most 60000.",
    ),
    live("debounceMsByChannel", WHOLE_MAP, "The wait by channel, milliseconds."),
    live("cap", Kind::Whole, "Messages that may wait; at most 1000."),
    live("drop", DROP_POLICY, "Which go when more wait."),
];

const INBOUND: &[Key] = &[
    live(
        "debounceMs",
        Kind::Whole,
        "Milliseconds in which messages of one sender become one; at most 60000. Telegram has 300 of its own.",
    ),
    live("byChannel", WHOLE_MAP, "The same by channel, milliseconds."),
];

const PATTERN: Kind = Kind::Formed(&Form {
    what: "a regular expression",
    fits: |text| regex::Regex::new(text).is_ok(),
});

const GROUP_CHAT: &[Key] = &[
    live(
        "historyLimit",
        Kind::Whole,
        "Messages of a group the agent is shown as context.",
    ),
    live(
        "mentionPatterns",
        Kind::List(&PATTERN),
        "Regular expressions that count as a mention of the agent.",
    ),
];

const MESSAGES: &[Key] = &[
    live("responsePrefix", Kind::Text, "Stands before every answer in a chat."),
    live(
        "queue",
        Kind::Object(&[QUEUE]),
        "Messages that come while an answer is written.",
    ),
    live(
        "inbound",
        Kind::Object(&[INBOUND]),
        "Messages that come quickly one after another.",
    ),
    live("groupChat", Kind::Object(&[GROUP_CHAT]), "Groups."),
    kept("messagePrefix", Kind::Text),
    live(
        "ackReaction",
        Kind::Text,
        "The reaction to a message that was seen: the agent's emoji, else 👀. Empty: none.",
    ),
    live(
        "ackReactionScope",
        Kind::Choice(&["group-mentions", "group-all", "direct", "all", "off", "none"]),
        "Which messages get it.",
    ),
    live("removeAckAfterReply", Kind::Bool, "It goes when the answer is there."),
    live("tts", speech::TTS, "Reading aloud."),
    kept("suppressToolErrors", Kind::Bool),
    kept("statusReactions", Kind::Any),
];

const CRON: &[Key] = &[
    live("enabled", Kind::Bool, "Whether scheduled jobs run."),
    live(
        "maxConcurrentRuns",
        Kind::Whole,
        "Scheduled answers being written at the same time.",
    ),
    live(
        "sessionRetention",
        Kind::Any,
        "How long transcripts of ended runs stay, e.g. 24h; false: for good.",
    ),
    live("retry", Kind::Any, "When a one-shot job that failed is tried again."),
    elsewhere("jobs", "jobs are added one by one, see cron.add"),
    elsewhere("failureAlert", "each job has its own"),
    elsewhere("failureDestination", "each job has its own"),
    elsewhere("store", "this service keeps the data"),
    elsewhere("webhook", "each job has its own address"),
    live(
        "webhookToken",
        Kind::Secret,
        "Sent as bearer token with the results that jobs post to web addresses.",
    ),
    elsewhere("runLog", "this service keeps the data"),
];

const SKILL_ENTRY: &[Key] = &[
    live("enabled", Kind::Bool, "False: the agent does not know of it."),
    live("apiKey", Kind::Secret, "Fills the skill's main variable."),
    live("env", Kind::Map(&Kind::Secret), "Variables the skill asks for."),
    live(
        "secretHosts",
        TEXTS,
        "Hosts that the agent may send the key and the variables to, in headers of a request.",
    ),
    live(
        "guests",
        Kind::Bool,
        "True: others who write to the agent may call it by its command.",
    ),
    kept("config", Kind::Any),
];

const SKILLS: &[Key] = &[
    live(
        "entries",
        Kind::Map(&Kind::Object(&[SKILL_ENTRY])),
        "Skills, by their keys.",
    ),
    kept("allowBundled", TEXTS),
    kept("limits", Kind::Any),
    elsewhere("load", ""),
    elsewhere("install", ""),
];

const COLOR: Kind = Kind::Formed(&Form {
    what: "a color such as #12ab34",
    fits: |text| {
        let digits = text.strip_prefix('#').unwrap_or(text);
        digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    },
});

const ASSISTANT: &[Key] = &[
    live(
        "name",
        Kind::Text,
        "Name clients show for an agent without one of its own.",
    ),
    live("avatar", Kind::Text, "Letter, emoji or address of an image."),
];

const UI: &[Key] = &[
    live("seamColor", COLOR, "Accent color of clients."),
    live("assistant", Kind::Object(&[ASSISTANT]), "How the assistant is shown."),
];
