//! What some model providers can beside answering: reading a text aloud.

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
