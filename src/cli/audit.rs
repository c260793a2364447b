//! `audit verify`: checks the hash chain of a tenant's audit log.

use clap::Subcommand;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check that no line of the audit log was changed, removed or put in between
    Verify {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let Self::Verify { tenant, json } = self;
        let config = place::open(settings).await?;
        let scope = place::tenant(&config, &tenant).await?;
        let lines = match config.verify_audit(&scope).await? {
            Ok(lines) => lines,
            Err(broken) => {
                return Err(CliError::Usage(format!(
                    "the audit log of {tenant} is broken: {broken}"
                )));
            }
        };
        if json {
            out::json(&serde_json::json!({ "lines": lines }));
        } else {
            out::line(format!("the audit log of {tenant} holds: {lines} lines"));
        }
        Ok(())
    }
}
