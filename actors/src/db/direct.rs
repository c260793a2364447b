//! SQLite on the calling thread, for the group commit.
//!
//! The driver keeps each connection on a thread of its own: a statement is two thread switches, which cost several times
//! what a small write does. The thread that commits therefore has a connection to itself and calls SQLite right where it
//! is. It runs batches of writes. Work that asks for more is refused here and done over the driver's connection
//! (`writer`), so that rows are decoded in one way: but for the one that each turn begins with.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql, ffi};
use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, Statement, Value};

use super::pool::{BUSY_TIMEOUT, STATEMENTS, WRITER_PRAGMAS};

thread_local! {
    /// Pages in the log after the last commit on this thread.
    static LOGGED: Cell<u32> = const { Cell::new(0) };
}

/// The connection. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Direct {
    file: PathBuf,
    connection: Arc<Mutex<Connection>>,
    /// Something was asked that is not done here.
    refused: Arc<AtomicBool>,
}

impl Direct {
    /// Opens a connection to a migrated database.
    pub(super) fn open(file: &Path) -> Result<Self, DbErr> {
        Ok(Self {
            file: file.to_owned(),
            connection: Arc::new(Mutex::new(following(connect(file).map_err(failed)?))),
            refused: Arc::default(),
        })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one statement without parameters.
    pub(super) fn control(&self, sql: &str) -> Result<(), DbErr> {
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        statement.execute([]).map_err(failed)?;
        Ok(())
    }

    /// Runs one statement. Gives how many rows it touched.
    pub(super) fn execute<'a>(&self, sql: &str, values: impl Iterator<Item = Bound<'a>>) -> Result<u64, DbErr> {
        let connection = self.connection();
        let mut prepared = connection.prepare_cached(sql).map_err(failed)?;
        match bind(&mut prepared, values) {
            Err(DbErr::Type(_)) => return Err(self.refuse()),
            bound => bound?,
        }
        Ok(prepared.raw_execute().map_err(failed)? as u64)
    }

    /// Uses the connection for something that only reads.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, DbErr>) -> Result<T, DbErr> {
        read(&self.connection())
    }

    /// As [`Self::execute`], for a statement as the builders make it.
    pub(super) fn run(&self, statement: &Statement) -> Result<u64, DbErr> {
        self.execute(&statement.sql, parameters(statement))
    }

    /// What is answered to work that needs more than this: the error is nobody's to see.
    pub(super) fn refuse(&self) -> DbErr {
        self.refused.store(true, Ordering::Relaxed);
        DbErr::Custom("this connection takes batches only".to_owned())
    }

    /// How many pages the log had after this thread's last commit.
    #[expect(
        clippy::unused_self,
        reason = "of this connection: no other one commits on its thread"
    )]
    pub(super) fn log_pages(&self) -> u32 {
        LOGGED.get()
    }

    /// Was something refused since this was asked last?
    pub(super) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }

    /// Is a transaction open? After a write that failed for want of room SQLite may have ended it by itself.
    pub(super) fn is_open(&self) -> bool {
        !self.connection().is_autocommit()
    }

    /// Leaves whatever transaction is open. When even that fails, the connection is made anew.
    pub(super) fn leave(&self) {
        if self.is_open() && self.control("ROLLBACK").is_err() && self.is_open() {
            match connect(&self.file) {
                Ok(connection) => *self.connection() = following(connection),
                Err(error) => tracing::error!(error = ?error.sqlite_error_code(), "the writing connection is stuck"),
            }
        }
    }
}

/// Has the length of the log told after each commit. SQLite does not copy it by itself then: see `checkpoint`.
fn following(connection: Connection) -> Connection {
    connection.wal_hook(Some(|_, pages| {
        LOGGED.set(u32::try_from(pages).unwrap_or_default());
        Ok(())
    }));
    connection
}

/// A connection that can write.
pub(super) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    for (name, value) in WRITER_PRAGMAS {
        connection.execute_batch(&format!("PRAGMA {name} = {value}"))?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The parameters of a statement as the builders make it.
pub(super) fn parameters(statement: &Statement) -> impl Iterator<Item = Bound<'_>> {
    statement.values.iter().flat_map(|values| &values.0).map(Bound::from)
}

/// Gives a prepared statement its parameters. One of a kind that no column has is `DbErr::Type`.
pub(super) fn bind<'a>(
    prepared: &mut CachedStatement<'_>,
    values: impl Iterator<Item = Bound<'a>>,
) -> Result<(), DbErr> {
    for (at, value) in values.enumerate() {
        if matches!(value, Bound::Other) {
            return Err(DbErr::Type("a parameter of a kind that no column has".to_owned()));
        }
        prepared.raw_bind_parameter(at + 1, value).map_err(failed)?;
    }
    Ok(())
}

/// A value for a parameter, as the driver would bind it.
pub(super) enum Bound<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob(&'a [u8]),
    /// A kind that no column of ours has.
    Other,
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null | Self::Other => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

impl From<i64> for Bound<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl<'a> From<&'a str> for Bound<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a Value> for Bound<'a> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other kind is refused")]
    fn from(value: &'a Value) -> Self {
        let known = match value {
            Value::Bool(value) => value.map(|value| Self::Integer(value.into())),
            Value::Int(value) => value.map(|value| Self::Integer(value.into())),
            Value::BigInt(value) => value.map(Self::Integer),
            Value::BigUnsigned(value) => {
                return value.map_or(Self::Null, |value| {
                    i64::try_from(value).map_or(Self::Other, Self::Integer)
                });
            }
            Value::Double(value) => value.map(Self::Real),
            Value::String(value) => value.as_deref().map(Self::from),
            Value::Bytes(value) => value.as_deref().map(Self::Blob),
            Value::Json(value) => value.as_ref().map(|json| Self::Text(Cow::Owned(json.to_string()))),
            _ => return Self::Other,
        };
        known.unwrap_or(Self::Null)
    }
}

/// As the driver's errors look, so that they are told apart in one place.
pub(super) fn failed(error: rusqlite::Error) -> DbErr {
    let error = sea_orm::sqlx::Error::Database(Box::new(Refusal(error)));
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}

/// What SQLite answered.
#[derive(Debug)]
struct Refusal(rusqlite::Error);

impl Refusal {
    /// SQLite's extended result code.
    fn extended(&self) -> i32 {
        self.0
            .sqlite_error()
            .map_or(ffi::SQLITE_ERROR, |error| error.extended_code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "(code: {}) {}", self.extended(), self.message())
    }
}

impl std::error::Error for Refusal {}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        if let rusqlite::Error::SqliteFailure(_, Some(message)) = &self.0 {
            message
        } else {
            "SQLite failed"
        }
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.extended().to_string().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.extended() {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}
