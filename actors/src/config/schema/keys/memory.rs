//! `memorySearch`: how notes are searched.

use super::super::{Key, Kind, elsewhere, kept, live};

/// The section.
pub(super) const SEARCH: Kind = Kind::Object(&[KEYS]);

const KEYS: &[Key] = &[
    live("enabled", Kind::Bool, "Whether notes may be searched."),
    live(
        "provider",
        Kind::Text,
        "Whose model finds what means the same: auto, openai, gemini, voyage, mistral, another of your providers, or none \
         (words alone).",
    ),
    live(
        "model",
        Kind::Text,
        "The embedding model; the provider's usual one without.",
    ),
    live(
        "outputDimensionality",
        Kind::Whole,
        "Length of the vectors, where the model can.",
    ),
    live("remote", Kind::Object(&[REMOTE]), "An embedding service of your own."),
    live("query", Kind::Object(&[QUERY]), "What a search gives."),
    live("store", Kind::Object(&[STORE]), "What is kept of the notes."),
    kept("fallback", Kind::Text),
    kept("extraPaths", Kind::Any),
    kept("sources", Kind::Any),
    kept("experimental", Kind::Any),
    kept("chunking", Kind::Any),
    kept("sync", Kind::Any),
    kept("cache", Kind::Any),
    kept("multimodal", Kind::Any),
    elsewhere("local", "there is no machine of yours here that runs a model"),
];

const REMOTE: &[Key] = &[
    live("baseUrl", Kind::Text, "Its address."),
    live("apiKey", Kind::Secret, "Its key."),
    kept("headers", Kind::Any),
    kept("batch", Kind::Any),
];

const QUERY: &[Key] = &[
    live("maxResults", Kind::Whole, "Results of a search, 50 at most."),
    live("minScore", Kind::Number, "Leaves out what fits less, 0 to 1."),
    live("hybrid", Kind::Object(&[HYBRID]), "Words and meaning together."),
];

const HYBRID: &[Key] = &[
    live("enabled", Kind::Bool, "Off: words alone."),
    live("vectorWeight", Kind::Number, "How much meaning counts."),
    live("textWeight", Kind::Number, "How much words count."),
    live(
        "candidateMultiplier",
        Kind::Whole,
        "How many are looked at for each result.",
    ),
    kept("mmr", Kind::Any),
    kept("temporalDecay", Kind::Any),
];

const STORE: &[Key] = &[
    live("vector", Kind::Object(&[VECTOR]), "Vectors of the notes."),
    elsewhere("driver", "memory is kept in this service's database"),
    elsewhere("path", "memory is kept in this service's database"),
];

const VECTOR: &[Key] = &[
    live("enabled", Kind::Bool, "Off: words alone."),
    elsewhere("extensionPath", "memory is kept in this service's database"),
];
