//! `messages.tts`: reading texts aloud. Names and defaults are the original's.

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number, text};

/// Where the section stands.
const AT: &str = "/messages/tts";

/// Which model reads aloud, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeechSettings {
    /// `auto`: which answers are read aloud by themselves: `off`, `always`, `inbound` (those to sounds) or `tagged`.
    pub auto: &'static str,
    /// Whose model: a provider of the tenant's, or one of the user's own with `<provider>.apiKey`.
    pub provider: String,
    pub model: Option<String>,
    pub voice: Option<String>,
    /// `<provider>.baseUrl`: only the user's own key goes there.
    pub base_url: Option<String>,
    /// Where in the document the marker of `<provider>.apiKey` stands.
    pub key_at: Option<String>,
    /// `maxTextLength`, characters.
    pub longest: usize,
    pub timeout: Duration,
}

impl Default for SpeechSettings {
    fn default() -> Self {
        Self::parse(&Value::Null)
    }
}

impl SpeechSettings {
    pub(super) fn parse(doc: &Value) -> Self {
        let provider = text(at(at(doc, AT), "/provider")).unwrap_or_else(|| "openai".to_owned());
        Self::of_provider(doc, &provider)
    }

    /// As they would be with this provider.
    pub(in crate::config) fn of_provider(doc: &Value, provider: &str) -> Self {
        let section = at(doc, AT);
        let provider = provider.to_lowercase();
        let escaped = provider.replace('~', "~0").replace('/', "~1");
        let own = |key: &str| text(at(section, &format!("/{escaped}/{key}")));
        let longest = number(at(section, "/maxTextLength")).unwrap_or(4_000).clamp(1, 4_096);
        let timeout = number(at(section, "/timeoutMs")).unwrap_or(30_000).clamp(1_000, 60_000);
        Self {
            auto: auto(section),
            model: own("model").or_else(|| own("modelId")),
            voice: own("voice").or_else(|| own("voiceId")),
            base_url: own("baseUrl"),
            key_at: own("apiKey").map(|_| format!("{AT}/{escaped}/apiKey")),
            longest: usize::try_from(longest).unwrap_or(4_000),
            timeout: Duration::from_millis(timeout),
            provider,
        }
    }
}

/// Before there was `auto`, `enabled` was all that could be said.
fn auto(section: &Value) -> &'static str {
    let said = text(at(section, "/auto"));
    let known = ["off", "always", "inbound", "tagged"];
    match said.and_then(|said| known.into_iter().find(|known| **known == said)) {
        Some(known) => known,
        None if at(section, "/auto").is_null() && at(section, "/enabled").as_bool() == Some(true) => "always",
        None => "off",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_providers_own_section_says_how_it_speaks() {
        let usual = SpeechSettings::default();
        assert_eq!(
            (usual.provider.as_str(), usual.auto, usual.key_at),
            ("openai", "off", None)
        );
        let said = SpeechSettings::parse(
            &json!({"messages": {"tts": {"provider": "Mine", "maxTextLength": 9_999_999,
            "mine": {"apiKey": "k", "voice": "nova"}, "openai": {"voice": "alloy"}}}}),
        );
        assert_eq!((said.voice.as_deref(), said.longest), (Some("nova"), 4_096));
        assert_eq!(said.key_at.as_deref(), Some("/messages/tts/mine/apiKey"));
        for (section, expected) in [
            (json!({"auto": "inbound"}), "inbound"),
            (json!({"auto": "loud", "enabled": true}), "off"),
            (json!({"enabled": true}), "always"),
        ] {
            assert_eq!(
                SpeechSettings::parse(&json!({"messages": {"tts": section}})).auto,
                expected
            );
        }
    }
}
