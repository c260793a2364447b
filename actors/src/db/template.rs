//! Migrated databases for tests: made once for a run of all tests, copied for each.
//!
//! A run is what nextest calls one; without nextest each test migrates a database of its own. Not in the product.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement};

use super::{Db, DbSettings};
use crate::crypto::Secret;

/// Templates of runs that ended longer ago are removed by the next run.
const KEPT: Duration = Duration::from_secs(3600);
/// Names of tests' databases on PostgreSQL: this, the process, `_`, an id.
const PREFIX: &str = "claw_test_";
/// Whoever makes the template on PostgreSQL holds this advisory lock.
const LOCK: i64 = 0x636c_6177;

/// A migrated database of the test's own: with `CLAW_TEST_POSTGRES` (a server's URL) there, else the SQLite file at
/// `path`, which must not exist. Gives its URL. `migrate` migrates an empty one.
pub async fn database(path: &Path, migrate: impl AsyncFn(&DatabaseConnection) -> Result<(), DbErr>) -> String {
    match std::env::var("CLAW_TEST_POSTGRES") {
        Ok(server) => on_postgres(server.trim_end_matches('/'), migrate).await,
        Err(_) => on_sqlite(path, migrate).await,
    }
}

/// As [`database`], on SQLite always.
pub async fn on_sqlite(path: &Path, migrate: impl AsyncFn(&DatabaseConnection) -> Result<(), DbErr>) -> String {
    let url = sqlite_url(path);
    match std::env::var("NEXTEST_RUN_ID") {
        Ok(run) => {
            let template = sqlite_template(&run, migrate).await.expect("makes the template");
            fs::copy(template, path).expect("copies the template");
        }
        Err(_) => migrated(&url, migrate).await,
    }
    url
}

fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

async fn migrated(url: &str, migrate: impl AsyncFn(&DatabaseConnection) -> Result<(), DbErr>) {
    let settings = DbSettings {
        url: Secret::new(url.to_owned()),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(30),
    };
    let owner = Db::open_owner(&settings, true).await.expect("creates the database");
    migrate(&owner).await.expect("migrates");
    owner.close().await.expect("closes");
}

/// The first test of a run makes it, the others wait for that.
async fn sqlite_template(
    run: &str,
    migrate: impl AsyncFn(&DatabaseConnection) -> Result<(), DbErr>,
) -> io::Result<PathBuf> {
    let folder = std::env::temp_dir().join("clawcentral-templates");
    fs::create_dir_all(&folder)?;
    let template = folder.join(format!("{run}.db"));
    if template.exists() {
        return Ok(template);
    }
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?;
    if !template.exists() {
        forget_old(&folder)?;
        let making = folder.join(format!("{run}.making"));
        // A test that was ended in the middle of this left it behind.
        let _ = fs::remove_file(&making);
        migrated(&sqlite_url(&making), migrate).await;
        fs::rename(&making, &template)?;
    }
    Ok(template)
}

fn forget_old(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let made = file.metadata()?.modified()?;
        let is_lock = file.file_name() == "lock";
        if !is_lock && SystemTime::now().duration_since(made).is_ok_and(|age| age > KEPT) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

async fn on_postgres(server: &str, migrate: impl AsyncFn(&DatabaseConnection) -> Result<(), DbErr>) -> String {
    let name = format!("{PREFIX}{}_{}", std::process::id(), claw_entities::new_id());
    let mut options = sea_orm::ConnectOptions::new(format!("{server}/postgres"));
    // The lock is its connection's.
    options.max_connections(1).sqlx_logging(false);
    let admin = Database::connect(options).await.expect("the server answers");
    let url = format!("{server}/{name}");
    match std::env::var("NEXTEST_RUN_ID") {
        Ok(run) => {
            let template = format!("claw_template_{}", run.replace('-', "_"));
            postgres_template(&admin, server, &template, migrate).await;
            drop_left(&admin).await;
            run_sql(&admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
        }
        Err(_) => {
            run_sql(&admin, &format!("CREATE DATABASE {name}")).await;
            migrated(&url, migrate).await;
        }
    }
    admin.close().await.expect("closes");
    url
}

async fn postgres_template(
    admin: &DatabaseConnection,
    server: &str,
    template: &str,
    migrate: impl AsyncFn(&DatabaseConnection) -> Result<(), DbErr>,
) {
    if exists(admin, template).await {
        return;
    }
    run_sql(admin, &format!("SELECT pg_advisory_lock({LOCK})")).await;
    if !exists(admin, template).await {
        let making = format!("{template}_making");
        run_sql(admin, &format!("DROP DATABASE IF EXISTS {making}")).await;
        run_sql(admin, &format!("CREATE DATABASE {making}")).await;
        migrated(&format!("{server}/{making}"), migrate).await;
        run_sql(admin, &format!("ALTER DATABASE {making} RENAME TO {template}")).await;
    }
    run_sql(admin, &format!("SELECT pg_advisory_unlock({LOCK})")).await;
}

/// Databases of tests that are over. What they hold would only be written to the disk.
async fn drop_left(admin: &DatabaseConnection) {
    let sql = format!("SELECT datname FROM pg_database WHERE starts_with(datname, '{PREFIX}')");
    let rows = admin
        .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await;
    for row in rows.expect("lists the databases") {
        let name: String = row.try_get_by_index(0).expect("a name");
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            // Another test may be dropping it as well.
            let _ = admin
                .execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                .await;
        }
    }
}

async fn exists(admin: &DatabaseConnection, name: &str) -> bool {
    let sql = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
    let found = admin.query_one_raw(Statement::from_string(DbBackend::Postgres, sql));
    found.await.expect("looks").is_some()
}

async fn run_sql(admin: &DatabaseConnection, sql: &str) {
    if let Err(error) = admin.execute_unprepared(sql).await {
        panic!("{sql}: {error}");
    }
}
