//! A read that needs no transaction of its own.

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::Tx;
use super::rows::{Here, Readers, Rows};

/// One tenant's rows for statements that stand alone: two of them may see different states.
///
/// On SQLite each statement is its own view, which saves two round trips to the connection's thread. On PostgreSQL
/// row-level security needs the transaction all the same.
#[derive(Debug)]
pub enum Glance {
    Statement(DatabaseConnection, Readers),
    Transaction(Tx),
}

#[async_trait]
impl ConnectionTrait for Glance {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Statement(pool, _) => pool.get_database_backend(),
            Self::Transaction(tx) => tx.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Statement(pool, _) => pool.execute_raw(statement).await,
            Self::Transaction(tx) => tx.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Statement(pool, _) => pool.execute_unprepared(sql).await,
            Self::Transaction(tx) => tx.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Statement(pool, _) => pool.query_one_raw(statement).await,
            Self::Transaction(tx) => tx.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Statement(pool, _) => pool.query_all_raw(statement).await,
            Self::Transaction(tx) => tx.query_all_raw(statement).await,
        }
    }
}

impl Rows for Glance {
    fn here(&self) -> Option<Here<'_>> {
        match self {
            Self::Statement(_, readers) => Some(Here::Reader(readers)),
            Self::Transaction(_) => None,
        }
    }
}
