//! A Config service on a real, migrated SQLite file for the tests of this module.

use std::time::Duration;

use claw_entities::{Scope, TenantScope};
use claw_migration::{Migrator, MigratorTrait};
use tempfile::TempDir;

use super::ConfigService;
use super::identity::Role;
use crate::crypto::Secret;
use crate::db::{Db, DbSettings};

pub(crate) struct Server {
    pub(crate) config: ConfigService,
    pub(crate) db: Db,
    _folder: TempDir,
}

impl Server {
    /// The same database through a cache of its own, as a command beside the server has it.
    pub(crate) fn another_process(&self) -> ConfigService {
        ConfigService::for_test(self.db.clone())
    }
}

pub(crate) async fn start() -> Server {
    let folder = tempfile::tempdir().expect("a temp folder");
    let settings = DbSettings {
        url: Secret::new(format!("sqlite://{}/claw.db?mode=rwc", folder.path().display())),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
    };
    let owner = Db::open_owner(&settings, true).await.expect("creates the database");
    Migrator::up(&owner, None).await.expect("migrates");
    owner.close().await.expect("closes");
    let db = Db::open(&settings).await.expect("opens");
    Server {
        config: ConfigService::for_test(db.clone()),
        db,
        _folder: folder,
    }
}

pub(crate) async fn tenant(config: &ConfigService, slug: &str) -> TenantScope {
    TenantScope::vouch(config.create_tenant(slug, slug).await.expect("creates the tenant").id)
}

pub(crate) async fn user(config: &ConfigService, tenant: &TenantScope, email: &str, role: Role) -> Scope {
    config
        .create_user(tenant, email, role, None)
        .await
        .expect("creates the user")
        .scope
}

/// A tenant `acme` with an owner.
pub(crate) async fn owner(config: &ConfigService) -> Scope {
    let tenant = tenant(config, "acme").await;
    user(config, &tenant, "owner@acme.test", Role::Owner).await
}
