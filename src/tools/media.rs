//! Files by their address, for tools that look at them or send them on.

use std::time::Duration;

use claw_actors::ports::tool::ToolOutput;
use reqwest::Method;

use crate::egress::{Egress, EgressError, Purpose};

/// How long one address may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stood there.
pub(super) struct File {
    /// As the server says, without parameters.
    pub(super) mime_type: Option<String>,
    /// The last part of the address.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The bytes at an address a model wrote: public https only.
pub(super) async fn fetch(egress: &Egress, url: &str, limit: usize) -> Result<File, ToolOutput> {
    if !url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")) {
        return Err(ToolOutput::error(
            "Give an https address, or blob:… of something stored here.",
        ));
    }
    let refused = |error: EgressError| match error {
        EgressError::TooLarge => ToolOutput::error(format!("The file is larger than {limit} bytes.")),
        EgressError::Refused { reason } => ToolOutput::error(format!("The address may not be fetched: {reason}.")),
        EgressError::Connect | EgressError::Io | EgressError::Timeout { .. } | EgressError::Redirect => {
            ToolOutput::error("The file could not be fetched.")
        }
    };
    let request = egress.request(Purpose::Untrusted, Method::GET, url).map_err(refused)?;
    let answer = request
        .timeout(PATIENCE)
        .max_body(limit)
        .send()
        .await
        .map_err(refused)?;
    if !answer.is_success() {
        return Err(ToolOutput::error(format!("The server answered {}.", answer.status)));
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
