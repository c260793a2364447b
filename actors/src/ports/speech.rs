//! What some model providers can beside answering: reading a text aloud, and writing down what a sound says.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::model::{Endpoint, ModelError};

/// Reads texts aloud.
pub trait Speech: Send + Sync {
    /// One request.
    fn speak(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Vec<u8>, ModelError>>;
}

/// How the sound is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    Mp3,
    /// In Ogg: what voice messages are.
    Opus,
}

impl AudioFormat {
    /// As OpenAI names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
        }
    }

    pub const fn mime_type(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
        }
    }

    /// How names of such files end.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Opus => "ogg",
        }
    }
}

/// Everything one call needs.
#[derive(Clone, Debug)]
pub struct SpeechRequest {
    pub endpoint: Endpoint,
    /// Provider id as configured, for errors.
    pub provider: String,
    pub model: String,
    pub voice: String,
    pub text: String,
    pub format: AudioFormat,
    pub timeout: Duration,
}

/// Writes down what is said in a sound.
pub trait Hearing: Send + Sync {
    /// One request.
    fn hear(&self, request: HearingRequest) -> BoxFuture<'static, Result<Heard, ModelError>>;
}

/// Everything one call needs.
#[derive(Clone, Debug)]
pub struct HearingRequest {
    pub endpoint: Endpoint,
    /// Provider id as configured, for errors.
    pub provider: String,
    pub model: String,
    pub sound: Arc<Vec<u8>>,
    /// What the file is called: providers tell its format by the end of that.
    pub name: String,
    pub mime_type: String,
    /// ISO 639-1, where it is known.
    pub language: Option<String>,
    /// Words that help with names.
    pub prompt: Option<String>,
    pub timeout: Duration,
}

/// What was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    pub text: String,
    /// How long the sound is, seconds, where the provider says so.
    pub seconds: Option<f64>,
}
