//! One run per session, messages in order, sessions beside each other.

use serde_json::json;

use crate::support::app::TestApp;
use crate::support::model::question;
use crate::support::wait::becomes;
use crate::support::webhook::status;

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_busy_session_are_answered_in_order_and_none_twice() {
    let app = TestApp::start_with(&json!({"messages": {"queue": {"mode": "followup"}}}), &[]).await;
    for number in 0..8 {
        let text = format!("[slow:10] #m{number}");
        assert_eq!(status(app.webhooks().telegram(100 + number, 700, &text)).await, 200);
    }
    app.settled().await;
    let replies: Vec<_> = app.platform.messages("700").into_iter().map(|call| call.text).collect();
    let wanted: Vec<_> = (0..8).map(|number| format!("re: #m{number} end")).collect();
    assert_eq!(replies, wanted);
    assert_eq!(app.model.most_running(), 1, "a session runs one turn at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_during_a_turn_is_collected_into_one_more() {
    // Quiet time long enough for all three to be in the queue when the first turn ends.
    let app = TestApp::start_with(&json!({"messages": {"queue": {"debounceMs": 1500}}}), &[]).await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #first")).await, 200);
    app.model.asked("#first").await;
    for number in 2..5 {
        assert_eq!(
            status(app.webhooks().telegram(number, 700, &format!("#m{number}"))).await,
            200
        );
    }
    app.model.release(100);
    app.settled().await;
    let calls = app.model.calls();
    assert_eq!(calls.len(), 2, "one turn for the first, one for the rest");
    let joined = question(&calls[1]);
    let places: Vec<_> = ["#m2", "#m3", "#m4"]
        .iter()
        .map(|tag| joined.find(tag).expect("it is in there"))
        .collect();
    assert!(places.is_sorted(), "{joined}");
    assert_eq!(app.rows().await.count("inbox WHERE state = 'done'").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_chat_does_not_stop_another() {
    let app = TestApp::start().await;
    for (update, chat) in (1..5).zip(900..) {
        assert_eq!(
            status(app.webhooks().telegram(update, chat, "[hang] #stuck")).await,
            200
        );
    }
    becomes("hung model calls", 4, || async { app.model.running() }).await;
    assert_eq!(status(app.webhooks().telegram(50, 700, "hello #free")).await, 200);
    app.platform.message("700", "#free").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_is_heard_while_the_model_is_silent() {
    let app = TestApp::start().await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #first")).await, 200);
    app.model.asked("#first").await;
    assert_eq!(status(app.webhooks().telegram(2, 700, "/stop")).await, 200);
    // Not one chunk was released: only an abort can end the call.
    becomes("model calls after /stop", 0, || async { app.model.running() }).await;
    assert_eq!(status(app.webhooks().telegram(3, 700, "hello #again")).await, 200);
    app.platform.message("700", "#again").await;
    app.settled().await;
}
