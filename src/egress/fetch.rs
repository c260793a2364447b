//! Files by their address: for tools that look at them or send them on, and for answers that name them.

use std::fmt;
use std::time::Duration;

use reqwest::Method;

use super::{Egress, EgressError, Purpose};

/// How long one address may take where nobody waits for a response to their own request.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stood there.
pub(crate) struct File {
    /// As the server says, without parameters.
    pub(crate) mime_type: Option<String>,
    /// The last part of the address.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Why there is no file. Shown, it ends a sentence, without the address.
#[derive(Debug)]
pub(crate) enum NotFetched {
    NoHttps,
    TooLarge(usize),
    Refused(&'static str),
    Answered(u16),
    Failed,
}

impl fmt::Display for NotFetched {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHttps => formatter.write_str("it is no https address"),
            Self::TooLarge(limit) => write!(formatter, "it is larger than {limit} bytes"),
            Self::Refused(reason) => write!(formatter, "the address may not be fetched: {reason}"),
            Self::Answered(status) => write!(formatter, "the server answered {status}"),
            Self::Failed => formatter.write_str("it could not be fetched"),
        }
    }
}

/// Is it an address that may be fetched, and nothing in place of one.
pub(crate) fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
}

/// The bytes at an address a model wrote: public https only.
pub(crate) async fn file(egress: &Egress, url: &str, limit: usize) -> Result<File, NotFetched> {
    if !is_https(url) {
        return Err(NotFetched::NoHttps);
    }
    file_for(egress, Purpose::Untrusted, url, limit, PATIENCE).await
}

/// The bytes at an address, for this purpose and within this time.
pub(crate) async fn file_for(
    egress: &Egress,
    purpose: Purpose,
    url: &str,
    limit: usize,
    patience: Duration,
) -> Result<File, NotFetched> {
    let refused = |error: EgressError| match error {
        EgressError::TooLarge => NotFetched::TooLarge(limit),
        EgressError::Refused { reason } => NotFetched::Refused(reason),
        EgressError::Connect | EgressError::Io | EgressError::Timeout { .. } | EgressError::Redirect => {
            NotFetched::Failed
        }
    };
    let request = egress.request(purpose, Method::GET, url).map_err(refused)?;
    let answer = request
        .timeout(patience)
        .max_body(limit)
        .send()
        .await
        .map_err(refused)?;
    if !answer.is_success() {
        return Err(NotFetched::Answered(answer.status));
    }
    let kind = answer.header("content-type").and_then(|kind| kind.split(';').next());
    let mime_type = kind
        .map(|kind| kind.trim().to_ascii_lowercase())
        .filter(|kind| !kind.is_empty());
    let name = answer.url.path_segments().and_then(Iterator::last).unwrap_or_default();
    Ok(File {
        mime_type,
        name: name.to_owned(),
        bytes: answer.body,
    })
}
