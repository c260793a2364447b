//! How a conversation looks on both sides: the header before what people write, "… is typing", and how much of the
//! workspace's files is in the prompt (`agent-runtime` §4.7, §4.9, §8.2, §8.4).

use std::time::Duration;

use chrono_tz::Tz;
use serde_json::Value;

use super::parse::{at, number, text};

/// Characters of one bootstrap file, and of all together.
const FILE: usize = 20_000;
const ALL_FILES: usize = 150_000;
/// Most that can be asked for.
const MOST_FILES: usize = 1_000_000;

/// When "… is typing" is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypingMode {
    Never,
    /// From the beginning of the run.
    Instant,
    /// From the first thought that is shown.
    Thinking,
    /// From the first words.
    Message,
}

/// `agents.defaults`, and `session` where it spells the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MannerSettings {
    /// `None`: at once where the agent is spoken to, else from the first words.
    pub typing: Option<TypingMode>,
    /// `typingIntervalSeconds`; `None`: as the platform needs it.
    pub typing_interval: Option<Duration>,
    /// `envelopeTimezone`, where it names one; else the user's.
    pub zone: Option<Tz>,
    pub timestamp: bool,
    pub elapsed: bool,
    /// `timeFormat` is 12.
    pub twelve_hours: bool,
    /// `bootstrapMaxChars` and `bootstrapTotalMaxChars`.
    pub file_chars: usize,
    pub all_file_chars: usize,
}

impl Default for MannerSettings {
    fn default() -> Self {
        Self::parse(&Value::Null, &Value::Null)
    }
}

impl MannerSettings {
    pub(super) fn parse(defaults: &Value, session: &Value) -> Self {
        let word = |name: &str| text(at(session, name)).or_else(|| text(at(defaults, name)));
        let seconds = number(at(session, "/typingIntervalSeconds"));
        let seconds = seconds.or_else(|| number(at(defaults, "/typingIntervalSeconds")));
        let chars = |name: &str, usual: usize| {
            let said = number(at(defaults, name)).and_then(|count| usize::try_from(count).ok());
            said.filter(|count| *count > 0).unwrap_or(usual).min(MOST_FILES)
        };
        Self {
            typing: match word("/typingMode").as_deref() {
                Some("never") => Some(TypingMode::Never),
                Some("instant") => Some(TypingMode::Instant),
                Some("thinking") => Some(TypingMode::Thinking),
                Some("message") => Some(TypingMode::Message),
                Some(_) | None => None,
            },
            typing_interval: seconds
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.min(60))),
            zone: match text(at(defaults, "/envelopeTimezone")).as_deref() {
                Some("utc" | "UTC") => Some(Tz::UTC),
                Some(name) => name.parse().ok(),
                None => None,
            },
            timestamp: is_on(at(defaults, "/envelopeTimestamp")),
            elapsed: is_on(at(defaults, "/envelopeElapsed")),
            twelve_hours: match at(defaults, "/timeFormat") {
                Value::Number(hours) => hours.as_u64() == Some(12),
                other @ (Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                    text(other).as_deref() == Some("12")
                }
            },
            file_chars: chars("/bootstrapMaxChars", FILE),
            all_file_chars: chars("/bootstrapTotalMaxChars", ALL_FILES),
        }
    }

    /// When it is shown to somebody who speaks to the agent, or does not.
    pub fn typing_for(&self, addressed: bool) -> TypingMode {
        let usual = if addressed {
            TypingMode::Instant
        } else {
            TypingMode::Message
        };
        self.typing.unwrap_or(usual)
    }
}

/// On unless it says off.
fn is_on(value: &Value) -> bool {
    *value != Value::Bool(false) && text(value).as_deref() != Some("off")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_the_default() {
        let usual = MannerSettings::default();
        assert_eq!(
            (usual.typing_for(true), usual.typing_for(false)),
            (TypingMode::Instant, TypingMode::Message)
        );
        assert_eq!(
            (usual.timestamp, usual.elapsed, usual.twelve_hours),
            (true, true, false)
        );
        assert_eq!(
            (usual.file_chars, usual.all_file_chars, usual.zone),
            (20_000, 150_000, None)
        );
        let said = MannerSettings::parse(
            &json!({"typingMode": "never", "typingIntervalSeconds": 99, "envelopeTimezone": "utc", "envelopeElapsed": "off",
                "envelopeTimestamp": false, "timeFormat": 12, "bootstrapMaxChars": 10, "bootstrapTotalMaxChars": 0}),
            &json!({"typingMode": "message"}),
        );
        assert_eq!(said.typing_for(true), TypingMode::Message);
        assert_eq!(
            (said.typing_interval, said.zone),
            (Some(Duration::from_secs(60)), Some(Tz::UTC))
        );
        assert_eq!((said.timestamp, said.elapsed, said.twelve_hours), (false, false, true));
        assert_eq!((said.file_chars, said.all_file_chars), (10, 150_000));
        assert_eq!(
            MannerSettings::parse(&json!({"envelopeTimezone": "local"}), &Value::Null).zone,
            None
        );
    }
}
