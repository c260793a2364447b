//! Posts what jobs found to web addresses that people chose, and fetches the files that answers name.

use std::time::Duration;

use claw_actors::crypto::Secret;
use claw_actors::ports::channel::{DeliverError, MediaFile};
use claw_actors::ports::web::Poster;
use futures::future::BoxFuture;
use reqwest::Method;

use crate::egress::fetch;
use crate::egress::{Egress, EgressError, Purpose, Response};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of an answer, bytes: only its status counts.
const ANSWER: usize = 16 * 1024;
/// Longest pause that a receiver may ask for: that of our own tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

pub(crate) struct WebPoster {
    http: Egress,
}

impl WebPoster {
    pub(crate) fn new(http: Egress) -> Self {
        Self { http }
    }

    async fn send(&self, address: &str, token: Option<&Secret>, key: &str, body: String) -> Result<(), DeliverError> {
        let mut request = self
            .http
            .request(Purpose::Configured, Method::POST, address)
            .map_err(failed)?
            .header("idempotency-key", key)
            .body(body.into_bytes(), "application/json")
            .timeout(TIMEOUT)
            .truncate_body(ANSWER);
        if let Some(token) = token {
            request = request.bearer(token);
        }
        judged(&request.send().await.map_err(failed)?)
    }
}

impl Poster for WebPoster {
    fn post<'a>(
        &'a self,
        address: &'a str,
        token: Option<&'a Secret>,
        key: &'a str,
        body: String,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        Box::pin(self.send(address, token, key, body))
    }

    fn fetch<'a>(&'a self, address: &'a str, max_bytes: usize) -> BoxFuture<'a, Result<MediaFile, String>> {
        Box::pin(async move {
            let fetched = fetch::file(&self.http, address, max_bytes).await;
            let file = fetched.map_err(|why| why.to_string())?;
            Ok(MediaFile {
                bytes: file.bytes,
                mime_type: file.mime_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                name: Some(file.name).filter(|name| !name.is_empty()),
            })
        })
    }
}

fn judged(answer: &Response) -> Result<(), DeliverError> {
    let message = format!("the address answered {}", answer.status);
    match answer.status {
        200..=299 => Ok(()),
        408 | 425 | 429 | 500..=599 => {
            let after = answer.header("retry-after").and_then(|text| text.trim().parse().ok());
            let after = after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
            Err(DeliverError::Retry { message, after })
        }
        0..=199 | 300..=407 | 409..=424 | 426..=428 | 430..=499 | 600..=u16::MAX => {
            Err(DeliverError::Rejected { message })
        }
    }
}

/// The receiver can tell a repeat, so nothing about it is ever unknown. The address stands in no message.
fn failed(error: EgressError) -> DeliverError {
    let message = match error {
        EgressError::Refused { reason } => {
            return DeliverError::Rejected {
                message: format!("the address is not allowed: {reason}"),
            };
        }
        EgressError::Redirect => {
            return DeliverError::Rejected {
                message: "the address redirected the request elsewhere".to_owned(),
            };
        }
        EgressError::Connect => "the address cannot be reached",
        EgressError::Timeout { .. } => "the address did not answer in time",
        EgressError::TooLarge | EgressError::Io => "the connection broke before the address answered",
    };
    DeliverError::Retry {
        message: message.to_owned(),
        after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_inside_are_refused_for_good() {
        let poster = WebPoster::new(Egress::new(crate::egress::EgressSettings::default()));
        for address in [
            "http://127.0.0.1:9/x",
            "https://169.254.169.254/latest",
            "https://[::1]/",
            "ftp://example.com",
        ] {
            let refused = poster.send(address, None, "k", "{}".to_owned()).await;
            assert!(
                matches!(refused, Err(DeliverError::Rejected { .. })),
                "{address}: {refused:?}"
            );
        }
    }
}
