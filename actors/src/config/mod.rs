//! Config service: what tenants and users chose. Plain async functions over a scope; the state is the database.
//!
//! Reads that the hot path needs are cached; every write raises the installation's revision, which all processes poll
//! (commands included), so a change is seen within a second. Absence is never cached.

pub mod accounts;
pub mod audit;
pub mod devices;
pub mod document;
pub mod identity;
pub mod providers;
pub mod secrets;
pub mod workspace;

mod cache;

use std::sync::Arc;

use crate::crypto::seal;
use crate::db::Db;

/// The Config service. Cheap to clone.
#[derive(Clone)]
pub struct ConfigService {
    pub(crate) db: Db,
    pub(crate) master: Arc<seal::Key>,
    pub(crate) cache: Arc<cache::Cache>,
}
