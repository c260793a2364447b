//! The product's database, filled in bulk: what would take hours through the front door.
//!
//! Statements are written so that both databases take them; they know the tables of the product's migrations.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::postgres::Postgres;

/// Longest wait for the product's own writer (SQLite).
const PATIENCE: Duration = Duration::from_secs(30);
/// Name of the product's database on the bench's PostgreSQL.
pub const DATABASE: &str = "claw";

pub enum Store {
    Sqlite(PathBuf),
    Postgres(Postgres),
}

impl Store {
    /// Where the product finds it.
    pub fn url(&self) -> Result<String> {
        match self {
            Self::Sqlite(file) => Ok(format!("sqlite://{}?mode=rwc", file.display())),
            Self::Postgres(server) => server.create(DATABASE),
        }
    }

    pub fn postgres(&self) -> Option<&Postgres> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(server) => Some(server),
        }
    }

    /// Runs statements as one transaction.
    pub fn run(&self, text: &str) -> Result<()> {
        match self {
            Self::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file)?;
                connection.busy_timeout(PATIENCE)?;
                connection
                    .execute_batch(&format!("BEGIN IMMEDIATE; {text}; COMMIT"))
                    .with_context(|| format!("in {text}"))
            }
            // One `-c` of psql is one transaction.
            Self::Postgres(server) => server.sql(DATABASE, text),
        }
    }

    /// The one number that a query gives.
    pub fn count(&self, query: &str) -> Result<i64> {
        match self {
            Self::Sqlite(file) => {
                let connection = rusqlite::Connection::open(file)?;
                connection.busy_timeout(PATIENCE)?;
                Ok(connection.query_row(query, [], |row| row.get(0))?)
            }
            Self::Postgres(server) => Ok(server.ask(DATABASE, query)?.parse()?),
        }
    }

    /// An SQL expression of JSON text as a column of JSON takes it.
    pub fn json(&self, expression: &str) -> String {
        match self {
            Self::Sqlite(_) => expression.to_owned(),
            Self::Postgres(_) => format!("CAST({expression} AS jsonb)"),
        }
    }
}

/// `WITH RECURSIVE` head of a table `n` with the numbers from 0 to below `count` in column `i`.
pub fn numbers(count: usize) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})")
}
