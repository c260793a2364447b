//! OpenAI Chat Completions (`openai-completions`), and the many servers that speak something like it.

mod details;
mod manners;
mod request;
mod stream;
mod tool_calls;
mod wire;

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
use super::host::Host;
use super::{hearing, speech};
use crate::egress::{self, Egress, EgressError, Purpose};
use manners::Manners;
pub(super) use request::{NO_OUTPUT, SEE_IMAGES, effort, least_effort};

pub(super) const API: &str = "openai-completions";

/// The adapter.
pub(super) struct ChatCompletions {
    egress: Egress,
}

impl ChatCompletions {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress }
    }

    fn request(&self, model: &ModelRequest) -> Result<egress::Request, EgressError> {
        let base = &model.endpoint.base_url;
        let url = url(base, Host::of(base));
        let mut request = self
            .egress
            .request(Purpose::Configured, Method::POST, &url)?
            .header("accept", "text/event-stream");
        if let Some(key) = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            request = request.bearer(key);
        }
        Ok(call::with_headers(request.json(&request::body(model)), model))
    }
}

impl ModelProvider for ChatCompletions {
    fn api(&self) -> &'static str {
        API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let escaped = Manners::of(&request).escapes();
        let dialect = stream::Completion::new(&request.provider, &request.model, clock::now_ms()).unescaping(escaped);
        call::run(self.request(&request), call::Callee::of(&request), dialect)
    }

    fn embeddings(&self) -> Option<&dyn Embeddings> {
        Some(self)
    }

    fn speech(&self) -> Option<&dyn Speech> {
        Some(self)
    }

    fn hearing(&self) -> Option<&dyn Hearing> {
        Some(self)
    }
}

impl Speech for ChatCompletions {
    fn speak(&self, request: SpeechRequest) -> BoxFuture<'static, Result<Vec<u8>, ModelError>> {
        Box::pin(speech::speak(self.egress.clone(), request))
    }
}

impl Hearing for ChatCompletions {
    fn hear(&self, request: HearingRequest) -> BoxFuture<'static, Result<Heard, ModelError>> {
        Box::pin(hearing::openai(self.egress.clone(), request))
    }
}

impl Embeddings for ChatCompletions {
    fn embed(&self, request: EmbeddingRequest) -> BoxFuture<'static, Result<Embedded, ModelError>> {
        Box::pin(embeddings::openai(self.egress.clone(), KeyPlace::Bearer, request))
    }
}

/// `{base}/chat/completions`; a base that already ends in it is fine, and OpenAI's own needs no `/v1` written out. A query,
/// as older Azure deployments want it (`?api-version=`), stays at the end.
fn url(base: &str, host: Host) -> String {
    let (base, query) = match base.trim().split_once('?') {
        Some((base, query)) => (base, format!("?{query}")),
        None => (base.trim(), String::new()),
    };
    let base = base.trim_end_matches('/');
    if base.ends_with("/chat/completions") {
        format!("{base}{query}")
    } else if host == Host::OpenAi && base.ends_with("api.openai.com") {
        format!("{base}/v1/chat/completions{query}")
    } else {
        format!("{base}/chat/completions{query}")
    }
}
