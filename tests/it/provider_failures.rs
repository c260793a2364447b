//! A model that misbehaves ends its turn with a clear message, and nothing else.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::webhook::status;

/// The person is told, the turn is over, and the next message is answered.
async fn check(order: &str) {
    let app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__RUN_TIMEOUT_SECS", "20")]).await;
    assert_eq!(
        status(app.webhooks().telegram(1, 700, &format!("{order} #bad"))).await,
        200
    );
    app.settled().await;
    let told = app.platform.messages("700");
    assert_eq!(told.len(), 1, "{order}: {told:?}");
    let text = &told[0].text;
    assert!(!text.contains("re: #bad end"), "{order}: {text}");
    assert!(
        !text.contains("127.0.0.1") && !text.contains("sk-test"),
        "{order} tells too much: {text}"
    );
    assert!(!text.trim().is_empty());
    let rows = app.rows().await;
    assert_eq!(rows.count("run WHERE status = 'error'").await, 1, "{order}");
    assert_eq!(
        rows.count("run WHERE status = 'error' AND error_class IS NOT NULL")
            .await,
        1,
        "{order}: classified"
    );
    assert_eq!(status(app.webhooks().telegram(2, 700, "hello #good")).await, 200);
    app.platform.message("700", "re: #good end").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage() {
    check("[garbage]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stream() {
    check("[cut]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests() {
    check("[status:429]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error() {
    check("[status:500]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key() {
    check("[status:401]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_until_the_run_times_out() {
    check("[hang]").await;
}
