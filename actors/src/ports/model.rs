//! The model port: a request in, a stream of events out.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::compat::Compat;
use super::embedding::Embeddings;
use super::message::{AssistantMessage, FileFormat, Message};
use super::speech::{Hearing, Speech};
use super::tool::ToolSpec;
use crate::crypto::Secret;

/// One wire family (Anthropic Messages, OpenAI Chat Completions, …). Retries and failover are not its business.
pub trait ModelProvider: Send + Sync {
    /// Name of the family as OpenClaw configuration spells it, e.g. `anthropic-messages`.
    fn api(&self) -> &'static str;

    /// Starts one call. Never fails: a failure, connecting included, is the [`ModelEvent::Error`] that ends the
    /// stream. Dropping the stream cancels the call. Exactly one `Done` or `Error` is yielded, last.
    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent>;

    /// Absent means "this family cannot".
    fn embeddings(&self) -> Option<&dyn Embeddings> {
        None
    }

    /// Absent means "this family cannot".
    fn speech(&self) -> Option<&dyn Speech> {
        None
    }

    /// Absent means "this family cannot".
    fn hearing(&self) -> Option<&dyn Hearing> {
        None
    }
}

/// Everything one call needs. Built by the session, secrets included, as late as possible.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    pub endpoint: Endpoint,
    /// Provider id as configured (`anthropic`, `openrouter`, …), copied into the answer.
    pub provider: String,
    /// Model id as the provider knows it.
    pub model: String,
    /// System prompt, stable parts first. The adapter puts a cache breakpoint after the last block that asks for one.
    pub system: Arc<Vec<SystemBlock>>,
    /// History, oldest first, already repaired for strict providers, images inline.
    pub messages: Arc<Vec<Arc<Message>>>,
    pub tools: Arc<Vec<Arc<ToolSpec>>>,
    pub max_tokens: u32,
    /// Tokens of a prompt and its answer together, for servers that must be told.
    pub context_window: u64,
    /// What the settings say of how the server differs.
    pub compat: Compat,
    /// Can the model think, and how hard it is to.
    pub reasoning: bool,
    pub thinking: Thinking,
    /// Ask for the provider's faster tier.
    pub fast: bool,
    pub temperature: Option<f32>,
    /// How long the provider keeps the prompt.
    pub cache: CacheRetention,
    /// Ask Anthropic for a window of a million tokens.
    pub wide: bool,
    /// The provider's own name of a tier that settings ask for.
    pub service_tier: Option<String>,
    /// Stable per session, for provider-side prompt caches.
    pub cache_key: String,
    pub limits: StreamLimits,
}

/// How subscription tokens of Anthropic begin. They go into another header than keys, and may do less.
pub const SUBSCRIPTION_PREFIX: &str = "sk-ant-oat";

/// How long a provider keeps a prompt for the calls that follow (`cacheRetention`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheRetention {
    /// Not at all, where that can be said.
    None,
    /// Its usual time: some minutes.
    #[default]
    Short,
    /// An hour with Anthropic, a day with OpenAI.
    Long,
}

/// How hard a model thinks before it answers (`agent-runtime` §10.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thinking {
    #[default]
    Off,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    /// As hard as the model sees fit.
    Adaptive,
}

impl Thinking {
    /// All levels, in the order clients show them.
    pub const ALL: [Self; 7] = [
        Self::Off,
        Self::Minimal,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::XHigh,
        Self::Adaptive,
    ];

    /// The name used on the wire and in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Adaptive => "adaptive",
        }
    }

    /// A level as people spell it: case, spaces, `_` and `-` do not count.
    pub fn parse(text: &str) -> Option<Self> {
        let plain: String = text
            .chars()
            .filter(|c| !matches!(c, ' ' | '_' | '-'))
            .flat_map(char::to_lowercase)
            .collect();
        Some(match plain.as_str() {
            "off" | "none" | "disable" | "disabled" => Self::Off,
            "minimal" | "min" | "think" => Self::Minimal,
            "low" | "on" | "enable" | "enabled" | "thinkhard" => Self::Low,
            "medium" | "med" | "mid" | "harder" | "thinkharder" => Self::Medium,
            "high" | "ultra" | "ultrathink" | "highest" | "max" => Self::High,
            "xhigh" | "extrahigh" => Self::XHigh,
            "adaptive" | "auto" => Self::Adaptive,
            _ => return None,
        })
    }
}

/// What a model takes beside text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    pub images: bool,
    pub pdf: bool,
    /// WAV and MP3.
    pub audio: bool,
    /// Ogg too, which voice messages are.
    pub ogg: bool,
}

impl Takes {
    /// Does it read files of this kind as they are.
    pub const fn file(self, kind: FileFormat) -> bool {
        match kind {
            FileFormat::Pdf => self.pdf,
            FileFormat::Wav | FileFormat::Mp3 => self.audio,
            FileFormat::Ogg => self.ogg,
        }
    }

    /// As `input` of a model lists it.
    pub fn names(self) -> Vec<&'static str> {
        [
            (true, "text"),
            (self.images, "image"),
            (self.pdf, "pdf"),
            (self.audio, "audio"),
        ]
        .into_iter()
        .filter_map(|(takes, name)| takes.then_some(name))
        .collect()
    }
}

/// A block of the system prompt.
#[derive(Clone, Debug)]
pub struct SystemBlock {
    pub text: String,
    pub cache: bool,
}

/// Where the call goes.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub base_url: String,
    pub api_key: Option<Secret>,
    /// Extra headers a tenant configured.
    pub headers: Vec<(String, Secret)>,
}

/// How long a stream may be silent. Any byte counts as life, keep-alive comments included.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    pub first_byte: Duration,
    pub idle: Duration,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(90),
        }
    }
}

/// What a model call yields.
#[derive(Clone, Debug)]
pub enum ModelEvent {
    /// The provider accepted the request (response headers arrived).
    Start,
    TextDelta(String),
    ThinkingDelta(String),
    /// A tool call became visible; its arguments are complete only in `Done`.
    ToolCallStart {
        id: String,
        name: String,
    },
    /// A piece of a call's arguments. Nobody shows it: it says how much has come.
    ToolCallDelta(String),
    Done(AssistantMessage),
    Error(ModelError),
}

/// Why a call failed, and what had arrived until then.
#[derive(Clone, Debug)]
pub struct ModelError {
    pub class: ErrorClass,
    /// One sentence that is safe and useful for the person who asked.
    pub message: String,
    /// Provider's own words, redacted and cut to 1,000 characters, for the operator's log.
    pub detail: String,
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
    pub partial: AssistantMessage,
}

/// Failure classes of `agent-runtime` §11.2 (names are visible in logs, metrics and run records).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    RateLimit,
    Overloaded,
    Billing,
    Auth,
    AuthPermanent,
    Timeout,
    /// Connection refused, cut or ended without the terminal marker.
    Network,
    Format,
    ModelNotFound,
    SessionExpired,
    /// The prompt does not fit: goes to compaction, never to failover.
    ContextOverflow,
    /// The provider refused on policy grounds.
    Refusal,
    /// A spending limit: the call was not made.
    Budget,
    Unknown,
}

impl ErrorClass {
    /// The name used on the wire and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Overloaded => "overloaded",
            Self::Billing => "billing",
            Self::Auth => "auth",
            Self::AuthPermanent => "auth_permanent",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Format => "format",
            Self::ModelNotFound => "model_not_found",
            Self::SessionExpired => "session_expired",
            Self::ContextOverflow => "context_overflow",
            Self::Refusal => "refusal",
            Self::Budget => "budget",
            Self::Unknown => "unknown",
        }
    }

    /// The reason as OpenClaw's events of a fallback name it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Network => "timeout",
            Self::Refusal | Self::Budget => "unknown",
            Self::RateLimit
            | Self::Overloaded
            | Self::Billing
            | Self::Auth
            | Self::AuthPermanent
            | Self::Timeout
            | Self::Format
            | Self::ModelNotFound
            | Self::SessionExpired
            | Self::ContextOverflow
            | Self::Unknown => self.name(),
        }
    }

    /// May the same call be tried again by itself when nothing was shown to the person yet.
    pub const fn transient(self) -> bool {
        match self {
            Self::RateLimit | Self::Overloaded | Self::Timeout | Self::Network => true,
            Self::Billing
            | Self::Auth
            | Self::AuthPermanent
            | Self::Format
            | Self::ModelNotFound
            | Self::SessionExpired
            | Self::ContextOverflow
            | Self::Refusal
            | Self::Budget
            | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_people_spell_them() {
        for level in Thinking::ALL {
            assert_eq!(Thinking::parse(level.name()), Some(level));
        }
        for (text, level) in [
            ("Think_Hard", Some(Thinking::Low)),
            ("ULTRA think", Some(Thinking::High)),
            ("extra-high", Some(Thinking::XHigh)),
            ("auto", Some(Thinking::Adaptive)),
            ("", None),
            ("very", None),
        ] {
            assert_eq!(Thinking::parse(text), level, "{text}");
        }
    }
}
