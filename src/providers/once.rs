//! One call whose answer is wanted whole, beside the streams: what fails becomes the same error.

use claw_actors::ports::message::AssistantMessage;
use claw_actors::ports::model::{Endpoint, ModelError};

use super::errors::{Failure, MAX_ERROR_BYTES};
use super::redact::redact;
use super::retry_after;
use crate::egress::{self, EgressError, Response};

/// Who is called, for errors and headers.
pub(super) struct Callee<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
}

impl Callee<'_> {
    /// What the runtime sees of a failure.
    pub(super) fn error(&self, failure: Failure) -> ModelError {
        let headers = self.endpoint.headers.iter().map(|(_, value)| value);
        let detail = redact(&failure.detail, self.endpoint.api_key.iter().chain(headers));
        failure.into_error(self.provider, self.model, detail, AssistantMessage::default())
    }

    /// Adds the headers a tenant configured, sends, and gives a success.
    pub(super) async fn send(&self, request: Result<egress::Request, EgressError>) -> Result<Response, ModelError> {
        let request = request.map_err(|error| self.error(Failure::egress(error)))?;
        let mut request = request;
        for (name, value) in &self.endpoint.headers {
            request = request.header(name, value.expose());
        }
        let answer = request
            .send()
            .await
            .map_err(|error| self.error(Failure::egress(error)))?;
        if answer.is_success() {
            return Ok(answer);
        }
        let body = answer.body.get(..MAX_ERROR_BYTES).unwrap_or(&answer.body);
        let mut failure = Failure::http(answer.status, body);
        let wait = retry_after::from_headers(&answer.headers, chrono::Utc::now());
        if wait.is_some() {
            failure.retry_after = wait;
        }
        Err(self.error(failure))
    }
}
