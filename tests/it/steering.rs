//! Messages that come while the agent is busy and are to be read at once: queue modes `steer` and `steer-backlog`.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::model::question;
use crate::support::node::TestNode;
use crate::support::wait::becomes;
use crate::support::webhook::status;

const KEY: &str = "agent:main:side";

async fn start(mode: &str) -> TestApp {
    TestApp::start_with(&json!({"messages": {"queue": {"byChannel": {"telegram": mode}}}}), &[]).await
}

async fn say(app: &TestApp, update: u64, text: &str) {
    assert_eq!(status(app.webhooks().telegram(update, 700, text)).await, 200);
}

/// The session has looked at what was said, and it waits for the turn that runs.
async fn waits(app: &TestApp, update: u64, count: usize) {
    say(app, update, "/status").await;
    app.platform.message("700", &format!("{count} waiting")).await;
}

/// What was said to the person, without answers to `/status`.
fn replies(app: &TestApp) -> Vec<String> {
    let messages = app.platform.messages("700").into_iter().map(|call| call.text);
    messages.filter(|text| !text.contains("waiting")).collect()
}

/// Roles and texts of a request's messages, without the system prompt.
fn said(call: &Value) -> Vec<String> {
    let messages = call["messages"].as_array().expect("messages");
    let shown = messages.iter().skip(1).map(|message| {
        let text = message["content"].to_string();
        let tag = text.split_whitespace().find(|word| word.contains('#')).unwrap_or("");
        let tag: String = tag.chars().filter(|c| c.is_alphanumeric() || *c == '#').collect();
        format!("{} {tag}", message["role"].as_str().unwrap_or_default())
    });
    shown.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_read_between_two_batches_of_tools() {
    let app = start("steer").await;
    say(&app, 1, "[gate] [tool:session_status] [rounds:2] #one").await;
    becomes("model calls", 2, || async { app.model.calls().len() }).await;
    say(&app, 2, "#two").await;
    waits(&app, 3, 1).await;
    app.model.release(100);
    app.settled().await;
    assert_eq!(replies(&app), ["re: #two end"]);
    let calls = app.model.calls();
    assert_eq!(calls.len(), 3, "one run: two rounds of tools and the answer");
    let expected = ["user #one", "assistant ", "tool ", "assistant ", "tool ", "user #two"];
    assert_eq!(said(&calls[2]), expected);
    let rows = app.rows().await;
    assert_eq!(rows.count("run WHERE status = 'ok'").await, 1);
    assert_eq!(rows.count("inbox WHERE state = 'done'").await, 3);
    assert_eq!(
        rows.count("inbox WHERE entry_id = id AND run_id = (SELECT id FROM run)")
            .await,
        2,
        "each question has its own entry"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_answer_is_written_is_answered_by_the_same_run() {
    let app = start("steer").await;
    say(&app, 1, "[gate] #one").await;
    app.model.asked("#one").await;
    say(&app, 2, "#two").await;
    say(&app, 3, "#three").await;
    waits(&app, 4, 2).await;
    app.model.release(100);
    app.settled().await;
    assert_eq!(replies(&app), ["re: #one end", "re: #three end"], "each part once");
    let calls = app.model.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        said(&calls[1]),
        ["user #one", "assistant #one", "user #two", "user #three"]
    );
    assert_eq!(app.rows().await.count("run WHERE status = 'ok'").await, 1);
    // The next question stands behind all of it.
    say(&app, 5, "#four").await;
    app.platform.message("700", "#four").await;
    app.settled().await;
    let last = app.model.calls().pop().expect("asked");
    assert_eq!(said(&last).len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_of_a_channel_holds_in_sessions_of_all_channels() {
    let config = json!({
        "session": {"dmScope": "per-peer"}, "messages": {"queue": {"mode": "followup", "byChannel": {"telegram": "steer"}}},
    });
    let app = TestApp::start_with(&config, &[]).await;
    say(&app, 1, "[gate] #one").await;
    app.model.asked("#one").await;
    say(&app, 2, "#two").await;
    waits(&app, 3, 1).await;
    app.model.release(100);
    app.settled().await;
    assert_eq!(
        app.rows().await.count("run WHERE status = 'ok'").await,
        1,
        "one run reads both"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_message_is_read_at_once_and_answered_again_afterwards() {
    let app = start("steer-backlog").await;
    say(&app, 1, "[gate] #one").await;
    app.model.asked("#one").await;
    say(&app, 2, "#two").await;
    waits(&app, 3, 1).await;
    app.model.release(100);
    app.settled().await;
    assert_eq!(replies(&app), ["re: #one end", "re: #two end", "re: #two end"]);
    let rows = app.rows().await;
    assert_eq!(rows.count("run WHERE status = 'ok'").await, 2);
    assert_eq!(rows.count("inbox WHERE state = 'done'").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_a_message_was_read_loses_nothing_and_answers_once() {
    let mut app = start("steer").await;
    say(&app, 1, "[gate] [tool:session_status] [rounds:2] #one").await;
    becomes("model calls", 2, || async { app.model.calls().len() }).await;
    say(&app, 2, "[gate] #two").await;
    waits(&app, 3, 1).await;
    app.model.release(1);
    let reads = || async {
        app.model
            .calls()
            .iter()
            .filter(|call| question(call).contains("#two"))
            .count()
    };
    // The call that shows the message is made once it is stored; it waits at the gate.
    becomes("calls with the message", 1, reads).await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    let reads = || async {
        app.model
            .calls()
            .iter()
            .filter(|call| question(call).contains("#two"))
            .count()
    };
    becomes("calls with the message", 2, reads).await;
    app.model.release(100);
    app.settled().await;
    assert_eq!(replies(&app), ["re: #two end"]);
    let last = app.model.calls().pop().expect("asked");
    let expected = ["user #one", "assistant ", "tool ", "assistant ", "tool ", "user #two"];
    assert_eq!(said(&last), expected, "it goes on with what is stored");
    let rows = app.rows().await;
    assert_eq!(rows.count("inbox WHERE state = 'done' AND attempts = 2").await, 2);
    assert_eq!(rows.count("run WHERE status = 'ok'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_drops_what_waits_to_be_read() {
    let app = start("steer").await;
    say(&app, 1, "[gate] #one").await;
    app.model.asked("#one").await;
    say(&app, 2, "#two").await;
    waits(&app, 3, 1).await;
    say(&app, 4, "/stop").await;
    app.platform.message("700", "Stopped.").await;
    app.settled().await;
    assert_eq!(app.model.calls().len(), 1);
    assert_eq!(
        app.rows()
            .await
            .count("inbox WHERE state = 'skipped' AND reason = 'aborted'")
            .await,
        1
    );
}

async fn send(operator: &mut TestNode, run: &str, message: &str) {
    let params = json!({"sessionKey": KEY, "message": message, "idempotencyKey": run, "queueMode": "steer"});
    operator.call("chat.send", params).await.expect("accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_that_its_message_was_taken_up_and_may_abort_the_run() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    send(&mut operator, "run-1", "[gate] #one").await;
    app.model.asked("#one").await;
    send(&mut operator, "run-2", "[gate] #two").await;
    // So that the session has seen it: commands are read in order.
    send(&mut operator, "run-3", "/queue").await;
    operator.chat_end("run-3").await;
    app.model.release(5);
    let merged = operator.chat_end("run-2").await;
    assert_eq!(
        (&merged["state"], &merged["stopReason"]),
        (&json!("final"), &json!("merged"))
    );
    app.model.asked("#two").await;
    let aborted = operator
        .call("chat.abort", json!({"sessionKey": KEY, "runId": "run-2"}))
        .await
        .expect("aborted");
    assert_eq!(aborted["runIds"], json!(["run-1"]));
    for run in ["run-1", "run-2"] {
        let waited = operator.call("agent.wait", json!({"runId": run})).await.expect("waits");
        assert_eq!(waited["stopReason"], "rpc", "{run}: {waited}");
    }
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_set_shown_and_forgotten() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let mut number = 0;
    let mut ask = async |text: &str| {
        number += 1;
        let run = format!("q{number}");
        let params = json!({"sessionKey": KEY, "message": text, "idempotencyKey": run});
        operator.call("chat.send", params).await.expect("accepted");
        operator.chat_end(&run).await["message"]["content"][0]["text"].to_string()
    };
    assert!(
        ask("/queue")
            .await
            .contains("Queue: collect, debounce 0 ms, cap 20, drop summarize")
    );
    ask("/queue steer debounce:2s cap:7 drop:old").await;
    assert!(
        ask("/queue")
            .await
            .contains("Queue: steer, debounce 2000 ms, cap 7, drop old")
    );
    ask("/queue reset").await;
    assert!(
        ask("/queue")
            .await
            .contains("Queue: collect, debounce 0 ms, cap 20, drop summarize")
    );
    let patch = json!({"key": KEY, "queueMode": "steer+backlog", "queueCap": 3});
    let patched = operator.call("sessions.patch", patch).await.expect("patched");
    assert_eq!(patched["entry"]["queueMode"], "steer-backlog");
}
