//! How replies go out (`agent-runtime` §4): in parts while they are written, cut to size, with pauses and a prefix.

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number, text};
use crate::crypto::token::random_bytes;

/// Longest pause between two parts, milliseconds.
const LONGEST_PAUSE: u64 = 30_000;
/// Channels on which small parts are joined up to this length.
const JOINED: [&str; 4] = ["signal", "slack", "discord", "googlechat"];
const JOINED_MIN: usize = 1_500;
const IDLE: Duration = Duration::from_secs(1);
/// Nothing is cut shorter.
const LEAST: usize = 16;

/// Where a part ends best (`breakPreference`). What stands behind it is tried when there is no such place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Break {
    #[default]
    Paragraph,
    Newline,
    Sentence,
}

/// Sizes of parts, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Nothing shorter goes out while the text grows.
    pub min: usize,
    pub max: usize,
    pub preference: Break,
}

/// When small parts become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Without more text for so long, what there is goes out, if it has the least length.
    pub idle: Duration,
    pub min: usize,
    pub max: usize,
}

/// `blockStreamingBreak`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockBreak {
    /// While the text is written.
    #[default]
    TextEnd,
    /// When the message is complete.
    MessageEnd,
}

/// `humanDelay`: the pause before a part that follows another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HumanDelay {
    #[default]
    Off,
    /// Between the two, milliseconds.
    Between(u64, u64),
}

impl HumanDelay {
    fn parse(value: &Value) -> Option<Self> {
        Some(match text(at(value, "/mode"))?.as_str() {
            "natural" => Self::Between(800, 2_500),
            "custom" => {
                let bound = |pointer, usual| number(at(value, pointer)).unwrap_or(usual).min(LONGEST_PAUSE);
                let least = bound("/minMs", 800);
                Self::Between(least, bound("/maxMs", 2_500).max(least))
            }
            _ => Self::Off,
        })
    }

    /// A pause, milliseconds.
    pub fn wait(self) -> i64 {
        match self {
            Self::Off => 0,
            Self::Between(least, most) => {
                let random = u64::from(u32::from_be_bytes(random_bytes::<4>()));
                i64::try_from(least + random % (most - least + 1)).unwrap_or(0)
            }
        }
    }
}

/// How one channel sends in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSettings {
    pub when: BlockBreak,
    pub bounds: Bounds,
    pub joining: Joining,
}

/// How one channel's messages are cut (`textChunkLimit`, `chunkMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Longest message, characters.
    pub limit: usize,
    /// Each paragraph is a message of its own.
    pub paragraphs: bool,
}

impl Cut {
    /// From a channel account's settings. `None`: as the platform's limit has it.
    pub fn of(account: &Value, platform: usize) -> Option<Self> {
        let limit = size(account, "/textChunkLimit").map(|limit| limit.min(platform));
        let paragraphs = text(at(account, "/chunkMode")).as_deref() == Some("newline");
        (limit.is_some() || paragraphs).then(|| Self {
            limit: limit.unwrap_or(platform),
            paragraphs,
        })
    }
}

/// `agents.defaults.blockStreaming*` and `humanDelay`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplySettings {
    /// `blockStreamingDefault`.
    pub blocks: bool,
    pub when: BlockBreak,
    pub min: Option<usize>,
    pub max: Option<usize>,
    pub preference: Break,
    pub joining: JoiningWish,
    pub delay: HumanDelay,
    /// `verboseDefault`: `on`, `full` or `off`.
    pub verbose: Option<&'static str>,
    /// `reasoningDefault`: `on`, `stream` or `off`.
    pub reasoning: Option<&'static str>,
    /// `fastModeDefault`, as `on` or `off`.
    pub fast: Option<&'static str>,
}

/// What is said of joining; the rest follows from the channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoiningWish {
    pub idle: Option<Duration>,
    pub min: Option<usize>,
    pub max: Option<usize>,
}

impl JoiningWish {
    fn parse(value: &Value) -> Self {
        Self {
            idle: number(at(value, "/idleMs")).map(|ms| Duration::from_millis(ms.min(LONGEST_PAUSE))),
            min: size(value, "/minChars"),
            max: size(value, "/maxChars"),
        }
    }
}

fn size(value: &Value, pointer: &str) -> Option<usize> {
    number(at(value, pointer))
        .filter(|count| *count > 0)
        .map(|count| usize::try_from(count).unwrap_or(usize::MAX).max(LEAST))
}

impl ReplySettings {
    /// From `agents.defaults`.
    pub(super) fn parse(defaults: &Value) -> Self {
        let chunk = at(defaults, "/blockStreamingChunk");
        Self {
            blocks: text(at(defaults, "/blockStreamingDefault")).as_deref() == Some("on"),
            when: match text(at(defaults, "/blockStreamingBreak")).as_deref() {
                Some("message_end") => BlockBreak::MessageEnd,
                _ => BlockBreak::TextEnd,
            },
            min: size(chunk, "/minChars"),
            max: size(chunk, "/maxChars"),
            preference: match text(at(chunk, "/breakPreference")).as_deref() {
                Some("newline") => Break::Newline,
                Some("sentence") => Break::Sentence,
                _ => Break::Paragraph,
            },
            joining: JoiningWish::parse(at(defaults, "/blockStreamingCoalesce")),
            delay: HumanDelay::parse(at(defaults, "/humanDelay")).unwrap_or_default(),
            verbose: verbose(defaults),
            reasoning: reasoning(defaults),
            fast: fast(defaults),
        }
    }

    /// How a channel account sends in parts; `None` where it does not. On Telegram the default is enough, elsewhere the
    /// account has to say so as well. `platform`: the longest message it takes.
    pub fn on_channel(&self, channel: &str, account: &Value, platform: usize) -> Option<BlockSettings> {
        let said = at(account, "/blockStreaming").as_bool();
        if !self.blocks || !said.unwrap_or(channel == "telegram") {
            return None;
        }
        let limit = Cut::of(account, platform).map_or(platform, |cut| cut.limit);
        let max = self.max.unwrap_or(1_200).min(limit);
        let min = self.min.unwrap_or(800).min(max);
        let own = JoiningWish::parse(at(account, "/blockStreamingCoalesce"));
        let usual = if JOINED.contains(&channel) { JOINED_MIN } else { min };
        let least = own.min.or(self.joining.min).unwrap_or(usual).min(limit);
        let most = own.max.or(self.joining.max).unwrap_or(max).max(least).min(limit);
        Some(BlockSettings {
            when: self.when,
            bounds: Bounds {
                min,
                max,
                preference: self.preference,
            },
            joining: Joining {
                idle: own.idle.or(self.joining.idle).unwrap_or(IDLE),
                min: least,
                max: most,
            },
        })
    }
}

/// `verboseDefault` of the defaults or an agent.
pub(super) fn verbose(section: &Value) -> Option<&'static str> {
    word(section, "/verboseDefault", &["on", "full", "off"])
}

/// `reasoningDefault` of the defaults or an agent.
pub(super) fn reasoning(section: &Value) -> Option<&'static str> {
    word(section, "/reasoningDefault", &["on", "stream", "off"])
}

/// `fastModeDefault` of the defaults or an agent.
pub(super) fn fast(section: &Value) -> Option<&'static str> {
    let said = at(section, "/fastModeDefault").as_bool()?;
    Some(if said { "on" } else { "off" })
}

fn word(section: &Value, pointer: &str, words: &[&'static str]) -> Option<&'static str> {
    let said = text(at(section, pointer))?;
    words.iter().find(|word| **word == said).copied()
}

/// An agent's own `humanDelay`.
pub(super) fn human_delay(agent: &Value) -> Option<HumanDelay> {
    HumanDelay::parse(at(agent, "/humanDelay"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_off_unless_both_say_so_and_telegram_needs_only_one() {
        let on = ReplySettings::parse(&json!({"blockStreamingDefault": "on"}));
        let off = ReplySettings::parse(&json!({"blockStreamingDefault": "off"}));
        for (settings, channel, account, goes) in [
            (&on, "telegram", json!({}), true),
            (&on, "telegram", json!({"blockStreaming": false}), false),
            (&on, "slack", json!({}), false),
            (&on, "slack", json!({"blockStreaming": true}), true),
            (&off, "slack", json!({"blockStreaming": true}), false),
            (
                &ReplySettings::default(),
                "telegram",
                json!({"blockStreaming": true}),
                false,
            ),
        ] {
            assert_eq!(
                settings.on_channel(channel, &account, 4000).is_some(),
                goes,
                "{channel} {account}"
            );
        }
    }

    #[test]
    fn sizes_have_their_defaults_and_stay_within_the_channels_limit() {
        let on = ReplySettings::parse(&json!({"blockStreamingDefault": "on"}));
        let telegram = on.on_channel("telegram", &json!({}), 4000).expect("on");
        assert_eq!((telegram.bounds.min, telegram.bounds.max), (800, 1200));
        assert_eq!(
            (telegram.joining.min, telegram.joining.max, telegram.joining.idle),
            (800, 1200, IDLE)
        );
        let slack = on
            .on_channel("slack", &json!({"blockStreaming": true}), 4000)
            .expect("on");
        assert_eq!((slack.joining.min, slack.joining.max), (1500, 1500));
        let small = on
            .on_channel("telegram", &json!({"textChunkLimit": 300}), 4000)
            .expect("on");
        assert_eq!((small.bounds.min, small.bounds.max, small.joining.max), (300, 300, 300));
        let own = ReplySettings::parse(&json!({
            "blockStreamingDefault": "on", "blockStreamingBreak": "message_end",
            "blockStreamingChunk": {"minChars": 40, "maxChars": "90", "breakPreference": "sentence"},
            "blockStreamingCoalesce": {"idleMs": 5, "minChars": 50},
        }));
        let own = own.on_channel("telegram", &json!({"blockStreamingCoalesce": {"maxChars": 70}}), 4000);
        let own = own.expect("on");
        assert_eq!(
            (own.when, own.bounds.preference),
            (BlockBreak::MessageEnd, Break::Sentence)
        );
        assert_eq!((own.bounds.min, own.bounds.max), (40, 90));
        assert_eq!(
            (own.joining.idle, own.joining.min, own.joining.max),
            (Duration::from_millis(5), 50, 70)
        );
    }

    #[test]
    fn pauses_lie_within_what_is_said() {
        for (value, least, most) in [
            (json!({"mode": "off", "minMs": 5}), 0, 0),
            (json!({"mode": "natural"}), 800, 2_500),
            (json!({"mode": "custom", "minMs": 5, "maxMs": 7}), 5, 7),
            (json!({"mode": "custom", "minMs": 9, "maxMs": 3}), 9, 9),
            (json!({"mode": "custom", "minMs": 0, "maxMs": 999_999_999}), 0, 30_000),
        ] {
            let delay = HumanDelay::parse(&value).expect("says something");
            for _ in 0..50 {
                assert!((least..=most).contains(&delay.wait()), "{value}");
            }
        }
        assert_eq!(HumanDelay::parse(&json!(null)), None);
    }

    #[test]
    fn messages_are_cut_as_the_account_says() {
        assert_eq!(Cut::of(&json!({"chunkMode": "length"}), 4000), None);
        let both = Cut::of(&json!({"chunkMode": "newline", "textChunkLimit": 9_000}), 4000).expect("says so");
        assert_eq!((both.limit, both.paragraphs), (4000, true));
    }
}
