//! `/stop` and the bare words for it: what they stop besides the session's own run, and what they say of it. What stays of
//! a turn that ends early, however that came.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::node::{Device, TestNode};
use crate::support::platform::Trouble;
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
    // What a platform's message led to is nobody's among the clients.
    let chat = "agent:main:telegram:direct:700";
    assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #chat")).await, 200);
    app.model.asked("#chat").await;
    let aborted = other
        .call("chat.abort", json!({"sessionKey": chat}))
        .await
        .expect("is anybody's");
    assert_eq!(aborted["aborted"], true);
    // Nothing runs: there is nothing to be refused.
    let nothing = other
        .call("chat.abort", json!({"sessionKey": "main"}))
        .await
        .expect("answers");
    assert_eq!(nothing["aborted"], false);
    app.settled().await;
}

/// What a restart had cut off was told that nothing ran, and went on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_a_turn_that_a_restart_cut_off_before_it_goes_on() {
    for word in ["/stop", "stop"] {
        let mut app = TestApp::start().await;
        assert_eq!(status(app.webhooks().telegram(1, 700, "[gate] #long")).await, 200);
        app.model.asked("#long").await;
        tokio::task::block_in_place(|| app.binary.kill());
        // Both are there when the next process looks.
        let rows = app.rows().await;
        rows.execute(&format!(
            "INSERT INTO inbox (tenant_id, id, user_id, source, account_id, event_key, session_key, payload, state, attempts, \
             received_at, updated_at) SELECT tenant_id, id || '0', user_id, source, account_id, event_key || '-stop', \
             session_key, replace(payload, '[gate] #long', '{word}'), 'pending', 0, received_at, updated_at FROM inbox"
        ))
        .await;
        tokio::task::block_in_place(|| app.binary.start());
        app.platform.message("700", "Stopped.").await;
        app.settled().await;
        assert_eq!(rows.count("run WHERE status = 'aborted'").await, 1, "{word}");
        assert_eq!(app.model.calls().len(), 1, "{word}: it went on");
    }
}

/// What the agent said, entry by entry.
async fn entries(app: &TestApp) -> Vec<String> {
    let sql = "SELECT body FROM transcript_entry WHERE kind = 'message' ORDER BY seq";
    let bodies: Vec<String> = app.rows().await.column(sql).await;
    let bodies = bodies.iter().map(|body| serde_json::from_str(body).expect("JSON"));
    let messages = bodies.map(|body: Value| {
        if body["role"].is_string() {
            body
        } else {
            body["message"].clone()
        }
    });
    let said = messages.filter(|message| message["role"] == "assistant");
    said.map(|message| {
        let parts = message["content"].as_array().into_iter().flatten();
        parts.filter_map(|part| part["text"].as_str()).collect()
    })
    .collect()
}

/// What it had said before a tool stood there once more, with what it said last.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_stopped_turn_had_said_is_on_record_once() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    app.model.release(2);
    send(
        &mut operator,
        "r1",
        "[words:Let me look] [tool:session_status] [gate] #one",
    )
    .await;
    operator
        .event("words behind the tool", |frame| {
            frame["payload"]["runId"] == "r1" && frame.to_string().contains("re: #one")
        })
        .await;
    let stop = json!({"sessionKey": "main", "runId": "r1"});
    operator.call("chat.abort", stop).await.expect("aborts");
    assert_eq!(operator.chat_end("r1").await["state"], "aborted");
    app.settled().await;
    assert_eq!(entries(&app).await, ["Let me look", "re: #one"]);
}

/// One refusal ended the turn when the agent had said something before its tool ran.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_behind_a_tool_is_tried_again_as_the_first_one_is() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let message = "[words:Let me look] [tool:session_status] [after:mock-1:429] #one";
    send(&mut operator, "r1", message).await;
    assert_eq!(operator.chat_end("r1").await["state"], "error");
    assert_eq!(app.model.calls().len(), 4, "three tries of the second call");
    app.settled().await;
    assert_eq!(entries(&app).await, ["Let me look", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_time_is_over_does_not_wait_for_its_tools() {
    let app = TestApp::start_with(&json!({}), &[("CLAWCENTRAL__LIMITS__RUN_TIMEOUT_SECS", "5")]).await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, &["system.notify"]).await;
    let mut operator = app.operator().await;
    let wish = json!({"action": "notify", "title": "Tea", "node": "test"});
    tool::ask(&mut operator, "main", "late", "nodes", &wish).await;
    // Nobody answers it.
    node.invoked_as("system.notify").await;
    let end = operator.chat_end("late").await;
    assert_eq!(end["state"], "error", "{end}");
    assert!(end.to_string().contains("longer than 5 s"), "{end}");
    assert_eq!(app.model.calls().len(), 1);
    // The next turn reads what became of the call.
    tool::say(&mut operator, "main", "next", "").await;
    assert_eq!(operator.chat_end("next").await["state"], "final");
    let asked = app.model.asked("#next").await["messages"].to_string();
    // Whoever notices it first says so.
    let told = ["the node was told to stop", "The call was cut off"];
    assert!(told.iter().any(|words| asked.contains(words)), "{asked}");
    app.settled().await;
}

/// The turn had gone on for as long as the platform wanted nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_preview_and_nobody_sees_that_afterwards() {
    let extra = json!({"channels": {"telegram": {"streaming": "partial"}}});
    let mut app = TestApp::start_with(&extra, &[]).await;
    app.link(OWNER, 700).await;
    app.says(2, 700, "/reasoning stream").await;
    app.platform.message("700", "Reasoning set to stream.").await;
    app.settled().await;
    let busy = json!({"ok": false, "error_code": 429, "description": "Too Many Requests",
        "parameters": {"retry_after": 900}});
    app.platform.trouble("sendMessage", Trouble::Answer(429, busy));
    // The first thought comes late enough to be shown.
    app.model.release(1);
    let message = "[slow:1300] [gate] [thinks:First I look at it. |Now I know.] #one";
    app.says(3, 700, message).await;
    let rows = app.rows().await;
    let put_off = "outbox WHERE kind = 'preview' AND state = 'pending' AND next_attempt_at > 0";
    becomes("previews put off", 1, || rows.count(put_off)).await;
    app.says(4, 700, "/stop").await;
    becomes("stopped turns", 1, || rows.count("run WHERE status = 'aborted'")).await;
    becomes("answers", 1, || rows.count("outbox WHERE plain LIKE 'Stopped%'")).await;
    // As if the time was over.
    tokio::task::block_in_place(|| app.binary.kill());
    rows.execute("UPDATE outbox SET next_attempt_at = 0").await;
    tokio::task::block_in_place(|| app.binary.start());
    app.platform.message("700", "Stopped.").await;
    app.settled().await;
    let skipped = "outbox WHERE kind = 'preview' AND state = 'skipped'";
    assert_eq!(rows.count(skipped).await, 1);
    let sent = app.platform.messages("700");
    assert!(sent.iter().all(|call| !call.text.contains("Reasoning:")), "{sent:?}");
}
