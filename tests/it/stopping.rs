//! `/stop` and the bare words for it: what they stop besides the session's own run, and what they say of it.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::node::{Device, TestNode};
use crate::support::tool;
use crate::support::wait::becomes;
use crate::support::webhook::{status, telegram_update};

/// Begins a sub-agent of the main session that works until it is stopped.
async fn begin(app: &TestApp, operator: &mut TestNode, name: &str) {
    let wish = json!({"task": format!("[gate] #{name}-works"), "label": name});
    tool::ask(operator, "main", name, "sessions_spawn", &wish).await;
    let told = tool::told(app, operator, name).await;
    assert!(told.contains("accepted"), "{told}");
    app.model.asked(&format!("#{name}-works")).await;
}

async fn send(operator: &mut TestNode, run: &str, text: &str) {
    let params = json!({"sessionKey": "main", "message": text, "idempotencyKey": run});
    operator.call("chat.send", params).await.expect("accepted");
}

/// The answer to a message.
async fn ask(operator: &mut TestNode, run: &str, text: &str) -> String {
    send(operator, run, text).await;
    said(&operator.chat_end(run).await)
}

fn said(end: &Value) -> String {
    let text = end["message"]["content"][0]["text"].as_str();
    text.unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_says_how_many_sub_agents_it_stopped() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let mut watcher = app.operator().await;
    let rows = app.rows().await;
    let killed = || rows.count("subagent WHERE state = 'killed'");
    begin(&app, &mut operator, "one").await;
    begin(&app, &mut operator, "two").await;
    assert_eq!(ask(&mut operator, "stop-1", "/stop").await, "Stopped 2 sub-agents.");
    assert_eq!(killed().await, 2, "it says so when it is done");
    becomes("nothing goes on", 0, || async { app.model.running() }).await;
    // What the session does itself ends at once, and is told with the others.
    begin(&app, &mut operator, "three").await;
    send(&mut operator, "own", "[gate] #own").await;
    app.model.asked("#own").await;
    let told = ask(&mut operator, "stop-2", "/stop").await;
    assert_eq!(told, "Stopped, and 1 sub-agent with it.");
    assert_eq!(watcher.chat_end("own").await["state"], "aborted");
    assert_eq!(ask(&mut operator, "stop-3", "/stop").await, "Nothing was running.");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_word_stops_sub_agents_where_nothing_else_runs() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    begin(&app, &mut operator, "one").await;
    assert_eq!(
        ask(&mut operator, "stop-1", "please stop").await,
        "Stopped 1 sub-agent."
    );
    becomes("nothing goes on", 0, || async { app.model.running() }).await;
    // Now it is talk.
    let told = ask(&mut operator, "talk", "wait").await;
    assert!(told.starts_with("re:"), "{told}");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_a_group_stops_no_sub_agent_of_the_owners() {
    const ROOM: &str = "agent:main:telegram:group:-500";
    let telegram = json!({"groupPolicy": "open", "groups": {"*": {"requireMention": false}}});
    let app = TestApp::start_with(&json!({"channels": {"telegram": telegram}}), &[]).await;
    let mut operator = app.operator().await;
    let wish = json!({"task": "[gate] #works"});
    tool::ask(&mut operator, ROOM, "one", "sessions_spawn", &wish).await;
    assert!(tool::told(&app, &mut operator, "one").await.contains("accepted"));
    app.model.asked("#works").await;
    let say = async |update: u64, text: &str| {
        let mut body = telegram_update(update, 12, text);
        body["message"]["chat"] = json!({"id": -500, "type": "group", "title": "Friends"});
        assert_eq!(status(app.webhooks().telegram_body(&body)).await, 200);
    };
    say(1, "stop").await;
    app.platform.message("-500", "re:").await;
    say(2, "/stop").await;
    app.platform.message("-500", "Nothing was running.").await;
    assert_eq!(app.model.running(), 1, "the owner's sub-agent was stopped");
    let params = json!({"sessionKey": ROOM, "message": "stop", "idempotencyKey": "owner"});
    operator.call("chat.send", params).await.expect("accepted");
    assert_eq!(said(&operator.chat_end("owner").await), "Stopped 1 sub-agent.");
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_start_a_run_may_not_abort_it() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let device = Device::generate();
    let auth = json!({"token": app.token(OWNER)});
    let scopes = &["operator.read", "operator.write"];
    let asked = app
        .device_operator(&device, auth.clone(), scopes)
        .await
        .err()
        .expect("is to be paired");
    let request = asked["details"]["requestId"].as_str().expect("a request").to_owned();
    app.binary
        .cli(&["device", "approve", "--tenant", "demo", "--user", OWNER, &request]);
    let mut other = app.device_operator(&device, auth, scopes).await.expect("is paired");
    send(&mut operator, "mine", "[gate] #mine").await;
    app.model.asked("#mine").await;
    for (method, params) in [
        ("chat.abort", json!({"sessionKey": "main"})),
        ("chat.abort", json!({"sessionKey": "main", "runId": "mine"})),
        ("sessions.abort", json!({"key": "main"})),
    ] {
        let refused = other.call(method, params).await.expect_err("is not theirs");
        assert_eq!(
            (&refused["code"], &refused["message"]),
            (&json!("INVALID_REQUEST"), &json!("unauthorized"))
        );
    }
    let params = json!({"sessionKey": "main", "message": "[gate] #theirs", "idempotencyKey": "theirs"});
    other.call("chat.send", params).await.expect("accepted");
    let mine = json!({"sessionKey": "main", "runId": "mine"});
    let aborted = operator.call("chat.abort", mine).await.expect("is theirs");
    assert_eq!(aborted, json!({"ok": true, "aborted": true, "runIds": ["mine"]}));
    app.model.asked("#theirs").await;
    let aborted = other
        .call("chat.abort", json!({"sessionKey": "main"}))
        .await
        .expect("is theirs");
    assert_eq!(aborted["runIds"], json!(["theirs"]));
    // Nothing runs: there is nothing to be refused.
    let nothing = other
        .call("chat.abort", json!({"sessionKey": "main"}))
        .await
        .expect("answers");
    assert_eq!(nothing["aborted"], false);
    app.settled().await;
}
