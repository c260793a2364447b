//! The queue's settings: what the session says, else the channel, else the document.

use serde_json::Value;

use crate::config::document::{DropPolicy, QueueMode, QueueSettings};

/// Settings of one session's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub mode: QueueMode,
    /// Quiet time before held items run.
    pub debounce_ms: i64,
    /// Most items that wait, at least 1.
    pub cap: usize,
    pub drop: DropPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self::resolve(&QueueSettings::default(), "", &Value::Null)
    }
}

impl Settings {
    /// `entry` is the session's, with `queueMode`, `queueDebounceMs`, `queueCap` and `queueDrop`.
    pub fn resolve(document: &QueueSettings, channel: &str, entry: &Value) -> Self {
        let word = |name: &str| entry.get(name).and_then(Value::as_str);
        let number = |name: &str| entry.get(name).and_then(Value::as_u64);
        Self {
            mode: word("queueMode")
                .and_then(parse_mode)
                .or_else(|| document.by_channel.get(channel).copied())
                .unwrap_or(document.mode),
            debounce_ms: number("queueDebounceMs")
                .and_then(|ms| i64::try_from(ms).ok())
                .unwrap_or_else(|| {
                    let debounce = document.debounce_by_channel.get(channel).unwrap_or(&document.debounce);
                    i64::try_from(debounce.as_millis()).unwrap_or(1_000)
                }),
            cap: number("queueCap")
                .and_then(|cap| usize::try_from(cap).ok())
                .unwrap_or(document.cap)
                .max(1),
            drop: word("queueDrop").and_then(parse_drop).unwrap_or(document.drop),
        }
    }
}

/// A mode's name with the aliases of `agent-runtime` §5.2.
pub fn parse_mode(word: &str) -> Option<QueueMode> {
    Some(match word.to_lowercase().as_str() {
        "collect" | "coalesce" => QueueMode::Collect,
        "followup" | "follow-up" | "followups" | "follow-ups" => QueueMode::Followup,
        "steer" | "queue" | "queued" | "steering" => QueueMode::Steer,
        "steer-backlog" | "steer+backlog" | "steer_backlog" => QueueMode::SteerBacklog,
        "interrupt" | "interrupts" | "abort" => QueueMode::Interrupt,
        _ => return None,
    })
}

/// A drop policy's name with its aliases.
pub fn parse_drop(word: &str) -> Option<DropPolicy> {
    Some(match word.to_lowercase().as_str() {
        "old" | "oldest" => DropPolicy::Old,
        "new" | "newest" => DropPolicy::New,
        "summarize" | "summary" => DropPolicy::Summarize,
        _ => return None,
    })
}

/// The name shown and stored.
pub const fn mode_name(mode: QueueMode) -> &'static str {
    match mode {
        QueueMode::Collect => "collect",
        QueueMode::Followup => "followup",
        QueueMode::Steer => "steer",
        QueueMode::SteerBacklog => "steer-backlog",
        QueueMode::Interrupt => "interrupt",
    }
}

/// The name shown and stored.
pub const fn drop_name(drop: DropPolicy) -> &'static str {
    match drop {
        DropPolicy::Old => "old",
        DropPolicy::New => "new",
        DropPolicy::Summarize => "summarize",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_session_wins_over_the_channel_and_that_over_the_document() {
        let document = QueueSettings {
            by_channel: HashMap::from([("slack".to_owned(), QueueMode::Followup)]),
            debounce: Duration::from_millis(250),
            cap: 0,
            ..QueueSettings::default()
        };
        for (channel, entry, mode) in [
            ("telegram", json!({}), QueueMode::Collect),
            ("slack", json!({}), QueueMode::Followup),
            ("slack", json!({"queueMode": "Interrupts"}), QueueMode::Interrupt),
            ("slack", json!({"queueMode": "nonsense"}), QueueMode::Followup),
        ] {
            assert_eq!(
                Settings::resolve(&document, channel, &entry).mode,
                mode,
                "{channel} {entry}"
            );
        }
        let set = Settings::resolve(
            &document,
            "x",
            &json!({"queueDebounceMs": 5, "queueCap": 3, "queueDrop": "newest"}),
        );
        assert_eq!((set.debounce_ms, set.cap, set.drop), (5, 3, DropPolicy::New));
        let plain = Settings::resolve(&document, "x", &Value::Null);
        assert_eq!(
            (plain.debounce_ms, plain.cap, plain.drop),
            (250, 1, DropPolicy::Summarize)
        );
    }

    #[test]
    fn names_read_back() {
        for mode in [
            QueueMode::Collect,
            QueueMode::Followup,
            QueueMode::Steer,
            QueueMode::SteerBacklog,
            QueueMode::Interrupt,
        ] {
            assert_eq!(parse_mode(mode_name(mode)), Some(mode));
        }
        for drop in [DropPolicy::Old, DropPolicy::New, DropPolicy::Summarize] {
            assert_eq!(parse_drop(drop_name(drop)), Some(drop));
        }
    }
}
