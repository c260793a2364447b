//! Anthropic Messages (`anthropic-messages`), and servers that speak it.

mod request;
mod stream;

#[cfg(test)]
mod tests;

use claw_actors::clock;
use claw_actors::ports::model::{ModelEvent, ModelProvider, ModelRequest};
use futures::stream::BoxStream;
use reqwest::Method;

use super::call;
use crate::egress::{self, Egress, EgressError, Purpose};

#[cfg(feature = "bedrock")]
pub(super) use request::thinking_of;

pub(super) const API: &str = "anthropic-messages";
const VERSION: &str = "2023-06-01";
/// How subscription tokens begin; they go into another header than keys.
const OAUTH_PREFIX: &str = "sk-ant-oat";

/// The adapter.
pub(super) struct Anthropic {
    egress: Egress,
}

impl Anthropic {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress }
    }

    fn request(&self, model: &ModelRequest) -> Result<egress::Request, EgressError> {
        let url = url(&model.endpoint.base_url);
        let mut request = self
            .egress
            .request(Purpose::Configured, Method::POST, &url)?
            .header("anthropic-version", VERSION)
            .header("accept", "text/event-stream");
        if let Some(key) = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            request = if key.expose().starts_with(OAUTH_PREFIX) {
                request.bearer(key).header("anthropic-beta", "oauth-2025-04-20")
            } else {
                request.header("x-api-key", key.expose())
            };
        }
        Ok(call::with_headers(request.json(&request::body(model)), model))
    }
}

impl ModelProvider for Anthropic {
    fn api(&self) -> &'static str {
        API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let dialect = stream::Messages::new(&request.provider, &request.model, clock::now_ms());
        call::run(self.request(&request), call::Callee::of(&request), dialect)
    }
}

/// `{base}/v1/messages`; a base that already ends in a part of it is fine.
fn url(base: &str) -> String {
    let base = base.trim().trim_end_matches('/');
    if base.ends_with("/v1/messages") {
        base.to_owned()
    } else if base.ends_with("/v1") {
        format!("{base}/messages")
    } else {
        format!("{base}/v1/messages")
    }
}
