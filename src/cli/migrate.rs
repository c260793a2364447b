//! `migrate`: the schema only. Creates the file of an SQLite database.

use claw_actors::db::Db;
use claw_migration::{Migrator, MigratorTrait};

use super::error::CliError;
use super::out;
use crate::settings::Settings;

pub(super) async fn run(settings: &Settings) -> Result<(), CliError> {
    let owner = Db::open_owner(&settings.database.open(), true).await?;
    let pending = Migrator::get_pending_migrations(&owner).await?.len();
    Migrator::up(&owner, None).await?;
    owner.close().await?;
    out::note(match pending {
        0 => "the schema is up to date".to_owned(),
        steps => format!("ran {steps} migration steps"),
    });
    Ok(())
}
