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
    live("elevenlabs", ELEVENLABS_KIND, "ElevenLabs."),
    live(
        "auto",
        Kind::Choice(&["off", "always", "inbound", "tagged"]),
        "Which answers to you are read aloud: all, those to voice messages, or those the agent says so of.",
    ),
    live("enabled", Kind::Bool, "True without auto: always."),
    kept("mode", Kind::Text),
    kept("summaryModel", Kind::Text),
    kept("modelOverrides", Kind::Any),
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

const ELEVENLABS_KIND: Kind = Kind::Object(&[ELEVENLABS]);
const ELEVENLABS: &[Key] = &[
    live("apiKey", Kind::Secret, "A key of your own."),
    live("baseUrl", Kind::Text, "Its address."),
    live("modelId", Kind::Text, "E.g. eleven_multilingual_v2."),
    live("voiceId", Kind::Text, "Id of a voice of your library."),
    kept("seed", Kind::Whole),
    kept("applyTextNormalization", Kind::Text),
    kept("languageCode", Kind::Text),
    kept("voiceSettings", Kind::Any),
];
