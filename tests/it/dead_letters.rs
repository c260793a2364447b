//! Dead letters: a message whose every attempt ended in a crash, tried again by a person.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::wait::becomes;
use crate::support::webhook::status;

/// Its first attempt had stored the message under the row's id. Each retry tried to store it once more, for ever, and
/// nothing behind it was answered.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_tried_again_is_answered_and_so_is_what_is_behind_it() {
    let mut app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__SWEEP_SECS", "1")]).await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #poison")).await, 200);
    for attempt in 1..=3 {
        becomes("attempts", attempt, || async { app.model.calls().len() }).await;
        tokio::task::block_in_place(|| {
            app.binary.kill();
            app.binary.start();
        });
    }
    let rows = app.rows().await;
    becomes("the poisonous row", vec!["dead".to_owned()], || async {
        rows.column("SELECT state FROM inbox").await
    })
    .await;
    // A stop holds for what came before it, but not for what is asked for after it.
    assert_eq!(status(app.webhooks().telegram(2, 700, "/stop")).await, 200);
    app.platform.message("700", "Nothing was running.").await;
    let (_, activity) = app.owner().get("/api/activity").await;
    let id = activity["inbox"][0]["id"].as_str().expect("a dead letter").to_owned();
    let retry = format!("/api/activity/inbox/{id}/retry");
    assert_eq!(app.owner().post(&retry, &json!({})).await.0, 204);
    becomes("attempts", 4, || async { app.model.calls().len() }).await;
    assert_eq!(status(app.webhooks().telegram(3, 700, "hello #behind")).await, 200);
    app.model.release(100);
    app.platform.message("700", "#poison").await;
    app.platform.message("700", "#behind").await;
    app.settled().await;
    assert_eq!(rows.count("inbox WHERE state = 'done'").await, 3);
    let carried = format!("SELECT entry_id FROM inbox WHERE id = '{id}'");
    let carried: Vec<Option<String>> = rows.column(&carried).await;
    assert_ne!(carried, [Some(id)], "it has an entry of its own");
    let (_, activity) = app.owner().get("/api/activity").await;
    assert_eq!(activity["inbox"], json!([]));
}
