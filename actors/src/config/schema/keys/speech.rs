//! `messages.tts`: reading aloud.

use super::super::{Key, Kind, elsewhere, kept, live};

/// The section.
pub(super) const TTS: Kind = Kind::Object(&[KEYS]);

const KEYS: &[Key] = &[
    live(
        "provider",
        Kind::Text,
        "Whose model reads aloud: one of your providers that has /audio/speech.",
    ),
    live("openai", PROVIDER_KIND, "OpenAI, or a compatible service of your own."),
    live("maxTextLength", Kind::Whole, "Longest text, characters; 4096 at most."),
    live("timeoutMs", Kind::Whole, "How long it may take."),
    kept("auto", Kind::Text),
    kept("enabled", Kind::Bool),
    kept("mode", Kind::Text),
    kept("summaryModel", Kind::Text),
    kept("modelOverrides", Kind::Any),
    kept("elevenlabs", Kind::Any),
    kept("microsoft", Kind::Any),
    kept("edge", Kind::Any),
    kept("providers", Kind::Any),
    kept("personas", Kind::Any),
    kept("persona", Kind::Any),
    elsewhere("prefsPath", "what is chosen is in this configuration"),
];

const PROVIDER_KIND: Kind = Kind::Object(&[PROVIDER]);
const PROVIDER: &[Key] = &[
    live("apiKey", Kind::Secret, "A key of your own."),
    live("baseUrl", Kind::Text, "Its address."),
    live("model", Kind::Text, "E.g. gpt-4o-mini-tts or tts-1."),
    live("voice", Kind::Text, "E.g. alloy."),
    kept("speed", Kind::Number),
    kept("instructions", Kind::Text),
];
