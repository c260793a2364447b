//! Whole rows, read where the caller is.
//!
//! The driver keeps each SQLite connection on a thread of its own. A read of a few rows by an index takes microseconds;
//! to hand it to another thread and be woken by its answer takes many times that, and a turn makes several such reads.
//! [`Rows`] is the way for those: on SQLite they are done at once, on PostgreSQL and over the driver as ever. What may
//! read much goes over the driver, so that nobody's thread waits for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sea_orm::sea_query::Nullable;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ColumnType, ConnectionTrait, DbBackend, DbErr, EntityTrait, Iterable, QueryTrait,
    Select, Statement, TryIntoModel, Value,
};

use super::direct::{bind, failed, parameters};
use super::pool::{BUSY_TIMEOUT, STATEMENTS};

/// Connections that are kept while nobody reads: one for each thread that may read at a time, and no more.
const KEPT: usize = 4;
/// Pages that a reading connection keeps, in KiB.
const CACHE_KIB: i64 = 1024;

/// An entity whose models can be put together column by column: every one is.
pub trait Entity: EntityTrait<Model: Send, ActiveModel: TryIntoModel<Self::Model>> {}

impl<E: EntityTrait<Model: Send, ActiveModel: TryIntoModel<E::Model>>> Entity for E {}

/// Where whole rows can be read.
pub trait Rows: ConnectionTrait + Sized {
    /// What reads right here, where there is such a thing.
    fn here(&self) -> Option<Here<'_>>;

    /// All rows of a query for an entity's models, few enough to be read at once.
    fn rows<E: Entity>(&self, select: Select<E>) -> impl Future<Output = Result<Vec<E::Model>, DbErr>> + Send {
        async move {
            match self.here() {
                Some(here) => here.models::<E>(&select.build(DbBackend::Sqlite)),
                None => select.all(self).await,
            }
        }
    }

    /// The first row of such a query.
    fn row<E: Entity>(&self, select: Select<E>) -> impl Future<Output = Result<Option<E::Model>, DbErr>> + Send {
        async move {
            match self.here() {
                Some(here) => {
                    let first = sea_orm::QuerySelect::limit(select, 1);
                    Ok(here.models::<E>(&first.build(DbBackend::Sqlite))?.pop())
                }
                None => select.one(self).await,
            }
        }
    }
}

/// A connection on the caller's thread.
#[derive(Debug)]
pub enum Here<'a> {
    Reader(&'a Readers),
    Writer(&'a super::direct::Direct),
}

impl Here<'_> {
    fn models<E: Entity>(&self, statement: &Statement) -> Result<Vec<E::Model>, DbErr> {
        match self {
            Self::Reader(readers) => readers.with(|connection| models::<E>(connection, statement)),
            Self::Writer(direct) => direct.with(|connection| models::<E>(connection, statement)),
        }
    }
}

/// Connections that only read, for whichever thread asks. Clones share them.
#[derive(Clone, Debug)]
pub struct Readers {
    file: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    /// Readers of a migrated database. A connection is made when it is needed.
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            idle: Arc::default(),
        }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, DbErr>) -> Result<T, DbErr> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect(&self.file).map_err(failed)?,
        };
        // After an error the connection is not kept: whatever it was, the next one begins anew.
        let outcome = read(&connection)?;
        let mut idle = idle();
        if idle.len() < KEPT {
            idle.push(connection);
        }
        Ok(outcome)
    }
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// The models of a statement that selects an entity's columns in their order.
fn models<E: Entity>(connection: &Connection, statement: &Statement) -> Result<Vec<E::Model>, DbErr> {
    let columns: Vec<(E::Column, ColumnType)> = E::Column::iter()
        .map(|column| (column, column.def().get_column_type().clone()))
        .collect();
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(failed)?;
    if prepared.column_count() != columns.len() {
        return Err(DbErr::Type("the query is not for whole rows".to_owned()));
    }
    bind(&mut prepared, parameters(statement))?;
    let mut rows = prepared.raw_query();
    let mut models = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let mut model = <E::ActiveModel as ActiveModelTrait>::default();
        for (at, (column, kind)) in columns.iter().enumerate() {
            let stored = row.get_ref(at).map_err(failed)?;
            model.try_set(*column, value(stored, kind)?)?;
        }
        models.push(model.try_into_model()?);
    }
    Ok(models)
}

/// A stored value as the value of a column of this kind.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no column of ours is of another kind, and one that is gets an error"
)]
fn value(stored: ValueRef<'_>, kind: &ColumnType) -> Result<Value, DbErr> {
    let wrong = |error: &dyn std::fmt::Display| DbErr::Type(error.to_string());
    Ok(match kind {
        ColumnType::String(_) | ColumnType::Text => {
            let text = stored.as_str_or_null().map_err(|error| wrong(&error))?;
            Value::from(text.map(str::to_owned))
        }
        ColumnType::BigInteger => Value::from(stored.as_i64_or_null().map_err(|error| wrong(&error))?),
        ColumnType::Integer => {
            let number = stored.as_i64_or_null().map_err(|error| wrong(&error))?;
            Value::from(number.map(i32::try_from).transpose().map_err(|error| wrong(&error))?)
        }
        ColumnType::Boolean => {
            let number = stored.as_i64_or_null().map_err(|error| wrong(&error))?;
            Value::from(number.map(|number| number != 0))
        }
        ColumnType::Double => Value::from(stored.as_f64_or_null().map_err(|error| wrong(&error))?),
        ColumnType::Json | ColumnType::JsonBinary => match stored.as_str_or_null().map_err(|error| wrong(&error))? {
            Some(text) => Value::from(serde_json::from_str::<serde_json::Value>(text).map_err(|error| wrong(&error))?),
            None => serde_json::Value::null(),
        },
        ColumnType::VarBinary(_) | ColumnType::Blob => {
            let bytes = stored.as_blob_or_null().map_err(|error| wrong(&error))?;
            Value::from(bytes.map(<[u8]>::to_vec))
        }
        other => return Err(DbErr::Type(format!("{other:?} is not read here"))),
    })
}

#[cfg(test)]
mod tests {
    use claw_entities::{TenantOwned, UserOwned, session, user, workspace_file};
    use sea_orm::sea_query::StringLen;
    use sea_orm::{QueryFilter, QueryOrder};
    use serde_json::json;

    use super::*;
    use crate::config::testing;
    use crate::conversation::transcript;

    #[tokio::test]
    async fn rows_are_the_same_here_and_over_the_driver() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        for (path, content) in [("a.md", "one 'line'"), ("b.md", ""), ("c.md", "\u{1f99e} ünï")] {
            let put = server.config.put_workspace_file(&owner, "main", path, content, None);
            put.await.expect("writes");
        }
        let tx = server.db.write(&owner).await.expect("begins");
        let key = "agent:main:main".into();
        transcript::open_to_move(&tx, &owner, &key, "main", 7)
            .await
            .expect("opens");
        tx.commit().await.expect("commits");
        let view = server.db.glance(&owner).await.expect("opens");
        let files = || workspace_file::Entity::owned_by(&owner).order_by_asc(workspace_file::Column::Path);
        let here = view.rows(files()).await.expect("reads");
        assert_eq!(here, files().all(&view).await.expect("reads"));
        assert_eq!(here.len(), 3);
        assert_eq!(view.row(files()).await.expect("reads"), here.first().cloned());
        let people = || user::Entity::of_tenant(owner.tenant_scope());
        let here = view.rows(people()).await.expect("reads");
        assert_eq!(here, people().all(&view).await.expect("reads"));
        let sessions = || session::Entity::owned_by(&owner);
        let here = view.rows(sessions()).await.expect("reads");
        assert_eq!(here, sessions().all(&view).await.expect("reads"));
        assert_eq!(here.len(), 1);
        let none = files().filter(workspace_file::Column::Path.eq("d.md"));
        assert_eq!(view.row(none).await.expect("reads"), None);
    }

    #[tokio::test]
    async fn what_was_committed_is_seen_by_the_next_read() {
        let server = testing::start().await;
        let owner = testing::owner(&server.config).await;
        let mine = || workspace_file::Entity::owned_by(&owner).filter(workspace_file::Column::Path.eq("n.md"));
        for number in 0..20 {
            let text = format!("{number}");
            let put = server.config.put_workspace_file(&owner, "main", "n.md", &text, None);
            put.await.expect("writes");
            let view = server.db.glance(&owner).await.expect("opens");
            let seen = view.row(mine()).await.expect("reads").expect("is there");
            assert_eq!(seen.content, text);
        }
    }

    #[test]
    fn a_stored_value_is_of_its_columns_kind_or_an_error() {
        use ValueRef::{Blob, Integer, Null, Real, Text};
        let text = || ColumnType::String(StringLen::None);
        for (stored, kind, expected) in [
            (Text(b"a"), text(), Value::from("a".to_owned())),
            (Null, ColumnType::Text, Value::from(None::<String>)),
            (Integer(1), ColumnType::Boolean, Value::from(true)),
            (Null, ColumnType::Boolean, Value::from(None::<bool>)),
            (Integer(-7), ColumnType::Integer, Value::from(-7_i32)),
            (Integer(i64::MAX), ColumnType::BigInteger, Value::from(i64::MAX)),
            (Null, ColumnType::BigInteger, Value::from(None::<i64>)),
            (Real(0.5), ColumnType::Double, Value::from(0.5)),
            (
                Text(br#"{"a":null}"#),
                ColumnType::JsonBinary,
                Value::from(json!({"a": null})),
            ),
            (Text(b"null"), ColumnType::JsonBinary, Value::from(json!(null))),
            (Null, ColumnType::JsonBinary, serde_json::Value::null()),
            (
                Blob(b"\0x"),
                ColumnType::VarBinary(StringLen::None),
                Value::from(vec![0_u8, b'x']),
            ),
        ] {
            assert_eq!(value(stored, &kind).expect("is of the kind"), expected, "{kind:?}");
        }
        for (stored, kind) in [
            (Integer(1), text()),
            (Blob(b"a"), text()),
            (Text(&[0xff]), text()),
            (Text(b"1"), ColumnType::BigInteger),
            (Integer(i64::MAX), ColumnType::Integer),
            (Text(b"{"), ColumnType::JsonBinary),
            (Integer(1), ColumnType::Date),
        ] {
            assert!(value(stored, &kind).is_err(), "{stored:?} as {kind:?}");
        }
    }
}
