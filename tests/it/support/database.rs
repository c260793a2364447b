//! A database per test, and looking into it from outside.

use std::path::Path;

use claw_actors::db::template;
use claw_entities::ids::new_id;
use claw_migration::{Migrator, MigratorTrait};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, QueryResult, Statement, TryGetable,
};

/// Where one test's rows live.
#[derive(Clone, Debug)]
pub(crate) struct TestDatabase {
    pub(crate) url: String,
}

/// Is this the run on PostgreSQL?
pub(crate) fn on_postgres() -> bool {
    match std::env::var("CLAW_TEST_DATABASE").as_deref() {
        Ok("postgres") => true,
        Err(_) | Ok("" | "sqlite") => false,
        Ok(other) => panic!("CLAW_TEST_DATABASE={other}: say sqlite or postgres"),
    }
}

impl TestDatabase {
    /// A database of the kind this run is about, with its tables and nothing in them.
    pub(crate) async fn create(dir: &Path) -> Self {
        let has_cluster = std::env::var("CLAW_TEST_POSTGRES").is_ok();
        assert_eq!(
            on_postgres(),
            has_cluster,
            "run tests/ci/with-postgres.sh cargo nextest run …"
        );
        let migrate = async |db: &DatabaseConnection| Migrator::up(db, None).await;
        Self {
            url: template::database(&dir.join("claw.db"), migrate).await,
        }
    }

    /// An empty PostgreSQL database in the cluster at `base` (ends in `/`).
    pub(crate) async fn create_in(base: &str) -> Self {
        let name = format!("claw_{}", new_id());
        let admin = Database::connect(format!("{base}postgres"))
            .await
            .expect("the cluster answers");
        admin
            .execute_unprepared(&format!("CREATE DATABASE {name}"))
            .await
            .expect("a superuser may create databases");
        admin.close().await.expect("an idle pool closes");
        Self {
            url: format!("{base}{name}"),
        }
    }

    /// A connection that sees everything: on PostgreSQL as superuser.
    pub(crate) async fn open(&self) -> Rows {
        let mut options = ConnectOptions::new(self.url.clone());
        // As the server's own pools (`db/pool.rs`): the driver's task for idle connections may go round for ever.
        options.idle_timeout(None).max_lifetime(None);
        Rows(Database::connect(options).await.expect("the test's database opens"))
    }
}

/// Raw SQL over everything. For assertions only.
pub(crate) struct Rows(pub(crate) DatabaseConnection);

impl Rows {
    pub(crate) async fn all(&self, sql: &str) -> Vec<QueryResult> {
        self.0
            .query_all_raw(Statement::from_string(self.backend(), sql))
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// First column of all rows.
    pub(crate) async fn column<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let rows = self.all(sql).await;
        rows.iter()
            .map(|row| row.try_get_by_index(0).expect("the column has this type"))
            .collect()
    }

    /// The one number of a `SELECT count(*)`.
    pub(crate) async fn count(&self, from_where: &str) -> i64 {
        let found: Vec<i64> = self.column(&format!("SELECT count(*) FROM {from_where}")).await;
        found[0]
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.0
            .execute_unprepared(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }
}
