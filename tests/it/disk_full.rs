//! The disk fills up under a running server, and gets room again. Always SQLite: PostgreSQL's disk is its own business.

use std::path::Path;

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::database::TestDatabase;
use crate::support::wait::eventually;
use crate::support::webhook::{send, status};

async fn start() -> (TestApp, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("claw.db");
    let database = TestDatabase {
        url: format!("sqlite://{}?mode=rwc", file.display()),
    };
    let app = TestApp::start_on(dir, database, &json!({}), &[]).await;
    (app, file)
}

/// How far the database's log may still grow: less than any write of ours takes.
const LEFT: u64 = 8192;

/// The disk is full. The database's log is emptied first, so that nothing fits into what it has already.
async fn fill(app: &TestApp, database: &Path) {
    let log = database.with_extension("db-wal");
    let rows = app.rows().await;
    eventually("the log is empty", || async {
        rows.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        (std::fs::metadata(&log).map_or(0, |found| found.len()) == 0).then_some(())
    })
    .await;
    app.binary.limit_files(Some(LEFT));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_get_503_and_nothing_is_stored_until_there_is_room() {
    let (app, file) = start().await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.message("700", "#one").await;
    app.settled().await;
    fill(&app, &file).await;
    // What is in the log already may be written over: a few may still fit.
    let refused = eventually("a webhook is refused", || async {
        let text = format!("hello #two {}", "x".repeat(4000));
        let response = send(app.webhooks().telegram(2, 701, &text)).await;
        (response.status() != 200).then_some(response)
    })
    .await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let body = refused.text().await.expect("a body");
    assert!(body.contains("\"code\"") && !body.contains("sql"), "{body}");
    app.binary.limit_files(None);
    assert_eq!(status(app.webhooks().telegram(3, 702, "hello #three")).await, 200);
    app.platform.message("702", "#three").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_cannot_be_stored_is_whole_once_there_is_room() {
    let (app, file) = start().await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #one")).await, 200);
    app.model.asked("#one").await;
    fill(&app, &file).await;
    app.model.release(100);
    eventually("the server sees that it cannot write", || async {
        app.binary.log().contains("waits for the database").then_some(())
    })
    .await;
    assert!(
        app.platform.messages("700").is_empty(),
        "a reply that is not on record was sent"
    );
    app.binary.limit_files(None);
    app.platform.message("700", "re: #one end").await;
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("transcript_entry").await, 2, "the question and its answer");
    assert_eq!(app.platform.messages("700").len(), 1);
}
