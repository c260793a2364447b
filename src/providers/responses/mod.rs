//! OpenAI Responses (`openai-responses`), and the same on Azure (`azure-openai-responses`).

mod request;
mod stream;

#[cfg(test)]
mod tests;

use claw_actors::clock;
use claw_actors::ports::embedding::{Embedded, EmbeddingRequest, Embeddings};
use claw_actors::ports::model::{ModelError, ModelEvent, ModelProvider, ModelRequest};
use claw_actors::ports::speech::{Heard, Hearing, HearingRequest, Speech, SpeechRequest};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use reqwest::Method;

use super::call;
use super::embeddings::{self, KeyPlace};
use super::{hearing, speech};
use crate::egress::{self, Egress, EgressError, Purpose};

pub(super) const API: &str = "openai-responses";
pub(super) const AZURE_API: &str = "azure-openai-responses";

/// The adapter.
pub(super) struct Responses {
    egress: Egress,
    api: &'static str,
}

impl Responses {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress, api: API }
    }

    /// Where the key has a header of its own, and models are deployments.
    pub(super) fn azure(egress: Egress) -> Self {
        Self { egress, api: AZURE_API }
    }

    fn request(&self, model: &ModelRequest) -> Result<egress::Request, EgressError> {
        let azure = self.api == AZURE_API;
        let url = url(&model.endpoint.base_url, azure);
        let mut request = self
            .egress
            .request(Purpose::Configured, Method::POST, &url)?
            .header("accept", "text/event-stream");
        if let Some(key) = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            request = if azure {
                request.header("api-key", key.expose())
            } else {
                request.bearer(key)
            };
        }
        Ok(call::with_headers(request.json(&request::body(model, self.api)), model))
    }
}

impl ModelProvider for Responses {
    fn api(&self) -> &'static str {
        self.api
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let dialect = stream::Response::new(self.api, &request.provider, &request.model, clock::now_ms());
        call::run(self.request(&request), call::Callee::of(&request), dialect)
    }

    fn embeddings(&self) -> Option<&dyn Embeddings> {
        Some(self)
    }

    fn speech(&self) -> Option<&dyn Speech> {
        (self.api == API).then_some(self as &dyn Speech)
    }

    fn hearing(&self) -> Option<&dyn Hearing> {
        (self.api == API).then_some(self as &dyn Hearing)
    }
}

impl Speech for Responses {
    fn speak(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Vec<u8>, ModelError>> {
        Box::pin(speech::speak(self.egress.clone(), request))
    }
}

impl Hearing for Responses {
    fn hear(&self, request: HearingRequest) -> BoxFuture<'static, Result<Heard, ModelError>> {
        Box::pin(hearing::openai(self.egress.clone(), request))
    }
}

impl Embeddings for Responses {
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embedded, ModelError>> {
        let place = if self.api == AZURE_API {
            KeyPlace::ApiKey
        } else {
            KeyPlace::Bearer
        };
        Box::pin(embeddings::openai(self.egress.clone(), place, request))
    }
}

/// `{base}/responses`; a base that already ends in it is fine, and the well-known hosts need no version written out. A
/// query, as older Azure deployments want it (`?api-version=`), stays at the end.
fn url(base: &str, azure: bool) -> String {
    let (base, query) = match base.trim().split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (base.trim(), String::new()),
    };
    let base = base.trim_end_matches('/');
    if base.ends_with("/responses") {
        format!("{base}{query}")
    } else if azure && base.ends_with(".azure.com") {
        format!("{base}/openai/v1/responses{query}")
    } else if base.ends_with("api.openai.com") {
        format!("{base}/v1/responses{query}")
    } else {
        format!("{base}/responses{query}")
    }
}
