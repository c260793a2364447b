//! A folder with settings and, when asked for, a migrated and seeded database.

use std::path::PathBuf;

use claw_actors::crypto::Secret;
use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;

use super::{migrate, place, seed};
use crate::settings::Settings;

pub(super) struct Here {
    pub(super) settings: Settings,
    folder: TempDir,
}

impl Here {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

pub(super) fn folder() -> Here {
    let folder = tempfile::tempdir().expect("a temp folder");
    let mut settings = Settings::for_test();
    settings.database.url = Secret::new(format!("sqlite://{}/claw.db?mode=rwc", folder.path().display()));
    Here { settings, folder }
}

/// Tenant `demo` with owner `owner@demo.local`.
pub(super) async fn start() -> Here {
    start_in(folder()).await
}

/// As [`start`]; with `CLAW_TEST_POSTGRES=postgres://user@host` on a fresh database of that server.
pub(super) async fn start_on_any() -> Here {
    let mut here = folder();
    if let Ok(server) = std::env::var("CLAW_TEST_POSTGRES") {
        let (server, name) = (
            server.trim_end_matches('/'),
            format!("claw_{}", claw_entities::new_id()),
        );
        let admin = Database::connect(format!("{server}/postgres")).await.expect("connects");
        let create = format!("CREATE DATABASE {name}");
        admin.execute_unprepared(&create).await.expect("creates a database");
        admin.close().await.expect("closes");
        here.settings.database.url = Secret::new(format!("{server}/{name}"));
    }
    start_in(here).await
}

async fn start_in(here: Here) -> Here {
    migrate::run(&here.settings).await.expect("migrates");
    let config = place::open(&here.settings).await.expect("opens");
    seed::seed(&config).await.expect("seeds");
    here
}
