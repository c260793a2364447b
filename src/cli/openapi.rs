//! `openapi`: the document of the REST API on stdout, without a database.

use super::error::CliError;

pub(super) fn run() -> Result<(), CliError> {
    Err(CliError::Usage(
        "the OpenAPI document is not part of this build".to_owned(),
    ))
}
