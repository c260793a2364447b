//! `agents`: what all have in common, and each of them.

use super::super::{Form, Key, Kind, elsewhere, kept, live};
use super::{GROUP_CHAT, TEXTS, TYPING, memory, room, tools};
use crate::config::document::{pause, time_of_day};

const MODEL_CHOICE: &[Key] = &[
    live("primary", Kind::Text, "provider/model, or an alias."),
    live("fallbacks", TEXTS, "Tried in this order when the model fails."),
];
const MODEL: Kind = Kind::Either(&[Kind::Text, Kind::Object(&[MODEL_CHOICE])]);

const ZONE: Kind = Kind::Formed(&Form {
    what: "a time zone such as Europe/Paris",
    fits: |text| text.parse::<chrono_tz::Tz>().is_ok(),
});

const ALLOWED_MODEL: &[Key] = &[
    live("alias", Kind::Text, "Short name for /model and for settings."),
    live("params", Kind::Object(&[PARAMS, REQUESTS]), "Settings of the model."),
    kept("streaming", Kind::Bool),
];

const PARAMS: &[Key] = &[
    live("thinking", Kind::Text, "How hard it thinks."),
    kept("transport", Kind::Any),
    live(
        "fastMode",
        Kind::Either(&[Kind::Bool, Kind::Text]),
        "true: the provider's faster, dearer tier, where nothing else is said.",
    ),
];

/// What is said of requests.
const REQUESTS: &[Key] = &[
    live("temperature", Kind::Number, "0 to 2, for models that take one."),
    live("maxTokens", Kind::Whole, "Longest answer, tokens."),
    live(
        "cacheRetention",
        Kind::Text,
        "How long the prompt is kept: none, short, or long: an hour with Anthropic, a day with OpenAI's Responses API.",
    ),
    live(
        "context1m",
        Kind::Bool,
        "true: a window of a million tokens, for Claude Opus 4 and Sonnet 4 with an API key.",
    ),
    live(
        "serviceTier",
        Kind::Text,
        "The provider's name of a tier, e.g. flex; priority costs twice as much.",
    ),
];
const REQUESTS_KIND: Kind = Kind::Object(&[REQUESTS]);

const IDENTITY_KIND: Kind = Kind::Object(&[IDENTITY]);
const IDENTITY: &[Key] = &[
    live("name", Kind::Text, "What people call the agent; counts as a mention."),
    live("emoji", Kind::Text, "Counts as a mention."),
    live("avatar", Kind::Text, "Letter, emoji or address of an image."),
    live("theme", Kind::Text, "Shown by clients."),
];

pub(super) const AGENTS: &[Key] = &[
    live(
        "defaults",
        Kind::Object(&[DEFAULTS]),
        "What agents have that say nothing else.",
    ),
    live(
        "list",
        Kind::List(&Kind::Object(&[LISTED, AGENT, AGENT_LOCAL])),
        "The agents in order; the first is the default one.",
    ),
    live(
        "entries",
        Kind::Map(&Kind::Object(&[AGENT, AGENT_LOCAL])),
        "The agents by id: the newer spelling.",
    ),
];

const ON_OFF: Kind = Kind::Either(&[Kind::Bool, Kind::Choice(&["on", "off"])]);
const VERBOSE: Kind = Kind::Choice(&["on", "full", "off"]);
const REASONING: Kind = Kind::Choice(&["on", "stream", "off"]);

const CHUNK: &[Key] = &[
    live("minChars", Kind::Whole, "Nothing shorter goes out; 800 by default."),
    live("maxChars", Kind::Whole, "Nothing longer; 1200 by default."),
    live(
        "breakPreference",
        Kind::Choice(&["paragraph", "newline", "sentence"]),
        "Where a part ends best.",
    ),
];

pub(super) const COALESCE_KIND: Kind = Kind::Object(&[COALESCE]);
const COALESCE: &[Key] = &[
    live(
        "idleMs",
        Kind::Whole,
        "Without more text for so long, what there is goes out.",
    ),
    live("minChars", Kind::Whole, "But not what is shorter."),
    live("maxChars", Kind::Whole, "Nothing longer is joined."),
];

const HUMAN_DELAY_KIND: Kind = Kind::Object(&[HUMAN_DELAY]);
const HUMAN_DELAY: &[Key] = &[
    live(
        "mode",
        Kind::Choice(&["off", "natural", "custom"]),
        "natural: 0.8 to 2.5 seconds.",
    ),
    live("minMs", Kind::Whole, "Shortest pause, milliseconds."),
    live("maxMs", Kind::Whole, "Longest pause, milliseconds; at most 30000."),
];

const DEFAULTS: &[Key] = &[
    live("model", MODEL, "Model of agents without one of their own."),
    live(
        "models",
        Kind::Map(&Kind::Object(&[ALLOWED_MODEL])),
        "Models that may be picked, by provider/model. None: all.",
    ),
    live("timeoutSeconds", Kind::Whole, "Longest run, seconds; 0 = no limit."),
    live("maxConcurrent", Kind::Whole, "Runs of one sender at the same time."),
    live("userTimezone", ZONE, "Time zone of the user."),
    live("contextTokens", Kind::Whole, "No context window is larger than this."),
    live(
        "compaction",
        Kind::Object(&[room::COMPACTION]),
        "How a long conversation is summarised.",
    ),
    live(
        "contextPruning",
        Kind::Object(&[room::PRUNING]),
        "How old tool results are shortened in what is sent.",
    ),
    live("imageModel", MODEL, "Model that looks at images for one that cannot."),
    kept("imageGenerationModel", Kind::Any),
    live("pdfModel", MODEL, "Model that reads PDF documents for the pdf tool."),
    live("params", REQUESTS_KIND, "Settings of requests to all models."),
    live(
        "thinkingDefault",
        Kind::Text,
        "How hard models think that can: off to xhigh, adaptive.",
    ),
    live(
        "verboseDefault",
        VERBOSE,
        "Whether tools are told of in the owner's chats.",
    ),
    live(
        "reasoningDefault",
        REASONING,
        "Whether the model's thoughts come before its answer.",
    ),
    kept("elevatedDefault", Kind::Text),
    live(
        "fastModeDefault",
        Kind::Bool,
        "Whether the provider's faster, dearer tier is asked for in the owner's chats.",
    ),
    live(
        "timeFormat",
        Kind::Either(&[Kind::Text, Kind::Whole]),
        "12 or 24: the clock of what people write.",
    ),
    live(
        "envelopeTimezone",
        Kind::Text,
        "Zone of the times before messages: user, local (the same), utc, or a name such as Europe/Paris.",
    ),
    live("envelopeTimestamp", ON_OFF, "off: no time stands before a message."),
    live("envelopeElapsed", ON_OFF, "off: not how long it was quiet before."),
    live(
        "bootstrapMaxChars",
        Kind::Whole,
        "Most characters of one workspace file in the prompt; 20000 by default.",
    ),
    live(
        "bootstrapTotalMaxChars",
        Kind::Whole,
        "Most characters of all of them; 150000 by default.",
    ),
    kept("mediaMaxMb", Kind::Number),
    live("memorySearch", memory::SEARCH, "How notes are searched."),
    live("heartbeat", HEARTBEAT_KIND, "Looking by itself; off without every."),
    live("subagents", Kind::Object(&[SUBAGENTS]), "Agents that agents begin."),
    live(
        "blockStreamingDefault",
        Kind::Choice(&["on", "off"]),
        "on: long answers go out in parts; channels but Telegram have to say so too.",
    ),
    live(
        "blockStreamingBreak",
        Kind::Choice(&["text_end", "message_end"]),
        "While the answer is written, or when it is complete.",
    ),
    live("blockStreamingChunk", Kind::Object(&[CHUNK]), "Sizes of the parts."),
    live("blockStreamingCoalesce", COALESCE_KIND, "When small parts become one."),
    live("humanDelay", HUMAN_DELAY_KIND, "Pauses between the parts."),
    live(
        "typingMode",
        TYPING,
        "When \"… is typing\" is shown: never, instant, thinking, or message. Left out: instant to who speaks to the agent.",
    ),
    live("typingIntervalSeconds", Kind::Whole, "How often it is shown again."),
    kept("identity", Kind::Any),
    kept("groupChat", Kind::Any),
    kept("tools", Kind::Any),
    live("skills", TEXTS, "Only these skills."),
    kept("bootstrapPromptTruncationWarning", Kind::Any),
    elsewhere("workspace", OWN_WORKSPACE),
    elsewhere("repoRoot", OWN_WORKSPACE),
    elsewhere("sandbox", DEVICES),
    elsewhere("cliBackends", DEVICES),
    elsewhere("skipBootstrap", OWN_WORKSPACE),
    elsewhere("embeddedPi", DEVICES),
    elsewhere("runtime", DEVICES),
];

const PAUSE: Kind = Kind::Formed(&Form {
    what: "a time span such as 30m; 0m is off",
    fits: |text| pause(text).is_some(),
});
const TIME_OF_DAY: Kind = Kind::Formed(&Form {
    what: "a time of day such as 08:00; 24:00 is the end of the day",
    fits: |text| time_of_day(text).is_some(),
});
const HOURS_ZONE: Kind = Kind::Formed(&Form {
    what: "user, local, or a time zone such as Europe/Paris",
    fits: |text| matches!(text, "user" | "local") || text.parse::<chrono_tz::Tz>().is_ok(),
});

const ACTIVE_HOURS: &[Key] = &[
    live("start", TIME_OF_DAY, "First minute of the day, e.g. 08:00."),
    live(
        "end",
        TIME_OF_DAY,
        "Not any more from then on; before start: on the next day.",
    ),
    live("timezone", HOURS_ZONE, "Whose clock; user by default."),
];

const HEARTBEAT_KIND: Kind = Kind::Object(&[HEARTBEAT]);
const HEARTBEAT: &[Key] = &[
    live("every", PAUSE, "How often, e.g. 30m. Each look costs a model call."),
    live(
        "agentId",
        Kind::Text,
        "In the defaults: the agent that looks, if not the default one.",
    ),
    live("model", Kind::Text, "provider/model, or an alias."),
    live("prompt", Kind::Text, "What the agent is asked."),
    live("session", Kind::Text, "The session that looks; main by default."),
    live(
        "isolatedSession",
        Kind::Bool,
        "Each look begins without what was said before.",
    ),
    live(
        "lightContext",
        Kind::Bool,
        "Of the workspace only HEARTBEAT.md is in the prompt.",
    ),
    live("target", Kind::Text, "Where it is said: none, last, or a channel."),
    live("to", Kind::Id, "The chat on that channel."),
    live("accountId", Kind::Text, "The bot, if not the default one."),
    live(
        "directPolicy",
        Kind::Choice(&["allow", "block"]),
        "block: never into a direct chat.",
    ),
    live(
        "ackMaxChars",
        Kind::Whole,
        "Up to so many characters beside HEARTBEAT_OK are nothing to report.",
    ),
    live("activeHours", Kind::Object(&[ACTIVE_HOURS]), "When in the day."),
    live("timeoutSeconds", Kind::Whole, "Longest look, seconds."),
    kept("includeReasoning", Kind::Bool),
    kept("suppressToolErrorWarnings", Kind::Bool),
];

const AGENT_TOOLS: &[Key] = &[
    live(
        "exec",
        Kind::Object(&[tools::EXEC]),
        "Commands of this agent on paired devices.",
    ),
    kept("elevated", Kind::Any),
    live(
        "loopDetection",
        Kind::Object(&[tools::LOOPS]),
        "Calls of this agent that go round in circles.",
    ),
    kept("message", Kind::Any),
    elsewhere("sandbox", DEVICES),
    elsewhere("fs", OWN_WORKSPACE),
];

const SUBAGENTS: &[Key] = &[
    live(
        "allowAgents",
        TEXTS,
        "Agents that may be begun, by id; * for all. None: itself.",
    ),
    live("model", MODEL, "Model of sub-agents."),
    live(
        "maxSpawnDepth",
        Kind::Whole,
        "1: sub-agents begin none of their own. At most 5.",
    ),
    live(
        "maxChildrenPerAgent",
        Kind::Whole,
        "Sub-agents of one session at a time. At most 20.",
    ),
    live(
        "archiveAfterMinutes",
        Kind::Whole,
        "When an ended one is put away; 0 = never.",
    ),
    live("runTimeoutSeconds", Kind::Whole, "Longest run of one; 0 = as any run."),
    live(
        "maxConcurrent",
        Kind::Whole,
        "Sub-agents of the user that run at the same time. At most 64.",
    ),
    live("thinking", Kind::Text, "How hard sub-agents of this agent think."),
    kept("announceTimeoutMs", Kind::Whole),
    kept("requireAgentId", Kind::Bool),
];

const OWN_WORKSPACE: &str = "each agent has a workspace in this service";
const DEVICES: &str = "commands run on paired devices only";

const LISTED: &[Key] = &[live("id", Kind::Text, "Stands in session keys and bindings.")];

const AGENT: &[Key] = &[
    live("default", Kind::Bool, "Answers where nothing else is bound."),
    live("name", Kind::Text, "Name for people."),
    live("model", MODEL, "Model of this agent."),
    live("identity", IDENTITY_KIND, "How the agent is shown and called."),
    live("groupChat", Kind::Object(&[GROUP_CHAT]), "Groups."),
    live(
        "params",
        REQUESTS_KIND,
        "Settings of requests; go before those of the model.",
    ),
    live("skills", TEXTS, "Only these skills."),
    live(
        "tools",
        Kind::Object(&[tools::RULES, tools::BY_PROVIDER, AGENT_TOOLS]),
        "Which tools of those for all it may use.",
    ),
    live("subagents", Kind::Object(&[SUBAGENTS]), "Agents it begins."),
    live(
        "heartbeat",
        HEARTBEAT_KIND,
        "Looking by itself. When some agents have this, only they do.",
    ),
    live("humanDelay", HUMAN_DELAY_KIND, "Pauses between the parts of an answer."),
    live(
        "memorySearch",
        memory::SEARCH,
        "How its notes are searched; what is open here the defaults say.",
    ),
    live(
        "thinkingDefault",
        Kind::Text,
        "How hard models think that can: off to xhigh, adaptive.",
    ),
    live(
        "verboseDefault",
        VERBOSE,
        "Whether tools are told of in the owner's chats.",
    ),
    live(
        "reasoningDefault",
        REASONING,
        "Whether the model's thoughts come before its answer.",
    ),
    live(
        "fastModeDefault",
        Kind::Bool,
        "Whether the provider's faster, dearer tier is asked for in the owner's chats.",
    ),
];

const AGENT_LOCAL: &[Key] = &[
    elsewhere("workspace", OWN_WORKSPACE),
    elsewhere("agentDir", OWN_WORKSPACE),
    elsewhere("sandbox", DEVICES),
    elsewhere("runtime", DEVICES),
];
