//! `hook-token create`: a token for `/hooks`, alone on stdout.

use clap::Subcommand;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a token for a user's hooks and print it, once
    Create {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// E-mail address of the user
        #[arg(long)]
        user: String,
        /// The one hook it opens: wake, agent, or a mapping's id or path; all of them unless given
        #[arg(long)]
        hook: Option<String>,
        /// What the list of tokens calls it
        #[arg(long, default_value = "command line")]
        name: String,
        /// Print JSON, with the token's id
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let Self::Create {
            tenant,
            user,
            hook,
            name,
            json,
        } = self;
        let config = place::open(settings).await?;
        let user = place::user(&config, &tenant, &user).await?;
        let (made, plain) = config
            .create_hook_token(&user.scope, &name, hook.as_deref(), None)
            .await?;
        if json {
            out::json(&serde_json::json!({ "id": made.id, "token": plain.expose(), "hook": made.hook }));
        } else {
            out::line(plain.expose());
        }
        Ok(())
    }
}
