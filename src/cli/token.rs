//! `token create`: a personal API token, alone on stdout.

use clap::Subcommand;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a personal API token and print it, once
    Create {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// E-mail address of the user
        #[arg(long)]
        user: String,
        /// Scopes, e.g. operator.read,operator.write; all of the user's role unless given
        #[arg(long, value_delimiter = ',')]
        scopes: Option<Vec<String>>,
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
            scopes,
            name,
            json,
        } = self;
        let config = place::open(settings).await?;
        let user = place::user(&config, &tenant, &user).await?;
        let scopes = scopes.map(|scopes| {
            let trimmed = scopes.iter().map(|scope| scope.trim().to_owned());
            trimmed.filter(|scope| !scope.is_empty()).collect::<Vec<_>>()
        });
        let (made, plain) = config.create_api_token(&user.scope, &name, scopes).await?;
        if json {
            out::json(&serde_json::json!({ "id": made.id, "token": plain.expose(), "scopes": made.scopes }));
        } else {
            out::line(plain.expose());
        }
        Ok(())
    }
}
