//! The database as the runtime sees it: pools, scoped transactions, the database's clock.
//!
//! Every transaction starts from a scope. On PostgreSQL that also names the tenant to row-level security; the few
//! duties that cross tenants use [`Db::system_read`] and [`Db::system_write`].

mod batch;
mod checkpoint;
mod direct;
mod glance;
mod pool;
mod rows;
#[cfg(any(test, feature = "testing"))]
pub mod template;
mod transaction;
pub mod writer;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, TenantScope, UserOwned, user};
use sea_orm::sea_query::LockType;
use sea_orm::{
    AccessMode, ConnAcquireErr, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, QuerySelect, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

pub use batch::Batch;
pub use glance::Glance;
pub use pool::{DbSettings, OpenError};
use rows::Readers;
pub use rows::Rows;
pub use transaction::Transaction;

/// Handles on the pools. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db {
    backend: DbBackend,
    /// The file (SQLite).
    file: Option<PathBuf>,
    /// Readers on the caller's thread (SQLite).
    here: Option<Readers>,
    /// Who holds it may write (SQLite): two connections that write wait for each other in turn, not in SQLite's way, which
    /// is to look again later.
    writing: Arc<Mutex<()>>,
    /// As `claw_app` (PostgreSQL) or query-only (SQLite).
    read: DatabaseConnection,
    /// As `claw_app` (PostgreSQL) or the single writer (SQLite).
    write: DatabaseConnection,
    /// As `claw_system` (PostgreSQL); readers of their own and the single writer on SQLite.
    system_read: DatabaseConnection,
    system_write: DatabaseConnection,
}

/// Transactions of one user that begin with this go one after the other: what one reads here, no other of them changes
/// before it ends. Who only adds rows of the user's does not wait.
pub(crate) async fn one_by_one(tx: &impl ConnectionTrait, scope: &Scope) -> Result<(), DbErr> {
    if tx.get_database_backend() != DbBackend::Postgres {
        // It has one writer.
        return Ok(());
    }
    let _: Option<String> = user::Entity::owned_by(scope)
        .select_only()
        .column(user::Column::Id)
        .lock(LockType::NoKeyUpdate)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(())
}

/// How long somebody waits for their turn to write on SQLite: behind a slow disk nobody piles up for ever.
const TURN: Duration = Duration::from_secs(30);
/// How often a transaction that PostgreSQL chose to break a deadlock is done again.
const MOST_DEADLOCKS: usize = 5;

/// Does `work`, a whole transaction, and does it again where it was the victim of a deadlock.
pub(crate) async fn past_deadlocks<T, F: Future<Output = crate::error::Result<T>>>(
    work: impl Fn() -> F,
) -> crate::error::Result<T> {
    for _ in 0..MOST_DEADLOCKS {
        match work().await {
            Err(error) if error.is_deadlock() => {}
            outcome => return outcome,
        }
    }
    work().await
}

/// A scope that a transaction can start from.
pub trait Scoped {
    fn tenant_scope(&self) -> &TenantScope;
}

impl Scoped for Scope {
    fn tenant_scope(&self) -> &TenantScope {
        self.tenant_scope()
    }
}

impl Scoped for TenantScope {
    fn tenant_scope(&self) -> &TenantScope {
        self
    }
}

/// A transaction within one tenant. Dropped without [`Tx::commit`] it rolls back.
#[derive(Debug)]
pub struct Tx {
    transaction: Transaction,
    /// Given back after the transaction.
    _writing: Option<OwnedMutexGuard<()>>,
}

impl Tx {
    fn reading(tx: DatabaseTransaction) -> Self {
        Self {
            transaction: Transaction::Driver(tx),
            _writing: None,
        }
    }

    /// Makes the writes durable.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.transaction {
            Transaction::Driver(tx) => tx.commit().await,
            // The group commit commits its own.
            Transaction::Direct(direct) => direct.control("COMMIT"),
        }
    }
}

impl Deref for Tx {
    type Target = Transaction;
    fn deref(&self) -> &Transaction {
        &self.transaction
    }
}

impl Db {
    /// Connections that writing may take at most: one on SQLite, the application role's on PostgreSQL.
    pub(crate) fn connections(&self) -> u32 {
        if self.backend != DbBackend::Postgres {
            return 1;
        }
        self.write
            .get_postgres_connection_pool()
            .options()
            .get_max_connections()
    }

    pub fn backend(&self) -> DbBackend {
        self.backend
    }

    /// A consistent view of one tenant's rows. Nothing can be written through it on SQLite.
    pub async fn read(&self, scope: &impl Scoped) -> Result<Tx, DbErr> {
        let tx = self.read.begin().await?;
        set_tenant(&tx, scope.tenant_scope()).await?;
        Ok(Tx::reading(tx))
    }

    /// As [`Self::read`], and what is read later is as old as what was read first, on PostgreSQL too.
    pub async fn snapshot(&self, scope: &impl Scoped) -> Result<Tx, DbErr> {
        let level = (self.backend == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
        let tx = self.read.begin_with_config(level, None).await?;
        set_tenant(&tx, scope.tenant_scope()).await?;
        Ok(Tx::reading(tx))
    }

    /// One tenant's rows for statements that need not agree with each other.
    pub async fn glance(&self, scope: &impl Scoped) -> Result<Glance, DbErr> {
        if let Some(readers) = &self.here {
            return Ok(Glance::Statement(self.read.clone(), readers.clone()));
        }
        Ok(Glance::Transaction(self.read(scope).await?))
    }

    /// A write transaction within one tenant. On SQLite it takes the write lock at once: keep it short, and make no
    /// network call inside.
    pub async fn write(&self, scope: &impl Scoped) -> Result<Tx, DbErr> {
        let tx = self.begin_write().await?;
        set_tenant(&*tx, scope.tenant_scope()).await?;
        Ok(tx)
    }

    /// A write transaction that names its tenants itself, one after the other: the group commit's.
    async fn begin_write(&self) -> Result<Tx, DbErr> {
        self.begin_immediate(&self.write).await
    }

    /// A view across tenants, for the listed duties only (a tidy test lists the callers).
    pub async fn system_read(&self) -> Result<Tx, DbErr> {
        self.system_read.begin().await.map(Tx::reading)
    }

    /// A write transaction across tenants, for the listed duties only (a tidy test lists the callers).
    pub async fn system_write(&self) -> Result<Tx, DbErr> {
        self.begin_immediate(&self.system_write).await
    }

    async fn begin_immediate(&self, pool: &DatabaseConnection) -> Result<Tx, DbErr> {
        let sqlite = self.backend == DbBackend::Sqlite;
        let writing = if sqlite {
            let turn = tokio::time::timeout(TURN, self.writing.clone().lock_owned());
            Some(
                turn.await
                    .map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))?,
            )
        } else {
            None
        };
        let options = TransactionOptions {
            access_mode: (!sqlite).then_some(AccessMode::ReadWrite),
            sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        Ok(Tx {
            transaction: Transaction::Driver(pool.begin_with_options(options).await?),
            _writing: writing,
        })
    }

    /// Answers when the database does.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.system_read.ping().await
    }

    /// Closes the pools. Called after the arbiters are gone.
    pub async fn close(self) {
        for pool in [self.read, self.write, self.system_read, self.system_write] {
            // Two names may be one pool; closing it twice is harmless.
            let _ = pool.close().await;
        }
    }
}

/// Names the tenant to row-level security until the transaction ends. Nothing on SQLite.
pub async fn set_tenant(tx: &impl ConnectionTrait, scope: &TenantScope) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_raw(Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT set_config('claw.tenant', $1, true)",
            [scope.tenant().as_str().into()],
        ))
        .await?;
    }
    Ok(())
}

/// The database's clock, epoch milliseconds: what leases are judged by.
pub async fn clock(tx: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let backend = tx.get_database_backend();
    let row = tx
        .query_one_raw(Statement::from_string(
            backend,
            format!("SELECT {} AS now", clock_sql(backend)),
        ))
        .await?
        .ok_or_else(|| DbErr::RecordNotFound("the clock".to_owned()))?;
    row.try_get("", "now")
}

/// SQL of the database's clock in epoch milliseconds.
pub fn clock_sql(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres {
        "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"
    } else {
        "CAST((julianday('now') - 2440587.5) * 86400000 AS integer)"
    }
}
