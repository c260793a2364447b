//! Ollama's own API (`ollama`): `/api/chat`, whose answer is one JSON object in each line.

mod request;
mod stream;

#[cfg(test)]
mod tests;

use claw_actors::clock;
use claw_actors::ports::embedding::{Embedded, EmbeddingRequest, Embeddings};
use claw_actors::ports::model::{ModelError, ModelEvent, ModelProvider, ModelRequest};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use reqwest::Method;

use super::call;
use super::embeddings::{self, KeyPlace};
use crate::egress::{self, Egress, EgressError, Purpose};

pub(super) const API: &str = "ollama";

/// The adapter.
pub(super) struct Ollama {
    egress: Egress,
}

impl Ollama {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress }
    }

    fn request(&self, model: &ModelRequest) -> Result<egress::Request, EgressError> {
        let url = url(&model.endpoint.base_url);
        let mut request = self
            .egress
            .request(Purpose::Configured, Method::POST, &url)?
            .header("accept", "application/x-ndjson");
        if let Some(key) = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            request = request.bearer(key);
        }
        Ok(call::with_headers(request.json(&request::body(model)), model))
    }
}

impl ModelProvider for Ollama {
    fn api(&self) -> &'static str {
        API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let dialect = stream::Chat::new(&request.provider, &request.model, clock::now_ms());
        call::run(self.request(&request), call::Callee::of(&request), dialect)
    }

    fn embeddings(&self) -> Option<&dyn Embeddings> {
        Some(self)
    }
}

impl Embeddings for Ollama {
    /// Behind the compatible address of the same server.
    fn embed(&self, mut request: EmbeddingRequest) -> BoxFuture<'static, Result<Embedded, ModelError>> {
        request.endpoint.base_url = format!("{}/v1", root(&request.endpoint.base_url));
        Box::pin(embeddings::openai(self.egress.clone(), KeyPlace::Bearer, request))
    }
}

/// The server's own address: a base may end in `/api`, or in the `/v1` of the compatible address.
fn root(base: &str) -> &str {
    let base = base.trim().trim_end_matches('/');
    ["/api/chat", "/api", "/v1"]
        .iter()
        .find_map(|end| base.strip_suffix(end))
        .unwrap_or(base)
}

fn url(base: &str) -> String {
    format!("{}/api/chat", root(base))
}
