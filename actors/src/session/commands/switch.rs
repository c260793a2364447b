//! Commands that set one field of the session to one of a few words: `/verbose`, `/reasoning`, `/fast`, `/usage`, `/send`,
//! `/activation`, `/tts`.

use serde_json::{Value, json};

/// What is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Whether tools are told of in the chat.
    Verbose,
    /// Whether the model's thoughts come before its answer.
    Reasoning,
    /// Whether the provider's faster, dearer tier is asked for.
    Fast,
    /// Whether answers end with what they cost.
    Usage,
    /// Whether answers go out.
    Send,
    /// Whether a group has to mention the agent.
    Activation,
    /// Which answers are read aloud.
    Aloud,
}

/// What is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switching {
    Show,
    /// The word, and what is stored for it; `None` goes back to the settings.
    Set(&'static str, Option<&'static str>),
    /// What the session has cost so far (`/usage cost`).
    Report,
    Invalid(String),
}

type Word = (&'static str, Option<&'static str>);

impl Switch {
    /// The command of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "verbose" | "v" => Self::Verbose,
            "reasoning" | "reason" => Self::Reasoning,
            "fast" => Self::Fast,
            "usage" => Self::Usage,
            "send" => Self::Send,
            "activation" => Self::Activation,
            "tts" => Self::Aloud,
            _ => return None,
        })
    }

    /// Name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Verbose => "Verbose",
            Self::Reasoning => "Reasoning",
            Self::Fast => "Fast mode",
            Self::Usage => "Usage footer",
            Self::Send => "Sending",
            Self::Activation => "Activation",
            Self::Aloud => "Reading aloud",
        }
    }

    /// Field of the session's entry.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Verbose => "verboseLevel",
            Self::Reasoning => "reasoningLevel",
            Self::Fast => "fastMode",
            Self::Usage => "responseUsage",
            Self::Send => "sendPolicy",
            Self::Activation => "groupActivation",
            Self::Aloud => "ttsAuto",
        }
    }

    /// The words, and what is stored for them.
    pub const fn words(self) -> &'static [Word] {
        match self {
            Self::Verbose => &[
                ("on", Some("on")),
                ("full", Some("full")),
                ("off", Some("off")),
                DEFAULT,
            ],
            Self::Reasoning => &[
                ("on", Some("on")),
                ("stream", Some("stream")),
                ("off", Some("off")),
                DEFAULT,
            ],
            Self::Fast => &[("on", Some("on")), ("off", Some("off")), DEFAULT],
            Self::Usage => &[
                ("tokens", Some("tokens")),
                ("full", Some("full")),
                ("off", Some("off")),
                DEFAULT,
            ],
            Self::Send => &[("on", Some("allow")), ("off", Some("deny")), ("inherit", None), DEFAULT],
            Self::Activation => &[("mention", Some("mention")), ("always", Some("always")), DEFAULT],
            Self::Aloud => &[
                ("off", Some("off")),
                ("always", Some("always")),
                ("inbound", Some("inbound")),
                ("tagged", Some("tagged")),
                DEFAULT,
            ],
        }
    }

    /// What the session has stored.
    pub fn stored(self, entry: &Value) -> Option<&'static str> {
        let stored = entry.get(self.field())?;
        self.values().find(|value| self.as_stored(Some(value)) == *stored)
    }

    /// How the session has it; nothing goes back to the settings. The original's `fastMode` is true or false.
    pub fn as_stored(self, value: Option<&str>) -> Value {
        match self {
            Self::Fast => json!(value.map(|value| value == "on")),
            Self::Verbose | Self::Reasoning | Self::Usage | Self::Send | Self::Activation | Self::Aloud => json!(value),
        }
    }

    /// What may be stored.
    pub fn values(self) -> impl Iterator<Item = &'static str> {
        self.words().iter().filter_map(|(_, value)| *value)
    }

    /// A word as it stands in the list: the original calls some by a second name too.
    pub fn listed(self, word: &str) -> &str {
        match (self, word) {
            (Self::Aloud, "on") => "always",
            (Self::Usage, "on") => "tokens",
            (_, word) => word,
        }
    }

    /// Reads what follows the command. `None`: it is talk.
    pub(super) fn read(self, rest: &str) -> Option<Switching> {
        let typed = rest.trim().to_ascii_lowercase();
        let word = self.listed(&typed);
        if word.is_empty() || (matches!(self, Self::Fast | Self::Aloud) && word == "status") {
            return Some(Switching::Show);
        }
        if word.contains(char::is_whitespace) {
            return None;
        }
        if self == Self::Usage && word == "cost" {
            return Some(Switching::Report);
        }
        let found = self.words().iter().find(|(known, _)| *known == word);
        Some(match found {
            Some((word, value)) => Switching::Set(word, *value),
            None => Switching::Invalid(word.to_owned()),
        })
    }
}

const DEFAULT: Word = ("default", None);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_become_values() {
        for (switch, rest, expected) in [
            (Switch::Verbose, "", Some(Switching::Show)),
            (Switch::Verbose, "FULL", Some(Switching::Set("full", Some("full")))),
            (Switch::Send, "off", Some(Switching::Set("off", Some("deny")))),
            (Switch::Send, "inherit", Some(Switching::Set("inherit", None))),
            (Switch::Usage, "cost", Some(Switching::Report)),
            (Switch::Usage, "on", Some(Switching::Set("tokens", Some("tokens")))),
            (Switch::Aloud, "on", Some(Switching::Set("always", Some("always")))),
            (Switch::Reasoning, "loud", Some(Switching::Invalid("loud".to_owned()))),
            (Switch::Fast, "status", Some(Switching::Show)),
            (Switch::Fast, "on", Some(Switching::Set("on", Some("on")))),
            (Switch::Activation, "always please", None),
        ] {
            assert_eq!(switch.read(rest), expected, "{switch:?} {rest}");
        }
    }

    #[test]
    fn only_known_values_are_read_back() {
        let entry = json!({"sendPolicy": "deny", "verboseLevel": "loud"});
        assert_eq!(Switch::Send.stored(&entry), Some("deny"));
        assert_eq!(Switch::Verbose.stored(&entry), None);
        for (stored, value) in [
            (json!(true), Some("on")),
            (json!(false), Some("off")),
            (json!("auto"), None),
        ] {
            assert_eq!(Switch::Fast.stored(&json!({"fastMode": stored})), value);
        }
    }
}
