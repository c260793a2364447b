//! Config service: what tenants and users chose. Plain async functions over a scope; the state is the database.
//!
//! Reads that the hot path needs are cached; every write raises the installation's revision, which all processes poll
//! (commands included), so a change is seen within a second. Absence is never cached.

pub mod accounts;
pub mod audit;
pub mod budgets;
pub mod cron;
pub mod devices;
pub mod document;
pub(crate) mod heartbeat;
pub mod hooks;
pub mod identity;
pub mod master;
pub mod mcp;
pub mod memory;
pub mod preferences;
pub mod providers;
pub mod schema;
pub mod secrets;
pub mod skills;
pub mod voice_wake;
pub mod whole;
pub mod workspace;

mod cache;
mod link_limit;
mod revision;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;

use std::sync::Arc;

use claw_entities::Scope;
use sea_orm::DbErr;
use tokio::sync::Semaphore;

use crate::db::writer::Writer;
use crate::db::{Db, Scoped, Tx};
use crate::error::{Error, Result};

pub use master::{MasterKey, NewMasterKey};

/// Password hashes computed at the same time: each takes 19 MiB and a core.
const PASSWORD_HASHES_AT_ONCE: usize = 4;

/// The Config service. Cheap to clone.
#[derive(Clone)]
pub struct ConfigService {
    pub(crate) db: Db,
    /// For what many clients ask at once.
    writer: Writer,
    pub(crate) master: Arc<master::Holder>,
    pub(crate) cache: Arc<cache::Cache>,
    /// Who the audit log names when a call carries no user of its own.
    actor: Option<Arc<str>>,
    hashing: Arc<Semaphore>,
    link_failures: Arc<link_limit::LinkLimit>,
}

impl ConfigService {
    pub fn new(db: Db, writer: Writer, master_key: MasterKey) -> Self {
        Self {
            db,
            writer,
            master: Arc::new(master::Holder::new(master_key)),
            cache: Arc::new(cache::Cache::default()),
            actor: None,
            hashing: Arc::new(Semaphore::new(PASSWORD_HASHES_AT_ONCE)),
            link_failures: Arc::new(link_limit::LinkLimit::default()),
        }
    }

    /// A service over a fixed master key, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(db: Db) -> Self {
        let writer = Writer::start(db.clone()).expect("a thread");
        Self::new(db, writer, MasterKey::from_bytes(&[7; 32]))
    }

    /// The same service, with changes put down to `actor` (a user id, `system` or `cli`) in the audit log.
    #[must_use]
    pub fn acting_as(&self, actor: &str) -> Self {
        Self {
            actor: Some(Arc::from(actor)),
            ..self.clone()
        }
    }

    /// Who a change of the tenant is put down to.
    pub(crate) fn actor(&self) -> &str {
        self.actor.as_deref().unwrap_or("system")
    }

    /// Who a change by this user is put down to.
    pub(crate) fn actor_or<'a>(&'a self, scope: &'a Scope) -> &'a str {
        self.actor.as_deref().unwrap_or(scope.user().as_str())
    }

    /// Starts a write that cached answers depend on: the revision is raised in the same transaction. On PostgreSQL
    /// that row is the first lock such a transaction takes, so two of them cannot lock each other out.
    pub(crate) async fn change(&self, scope: &impl Scoped) -> Result<Tx> {
        let tx = self.db.write(scope).await?;
        revision::raise(&*tx).await?;
        Ok(tx)
    }

    /// Ends what [`Self::change`] started: durable first, then forgotten here at once.
    pub(crate) async fn changed(&self, tx: Tx) -> Result<()> {
        tx.commit().await?;
        self.cache.forget();
        Ok(())
    }
}

/// An insert's error; a row that is there already is named by `message`.
fn conflict(error: DbErr, message: String) -> Error {
    let error = Error::from(error);
    if matches!(error, Error::Conflict(_)) {
        Error::Conflict(message)
    } else {
        error
    }
}
