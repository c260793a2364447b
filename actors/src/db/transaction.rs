//! An open transaction, over the driver or on the committing thread.

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::direct::Direct;
use super::rows::{Here, Rows};

/// What queries and writes run on.
#[derive(Debug)]
pub enum Transaction {
    /// A connection of the driver's.
    Driver(DatabaseTransaction),
    /// SQLite on the committing thread. It takes a [`Batch`](super::Batch) and gives whole [`Rows`]: other work is refused,
    /// and done again over the driver.
    Direct(Direct),
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Driver(tx) => tx.get_database_backend(),
            Self::Direct(_) => DbBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Driver(tx) => tx.execute_raw(statement).await,
            Self::Direct(direct) => Err(direct.refuse()),
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Driver(tx) => tx.execute_unprepared(sql).await,
            Self::Direct(direct) => Err(direct.refuse()),
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Driver(tx) => tx.query_one_raw(statement).await,
            Self::Direct(direct) => Err(direct.refuse()),
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Driver(tx) => tx.query_all_raw(statement).await,
            Self::Direct(direct) => Err(direct.refuse()),
        }
    }
}

impl Rows for Transaction {
    fn here(&self) -> Option<Here<'_>> {
        match self {
            Self::Driver(_) => None,
            Self::Direct(direct) => Some(Here::Writer(direct)),
        }
    }
}
