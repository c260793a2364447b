//! The second line of defence, on PostgreSQL whatever the rest of the run uses: SQLite has no row-level security.

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::TestDatabase;
use crate::support::postgres::Cluster;
use crate::support::webhook::status;

async fn on(cluster: &Cluster) -> TestApp {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let database = TestDatabase::create_in(&cluster.url()).await;
    TestApp::start_on(dir, database, &json!({}), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfiltered_query_sees_its_tenant_only() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let mut app = on(&cluster).await;
    app.add_other_tenant();
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.settled().await;
    let rows = app.rows().await;
    let tenants: Vec<String> = rows.column("SELECT id FROM tenant ORDER BY slug").await;
    assert_eq!(tenants.len(), 2, "demo and other");
    let tables: Vec<String> = rows
        .column("SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relforcerowsecurity AND relname <> 'platform_state'")
        .await;
    assert!(tables.len() > 20, "{tables:?}");
    let database = Database::connect(&app.database.url).await.expect("opens");
    let count = async |table: &str, role: &str, tenant: Option<&str>| -> i64 {
        let tx = database.begin().await.expect("begins");
        tx.execute_unprepared(&format!("SET LOCAL ROLE {role}"))
            .await
            .expect("a superuser may become anybody");
        if let Some(tenant) = tenant {
            let set = Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT set_config('claw.tenant', $1, true)",
                [tenant.into()],
            );
            tx.query_one_raw(set).await.expect("a setting of ours");
        }
        let counted = tx
            .query_one_raw(Statement::from_string(
                DbBackend::Postgres,
                format!("SELECT count(*) FROM \"{table}\""),
            ))
            .await
            .expect("claw_app may read every owned table")
            .expect("one row");
        counted.try_get_by_index(0).expect("a number")
    };
    for table in &tables {
        let all = rows.count(&format!("\"{table}\"")).await;
        let demo = count(table, "claw_app", Some(&tenants[0])).await;
        let other = count(table, "claw_app", Some(&tenants[1])).await;
        assert_eq!(
            count(table, "claw_app", None).await,
            0,
            "{table}: rows without a tenant"
        );
        assert_eq!(
            count(table, "claw_app", Some("nobody")).await,
            0,
            "{table}: rows of nobody"
        );
        assert_eq!(demo + other, all, "{table}: each row belongs to one of the two");
    }
    assert_eq!(count("inbox", "claw_app", Some(&tenants[0])).await, 1);
    assert_eq!(count("inbox", "claw_app", Some(&tenants[1])).await, 0);
    // Of the platform's own state a tenant's connection sees the change counter, never the master key.
    assert_eq!(count("platform_state", "claw_app", Some(&tenants[0])).await, 1);
    assert!(rows.count("platform_state").await > 1);
    // And no writing across: the policy checks new rows too.
    let tx = database.begin().await.expect("begins");
    tx.execute_unprepared("SET LOCAL ROLE claw_app").await.expect("role");
    tx.execute_unprepared(&format!("SELECT set_config('claw.tenant', '{}', true)", tenants[1]))
        .await
        .expect("setting");
    let touched = tx
        .execute_unprepared("UPDATE inbox SET state = 'dead'")
        .await
        .expect("allowed, and empty");
    assert_eq!(touched.rows_affected(), 0);
    let stolen = tx
        .execute_unprepared(&format!("UPDATE api_token SET tenant_id = '{}'", tenants[0]))
        .await;
    assert!(stolen.is_err(), "a row may not be moved into another tenant");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_refuses_a_role_that_can_bypass() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let mut app = on(&cluster).await;
    app.binary.kill();
    app.rows().await.execute("ALTER ROLE claw_app BYPASSRLS").await;
    let ran = tokio::task::block_in_place(|| {
        app.binary.spawn();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while std::time::Instant::now() < end {
            if app.binary.ended() {
                return "refused";
            }
            if app.binary.ready() {
                return "started";
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        "neither"
    });
    assert_eq!(ran, "refused", "{}", app.binary.log());
    assert!(
        app.binary.log().contains("claw_app"),
        "it says which role: {}",
        app.binary.log()
    );
}
