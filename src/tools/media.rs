//! Files by their address, for tools that look at them or send them on.

use claw_actors::ports::tool::ToolOutput;

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
