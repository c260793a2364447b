//! `hooks`: what programs elsewhere may start here.

use super::super::{Key, Kind, elsewhere, live};
use super::TEXTS;

const OWN_TOKENS: &str = "tokens of hooks are made under /api/hook-tokens or with `clawcentral hook-token create`";

pub(super) const HOOKS: &[Key] = &[
    live("enabled", Kind::Bool, "False: nobody gets in."),
    live("maxBodyBytes", Kind::Whole, "Largest body, bytes; at most 2097152."),
    live(
        "defaultSessionKey",
        Kind::Text,
        "The session of agent hooks that name none; absent: each has its own.",
    ),
    live(
        "allowRequestSessionKey",
        Kind::Bool,
        "Whether a request may name its session.",
    ),
    live(
        "allowedSessionKeyPrefixes",
        TEXTS,
        "Beginnings such a name must have, e.g. hook:.",
    ),
    live("allowedAgentIds", TEXTS, "Agents that hooks may run; absent or *: any."),
    live(
        "mappings",
        Kind::List(&Kind::Object(&[MAPPING])),
        "What payloads of other forms become.",
    ),
    elsewhere("token", OWN_TOKENS),
    elsewhere("path", "hooks are at /hooks"),
    elsewhere("transformsDir", "a mapping is data only"),
    elsewhere("presets", "not available yet"),
    elsewhere("gmail", "not available yet"),
    live("internal", Kind::Object(&[INTERNAL]), "What happens here by itself."),
];

const INTERNAL: &[Key] = &[
    live("enabled", Kind::Bool, "False: nothing does."),
    live("entries", Kind::Object(&[ENTRIES]), ""),
    elsewhere("handlers", "programs are not run here"),
    elsewhere("load", "programs are not run here"),
    elsewhere("installs", "programs are not run here"),
];

const ENTRIES: &[Key] = &[
    live(
        "session-memory",
        Kind::Object(&[SESSION_MEMORY]),
        "/new and /reset write what was said last into memory/.",
    ),
    elsewhere("boot-md", "there is no start of a gateway of one's own"),
    elsewhere("bootstrap-extra-files", "not available yet"),
    elsewhere("command-logger", "commands are in the audit log"),
    elsewhere("compaction-notifier", "clients are told by events"),
];

const SESSION_MEMORY: &[Key] = &[
    live("enabled", Kind::Bool, "True unless it says false."),
    live("messages", Kind::Whole, "How many messages; 15, at most 100."),
];

const MATCH: &[Key] = &[
    live("path", Kind::Text, "What stands behind /hooks/."),
    live("source", Kind::Text, "The payload's field source."),
];

const MAPPING: &[Key] = &[
    live("id", Kind::Text, "Its name; its token is made for it."),
    live("match", Kind::Object(&[MATCH]), "Which requests it is for."),
    live("action", Kind::Choice(&["wake", "agent"]), "What a request starts."),
    live(
        "wakeMode",
        Kind::Choice(&["now", "next-heartbeat"]),
        "When the main session hears of it.",
    ),
    live("name", Kind::Text, "What people call it."),
    live("agentId", Kind::Text, "Who is asked."),
    live("sessionKey", Kind::Text, "The session; a template."),
    live(
        "messageTemplate",
        Kind::Text,
        "What the agent is asked; {{path.to[0].field}} is filled in.",
    ),
    live("textTemplate", Kind::Text, "What the main session is told (wake)."),
    live("deliver", Kind::Bool, "Whether the answer goes to a chat."),
    live("channel", Kind::Text, "Channel id, or last."),
    live("to", Kind::Text, "Whom or where; a template."),
    live("model", Kind::Text, "Another model than the agent's own."),
    live("thinking", Kind::Text, "How long it thinks."),
    live("timeoutSeconds", Kind::Whole, "Longest run."),
    live(
        "allowUnsafeExternalContent",
        Kind::Bool,
        "True: the payload is not marked as somebody else's words.",
    ),
    elsewhere("transform", "a mapping is data only"),
];
