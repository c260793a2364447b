//! Opening the database: a writer and two pools of readers on SQLite, an app and a system pool on PostgreSQL.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode};
use sea_orm::sqlx::{Connection, SqliteConnection};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};

use super::Db;
use super::rows::Readers;
use crate::crypto::Secret;

/// Connections of the platform's own reads on SQLite.
const SQLITE_SYSTEM_READERS: u32 = 2;
/// How long SQLite waits for another process that writes.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements that a connection keeps.
pub(super) const STATEMENTS: usize = 256;
/// What the file does not remember. A commit is on the disk when it returns.
pub(super) const WRITER_PRAGMAS: [(&str, &str); 5] = [
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    // Should what commits in groups, which looks after the log (`checkpoint`), have nothing to do for long.
    ("wal_autocheckpoint", "16000"),
    ("cache_size", "-4096"),
    // What a statement may have to undo is small: not worth a file.
    ("temp_store", "memory"),
];

/// Where the database is and how many connections it gets.
#[derive(Clone, Debug)]
pub struct DbSettings {
    /// `sqlite://<path>[?mode=rwc]` or `postgres://…`.
    pub url: Secret,
    /// Readers (SQLite) or connections as `claw_app` (PostgreSQL).
    pub max_connections: u32,
    /// Longest wait for a connection.
    pub acquire_timeout: Duration,
}

/// Why the database did not open; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no database at {path}: start it once with `clawcentral serve` or create it with `clawcentral migrate`")]
    Missing { path: String },
    #[error("database.url must start with sqlite:// or postgres://")]
    UnknownKind,
    #[error(
        "row-level security can be bypassed: role {role} must be neither superuser nor BYPASSRLS, \
         and the connection must run as it"
    )]
    Bypass { role: &'static str },
    #[error("cannot open the database")]
    Open(#[source] DbErr),
}

impl Db {
    /// One connection as the owner of the schema, for migrations. Creates a SQLite file when `create` is set.
    pub async fn open_owner(settings: &DbSettings, create: bool) -> Result<DatabaseConnection, OpenError> {
        let url = settings.url.expose();
        if is_sqlite(url)? {
            let mut options = sqlite(settings, create)?;
            options.max_connections(1).min_connections(1);
            return Database::connect(options).await.map_err(OpenError::Open);
        }
        let mut options = base(settings);
        options.max_connections(1);
        Database::connect(options).await.map_err(OpenError::Open)
    }

    /// Opens the pools of a migrated database. Refuses a PostgreSQL role that could bypass row-level security.
    pub async fn open(settings: &DbSettings) -> Result<Self, OpenError> {
        if is_sqlite(settings.url.expose())? {
            return Self::open_sqlite(settings).await;
        }
        let app = Self::open_role(settings, "claw_app", settings.max_connections).await?;
        let system = Self::open_role(settings, "claw_system", 4).await?;
        Ok(Self {
            backend: DbBackend::Postgres,
            file: None,
            here: None,
            writing: Arc::default(),
            read: app.clone(),
            write: app,
            system_read: system.clone(),
            system_write: system,
        })
    }

    async fn open_sqlite(settings: &DbSettings) -> Result<Self, OpenError> {
        let mut options = sqlite(settings, false)?;
        options.max_connections(1).min_connections(1);
        let file = SqliteConnectOptions::from_str(settings.url.expose())
            .map_err(|error| OpenError::Open(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))))?
            .get_filename()
            .to_owned();
        let write = Database::connect(options).await.map_err(OpenError::Open)?;
        let read = Self::open_readers(settings, settings.max_connections.clamp(1, 8)).await?;
        // What the platform looks at does not wait behind what people read: a lock-out is noticed while they do.
        let system_read = Self::open_readers(settings, SQLITE_SYSTEM_READERS).await?;
        Ok(Self {
            backend: DbBackend::Sqlite,
            here: Some(Readers::new(&file)),
            file: Some(file),
            writing: Arc::default(),
            read,
            write: write.clone(),
            system_read,
            system_write: write,
        })
    }

    async fn open_readers(settings: &DbSettings, connections: u32) -> Result<DatabaseConnection, OpenError> {
        let mut options = sqlite(settings, false)?;
        options
            .max_connections(connections)
            .min_connections(1)
            .map_sqlx_sqlite_opts(|options| sqlite_pragmas(options).pragma("query_only", "on"));
        Database::connect(options).await.map_err(OpenError::Open)
    }

    /// A pool whose every connection runs as `role`.
    async fn open_role(
        settings: &DbSettings,
        role: &'static str,
        connections: u32,
    ) -> Result<DatabaseConnection, OpenError> {
        let mut options = base(settings);
        options
            .max_connections(connections)
            .min_connections(1)
            .map_sqlx_postgres_opts(move |options| options.options([("role", role)]));
        let pool = Database::connect(options).await.map_err(OpenError::Open)?;
        let row = pool
            .query_one_raw(Statement::from_string(
                DbBackend::Postgres,
                "SELECT current_user::text AS role, rolsuper OR rolbypassrls AS bypass \
                 FROM pg_roles WHERE rolname = current_user",
            ))
            .await
            .map_err(OpenError::Open)?;
        let safe = row.is_some_and(|row| {
            row.try_get::<String>("", "role").is_ok_and(|name| name == role)
                && row.try_get::<bool>("", "bypass").is_ok_and(|bypass| !bypass)
        });
        if safe {
            Ok(pool)
        } else {
            Err(OpenError::Bypass { role })
        }
    }
}

fn is_sqlite(url: &str) -> Result<bool, OpenError> {
    if url.starts_with("sqlite:") {
        Ok(true)
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        Ok(false)
    } else {
        Err(OpenError::UnknownKind)
    }
}

fn base(settings: &DbSettings) -> ConnectOptions {
    let mut options = ConnectOptions::new(settings.url.expose().to_owned());
    options
        .acquire_timeout(settings.acquire_timeout)
        // Without either the driver has no task that looks after idle connections: it counts them wrongly now and then, and
        // then goes round for ever on a thread of ours. A file does not hang up, and a server is asked before it is used.
        .idle_timeout(None)
        .max_lifetime(None)
        .sqlx_logging(false);
    options
}

fn sqlite(settings: &DbSettings, create: bool) -> Result<ConnectOptions, OpenError> {
    let url = settings.url.expose();
    let path = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
    let (file, query) = path.split_once('?').unwrap_or((path, ""));
    let memory = file.is_empty() || file == ":memory:" || query.contains("mode=memory");
    if !create && !memory && !std::path::Path::new(file).exists() {
        return Err(OpenError::Missing { path: file.to_owned() });
    }
    let mut options = base(settings);
    options
        .map_sqlx_sqlite_opts(move |options| sqlite_pragmas(options).create_if_missing(create))
        // It is asked whether it is well as it comes back to the pool; a file does not hang up in between.
        .test_before_acquire(false)
        .map_sqlx_sqlite_pool_opts(|pool| {
            pool.before_acquire(|connection, _| Box::pin(async move { Ok(is_free(connection)) }))
        });
    Ok(options)
}

/// Is no transaction open, as far as the driver knows. After a write that failed for want of room SQLite may have ended
/// the transaction by itself; the driver still counts it, and what comes next on that connection would be a savepoint of
/// something that nobody commits. Such a connection is closed instead.
fn is_free(connection: &SqliteConnection) -> bool {
    !connection.is_in_transaction()
}

fn sqlite_pragmas(options: SqliteConnectOptions) -> SqliteConnectOptions {
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS);
    WRITER_PRAGMAS
        .into_iter()
        .fold(options, |options, (name, value)| options.pragma(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing;

    /// SQLite only: the server of PostgreSQL tells whether a transaction is open.
    #[tokio::test]
    async fn a_transaction_that_ended_by_itself_does_not_swallow_the_next_ones() {
        let server = testing::start().await;
        if server.db.backend() != DbBackend::Sqlite {
            return;
        }
        let owner = testing::owner(&server.config).await;
        let lost = server.db.write(&owner).await.expect("begins");
        // As SQLite does when a write finds no room.
        lost.execute_unprepared("ROLLBACK")
            .await
            .expect("a transaction is open");
        drop(lost);
        let next = server.db.write(&owner).await.expect("begins");
        let savepoint = next.execute_unprepared("RELEASE _sqlx_savepoint_1").await;
        assert!(
            savepoint.is_err(),
            "a transaction of its own, not a part of the lost one"
        );
        next.commit().await.expect("commits");
    }
}
