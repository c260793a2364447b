//! `tools.web.fetch`: how pages are read, as a document says it (`agent-runtime` §12.2).

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number};

/// `tools.web.fetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSettings {
    pub enabled: bool,
    /// Characters of a page without a wish.
    pub characters: usize,
    /// And with one.
    pub most_characters: usize,
    /// What is beyond is not read.
    pub bytes: usize,
    pub timeout: Duration,
    /// How old a page may be that is given again. Zero: none is.
    pub cache: Duration,
}

impl FetchSettings {
    /// Fewest and most characters anybody can choose.
    pub const LEAST_CHARACTERS: usize = 100;
    pub const MOST_CHARACTERS: usize = 50_000;
    /// Longest time anybody can choose.
    pub const LONGEST: Duration = Duration::from_secs(60);

    pub(super) fn parse(section: &Value) -> Self {
        let size = |pointer: &str, usual: usize, least: usize, most: usize| {
            let said = number(at(section, pointer)).map(|said| usize::try_from(said).unwrap_or(usize::MAX));
            said.unwrap_or(usual).clamp(least, most)
        };
        let (least, most) = (Self::LEAST_CHARACTERS, Self::MOST_CHARACTERS);
        let most_characters = size("/maxCharsCap", most, least, most);
        let seconds = number(at(section, "/timeoutSeconds")).unwrap_or(30);
        let minutes = number(at(section, "/cacheTtlMinutes")).unwrap_or(15).min(15);
        Self {
            enabled: at(section, "/enabled").as_bool() != Some(false),
            characters: size("/maxChars", most, least, most_characters),
            most_characters,
            bytes: size("/maxResponseBytes", 2_000_000, 32_000, 10_000_000),
            timeout: Duration::from_secs(seconds.max(1)).min(Self::LONGEST),
            cache: Duration::from_secs(minutes * 60),
        }
    }
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self::parse(&Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_the_default_and_limits_hold() {
        let read = |section: Value| {
            let settings = FetchSettings::parse(&section);
            let characters = (settings.characters, settings.most_characters);
            let times = (settings.timeout.as_secs(), settings.cache.as_secs());
            (settings.enabled, characters, settings.bytes, times)
        };
        let usual = (true, (50_000, 50_000), 2_000_000, (30, 900));
        assert_eq!(read(Value::Null), usual);
        assert_eq!(
            read(
                json!({"enabled": false, "maxChars": 400, "maxCharsCap": 1_000, "maxResponseBytes": 64_000,
                "timeoutSeconds": 5, "cacheTtlMinutes": 1})
            ),
            (false, (400, 1_000), 64_000, (5, 60))
        );
        assert_eq!(
            read(
                json!({"maxChars": 9_000, "maxCharsCap": 1, "maxResponseBytes": 1, "timeoutSeconds": 0,
                "cacheTtlMinutes": 0})
            ),
            (true, (100, 100), 32_000, (1, 0))
        );
        assert_eq!(
            read(
                json!({"maxChars": 1, "maxCharsCap": 900_000, "maxResponseBytes": 99_000_000, "timeoutSeconds": 900,
                "cacheTtlMinutes": 99})
            ),
            (true, (100, 50_000), 10_000_000, (60, 900))
        );
    }
}
