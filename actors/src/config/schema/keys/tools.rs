//! `tools`: what agents may use, and how far it reaches.

use super::super::{Hint, Key, Kind, elsewhere, kept, live};
use super::TEXTS;
use crate::session::tool_policy;

/// The tools of this service. A test compares them with those there are.
pub const BUILT_IN_TOOLS: &[&str] = &[
    "agents_list",
    "canvas",
    "cron",
    "edit",
    "exec",
    "gateway",
    "image",
    "ls",
    "memory_get",
    "memory_read",
    "memory_search",
    "memory_write",
    "message",
    "nodes",
    "pdf",
    "read",
    "session_status",
    "sessions_history",
    "sessions_list",
    "sessions_send",
    "sessions_spawn",
    "sessions_yield",
    "subagents",
    "tts",
    "web_fetch",
    "web_search",
    "write",
];

const PATTERNS: Kind = Kind::List(&Kind::Hinted(&Hint {
    otherwise: "fits none of the built-in tools",
    fits: |pattern| tool_policy::means_any(pattern, BUILT_IN_TOOLS),
}));

const PROFILE: Kind = Kind::Choice(&["minimal", "coding", "messaging", "full"]);

/// Rules of one place.
pub(super) const RULES: &[Key] = &[
    live("profile", PROFILE, "A usual choice of tools to begin with."),
    live("alsoAllow", PATTERNS, "Tools beside those of the profile."),
    live(
        "allow",
        PATTERNS,
        "Only these tools or groups, e.g. group:web. A list in which nothing fits any tool is passed over.",
    ),
    live("deny", PATTERNS, "Never these tools or groups."),
];
const RULES_KIND: Kind = Kind::Object(&[RULES]);

/// Rules that count with some providers or models only.
pub(super) const BY_PROVIDER: &[Key] = &[live(
    "byProvider",
    Kind::Map(&RULES_KIND),
    "Rules for one provider, or one provider/model.",
)];

const SESSIONS: &[Key] = &[live(
    "visibility",
    Kind::Choice(&["self", "tree", "agent", "all"]),
    "Which sessions an agent sees: its own, those it began too, all of the agent, or all.",
)];

const AGENT_TO_AGENT: &[Key] = &[
    live("enabled", Kind::Bool, "Whether agents may reach each other's sessions."),
    live("allow", TEXTS, "Agents that may, by id; * for all."),
];

const DETECTORS: &[Key] = &[
    live(
        "genericRepeat",
        Kind::Bool,
        "Calls repeated with the same arguments: the model is told.",
    ),
    live(
        "knownPollNoProgress",
        Kind::Bool,
        "Calls that give nothing new: they are stopped.",
    ),
    live("pingPong", Kind::Bool, "Two calls that take turns."),
];

pub(super) const LOOPS: &[Key] = &[
    live(
        "enabled",
        Kind::Bool,
        "Whether calls that go round in circles are stopped.",
    ),
    live(
        "historySize",
        Kind::Whole,
        "Calls that are looked back at (30); a threshold above it is never reached.",
    ),
    live(
        "warningThreshold",
        Kind::Whole,
        "From so many like calls on the model is told (10).",
    ),
    live(
        "criticalThreshold",
        Kind::Whole,
        "From so many on that gave nothing new, the call is not made (20).",
    ),
    live(
        "globalCircuitBreakerThreshold",
        Kind::Whole,
        "So many calls in which next to nothing happened stop the next (30).",
    ),
    live(
        "detectors",
        Kind::Object(&[DETECTORS]),
        "What is looked for; each is on.",
    ),
];

/// Commands on paired devices. The stricter of this, the approvals and the device's own rules holds.
pub(super) const EXEC: &[Key] = &[
    live(
        "security",
        Kind::Choice(&["deny", "allowlist", "full"]),
        "How far commands on devices may go: at most this.",
    ),
    live(
        "ask",
        Kind::Choice(&["off", "on-miss", "always"]),
        "When a person is asked before a command: at least this.",
    ),
    kept("host", Kind::Any),
    live(
        "node",
        Kind::Text,
        "The device commands run on unless the agent names another: its id or name.",
    ),
    kept("mode", Kind::Any),
    kept("pathPrepend", Kind::Any),
    kept("timeoutSec", Kind::Any),
    live(
        "backgroundMs",
        Kind::Whole,
        "How long exec waits for a command before that goes on in the background, in milliseconds.",
    ),
    kept("cleanupMs", Kind::Any),
    kept("notifyOnExit", Kind::Any),
    kept("notifyOnExitEmptySuccess", Kind::Any),
    live(
        "approvalRunningNoticeMs",
        Kind::Whole,
        "How long a command runs before its session is told that it does, in milliseconds.",
    ),
    kept("applyPatch", Kind::Any),
    kept("safeBins", Kind::Any),
    kept("safeBinTrustedDirs", Kind::Any),
    kept("safeBinProfiles", Kind::Any),
    kept("strictInlineEval", Kind::Any),
    kept("reviewer", Kind::Any),
];

const CROSS_CONTEXT: &[Key] = &[
    live(
        "allowWithinProvider",
        Kind::Bool,
        "From a chat into another one of the same channel.",
    ),
    live(
        "allowAcrossProviders",
        Kind::Bool,
        "From a chat into one of another channel.",
    ),
    kept("marker", Kind::Any),
];

const MESSAGE: &[Key] = &[
    live(
        "crossContext",
        Kind::Object(&[CROSS_CONTEXT]),
        "Where the tool may write to.",
    ),
    kept("allowCrossContextSend", Kind::Bool),
    kept("broadcast", Kind::Any),
];

const SEARCH_SERVICE: &[Key] = &[
    live("apiKey", Kind::Secret, "Key of the service."),
    live("baseUrl", Kind::Text, "Another address than the service's own."),
    live(
        "model",
        Kind::Text,
        "Of a service that answers with a model, another than its usual one.",
    ),
    kept("mode", Kind::Text),
    kept("headers", Kind::Any),
    kept("inlineCitations", Kind::Bool),
];
const SEARCH_KIND: Kind = Kind::Object(&[SEARCH_SERVICE]);

const SEARCH: &[Key] = &[
    live("enabled", Kind::Bool, "False: no searching."),
    live(
        "provider",
        Kind::Text,
        "brave, gemini, grok, kimi, perplexity, firecrawl, tavily or searxng; left out: the first of these that is set up.",
    ),
    live("apiKey", Kind::Secret, "Key of the provider named here, or of Brave."),
    live("maxResults", Kind::Whole, "Results without a wish; at most 10."),
    live("timeoutSeconds", Kind::Whole, "Longest search."),
    live("brave", SEARCH_KIND, "Brave Search."),
    live("gemini", SEARCH_KIND, "Gemini, grounded with Google Search."),
    live("grok", SEARCH_KIND, "Grok of xAI."),
    live("kimi", SEARCH_KIND, "Kimi of Moonshot."),
    live(
        "perplexity",
        SEARCH_KIND,
        "Perplexity; with a model, an address or a key of OpenRouter: its Sonar models.",
    ),
    live("firecrawl", SEARCH_KIND, "Firecrawl."),
    live("tavily", SEARCH_KIND, "Tavily."),
    live("searxng", SEARCH_KIND, "A SearXNG instance: its address."),
    live(
        "cacheTtlMinutes",
        Kind::Whole,
        "How long what was found is given again: 15 at most, 0 not at all.",
    ),
];

const WEB: &[Key] = &[
    live("search", Kind::Object(&[SEARCH]), "The tool that searches."),
    live("fetch", Kind::Object(&[FETCH]), "The tool that reads pages."),
];

const FETCH: &[Key] = &[
    live("enabled", Kind::Bool, "False: there is no web_fetch."),
    live("maxChars", Kind::Whole, "Characters of a page without a wish."),
    live("maxCharsCap", Kind::Whole, "Most characters of a page; at most 50000."),
    live(
        "maxResponseBytes",
        Kind::Whole,
        "What is read of an answer, bytes; 32000 to 10000000.",
    ),
    live("timeoutSeconds", Kind::Whole, "Longest fetch; at most 60."),
    live(
        "cacheTtlMinutes",
        Kind::Whole,
        "How long a page is given again: 15 at most, 0 not at all.",
    ),
    kept("maxRedirects", Kind::Whole),
    kept("userAgent", Kind::Text),
    kept("readability", Kind::Bool),
    kept("firecrawl", Kind::Any),
    kept("provider", Kind::Text),
    kept("ssrfPolicy", Kind::Any),
];

const LISTENER: &[Key] = &[
    live(
        "provider",
        Kind::Text,
        "One of your providers that has /audio/transcriptions.",
    ),
    live(
        "model",
        Kind::Text,
        "E.g. gpt-4o-mini-transcribe or whisper-large-v3-turbo.",
    ),
    kept("type", Kind::Text),
    kept("capabilities", TEXTS),
    kept("profile", Kind::Text),
    kept("preferredProfile", Kind::Text),
    kept("command", Kind::Text),
    kept("args", TEXTS),
    kept("prompt", Kind::Text),
    kept("language", Kind::Text),
    kept("maxBytes", Kind::Whole),
    kept("maxChars", Kind::Whole),
    kept("timeoutSeconds", Kind::Whole),
    kept("baseUrl", Kind::Text),
    kept("headers", Kind::Any),
    kept("deepgram", Kind::Any),
    kept("providerOptions", Kind::Any),
];
const LISTENER_KIND: Kind = Kind::Object(&[LISTENER]);

const AUDIO: &[Key] = &[
    live("enabled", Kind::Bool, "False: voice messages are not written down."),
    live(
        "models",
        Kind::List(&LISTENER_KIND),
        "Who listens, in the order they are tried; left out: OpenAI, Groq or Mistral, if you have one.",
    ),
    live("apiKey", Kind::Secret, "A key of your own for the first of them."),
    live(
        "baseUrl",
        Kind::Text,
        "The address of a compatible service of your own.",
    ),
    live("language", Kind::Text, "Language that is spoken, e.g. de."),
    live("prompt", Kind::Text, "Names and words that may be said."),
    live(
        "maxBytes",
        Kind::Whole,
        "Largest sound, bytes; 25 MiB at most. A guest's: a quarter.",
    ),
    live("maxChars", Kind::Whole, "Longest transcript, characters."),
    live("timeoutSeconds", Kind::Whole, "How long it may take."),
    kept("scope", Kind::Any),
    kept("attachments", Kind::Any),
    kept("echoTranscript", Kind::Bool),
    kept("echoFormat", Kind::Text),
    kept("headers", Kind::Any),
    kept("deepgram", Kind::Any),
    kept("providerOptions", Kind::Any),
];

const MEDIA: &[Key] = &[
    live(
        "audio",
        Kind::Object(&[AUDIO]),
        "Voice messages, for models that do not hear.",
    ),
    kept("image", Kind::Any),
    kept("video", Kind::Any),
    kept("models", Kind::Any),
    kept("concurrency", Kind::Whole),
];

const SUBAGENTS: &[Key] = &[live("tools", RULES_KIND, "Refines what sub-agents may use.")];

const ENCLOSURES: &[Key] = &[
    live("enabled", Kind::Bool, "False: sub-agents are begun without files."),
    live("maxFiles", Kind::Whole, "Files of one; at most 20."),
    live("maxFileBytes", Kind::Whole, "Largest file; at most 1 MiB."),
    live("maxTotalBytes", Kind::Whole, "All files together; at most 5 MiB."),
    kept("retainOnSessionKeep", Kind::Bool),
];
const SPAWN: &[Key] = &[live(
    "attachments",
    Kind::Object(&[ENCLOSURES]),
    "Files that sub-agents are begun with.",
)];

pub(super) const TOOLS: &[&[Key]] = &[RULES, BY_PROVIDER, OTHERS];

const OTHERS: &[Key] = &[
    live("web", Kind::Object(&[WEB]), "Searching and reading the web."),
    live("message", Kind::Object(&[MESSAGE]), "The tool that writes into chats."),
    live(
        "agentToAgent",
        Kind::Object(&[AGENT_TO_AGENT]),
        "Agents and each other's sessions.",
    ),
    live("sessions", Kind::Object(&[SESSIONS]), "The session tools."),
    live(
        "loopDetection",
        Kind::Object(&[LOOPS]),
        "Calls that go round in circles.",
    ),
    live("subagents", Kind::Object(&[SUBAGENTS]), "What sub-agents may use."),
    kept("links", Kind::Any),
    live("exec", Kind::Object(&[EXEC]), "Commands on paired devices."),
    kept("elevated", Kind::Any),
    live(
        "sessions_spawn",
        Kind::Object(&[SPAWN]),
        "The tool that begins sub-agents.",
    ),
    elsewhere("sandbox", "commands run on paired devices only"),
    elsewhere("fs", "the file tools work on the workspace only"),
    live("media", Kind::Object(&[MEDIA]), "What becomes of files in messages."),
];
