//! Group commit: durable writes of many tenants share one transaction.

use futures::future::BoxFuture;
use sea_orm::DatabaseTransaction;
use tokio::sync::{mpsc, oneshot};

use super::Db;
use crate::error::Result;

/// Hands writes to the one task that commits them in groups. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    _jobs: mpsc::Sender<()>,
}

impl Writer {
    /// Starts the committing task on the current tokio runtime.
    pub fn start(_db: Db) -> Self {
        unimplemented!("session core")
    }

    /// Runs `work` inside a group's transaction and resolves after the commit. An error of `work` undoes only its own
    /// writes. `work` must do nothing but database calls, and may be called again when the group has to be retried
    /// row by row.
    pub async fn run<T, F>(&self, _scope: &impl super::Scoped, _work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a DatabaseTransaction) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static,
    {
        let (_tx, rx) = oneshot::channel::<T>();
        rx.await.map_err(crate::Error::internal)
    }
}
