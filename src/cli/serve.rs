//! `serve`: hands over to the start of the server.

use super::error::CliError;
use crate::settings::Settings;

pub(super) fn run(settings: Settings) -> Result<(), CliError> {
    crate::boot::serve(settings).map_err(|error| CliError::Serve(format!("{error:#}")))
}
