//! A Config service on a real, migrated SQLite file for the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, TenantScope};
use claw_migration::{Migrator, MigratorTrait};
use tempfile::TempDir;

use super::ConfigService;
use super::accounts::Asker;
use super::identity::Role;
use crate::crypto::Secret;
use crate::db::{Db, DbSettings, template};
use crate::services::Replica;
use crate::supervisor::lease::{Leases, boot_id};

pub(crate) struct Server {
    pub(crate) config: ConfigService,
    pub(crate) db: Db,
    _folder: TempDir,
}

impl Server {
    /// An epoch under which may be written for the user.
    pub(crate) async fn epoch(&self, scope: &Scope) -> i64 {
        let replica = Replica {
            id: "test".to_owned(),
            boot_id: boot_id(),
            version: "0.0.0".to_owned(),
        };
        let leases = Leases::new(self.db.clone(), Arc::new(replica), Duration::from_secs(3600));
        leases.announce().await.expect("nobody else uses a fresh database");
        leases.epoch(scope).await.expect("claims the lease")
    }

    /// The same database through a cache of its own, as a command beside the server has it.
    pub(crate) fn another_process(&self) -> ConfigService {
        ConfigService::for_test(self.db.clone())
    }
}

/// On SQLite; with `CLAW_TEST_POSTGRES=postgres://user@host` on a fresh database of that server instead.
pub(crate) async fn start() -> Server {
    let folder = tempfile::tempdir().expect("a temp folder");
    let url = template::database(&folder.path().join("claw.db"), async |db| Migrator::up(db, None).await).await;
    let settings = DbSettings {
        url: Secret::new(url),
        max_connections: 2,
        acquire_timeout: Duration::from_secs(10),
    };
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

/// A stranger who writes to the owner's Telegram bot.
pub(crate) fn stranger(sender_id: &str) -> Asker<'_> {
    Asker {
        channel: "telegram",
        account_id: "default",
        sender_id,
        sender_name: "Eve",
    }
}
