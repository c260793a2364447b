//! What a request names by its address instead of sending it. Public addresses only, whoever asks; small and soon.

use std::time::Duration;

use claw_actors::Error;
use reqwest::Method;

use super::error::V1Error;
use crate::egress::{Egress, EgressError, Purpose};

/// How long one address may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What stood there.
#[derive(Debug)]
pub(super) struct Fetched {
    /// As the server says, without parameters, in small letters; empty when it says nothing.
    pub(super) kind: String,
    pub(super) bytes: Vec<u8>,
}

/// Is it an address that may be fetched, and nothing in place of one.
pub(super) fn is_address(url: &str) -> bool {
    url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// The bytes at a public https address, `limit` at most. `what` begins the sentence that says why not.
pub(super) async fn fetch(egress: &Egress, url: &str, limit: usize, what: &str) -> Result<Fetched, V1Error> {
    fetch_for(egress, Purpose::Untrusted, url, limit, what).await
}

async fn fetch_for(egress: &Egress, purpose: Purpose, url: &str, limit: usize, what: &str) -> Result<Fetched, V1Error> {
    let refused = |error: EgressError| match error {
        EgressError::TooLarge => V1Error::from(Error::TooLarge(format!("{what} is larger than {limit} bytes"))),
        EgressError::Refused { reason } => V1Error::param("content", format!("{what} may not be fetched: {reason}")),
        EgressError::Connect | EgressError::Io | EgressError::Timeout { .. } | EgressError::Redirect => {
            V1Error::param("content", format!("{what} could not be fetched"))
        }
    };
    let request = egress.request(purpose, Method::GET, url).map_err(refused)?;
    let answer = request
        .timeout(PATIENCE)
        .max_body(limit)
        .send()
        .await
        .map_err(refused)?;
    if !answer.is_success() {
        let status = answer.status;
        return Err(V1Error::param(
            "content",
            format!("{what} could not be fetched: status {status}"),
        ));
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok(Fetched {
        kind,
        bytes: answer.body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::testing::{FakeServer, Reply};

    async fn at(server: &FakeServer, limit: usize) -> Result<Fetched, String> {
        let url = server.url("/a");
        let fetched = fetch_for(&FakeServer::egress(), Purpose::Configured, &url, limit, "an image").await;
        fetched.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn bytes_with_their_kind_within_the_limit() {
        let head = vec![("content-type", "Image/PNG; x=y".to_owned())];
        let server = FakeServer::start(move |_| Reply::Full(200, head.clone(), b"12345".to_vec())).await;
        let fetched = at(&server, 5).await.expect("fetches");
        assert_eq!(
            (fetched.kind.as_str(), fetched.bytes.as_slice()),
            ("image/png", &b"12345"[..])
        );
        let error = at(&server, 4).await.expect_err("too large");
        assert!(error.contains("larger than 4"), "{error}");
        let server = FakeServer::start(|_| Reply::text(404, "no")).await;
        assert!(at(&server, 9).await.expect_err("missing").contains("404"));
    }

    #[tokio::test]
    async fn private_addresses_are_nobodys() {
        let server = FakeServer::start(|_| Reply::text(200, "secret")).await;
        let error = fetch(&FakeServer::egress(), &server.url("/"), 99, "an image").await;
        assert!(error.expect_err("refused").to_string().contains("may not be fetched"));
        assert!(server.seen().is_empty());
        assert!(is_address("HTTPS://a.example/") && !is_address("http://a.example/") && !is_address("https"));
    }
}
