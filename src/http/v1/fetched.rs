//! What a request names by its address instead of sending it. Public addresses only, whoever asks; small and soon.

use std::time::Duration;

use claw_actors::Error;

use super::error::V1Error;
use crate::egress::fetch::{NotFetched, file_for};
use crate::egress::{Egress, Purpose};

/// How long one address may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What stood there.
#[derive(Debug)]
pub(super) struct Fetched {
    /// As the server says, without parameters, in small letters; empty when it says nothing.
    pub(super) kind: String,
    pub(super) bytes: Vec<u8>,
}

/// The bytes at a public https address, `limit` at most. `what` begins the sentence that says why not.
pub(super) async fn fetch(egress: &Egress, url: &str, limit: usize, what: &str) -> Result<Fetched, V1Error> {
    fetch_for(egress, Purpose::Untrusted, url, limit, what).await
}

async fn fetch_for(egress: &Egress, purpose: Purpose, url: &str, limit: usize, what: &str) -> Result<Fetched, V1Error> {
    let fetched = file_for(egress, purpose, url, limit, PATIENCE).await;
    let file = fetched.map_err(|error| match error {
        NotFetched::TooLarge(limit) => V1Error::from(Error::TooLarge(format!("{what} is larger than {limit} bytes"))),
        NotFetched::Refused(reason) => V1Error::param("content", format!("{what} may not be fetched: {reason}")),
        NotFetched::Answered(status) => {
            V1Error::param("content", format!("{what} could not be fetched: status {status}"))
        }
        NotFetched::NoHttps | NotFetched::Failed => V1Error::param("content", format!("{what} could not be fetched")),
    })?;
    Ok(Fetched {
        kind: file.mime_type.unwrap_or_default(),
        bytes: file.bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::fetch::is_https;
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
        assert!(is_https("HTTPS://a.example/") && !is_https("http://a.example/") && !is_https("https"));
    }
}
