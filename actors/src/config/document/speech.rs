//! `messages.tts`: reading texts aloud. Names and defaults are the original's.

use std::time::Duration;

use serde_json::Value;

use super::parse::{at, number, text};

/// Where the section stands.
const AT: &str = "/messages/tts";

/// Which model reads aloud, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeechSettings {
    /// `auto`: when answers are read aloud by themselves; kept, nothing comes of it yet.
    pub auto: String,
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
        let section = at(doc, AT);
        let provider = text(at(section, "/provider")).unwrap_or_else(|| "openai".to_owned());
        let provider = provider.to_lowercase();
        let escaped = provider.replace('~', "~0").replace('/', "~1");
        let own = |key: &str| text(at(section, &format!("/{escaped}/{key}")));
        let longest = number(at(section, "/maxTextLength")).unwrap_or(4_000).clamp(1, 4_096);
        let timeout = number(at(section, "/timeoutMs")).unwrap_or(30_000).clamp(1_000, 60_000);
        Self {
            auto: text(at(section, "/auto")).unwrap_or_else(|| "off".to_owned()),
            model: own("model"),
            voice: own("voice"),
            base_url: own("baseUrl"),
            key_at: own("apiKey").map(|_| format!("{AT}/{escaped}/apiKey")),
            longest: usize::try_from(longest).unwrap_or(4_000),
            timeout: Duration::from_millis(timeout),
            provider,
        }
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
            (usual.provider.as_str(), usual.auto.as_str(), usual.key_at),
            ("openai", "off", None)
        );
        let said = SpeechSettings::parse(
            &json!({"messages": {"tts": {"provider": "Mine", "maxTextLength": 9_999_999,
            "mine": {"apiKey": "k", "voice": "nova"}, "openai": {"voice": "alloy"}}}}),
        );
        assert_eq!((said.voice.as_deref(), said.longest), (Some("nova"), 4_096));
        assert_eq!(said.key_at.as_deref(), Some("/messages/tts/mine/apiKey"));
    }
}
