//! `tools.media.audio`: writing down what voice messages say. Names and defaults are the original's; `apiKey` is ours.

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number, text};

/// Where the section stands.
const AT: &str = "/tools/media/audio";

/// Which models listen, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HearingSettings {
    pub enabled: bool,
    /// `models[]`: provider and model, in the order they are tried. Empty: the usual model of whichever provider is set up.
    pub models: Vec<(String, Option<String>)>,
    /// `baseUrl`: the address of a service of the user's own, which the first of the models is at.
    pub base_url: Option<String>,
    /// Where in the document the marker of `apiKey` stands.
    pub key_at: Option<String>,
    pub language: Option<String>,
    /// Words that help with names.
    pub prompt: Option<String>,
    /// `maxBytes`: largest sound, bytes.
    pub largest: usize,
    /// `maxChars`: longest transcript, characters.
    pub longest: usize,
    pub timeout: Duration,
}

impl Default for HearingSettings {
    fn default() -> Self {
        Self::parse(&Value::Null)
    }
}

impl HearingSettings {
    pub(super) fn parse(doc: &Value) -> Self {
        let section = at(doc, AT);
        let entries = at(section, "/models").as_array();
        let models = entries.into_iter().flatten().filter_map(|entry| {
            let provider = text(at(entry, "/provider"))?.to_lowercase();
            Some((provider, text(at(entry, "/model"))))
        });
        let whole = |key: &str, usual: u64, (least, most): (u64, u64)| {
            number(at(section, key)).unwrap_or(usual).clamp(least, most)
        };
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            enabled: at(section, "/enabled").as_bool().unwrap_or(true),
            models: models.collect(),
            base_url: text(at(section, "/baseUrl")),
            key_at: text(at(section, "/apiKey")).map(|_| format!("{AT}/apiKey")),
            language: text(at(section, "/language")),
            prompt: text(at(section, "/prompt")),
            largest: size(whole("/maxBytes", 20 << 20, (1_024, 25 << 20))),
            longest: size(whole("/maxChars", 50_000, (100, 200_000))),
            timeout: Duration::from_secs(whole("/timeoutSeconds", 60, (1, 120))),
        }
    }

    /// Is a service of the user's own named.
    pub fn own(&self) -> bool {
        self.base_url.is_some() || self.key_at.is_some()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_section_says_who_listens() {
        let usual = HearingSettings::default();
        assert!(usual.enabled && usual.models.is_empty() && !usual.own());
        assert_eq!((usual.largest, usual.timeout.as_secs()), (20 << 20, 60));
        let said = HearingSettings::parse(
            &json!({"tools": {"media": {"audio": {"apiKey": "k", "maxBytes": 9_999_999_999_u64,
            "models": [{"provider": "Groq", "model": "whisper-large-v3"}, {"type": "cli", "command": "whisper"}]}}}}),
        );
        assert_eq!(said.models, [("groq".to_owned(), Some("whisper-large-v3".to_owned()))]);
        assert_eq!(
            (said.largest, said.key_at.as_deref()),
            (25 << 20, Some("/tools/media/audio/apiKey"))
        );
    }
}
