//! `/tts` as far as it is about the voice and not about the session. Pure.

/// What is said of the voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpeechCommand {
    /// Whose voice it is to be; nothing shows it.
    Provider(Option<String>),
    /// How much of an answer is read aloud; nothing shows it.
    Limit(Option<String>),
    /// Whether long answers are summarised first.
    Summary,
    /// Read this text aloud.
    Audio(String),
}

impl SpeechCommand {
    /// Reads what follows the command. `None`: it is something else.
    pub(super) fn read(rest: &str) -> Option<Self> {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let after = after.trim();
        let value = (!after.is_empty()).then(|| after.to_owned());
        let talk = after.contains(char::is_whitespace);
        match word.to_ascii_lowercase().as_str() {
            "audio" => Some(Self::Audio(after.to_owned())),
            "provider" if !talk => Some(Self::Provider(value)),
            "limit" if !talk => Some(Self::Limit(value)),
            "summary" if !talk => Some(Self::Summary),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voice_is_told_from_the_switch_and_from_talk() {
        let some = |word: &str| Some(word.to_owned());
        for (rest, expected) in [
            ("provider", Some(SpeechCommand::Provider(None))),
            ("Provider openai", Some(SpeechCommand::Provider(some("openai")))),
            ("provider is what I mean", None),
            ("limit\t2000", Some(SpeechCommand::Limit(some("2000")))),
            ("limit", Some(SpeechCommand::Limit(None))),
            ("summary on", Some(SpeechCommand::Summary)),
            (
                "audio  Good evening, all",
                Some(SpeechCommand::Audio("Good evening, all".to_owned())),
            ),
            ("audio", Some(SpeechCommand::Audio(String::new()))),
            ("always", None),
            ("", None),
        ] {
            assert_eq!(SpeechCommand::read(rest), expected, "{rest}");
        }
    }
}
