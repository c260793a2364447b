//! The database goes away under a running server, and comes back. Always PostgreSQL, of the test's own: SQLite is a
//! file of the process and cannot go away alone.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::TestDatabase;
use crate::support::postgres::Cluster;
use crate::support::wait::eventually;
use crate::support::webhook::{send, status};

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_get_503_with_retry_after_until_it_is_back() {
    let mut cluster = tokio::task::block_in_place(Cluster::start);
    let dir = tempfile::tempdir().unwrap();
    let database = TestDatabase::create_in(&cluster.url()).await;
    let settings = [
        ("CLAWCENTRAL__DATABASE__ACQUIRE_TIMEOUT_SECS", "2"),
        ("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1"),
    ];
    let app = TestApp::start_on(dir, database, &json!({}), &settings).await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.message("700", "#one").await;
    tokio::task::block_in_place(|| cluster.suspend());
    let refused = send(app.webhooks().telegram(2, 700, "hello #two")).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    tokio::task::block_in_place(|| cluster.resume());
    eventually("the repeated webhook is accepted", || async {
        (status(app.webhooks().telegram(2, 700, "hello #two")).await == 200).then_some(())
    })
    .await;
    app.platform.message("700", "#two").await;
    app.settled().await;
}
