//! Amazon Bedrock's ConverseStream (`bedrock-converse-stream`), with a tenant's own credentials: never those of the machine.

mod frames;
mod request;
mod sigv4;
mod stream;

use std::fmt::Write;

use chrono::{DateTime, Utc};
use claw_actors::clock;
use claw_actors::ports::model::{ModelEvent, ModelProvider, ModelRequest};
use futures::stream::BoxStream;
use reqwest::{Method, Url};

use self::sigv4::{Credentials, Signing};
use super::call;
use crate::egress::{self, Egress, EgressError, Purpose};

pub(super) const API: &str = "bedrock-converse-stream";

/// The adapter.
pub(super) struct Bedrock {
    egress: Egress,
}

impl Bedrock {
    pub(super) fn new(egress: Egress) -> Self {
        Self { egress }
    }

    fn request(&self, model: &ModelRequest, now: DateTime<Utc>) -> Result<egress::Request, EgressError> {
        let (base, path) = (model.endpoint.base_url.trim().trim_end_matches('/'), path(&model.model));
        let url = format!("{base}{path}");
        let body = request::body(model).to_string().into_bytes();
        let request = self.egress.request(Purpose::Configured, Method::POST, &url)?;
        let request = request.header("accept", "application/vnd.amazon.eventstream");
        // Before the signature: what is signed is what is sent.
        let mut request = call::with_headers(request, model);
        let key = model.endpoint.api_key.as_ref().filter(|key| !key.is_empty());
        match key.map(|key| (key, Credentials::parse(key))) {
            // A Bedrock API key.
            Some((key, None)) => request = request.bearer(key),
            Some((_, Some(credentials))) => {
                let parsed = Url::parse(&url).map_err(|_| EgressError::refused("the address is no URL"))?;
                let signing = Signing {
                    credentials: &credentials,
                    region: region(&parsed),
                    service: "bedrock",
                    at: now,
                };
                for (name, value) in signing.headers("POST", &parsed, &[("content-type", JSON)], &body) {
                    request = request.header(name, value);
                }
            }
            None => {}
        }
        Ok(request.body(body, JSON))
    }
}

const JSON: &str = "application/json";

impl ModelProvider for Bedrock {
    fn api(&self) -> &'static str {
        API
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, ModelEvent> {
        let dialect = stream::Conversation::new(&request.provider, &request.model, clock::now_ms());
        call::run(self.request(&request, Utc::now()), call::Callee::of(&request), dialect)
    }
}

/// The model's id is one part of the path, whatever is in it (`arn:aws:bedrock:…/…`).
fn path(model: &str) -> String {
    let mut path = "/model/".to_owned();
    for byte in model.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path.push_str("/converse-stream");
    path
}

/// Of `bedrock-runtime.<region>.amazonaws.com` and its relatives; elsewhere the one that is always there.
fn region(url: &Url) -> &str {
    let host = url.host_str().unwrap_or_default();
    let mut labels = host.split('.');
    let service = labels.find(|label| label.starts_with("bedrock-runtime"));
    service
        .and_then(|_| labels.next())
        .filter(|label| label.contains('-'))
        .unwrap_or("us-east-1")
}

#[cfg(test)]
mod tests;
