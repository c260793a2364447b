//! Anthropic Messages (`anthropic-messages`), and servers that speak it.

mod request;
mod stream;

#[cfg(test)]
mod tests;

use claw_actors::clock;
use claw_actors::ports::model::{ModelEvent, ModelProvider, ModelRequest, SUBSCRIPTION_PREFIX};
use futures::stream::BoxStream;
use reqwest::Method;

use super::call;
use crate::egress::{self, Egress, EgressError, Purpose};

#[cfg(feature = "bedrock")]
pub(super) use request::thinking_of;

pub(super) const API: &str = "anthropic-messages";
const VERSION: &str = "2023-06-01";
/// What has to be asked for by a header.
const BETAS: &str = "anthropic-beta";
const OAUTH: &str = "oauth-2025-04-20";
const INTERLEAVED: &str = "interleaved-thinking-2025-05-14";
const WIDE: &str = "context-1m-2025-08-07";

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
        let mut betas = Vec::new();
        if let Some(key) = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty()) {
            request = if key.expose().starts_with(SUBSCRIPTION_PREFIX) {
                betas.push(OAUTH);
                request.bearer(key)
            } else {
                request.header("x-api-key", key.expose())
            };
        }
        let body = request::body(model);
        if body.thinks_between_tools() && request::is_at_home(model) {
            betas.push(INTERLEAVED);
        }
        if model.wide {
            betas.push(WIDE);
        }
        let request = call::with_headers(request.json(&body), model);
        if betas.is_empty() {
            return Ok(request);
        }
        // A header of the settings says more, not something else.
        let configured = model.endpoint.headers.iter();
        let configured = configured.filter(|(name, _)| name.eq_ignore_ascii_case(BETAS));
        betas.extend(configured.map(|(_, value)| value.expose()));
        Ok(request.header(BETAS, betas.join(",")))
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
