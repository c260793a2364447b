//! `device approve`: lets a waiting device in, with no more rights than its user has.

use clap::Subcommand;
use claw_actors::config::identity::role_scopes;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Approve a pending device
    Approve {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// E-mail address of the user whose device it is
        #[arg(long)]
        user: String,
        /// The request id that the device shows
        request_id: String,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let Self::Approve {
            tenant,
            user,
            request_id,
            json,
        } = self;
        let config = place::open(settings).await?;
        let user = place::user(&config, &tenant, &user).await?;
        let approved = config
            .approve_device(&user.scope, &request_id, &role_scopes(user.role))
            .await?;
        if json {
            out::json(&approved);
        } else {
            out::line(format!("approved {request_id}"));
        }
        Ok(())
    }
}
