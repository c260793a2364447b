//! Why a command failed, in words for the person who typed it.

use std::path::PathBuf;

use claw_actors::db::OpenError;
use sea_orm::DbErr;

use crate::settings::SettingsError;

#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the database has no tables yet: create them with `clawcentral migrate`")]
    NotMigrated,
    #[error(transparent)]
    Service(#[from] claw_actors::Error),
    #[error("the database refused")]
    Database(#[from] DbErr),
    #[error("no tenant {0}; `clawcentral tenant list` shows those there are")]
    NoTenant(String),
    #[error("no user {email} in tenant {tenant}; `clawcentral user create` makes one")]
    NoUser { tenant: String, email: String },
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("cannot start")]
    Runtime(#[source] std::io::Error),
    /// A chain that the start of the server put together.
    #[error("{0}")]
    Serve(String),
    #[error("{0}")]
    Usage(String),
}

impl CliError {
    pub(super) fn file(path: &std::path::Path, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
