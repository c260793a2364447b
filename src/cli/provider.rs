//! `provider key …`: the keys of a tenant's AI providers. They are read from stdin and never printed.

use clap::Subcommand;
use claw_actors::config::providers::DEFAULT_KEY;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List, set and remove keys of a provider
    #[command(subcommand)]
    Key(Key),
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Store the key that stands on stdin, under a name
    Set {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// Id of the provider, e.g. openai
        #[arg(long)]
        provider: String,
        /// Name of the key
        #[arg(long, default_value = DEFAULT_KEY)]
        name: String,
    },
    /// List the names of a provider's keys
    List {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// Id of the provider
        #[arg(long)]
        provider: String,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Remove a key
    Remove {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        /// Id of the provider
        #[arg(long)]
        provider: String,
        /// Name of the key
        #[arg(long, default_value = DEFAULT_KEY)]
        name: String,
    },
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let Self::Key(command) = self;
        let config = place::open(settings).await?;
        match command {
            Key::Set { tenant, provider, name } => {
                let tenant = place::tenant(&config, &tenant).await?;
                let key = place::secret_from_stdin("the key")?;
                config.put_provider_key(&tenant, &provider, &name, &key).await?;
                out::line(format!("stored {provider}:{name}"));
            }
            Key::List { tenant, provider, json } => {
                let tenant = place::tenant(&config, &tenant).await?;
                let providers = config.list_providers(&tenant).await?;
                let found = providers.into_iter().find(|view| view.id == provider);
                let found = found.ok_or(claw_actors::Error::NotFound { what: "provider" })?;
                if json {
                    out::json(&found.keys);
                } else {
                    found.keys.iter().for_each(out::line);
                }
            }
            Key::Remove { tenant, provider, name } => {
                let tenant = place::tenant(&config, &tenant).await?;
                config.delete_provider_key(&tenant, &provider, &name).await?;
                out::line(format!("removed {provider}:{name}"));
            }
        }
        Ok(())
    }
}
