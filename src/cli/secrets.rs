//! `secrets rotate`: a new master key wraps every tenant's data key.

use clap::Subcommand;
use claw_actors::config::NewMasterKey;
use claw_entities::TenantScope;

use super::error::CliError;
use super::{out, place};
use crate::settings::{Profile, Settings};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Wrap every data key with a new master key; a running server takes it over within a second
    Rotate {
        /// Read the new key (base64, 32 bytes) from stdin. Needed in production, where `secrets.master_key` must be
        /// set to it before the next start. In development it ends the key that the database holds
        #[arg(long)]
        new_master_key_stdin: bool,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let Self::Rotate {
            new_master_key_stdin,
            json,
        } = self;
        let new = if new_master_key_stdin {
            NewMasterKey::Given(place::secret_from_stdin("the new master key")?)
        } else if settings.profile == Profile::Development && settings.secrets.master_key.is_empty() {
            NewMasterKey::Stored
        } else {
            return Err(CliError::Usage(
                "give the new master key on stdin: `openssl rand -base64 32 | tee new-key | clawcentral secrets rotate \
                 --new-master-key-stdin`, then set secrets.master_key to it for the next start"
                    .to_owned(),
            ));
        };
        let config = place::open(settings).await?;
        let tenants = config.rotate_master_key(new).await?;
        for tenant in config.list_tenants().await? {
            let scope = TenantScope::vouch(tenant.id);
            config
                .audit(&scope, "cli", "secrets.rotate", "master_key", serde_json::json!({}))
                .await?;
        }
        if json {
            out::json(&serde_json::json!({ "tenants": tenants }));
        } else {
            out::line(format!(
                "wrapped the data keys of {tenants} tenants with the new master key"
            ));
        }
        if new_master_key_stdin {
            out::note(
                "set secrets.master_key to the new key before the next start; processes that run now have taken it over",
            );
        }
        Ok(())
    }
}
