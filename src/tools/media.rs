//! Files by their address, for tools that look at them or send them on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::tool::ToolOutput;
use claw_actors::session::blobs::PREFIX;
use claw_actors::session::reach::Reach;

use super::refused;
use crate::egress::Egress;
use crate::egress::fetch::{self, File, NotFetched};

/// The bytes at an address a model wrote: public https only.
pub(super) async fn fetch(egress: &Egress, url: &str, limit: usize) -> Result<File, ToolOutput> {
    fetch::file(egress, url, limit).await.map_err(|why| {
        ToolOutput::error(match why {
            NotFetched::NoHttps => "Give an https address, or blob:… of something stored here.".to_owned(),
            NotFetched::TooLarge(_) => format!("The file is larger than {limit} bytes."),
            NotFetched::Refused(reason) => format!("The address may not be fetched: {reason}."),
            NotFetched::Answered(status) => format!("The server answered {status}."),
            NotFetched::Failed => "The file could not be fetched.".to_owned(),
        })
    })
}

/// The limit that is wished for (megabytes), within ours (bytes).
pub(super) fn limit(wished: Option<f64>, most: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    wished.map_or(most, |mb| (mb * 1_048_576.0).clamp(1.0, most as f64) as usize)
}

/// The bytes of what a model named: an address, a `data:` URL, or something that is stored here. `what` begins a sentence.
pub(super) async fn named(
    egress: &Egress,
    reach: &Reach,
    name: &str,
    limit: usize,
    what: &str,
) -> Result<Vec<u8>, ToolOutput> {
    let name = name.trim();
    let too_large = || ToolOutput::error(format!("{what} is larger than {limit} bytes."));
    if let Some(rest) = name.strip_prefix("data:") {
        let data = rest.split_once(";base64,").map(|(_, data)| data);
        let data = data.ok_or_else(|| ToolOutput::error("A data: URL must be base64."))?;
        if data.len() / 4 * 3 > limit + 3 {
            return Err(too_large());
        }
        return STANDARD
            .decode(data.trim())
            .map_err(|_| ToolOutput::error("A data: URL is not base64."));
    }
    if let Some(id) = name.strip_prefix(PREFIX) {
        let stored = reach.stored(id).await.map_err(refused)?;
        let (_, bytes) = stored.ok_or_else(|| ToolOutput::error(format!("There is nothing stored as {name}.")))?;
        return if bytes.len() > limit {
            Err(too_large())
        } else {
            Ok(bytes)
        };
    }
    Ok(fetch(egress, name, limit).await?.bytes)
}
