//! How the user lets pages be read.

use super::{Reach, Refusal};
use crate::config::document::FetchSettings;

impl Reach {
    /// `tools.web.fetch`.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub async fn fetch_settings(&self) -> Result<FetchSettings, Refusal> {
        Ok(self.settings().await?.tools.fetch)
    }
}
