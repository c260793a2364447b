//! Where a command works: the database, a tenant in it, a user of that.

use std::io::BufRead;

use claw_actors::config::ConfigService;
use claw_actors::config::identity::User;
use claw_actors::crypto::Secret;
use claw_actors::db::Db;
use claw_actors::db::writer::Writer;
use claw_entities::{PlatformTable, TenantScope, platform_state};
use sea_orm::{DbErr, PaginatorTrait};

use super::error::CliError;
use crate::settings::{Profile, Settings};

/// Opens an existing database and the Config service on it. Changes are put down to `cli` in the audit log.
pub(super) async fn open(settings: &Settings) -> Result<ConfigService, CliError> {
    let db = database(settings).await?;
    let configured = Some(settings.secrets.master_key.clone());
    let development = settings.profile == Profile::Development;
    let key = ConfigService::master_key(&db, configured, development).await?;
    let writer = Writer::start(db.clone()).map_err(CliError::Runtime)?;
    Ok(ConfigService::new(db, writer, key).acting_as("cli"))
}

/// Opens an existing, migrated database.
pub(super) async fn database(settings: &Settings) -> Result<Db, CliError> {
    let db = Db::open(&settings.database.open()).await?;
    let tx = db.system_read().await?;
    match platform_state::Entity::platform().count(&*tx).await {
        Ok(_) => {}
        Err(DbErr::Query(_) | DbErr::Exec(_)) => return Err(CliError::NotMigrated),
        Err(error) => return Err(error.into()),
    }
    drop(tx);
    Ok(db)
}

/// The tenant of this slug.
pub(super) async fn tenant(config: &ConfigService, slug: &str) -> Result<TenantScope, CliError> {
    let tenant = config
        .tenant_by_slug(slug)
        .await?
        .ok_or_else(|| CliError::NoTenant(slug.to_owned()))?;
    Ok(TenantScope::vouch(tenant.id.clone()))
}

/// The user of this address in the tenant of this slug.
pub(super) async fn user(config: &ConfigService, slug: &str, email: &str) -> Result<User, CliError> {
    let tenant = tenant(config, slug).await?;
    config
        .user_by_email(&tenant, email)
        .await?
        .ok_or_else(|| CliError::NoUser {
            tenant: slug.to_owned(),
            email: email.to_owned(),
        })
}

/// One line of stdin, without its end: secrets are not for the command line, where others can read them.
pub(super) fn secret_from_stdin(what: &str) -> Result<Secret, CliError> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| CliError::Usage(format!("cannot read {what} from stdin: {error}")))?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(CliError::Usage(format!("{what} is expected on stdin, as one line")));
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[tokio::test]
    async fn a_command_says_what_is_missing() {
        let here = testing::folder();
        let missing = open(&here.settings).await.err().map(|error| error.to_string());
        assert!(missing.is_some_and(|text| text.starts_with("no database at ")));

        std::fs::write(here.path("claw.db"), "").expect("an empty file");
        assert!(matches!(open(&here.settings).await, Err(CliError::NotMigrated)));

        let here = testing::start().await;
        let config = open(&here.settings).await.expect("opens");
        assert!(matches!(tenant(&config, "nobody").await, Err(CliError::NoTenant(_))));
        assert!(matches!(
            user(&config, "demo", "x@y.z").await,
            Err(CliError::NoUser { .. })
        ));
        assert!(user(&config, "demo", "Owner@demo.local").await.is_ok());
    }
}
