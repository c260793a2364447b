//! Google Gemini (`google-generative-ai`).

mod request;
mod stream;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use claw_actors::clock;
use claw_actors::ports::embedding::{Embedded, EmbeddingRequest, Embeddings};
use claw_actors::ports::model::{ModelError, ModelEvent, ModelProvider, ModelRequest};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use reqwest::Method;

use super::{call, embeddings};
use crate::egress::{self, Egress, EgressError, Purpose};

pub(super) const API: &str = "google-generative-ai";

/// The adapter.
pub(super) struct Gemini {
    egress: Egress,
}

impl Gemini {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress }
    }

    fn request(&self, model: &ModelRequest) -> Result<egress::Request, EgressError> {
        let url = url(&model.endpoint.base_url, &model.model, "streamGenerateContent?alt=sse");
        let mut request = self
            .egress
            .request(Purpose::Configured, Method::POST, &url)?
            .header("accept", "text/event-stream");
        if let Some(key) = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            request = request.header("x-goog-api-key", key.expose());
        }
        Ok(call::with_headers(request.json(&request::body(model)), model))
    }
}

impl ModelProvider for Gemini {
    fn api(&self) -> &'static str {
        API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let dialect = stream::Generation::new(&request.provider, &request.model, clock::now_ms());
        call::run(self.request(&request), call::Callee::of(&request), dialect)
    }

    fn embeddings(&self) -> Option<&dyn Embeddings> {
        Some(self)
    }
}

impl Embeddings for Gemini {
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embedded, ModelError>> {
        let url = url(&request.endpoint.base_url, &request.model, "batchEmbedContents");
        Box::pin(embeddings::gemini(self.egress.clone(), url, request))
    }
}

/// `{base}/models/{model}:{method}`; Google's own host needs no version written out. What a model's
/// name may not hold in a path is escaped.
fn url(base: &str, model: &str, method: &str) -> String {
    let base = base.trim().trim_end_matches('/');
    let version = if base.ends_with("googleapis.com") {
        "/v1beta"
    } else {
        ""
    };
    let model = model.strip_prefix("models/").unwrap_or(model);
    let mut name = String::with_capacity(model.len());
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    format!("{base}{version}/models/{name}:{method}")
}
