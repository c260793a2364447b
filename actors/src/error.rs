//! The runtime's error, its short codes, and the one table from code to every transport.

use std::fmt;
use std::time::Duration;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// What went wrong, named by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong; the message says what to change.
    #[error("{0}")]
    Invalid(String),
    /// No proof of who is asking, or a wrong one.
    #[error("{0}")]
    Unauthenticated(String),
    /// Known, but not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// Not there, or not theirs: the two look the same.
    #[error("{what} not found")]
    NotFound { what: &'static str },
    /// Somebody else changed it first, or it exists already.
    #[error("{0}")]
    Conflict(String),
    /// A limit of size.
    #[error("{0}")]
    TooLarge(String),
    /// A limit of rate or of a queue.
    #[error("{message}")]
    Busy { message: String, retry_after: Duration },
    /// A spending limit; the sentence is for the person.
    #[error("{0}")]
    Budget(String),
    /// A node or device that is not connected.
    #[error("{0}")]
    NotConnected(String),
    /// A node's pairing was taken away or renewed under a call.
    #[error("node pairing changed during the call; try again")]
    PairingChanged,
    /// Somebody did not answer in time.
    #[error("{0}")]
    Timeout(String),
    /// A provider or platform failed; the message is safe for the person.
    #[error("{0}")]
    Upstream(String),
    /// The database is away or refuses to write. Nothing was accepted.
    #[error("storage is unavailable")]
    Storage(#[source] StorageError),
    /// This process no longer owns the user: another one took over.
    #[error("this replica no longer owns the user")]
    Fenced,
    /// A bug or a broken invariant. People see a fixed sentence and an error id.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why the database refused. It shows its code and its class: what the database says may quote what was to be stored.
pub struct StorageError(DbErr);

impl fmt::Debug for StorageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = variant(&self.0);
        match (database_error(&self.0), sqlx_error(&self.0)) {
            (Some(error), _) => {
                let code = error.code().unwrap_or_default();
                write!(formatter, "database error {code} ({class}, {:?})", error.kind())
            }
            (None, Some(error)) => write!(formatter, "database error ({class}, {})", variant(error)),
            (None, None) => write!(formatter, "database error ({class})"),
        }
    }
}

impl std::error::Error for StorageError {}

/// The variant's name, without what it holds.
fn variant(error: &impl fmt::Debug) -> String {
    let mut name = format!("{error:?}");
    let end = name.find(|letter: char| !letter.is_alphanumeric());
    name.truncate(end.unwrap_or(name.len()));
    name
}

/// A `Result` of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(source.into())
    }

    /// The short code.
    pub fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::Invalid,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Forbidden(_) => Code::Forbidden,
            Self::NotFound { .. } => Code::NotFound,
            Self::Conflict(_) => Code::Conflict,
            Self::TooLarge(_) => Code::TooLarge,
            Self::Busy { .. } => Code::Busy,
            Self::Budget(_) => Code::Budget,
            Self::NotConnected(_) => Code::NotConnected,
            Self::PairingChanged => Code::PairingChanged,
            Self::Timeout(_) => Code::Timeout,
            Self::Upstream(_) => Code::Upstream,
            Self::Storage(_) => Code::Unavailable,
            Self::Fenced => Code::Fenced,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Was the transaction rolled back to break a deadlock? Then the same work may well succeed at the next try.
    pub(crate) fn is_deadlock(&self) -> bool {
        matches!(self, Self::Storage(error) if database_error(&error.0).and_then(DatabaseError::code).is_some_and(|code| code == DEADLOCK))
    }

    /// How long to wait before trying again, where that makes sense.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Storage(_) | Self::Fenced => Some(Duration::from_secs(2)),
            Self::Invalid(_)
            | Self::Unauthenticated(_)
            | Self::Forbidden(_)
            | Self::NotFound { .. }
            | Self::Conflict(_)
            | Self::TooLarge(_)
            | Self::Budget(_)
            | Self::NotConnected(_)
            | Self::PairingChanged
            | Self::Timeout(_)
            | Self::Upstream(_)
            | Self::Internal(_) => None,
        }
    }
}

/// A class of failure. Each has one row in the table below; think before adding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    Busy,
    Budget,
    NotConnected,
    PairingChanged,
    Timeout,
    Upstream,
    Unavailable,
    Fenced,
    Internal,
}

impl Code {
    /// Every code, for table tests.
    pub const ALL: [Self; 15] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::Busy,
        Self::Budget,
        Self::NotConnected,
        Self::PairingChanged,
        Self::Timeout,
        Self::Upstream,
        Self::Unavailable,
        Self::Fenced,
        Self::Internal,
    ];

    /// One row per code: name in REST answers, HTTP status, OpenClaw wire code, may the client retry.
    const fn row(self) -> (&'static str, u16, &'static str, bool) {
        match self {
            Self::Invalid => ("invalid_request", 400, "INVALID_REQUEST", false),
            Self::Unauthenticated => ("unauthenticated", 401, "INVALID_REQUEST", false),
            Self::Forbidden => ("forbidden", 403, "FORBIDDEN", false),
            Self::NotFound => ("not_found", 404, "INVALID_REQUEST", false),
            Self::Conflict => ("conflict", 409, "INVALID_REQUEST", false),
            Self::TooLarge => ("too_large", 413, "INVALID_REQUEST", false),
            Self::Busy => ("busy", 429, "UNAVAILABLE", true),
            Self::Budget => ("budget_exceeded", 429, "UNAVAILABLE", false),
            Self::NotConnected => ("not_connected", 409, "UNAVAILABLE", true),
            Self::PairingChanged => ("pairing_changed", 409, "UNAVAILABLE", true),
            Self::Timeout => ("timeout", 504, "UNAVAILABLE", true),
            Self::Upstream => ("upstream", 502, "UNAVAILABLE", true),
            Self::Unavailable => ("unavailable", 503, "UNAVAILABLE", true),
            Self::Fenced => ("moved", 503, "UNAVAILABLE", true),
            Self::Internal => ("internal", 500, "UNAVAILABLE", false),
        }
    }

    pub const fn name(self) -> &'static str {
        self.row().0
    }
    pub const fn http_status(self) -> u16 {
        self.row().1
    }
    pub const fn wire(self) -> &'static str {
        self.row().2
    }
    pub const fn retryable(self) -> bool {
        self.row().3
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        if database_error(&error).is_some_and(DatabaseError::is_unique_violation) {
            return Self::Conflict("it exists already".to_owned());
        }
        if raised(&error, "fenced") {
            return Self::Fenced;
        }
        let code = database_error(&error).and_then(DatabaseError::code);
        if code.is_some_and(|code| UNSTORABLE.contains(&code.as_ref())) {
            return Self::invalid("a text must not contain null characters");
        }
        Self::Storage(StorageError(error))
    }
}

/// `deadlock_detected` of PostgreSQL's error codes.
const DEADLOCK: &str = "40P01";

/// `untranslatable_character` and `character_not_in_repertoire`: of all that is UTF-8, PostgreSQL refuses U+0000 alone.
const UNSTORABLE: [&str; 2] = ["22P05", "22021"];

/// Is this what a trigger of ours raised?
fn raised(error: &DbErr, message: &str) -> bool {
    database_error(error).is_some_and(|error| error.message() == message)
}

fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    sqlx_error(error)?.as_database_error()
}

fn sqlx_error(error: &DbErr) -> Option<&sea_orm::sqlx::Error> {
    let (DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    Some(error)
}

impl From<actix::MailboxError> for Error {
    fn from(error: actix::MailboxError) -> Self {
        match error {
            actix::MailboxError::Closed => Self::Busy {
                message: "the service is restarting".to_owned(),
                retry_after: Duration::from_secs(1),
            },
            actix::MailboxError::Timeout => Self::Timeout("the service did not answer in time".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_says_is_not_shown() {
        let error = Error::from(DbErr::Custom("DETAIL: \"what was said\"".to_owned()));
        let source = std::error::Error::source(&error).expect("has a cause").to_string();
        assert_eq!(source, "database error (Custom)");
        assert_eq!(format!("{error:?}"), "Storage(database error (Custom))");
    }
}
