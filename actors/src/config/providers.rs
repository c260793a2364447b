//! AI providers a tenant brought, and which model a run uses.

use claw_entities::{Scope, TenantScope};
use serde_json::Value;

use super::ConfigService;
use crate::crypto::Secret;
use crate::error::Result;
use crate::ports::model::Endpoint;

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
    pub context_window: u64,
    pub max_tokens: u32,
    pub takes_images: bool,
    pub reasoning: bool,
    /// USD per million tokens: input, output, cache read, cache write.
    pub prices: [f64; 4],
}

/// The built-in provider that answers when a tenant has configured none.
pub const DEMO_API: &str = "demo-echo";

/// A provider as the Admin UI lists it.
#[derive(Clone, Debug)]
pub struct ProviderView {
    pub id: String,
    pub api: String,
    pub base_url: String,
    pub config: Value,
    pub enabled: bool,
    pub key_set: bool,
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
    pub max_tokens: u32,
    pub reasoning: bool,
    pub takes_images: bool,
    pub default: bool,
}

impl ConfigService {
    pub async fn list_providers(&self, _tenant: &TenantScope) -> Result<Vec<ProviderView>> {
        unimplemented!("config")
    }
    pub async fn put_provider(&self, _tenant: &TenantScope, _draft: ProviderDraft) -> Result<()> {
        unimplemented!("config")
    }
    pub async fn delete_provider(&self, _tenant: &TenantScope, _id: &str) -> Result<()> {
        unimplemented!("config")
    }
    /// All models the user may pick; `demo/echo` when there is no provider.
    pub async fn list_models(&self, _scope: &Scope) -> Result<Vec<ModelView>> {
        unimplemented!("config")
    }
    /// The model for a run: `wanted` (a session override, `provider/model` or an alias), else the agent's, else the
    /// tenant's first, else `demo/echo`. Keys are opened here, as late as possible; do not keep the answer.
    pub async fn resolve_model(&self, _scope: &Scope, _agent_id: &str, _wanted: Option<&str>) -> Result<ResolvedModel> {
        unimplemented!("config")
    }
}
