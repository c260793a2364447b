//! `tenant …`: platform administration.

use clap::Subcommand;
use claw_actors::config::ConfigService;
use claw_actors::config::identity::Tenant;
use serde::Serialize;

use super::error::CliError;
use super::{out, place};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a tenant; its slug is the first label of its host name
    Create {
        slug: String,
        /// Name for people; the slug unless given
        #[arg(long)]
        name: Option<String>,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// List all tenants
    List {
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Stop serving a tenant: running servers end within a second what goes on for it; nothing is deleted
    Suspend {
        slug: String,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Serve a suspended tenant again
    Resume {
        slug: String,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Delete a tenant with everything it owns
    Delete {
        slug: String,
        /// Yes, delete everything
        #[arg(long)]
        yes: bool,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
}

#[derive(Serialize)]
struct Shown {
    id: String,
    slug: String,
    name: String,
    suspended: bool,
}

impl From<Tenant> for Shown {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.into(),
            slug: tenant.slug,
            name: tenant.name,
            suspended: tenant.suspended,
        }
    }
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let config = place::open(settings).await?;
        match self {
            Self::Create { slug, name, json } => {
                let tenant = config.create_tenant(&slug, name.as_deref().unwrap_or(&slug)).await?;
                if json {
                    out::json(&Shown::from(tenant));
                } else {
                    out::line(format!("created tenant {}", tenant.slug));
                }
            }
            Self::List { json } => {
                let tenants: Vec<_> = config.list_tenants().await?.into_iter().map(Shown::from).collect();
                if json {
                    out::json(&tenants);
                } else {
                    for tenant in tenants {
                        let mark = if tenant.suspended { "  (suspended)" } else { "" };
                        out::line(format!("{}  {}{mark}", tenant.slug, tenant.name));
                    }
                }
            }
            Self::Suspend { slug, json } => suspend(&config, &slug, true, json).await?,
            Self::Resume { slug, json } => suspend(&config, &slug, false, json).await?,
            Self::Delete { slug, yes, json } => {
                place::tenant(&config, &slug).await?;
                if !yes {
                    return Err(CliError::Usage(format!(
                        "this deletes tenant {slug} with all its users and their data for good; add --yes"
                    )));
                }
                config.delete_tenant(&slug).await?;
                if json {
                    out::json(&serde_json::json!({ "deleted": slug }));
                } else {
                    out::line(format!("deleted tenant {slug}"));
                }
            }
        }
        Ok(())
    }
}

async fn suspend(config: &ConfigService, slug: &str, suspended: bool, json: bool) -> Result<(), CliError> {
    let scope = place::tenant(config, slug).await?;
    config.suspend_tenant(&scope, suspended).await?;
    if json {
        out::json(&Shown::from(config.tenant(&scope).await?));
    } else {
        let done = if suspended { "suspended" } else { "resumed" };
        out::line(format!("{done} tenant {slug}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[tokio::test]
    async fn deleting_asks_for_a_yes() {
        let here = testing::start().await;
        let delete = async |yes| {
            let command = Command::Delete {
                slug: "demo".to_owned(),
                yes,
                json: true,
            };
            command.run(&here.settings).await
        };
        assert!(matches!(delete(false).await, Err(CliError::Usage(text)) if text.contains("--yes")));
        delete(true).await.expect("deletes");
        assert!(matches!(delete(true).await, Err(CliError::NoTenant(_))));
    }
}
