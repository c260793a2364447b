//! Accepting a message touches fewer pages: its key begins with what grows with time, and so does the key's index, for
//! all tenants together; old rows are found by their ids, which grow with time too.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const AGE: &str = "inbox_age";
const OLD: &str = "inbox_unique_source_account_id_event_key";
const NEW: &str = "inbox_unique_event_key";

/// Channel, what its keys begin with, and the order in which their old parts stand in the new ones.
const KEYS: [(&str, &str, &[usize]); 4] = [
    ("telegram", "msg", &[2, 1]),
    ("telegram", "edit", &[2, 1, 3]),
    ("slack", "msg", &[3, 1, 2]),
    ("slack", "edit", &[3, 1, 2, 4]),
];

/// Rewrites the keys, so that a message that comes again is still recognised.
fn reorder(backend: DbBackend, (channel, begins, order): (&str, &str, &[usize])) -> String {
    // SQLite splits no text, but its JSON functions find elements. What makes no JSON is no key of ours.
    let list = r#"'["' || replace(event_key, ':', '","') || '"]'"#;
    let postgres = backend == DbBackend::Postgres;
    let part = |at: &usize| {
        if postgres {
            format!("split_part(event_key, ':', {})", at + 1)
        } else {
            format!("json_extract({list}, '$[{at}]')")
        }
    };
    let parts: Vec<String> = order.iter().map(part).collect();
    let count = order.len() + 1;
    let whole = if postgres {
        format!("array_length(string_to_array(event_key, ':'), 1) = {count}")
    } else {
        format!("json_valid({list}) AND json_array_length({list}) = {count}")
    };
    format!(
        "UPDATE inbox SET event_key = '{begins}:' || {} WHERE source = '{channel}' AND event_key LIKE '{begins}:%' AND {whole}",
        parts.join(" || ':' || ")
    )
}

/// What takes [`KEYS`]' order back.
fn inverse(order: &[usize]) -> Vec<usize> {
    (1..=order.len())
        .filter_map(|old| Some(order.iter().position(|part| *part == old)? + 1))
        .collect()
}

fn unique(name: &str, columns: [&'static str; 4]) -> IndexCreateStatement {
    let mut index = Index::create().unique().name(name).table("inbox").to_owned();
    for column in columns {
        index.col(column);
    }
    index
}

async fn rewrite(manager: &SchemaManager<'_>, statements: Vec<String>) -> Result<(), DbErr> {
    let postgres = manager.get_database_backend() == DbBackend::Postgres;
    let run = |sql: &str| {
        let sql = sql.to_owned();
        async move { manager.get_connection().execute_unprepared(&sql).await }
    };
    // The table's owner is held to row-level security as well, and names no tenant here.
    if postgres {
        run("ALTER TABLE inbox NO FORCE ROW LEVEL SECURITY").await?;
    }
    for statement in statements {
        run(&statement).await?;
    }
    if postgres {
        run("ALTER TABLE inbox FORCE ROW LEVEL SECURITY").await?;
    }
    Ok(())
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        rewrite(manager, KEYS.iter().map(|keys| reorder(backend, *keys)).collect()).await?;
        manager
            .create_index(unique(NEW, ["event_key", "account_id", "source", "tenant_id"]))
            .await?;
        for index in [OLD, AGE] {
            manager
                .drop_index(Index::drop().name(index).table("inbox").to_owned())
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        let back = KEYS
            .iter()
            .map(|(channel, begins, order)| reorder(backend, (channel, begins, &inverse(order))))
            .collect();
        rewrite(manager, back).await?;
        manager
            .create_index(unique(OLD, ["tenant_id", "source", "account_id", "event_key"]))
            .await?;
        manager
            .drop_index(Index::drop().name(NEW).table("inbox").to_owned())
            .await?;
        manager
            .create_index(Index::create().name(AGE).table("inbox").col("received_at").to_owned())
            .await
    }
}

#[cfg(test)]
mod tests {
    use sea_orm_migration::sea_orm::{ConnectOptions, ConnectionTrait, Database, Statement};

    use super::*;

    #[tokio::test]
    async fn old_keys_come_into_the_new_order_and_back() {
        let url = std::env::var("CLAW_TEST_POSTGRES").unwrap_or_else(|_| "sqlite::memory:".to_owned());
        let mut options = ConnectOptions::new(url);
        // A temporary table is its connection's.
        options.max_connections(1);
        let db = Database::connect(options).await.expect("opens");
        let backend = db.get_database_backend();
        let run = |sql: String| {
            let db = &db;
            async move { db.execute_unprepared(&sql).await.expect("runs") }
        };
        run("CREATE TEMPORARY TABLE inbox (at integer, source text, event_key text)".to_owned()).await;
        let old = [
            ("telegram", "msg:-100:7"),
            ("telegram", "edit:-100:7:99"),
            ("telegram", "update:5"),
            ("telegram", "msg:odd"),
            ("slack", "msg:T0:C0:1700.01"),
            ("slack", "edit:T0:C0:1700.01:1800.02"),
            ("cron", "msg:a:b"),
        ];
        for (at, (source, key)) in old.iter().enumerate() {
            run(format!("INSERT INTO inbox VALUES ({at}, '{source}', '{key}')")).await;
        }
        let keys = || async {
            let statement = Statement::from_string(backend, "SELECT event_key FROM inbox ORDER BY at");
            let rows = db.query_all_raw(statement).await.expect("reads");
            rows.iter()
                .map(|row| row.try_get_by_index::<String>(0).expect("a text"))
                .collect::<Vec<_>>()
        };
        for keys in KEYS {
            run(reorder(backend, keys)).await;
        }
        assert_eq!(
            keys().await,
            [
                "msg:7:-100",
                "edit:7:-100:99",
                "update:5",
                "msg:odd",
                "msg:1700.01:T0:C0",
                "edit:1700.01:T0:C0:1800.02",
                "msg:a:b",
            ]
        );
        for (channel, begins, order) in KEYS {
            run(reorder(backend, (channel, begins, &inverse(order)))).await;
        }
        assert_eq!(keys().await, old.map(|(_, key)| key));
    }
}
