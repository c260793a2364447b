//! AI providers a tenant brought, and which model a run uses.

mod chain;
pub(in crate::config) mod crud;
mod embedding;
mod health;
mod hearing;
mod keys;
mod known;
mod models;
mod resolve;
mod speech;

use std::sync::Arc;

use serde_json::Value;

use crate::config::document::ModelParams;
use crate::crypto::Secret;
use crate::ports::compat::Compat;
use crate::ports::message::Message;
use crate::ports::model::{CacheRetention, Endpoint, ModelRequest, StreamLimits, SystemBlock, Takes, Thinking};

pub(crate) use chain::{Choice, RunChain};
pub(crate) use crud::StoredProvider;
pub use embedding::EmbeddingPlan;
pub(crate) use embedding::another_key_helps;
pub(crate) use health::{Effect, Health, Slot, effect};
pub use keys::{API_KEYS, DEFAULT as DEFAULT_KEY, profile_id};
pub use known::{Known, known};

/// A model a run can call: everything but the conversation.
#[derive(Clone, Debug)]
pub struct ResolvedModel {
    /// Wire family: names the adapter.
    pub api: String,
    pub provider: String,
    pub model: String,
    /// Name for people.
    pub name: String,
    pub endpoint: Endpoint,
    /// Name of the key in use; empty without one.
    pub key: String,
    /// Tokens of a prompt and its answer together, as far as settings allow.
    pub context_window: u64,
    /// The same as the provider has it: a larger prompt was cut by the provider.
    pub full_window: u64,
    pub max_tokens: u32,
    pub takes: Takes,
    /// What the settings say of how its server differs.
    pub compat: Compat,
    pub reasoning: bool,
    /// How hard it thinks unless the session or the message says something else.
    pub thinking: Thinking,
    /// The provider's faster tier is asked for; the prices are that tier's.
    pub fast: bool,
    /// What settings say of its requests.
    pub params: ModelParams,
    /// USD per million tokens: input, output, cache read, cache write.
    pub prices: [f64; 4],
    /// The prices are known; 0 is free then.
    pub priced: bool,
}

impl ResolvedModel {
    /// A call of it without tools that is not part of a conversation: it does not think, and takes its usual time.
    pub(crate) fn request(&self, system: Arc<Vec<SystemBlock>>, messages: Arc<Vec<Arc<Message>>>) -> ModelRequest {
        ModelRequest {
            endpoint: self.endpoint.clone(),
            provider: self.provider.clone(),
            model: self.model.clone(),
            system,
            messages,
            tools: Arc::default(),
            max_tokens: self.max_tokens,
            context_window: self.context_window,
            compat: self.compat.clone(),
            reasoning: self.reasoning,
            thinking: Thinking::Off,
            fast: self.fast,
            temperature: None,
            cache: CacheRetention::Short,
            wide: self.params.context_1m == Some(true),
            service_tier: None,
            cache_key: String::new(),
            limits: StreamLimits::default(),
        }
    }

    /// What the settings ask for costs more: OpenAI's tier as [`Self::hurry`], and Anthropic's longer cache twice the input.
    fn price_params(&mut self) {
        if self.params.service_tier.as_deref() == Some("priority") {
            self.hurry();
        }
        if self.params.cache == Some(CacheRetention::Long) && self.api.starts_with("anthropic") {
            let [input, .., written] = &mut self.prices;
            *written = *input * 2.0;
        }
    }

    /// Asks for the provider's faster tier, where it has one: OpenAI's "priority", which costs about twice as much (not
    /// checked model by model).
    pub(crate) fn hurry(&mut self) {
        if self.provider == "openai" && self.api.starts_with("openai") && !self.fast {
            self.fast = true;
            self.prices = self.prices.map(|price| price * 2.0);
        }
    }
}

/// The built-in provider that answers when a tenant has configured none.
pub const DEMO_API: &str = "demo-echo";
/// Its provider and model, `demo/echo`.
pub const DEMO_PROVIDER: &str = "demo";
pub const DEMO_MODEL: &str = "echo";

/// A provider as the Admin UI lists it.
#[derive(Clone, Debug)]
pub struct ProviderView {
    pub id: String,
    pub api: String,
    pub base_url: String,
    pub config: Value,
    pub enabled: bool,
    /// Is there the key that is called `apiKey` in a configuration.
    pub key_set: bool,
    /// Names of all its keys.
    pub keys: Vec<String>,
}

/// What a person saves; an absent key keeps the stored one.
#[derive(Clone, Debug)]
pub struct ProviderDraft {
    pub id: String,
    pub api: String,
    pub base_url: String,
    pub config: Value,
    pub enabled: bool,
    pub api_key: Option<Secret>,
}

/// A model as `models.list` shows it.
#[derive(Clone, Debug)]
pub struct ModelView {
    pub provider: String,
    pub id: String,
    pub name: String,
    pub api: String,
    pub context_window: u64,
    /// As much of the window as settings allow.
    pub context_tokens: u64,
    pub max_tokens: u32,
    pub reasoning: bool,
    /// As of [`ResolvedModel::thinking`], for the default agent.
    pub thinking: Thinking,
    pub takes: Takes,
    pub default: bool,
    /// Set while none of its keys may be used.
    pub rest: Option<Rest>,
}

/// A rest that ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Epoch milliseconds.
    pub until: i64,
    /// Name of the failure's class.
    pub reason: String,
}

/// A key as clients list it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    pub name: String,
    /// When a session of this user's took it, epoch milliseconds.
    pub last_used_at: Option<i64>,
    /// Until when it rests for this user, and why; for one model, or for all.
    pub rests_until: Option<i64>,
    pub reason: Option<String>,
    pub model: Option<String>,
}
