//! A folder with settings and, when asked for, a migrated and seeded database.

use std::path::PathBuf;

use claw_actors::crypto::Secret;
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
    let here = folder();
    migrate::run(&here.settings).await.expect("migrates");
    let config = place::open(&here.settings).await.expect("opens");
    seed::seed(&config).await.expect("seeds");
    here
}
