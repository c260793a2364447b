//! How a conversation is kept within a model's context window: `agents.defaults.contextTokens`, `compaction` and
//! `contextPruning`. Defaults and limits are those of `agent-runtime` §8.5–8.7.

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, bytes, number, span, text, texts};

/// Longest summary call that may be configured.
const LONGEST: u64 = 3600;

/// What the user's document says about room in the context.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomSettings {
    /// `agents.defaults.contextTokens`: no window is larger than this.
    pub context_tokens: Option<u64>,
    pub compaction: CompactionSettings,
    pub pruning: PruningSettings,
}

/// `agents.defaults.compaction`.
#[derive(Clone, Debug, PartialEq)]
pub struct CompactionSettings {
    pub mode: CompactionMode,
    /// Tokens of the window that stay free: the larger of `reserveTokens` and `reserveTokensFloor`.
    pub reserve: u64,
    /// Tokens of the newest messages that are kept word for word.
    pub keep_recent: u64,
    /// Part of the summarising model's window that the messages of one summary call may take, in percent.
    pub share: u64,
    /// Turns that safeguard mode keeps word for word, where they fit.
    pub keep_turns: usize,
    /// How often safeguard mode asks again for a summary that fails its check.
    pub retries: u32,
    pub identifiers: Identifiers,
    /// What a summary should also mind.
    pub instructions: Option<String>,
    /// Summarises instead of the session's model.
    pub model: Option<String>,
    /// All calls of one compaction together.
    pub timeout: Duration,
    /// Sections of AGENTS.md that stand beside the summary.
    pub sections: Vec<String>,
    pub flush: FlushSettings,
}

/// `memoryFlush`: a silent turn before a compaction, for notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushSettings {
    pub enabled: bool,
    /// It comes when so many tokens are left until the compaction.
    pub soft_tokens: u64,
    /// It comes as well when the conversation has so many bytes; 0: never for that.
    pub most_bytes: u64,
    pub prompt: String,
    pub system_prompt: String,
}

impl Default for FlushSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            soft_tokens: 4_000,
            most_bytes: 2 << 20,
            prompt: "This conversation will soon be summarised, and details will be lost. Write down now, with memory_write, \
                     what should last and is not in your notes yet: decisions, facts, preferences, promises, open ends. \
                     It goes to the notes of today; other files cannot be written now. If there is nothing to write down, \
                     answer NO_REPLY."
                .to_owned(),
            system_prompt: "This turn is for your notes alone: nobody reads your answer, and NO_REPLY is the usual one. Only \
                            the memory tools work in it."
                .to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionMode {
    #[default]
    Default,
    /// Checks the summary, and keeps the last turns and what tools failed at.
    Safeguard,
}

/// `identifierPolicy`: what a summary does with names, numbers and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identifiers {
    /// They are kept exactly as they were written.
    #[default]
    Strict,
    Off,
    /// As `identifierInstructions` says.
    Custom(String),
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            mode: CompactionMode::Default,
            reserve: 20_000,
            keep_recent: 20_000,
            share: 50,
            keep_turns: 3,
            retries: 1,
            identifiers: Identifiers::Strict,
            instructions: None,
            model: None,
            timeout: Duration::from_secs(900),
            sections: ["Session Startup", "Red Lines"].map(str::to_owned).to_vec(),
            flush: FlushSettings::default(),
        }
    }
}

/// `agents.defaults.contextPruning`: old tool results are shortened in what is sent, never in what is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct PruningSettings {
    /// `mode`: on, off, or `None` for what suits the provider.
    pub on: Option<bool>,
    /// How long a provider keeps a prompt in its cache.
    pub ttl: Duration,
    pub keep_assistants: usize,
    /// Fill of the window, in percent, from which results are trimmed, and from which they are cleared.
    pub soft: u64,
    pub hard: u64,
    /// Characters that clearing must be able to free.
    pub least_chars: usize,
    /// A result of more characters than the first is trimmed to its head and tail of the others.
    pub trim: [usize; 3],
    pub clears: bool,
    pub placeholder: String,
    pub allow: Vec<String>,
    pub deny: Vec<String>,
}

impl Default for PruningSettings {
    fn default() -> Self {
        Self {
            on: None,
            ttl: Duration::from_secs(300),
            keep_assistants: 3,
            soft: 30,
            hard: 50,
            least_chars: 50_000,
            trim: [4_000, 1_500, 1_500],
            clears: true,
            placeholder: "[Old tool result content cleared]".to_owned(),
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

impl RoomSettings {
    /// From `agents.defaults`.
    pub(super) fn parse(defaults: &Value) -> Self {
        Self {
            context_tokens: number(at(defaults, "/contextTokens")).filter(|tokens| *tokens > 0),
            compaction: compaction(at(defaults, "/compaction")),
            pruning: pruning(at(defaults, "/contextPruning")),
        }
    }
}

fn compaction(section: &Value) -> CompactionSettings {
    let usual = CompactionSettings::default();
    let floor = number(at(section, "/reserveTokensFloor")).unwrap_or(usual.reserve);
    let reserve = number(at(section, "/reserveTokens")).unwrap_or(16_384);
    CompactionSettings {
        mode: match text(at(section, "/mode")).as_deref() {
            Some("safeguard") => CompactionMode::Safeguard,
            _ => CompactionMode::Default,
        },
        reserve: reserve.max(floor),
        keep_recent: number(at(section, "/keepRecentTokens")).unwrap_or(usual.keep_recent),
        share: percent(at(section, "/maxHistoryShare"), usual.share).clamp(10, 90),
        keep_turns: count(at(section, "/recentTurnsPreserve"))
            .unwrap_or(usual.keep_turns)
            .min(12),
        retries: match at(section, "/qualityGuard/enabled").as_bool() {
            Some(false) => 0,
            Some(true) | None => count(at(section, "/qualityGuard/maxRetries"))
                .and_then(|most| u32::try_from(most).ok())
                .unwrap_or(usual.retries)
                .min(3),
        },
        identifiers: match text(at(section, "/identifierPolicy")).as_deref() {
            Some("off") => Identifiers::Off,
            Some("custom") => {
                text(at(section, "/identifierInstructions")).map_or(Identifiers::Strict, Identifiers::Custom)
            }
            _ => Identifiers::Strict,
        },
        instructions: text(at(section, "/customInstructions")),
        model: text(at(section, "/model")),
        timeout: number(at(section, "/timeoutSeconds"))
            .filter(|seconds| *seconds > 0)
            .map_or(usual.timeout, |seconds| Duration::from_secs(seconds.min(LONGEST))),
        sections: texts(at(section, "/postCompactionSections")).unwrap_or(usual.sections),
        flush: flush(at(section, "/memoryFlush")),
    }
}

fn flush(section: &Value) -> FlushSettings {
    let usual = FlushSettings::default();
    FlushSettings {
        enabled: at(section, "/enabled").as_bool().unwrap_or(usual.enabled),
        soft_tokens: number(at(section, "/softThresholdTokens")).unwrap_or(usual.soft_tokens),
        most_bytes: bytes(at(section, "/forceFlushTranscriptBytes")).unwrap_or(usual.most_bytes),
        prompt: text(at(section, "/prompt")).unwrap_or(usual.prompt),
        system_prompt: text(at(section, "/systemPrompt")).unwrap_or(usual.system_prompt),
    }
}

fn pruning(section: &Value) -> PruningSettings {
    let usual = PruningSettings::default();
    let [most, head, tail] = usual.trim;
    let chars = |pointer, usual| count(at(section, pointer)).unwrap_or(usual);
    PruningSettings {
        on: match text(at(section, "/mode")).as_deref() {
            Some("off") => Some(false),
            Some("cache-ttl") => Some(true),
            _ => None,
        },
        ttl: text(at(section, "/ttl"))
            .and_then(|text| span(&text, "m"))
            .unwrap_or(usual.ttl),
        keep_assistants: chars("/keepLastAssistants", usual.keep_assistants),
        soft: percent(at(section, "/softTrimRatio"), usual.soft),
        hard: percent(at(section, "/hardClearRatio"), usual.hard),
        least_chars: chars("/minPrunableToolChars", usual.least_chars),
        trim: [
            chars("/softTrim/maxChars", most),
            chars("/softTrim/headChars", head),
            chars("/softTrim/tailChars", tail),
        ],
        clears: at(section, "/hardClear/enabled").as_bool().unwrap_or(true),
        placeholder: text(at(section, "/hardClear/placeholder")).unwrap_or(usual.placeholder),
        allow: texts(at(section, "/tools/allow")).unwrap_or_default(),
        deny: texts(at(section, "/tools/deny")).unwrap_or_default(),
    }
}

fn count(value: &Value) -> Option<usize> {
    number(value).and_then(|count| usize::try_from(count).ok())
}

/// A ratio between 0 and 1 in percent.
fn percent(value: &Value, usual: u64) -> u64 {
    let ratio = value.as_f64().filter(|ratio| (0.0..=1.0).contains(ratio));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie between zero and one"
    )]
    ratio.map_or(usual, |ratio| (ratio * 100.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_said_is_the_default() {
        for doc in [
            json!({}),
            json!({"compaction": 3, "contextPruning": [], "contextTokens": "x"}),
        ] {
            assert_eq!(RoomSettings::parse(&doc), RoomSettings::default(), "{doc}");
        }
    }

    #[test]
    fn what_is_said_is_read_within_limits() {
        let read = RoomSettings::parse(&json!({
            "contextTokens": 50_000,
            "compaction": {"mode": "safeguard", "reserveTokens": 30_000, "keepRecentTokens": 5, "maxHistoryShare": 0.25,
                "recentTurnsPreserve": 99, "qualityGuard": {"enabled": true, "maxRetries": 9},
                "identifierPolicy": "custom", "identifierInstructions": "keep ids", "model": "a/b",
                "timeoutSeconds": 9, "postCompactionSections": [], "customInstructions": "be short",
                "memoryFlush": {"enabled": false, "softThresholdTokens": 7, "prompt": "notes?"}},
            "contextPruning": {"mode": "off", "ttl": "90s", "softTrimRatio": 0.1, "softTrim": {"maxChars": 10},
                "hardClear": {"enabled": false, "placeholder": "gone"}, "tools": {"deny": ["web_*"]}},
        }));
        assert_eq!(read.context_tokens, Some(50_000));
        let compaction = read.compaction;
        assert_eq!(compaction.mode, CompactionMode::Safeguard);
        assert_eq!(
            (compaction.reserve, compaction.keep_recent, compaction.share),
            (30_000, 5, 25)
        );
        assert_eq!((compaction.keep_turns, compaction.retries), (12, 3));
        assert_eq!(compaction.identifiers, Identifiers::Custom("keep ids".to_owned()));
        assert_eq!(compaction.timeout, Duration::from_secs(9));
        assert!(compaction.sections.is_empty());
        let flush = &compaction.flush;
        assert_eq!(
            (flush.enabled, flush.soft_tokens, flush.prompt.as_str()),
            (false, 7, "notes?")
        );
        assert_eq!(flush.system_prompt, FlushSettings::default().system_prompt);
        let pruning = read.pruning;
        assert_eq!((pruning.on, pruning.ttl), (Some(false), Duration::from_secs(90)));
        assert_eq!((pruning.soft, pruning.hard, pruning.trim), (10, 50, [10, 1_500, 1_500]));
        assert!(!pruning.clears && pruning.placeholder == "gone" && pruning.deny == ["web_*"]);
    }

    #[test]
    fn a_large_conversation_is_one_of_so_many_bytes() {
        let most = |size: Value| {
            compaction(&json!({"memoryFlush": {"forceFlushTranscriptBytes": size}}))
                .flush
                .most_bytes
        };
        for (size, bytes) in [
            (Value::Null, 2 << 20),
            (json!(0), 0),
            (json!(5_000), 5_000),
            (json!("512kb"), 512 << 10),
            (json!(" 3 MB "), 3 << 20),
            (json!("much"), 2 << 20),
        ] {
            assert_eq!(most(size.clone()), bytes, "{size}");
        }
    }

    #[test]
    fn the_floor_raises_the_reserve_and_zero_takes_it_away() {
        let reserve = |section: Value| compaction(&section).reserve;
        assert_eq!(reserve(json!({"reserveTokens": 1})), 20_000);
        assert_eq!(reserve(json!({"reserveTokens": 1, "reserveTokensFloor": 0})), 1);
        assert_eq!(reserve(json!({"reserveTokensFloor": 0})), 16_384);
    }
}
