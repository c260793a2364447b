//! `agents.defaults.compaction` and `contextPruning`: how a conversation is kept within a model's context window.

use super::super::{Form, Key, Kind, kept, live};
use super::TEXTS;

const RATIO: &str = "Part of the context window, 0 to 1.";

const QUALITY: &[Key] = &[
    live("enabled", Kind::Bool, "Whether safeguard mode checks summaries."),
    live(
        "maxRetries",
        Kind::Whole,
        "How often it asks again for a better one; at most 3.",
    ),
];

const FLUSH: &[Key] = &[
    live("enabled", Kind::Bool, "Whether it is made."),
    live(
        "softThresholdTokens",
        Kind::Whole,
        "It is made when so many tokens are left until the compaction.",
    ),
    live("prompt", Kind::Text, "What the model is asked."),
    live("systemPrompt", Kind::Text, "What stands before that."),
    live(
        "forceFlushTranscriptBytes",
        Kind::Any,
        "It is made as well when the conversation has so many bytes, e.g. 2mb; 0: never for that.",
    ),
];

pub(super) const COMPACTION: &[Key] = &[
    live(
        "mode",
        Kind::Choice(&["default", "safeguard"]),
        "safeguard checks the summary and keeps more of what was said last.",
    ),
    live("reserveTokens", Kind::Whole, "Tokens of the window that stay free."),
    live(
        "reserveTokensFloor",
        Kind::Whole,
        "Least value of reserveTokens; 0: none.",
    ),
    live(
        "keepRecentTokens",
        Kind::Whole,
        "Tokens of the newest messages that are kept word for word.",
    ),
    live(
        "maxHistoryShare",
        Kind::Number,
        "Part of the window that one summary call may read, 0.1 to 0.9.",
    ),
    live(
        "recentTurnsPreserve",
        Kind::Whole,
        "Turns safeguard mode keeps word for word; at most 12.",
    ),
    live("qualityGuard", Kind::Object(&[QUALITY]), "The check of safeguard mode."),
    live(
        "identifierPolicy",
        Kind::Choice(&["strict", "off", "custom"]),
        "Whether names, ids and addresses are kept exactly.",
    ),
    live("identifierInstructions", Kind::Text, "What custom means."),
    live("customInstructions", Kind::Text, "What a summary should also mind."),
    live("model", Kind::Text, "Summarises instead of the session's model."),
    live("timeoutSeconds", Kind::Whole, "Longest compaction, seconds."),
    live(
        "postCompactionSections",
        TEXTS,
        "Sections of AGENTS.md that stand beside the summary.",
    ),
    live(
        "memoryFlush",
        Kind::Object(&[FLUSH]),
        "A silent turn for notes, once before each compaction.",
    ),
    kept("notifyUser", Kind::Bool),
];

const SPAN: Kind = Kind::Formed(&Form {
    what: "a time such as 5m or 1h",
    fits: |text| crate::config::document::span(text, "m").is_some(),
});

const SOFT: &[Key] = &[
    live(
        "maxChars",
        Kind::Whole,
        "Results of more characters are cut to their head and tail.",
    ),
    live("headChars", Kind::Whole, ""),
    live("tailChars", Kind::Whole, ""),
];

const HARD: &[Key] = &[
    live("enabled", Kind::Bool, "Whether results are taken out whole."),
    live("placeholder", Kind::Text, "Stands in their place."),
];

const TOOLS: &[Key] = &[
    live("allow", TEXTS, "Only results of these tools."),
    live("deny", TEXTS, "Never results of these."),
];

pub(super) const PRUNING: &[Key] = &[
    live(
        "mode",
        Kind::Choice(&["off", "cache-ttl"]),
        "Whether old tool results are shortened when the provider's cache is cold. Absent: for Anthropic.",
    ),
    live("ttl", SPAN, "How long the provider keeps a prompt, e.g. 5m."),
    live(
        "keepLastAssistants",
        Kind::Whole,
        "Answers whose tool results stay whole.",
    ),
    live("softTrimRatio", Kind::Number, RATIO),
    live("hardClearRatio", Kind::Number, RATIO),
    live(
        "minPrunableToolChars",
        Kind::Whole,
        "Characters that taking out must free.",
    ),
    live("softTrim", Kind::Object(&[SOFT]), "Cutting results."),
    live("hardClear", Kind::Object(&[HARD]), "Taking results out."),
    live("tools", Kind::Object(&[TOOLS]), "Whose results."),
];
