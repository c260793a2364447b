//! Operators and nodes on the gateway socket: pairing, streaming, abort.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, TestApp};
use crate::support::node::{Device, Hello, TestNode};
use crate::support::wait::becomes;

const COMMANDS: &[&str] = &["system.run", "system.which"];

/// Text of a `chat` event's message, whatever its shape.
fn text(payload: &Value) -> String {
    match &payload["message"]["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            payload["delta"].as_str().unwrap_or_default().to_owned()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_send_streams_in_order_and_ends_with_the_whole_text() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let params = json!({"sessionKey": "main", "message": "[slow:30] #one #two #three", "idempotencyKey": "run-1"});
    let accepted = operator.call("chat.send", params.clone()).await.expect("accepted");
    assert_eq!(accepted["runId"], "run-1");
    assert_eq!(accepted["status"], "started");
    let mut last = String::new();
    let mut events = 0;
    let finished = loop {
        let payload = operator.chat("run-1").await;
        events += 1;
        match payload["state"].as_str() {
            Some("delta") => {
                let now = text(&payload);
                assert!(
                    now.len() >= last.len() || !now.starts_with("re:"),
                    "the text went backwards: {last:?} {now:?}"
                );
                last = now;
            }
            Some("status") => {}
            Some("final") => break payload,
            other => panic!("unexpected state {other:?}: {payload}"),
        }
    };
    assert_eq!(text(&finished), "re: #one #two #three end");
    assert!(events >= 2, "it was streamed");
    // The same key again: no second run.
    let again = operator.call("chat.send", params).await.expect("accepted");
    assert_eq!(again["runId"], "run-1");
    assert_ne!(again["status"], "started");
    assert_eq!(app.model.calls().len(), 1);
    let history = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("history");
    let roles: Vec<_> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["role"].clone())
        .collect();
    assert_eq!(roles, ["user", "assistant"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_run_is_an_item_of_its_own() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let message = "[words:Let me look] [tool:session_status] #now";
    let params = json!({"sessionKey": "main", "message": message, "idempotencyKey": "run-1"});
    operator.call("chat.send", params).await.expect("accepted");
    let mut items: Vec<(String, String)> = Vec::new();
    loop {
        let of_the_run = |frame: &Value| frame["payload"]["runId"] == "run-1" && frame["type"] == "event";
        let payload = operator.event("the run's event", of_the_run).await["payload"].clone();
        if payload["state"] == "final" {
            break;
        }
        if payload["stream"] != "assistant" {
            continue;
        }
        let part = |name: &str| payload["data"][name].as_str().expect(name).to_owned();
        let (id, delta) = (part("itemId"), part("delta"));
        match items.last_mut() {
            Some((last, text)) if *last == id => text.push_str(&delta),
            Some(_) | None => items.push((id, delta)),
        }
        assert_eq!(items.last().map(|(_, text)| text.clone()), Some(part("text")));
    }
    let item = |id: &str, text: &str| (id.to_owned(), text.to_owned());
    assert_eq!(items, [item("run-1:1", "Let me look"), item("run-1:2", "re: #now end")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_connection_are_numbered_without_holes() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    operator
        .call(
            "chat.send",
            json!({"sessionKey": "main", "message": "#one", "idempotencyKey": "run-1"}),
        )
        .await
        .expect("accepted");
    let mut next = None;
    loop {
        let event = operator.event("a numbered event", |frame| frame["seq"].is_u64()).await;
        let seq = event["seq"].as_u64().unwrap();
        if let Some(next) = next {
            assert_eq!(seq, next, "{event}");
        }
        next = Some(seq + 1);
        if event["event"] == "chat" && event["payload"]["state"] == "final" {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_is_handled_before_the_next_chunk() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    operator
        .call(
            "chat.send",
            json!({"sessionKey": "main", "message": "[gate] #one #two", "idempotencyKey": "run-1"}),
        )
        .await
        .expect("accepted");
    app.model.release(1);
    operator
        .event("the first chunk", |frame| {
            frame["event"] == "chat" && frame["payload"]["state"] == "delta"
        })
        .await;
    let aborted = operator
        .call("chat.abort", json!({"sessionKey": "main", "runId": "run-1"}))
        .await
        .expect("abort");
    assert_eq!(aborted["aborted"], true);
    // No further chunk was released, so nothing but the abort can end the run.
    loop {
        let payload = operator.chat("run-1").await;
        if payload["state"] == "aborted" {
            break;
        }
        assert!(payload["state"] == "delta" || payload["state"] == "status", "{payload}");
    }
    becomes("model calls after the abort", 0, || async { app.model.running() }).await;
    operator
        .call(
            "chat.send",
            json!({"sessionKey": "main", "message": "hello #again", "idempotencyKey": "run-2"}),
        )
        .await
        .expect("accepted");
    loop {
        let payload = operator.chat("run-2").await;
        if payload["state"] == "final" {
            assert_eq!(text(&payload), "re: #again end");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_answers_twice_on_one_request() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let params = json!({"message": "#one", "sessionKey": "agent:main:main", "idempotencyKey": "agent-1"});
    let id = operator.send("agent", params).await;
    let accepted = operator.answer(&id).await.expect("accepted");
    assert_eq!(accepted["status"], "accepted");
    let done = operator.answer(&id).await.expect("done");
    assert_eq!(done["status"], "ok");
    assert_eq!(done["result"]["payloads"][0]["text"], "re: #one end");
    let waited = operator
        .call("agent.wait", json!({"runId": "agent-1"}))
        .await
        .expect("wait");
    assert_eq!(waited["status"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_paired_approved_and_called() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let auth = json!({"token": app.token(OWNER)});
    let refused = app
        .node(&device, auth.clone(), COMMANDS)
        .await
        .err()
        .expect("a new device is not let in");
    assert_eq!(refused["code"], "NOT_PAIRED", "{refused}");
    let mut operator = app.operator().await;
    let request = refused["details"]["requestId"].clone();
    operator
        .call("device.pair.approve", json!({"requestId": request}))
        .await
        .expect("approved");
    let mut node = app.node(&device, auth, COMMANDS).await.expect("paired");
    let token = node.hello["auth"]["deviceToken"]
        .as_str()
        .expect("a device token")
        .to_owned();
    let pending = operator.call("node.pair.list", json!({})).await.expect("list");
    let surface = &pending["pending"][0];
    assert_eq!(surface["nodeId"], device.id.as_str());
    // Not approved yet: not one command may be called.
    let call = |key: &str| json!({"nodeId": device.id, "command": "system.which", "params": {"bins": ["sh"]}, "idempotencyKey": key});
    operator
        .call("node.invoke", call("early"))
        .await
        .expect_err("the surface is not approved");
    operator
        .call("node.pair.approve", json!({"requestId": surface["requestId"]}))
        .await
        .expect("approved");
    let id = operator.send("node.invoke", call("one")).await;
    let asked = node
        .event("an invocation", |frame| frame["event"] == "node.invoke.request")
        .await;
    assert_eq!(asked["payload"]["command"], "system.which");
    node.call(
        "node.invoke.result",
        json!({"id": asked["payload"]["id"], "nodeId": device.id, "ok": true, "payloadJSON": "{\"bins\":{\"sh\":\"/bin/sh\"}}"}),
    )
    .await
    .expect("taken");
    let result = operator.answer(&id).await.expect("invoked");
    assert_eq!(result["ok"], true);
    // The device token alone is enough from now on, and worth nothing after removal.
    drop(node);
    let mut node = app
        .node(&device, json!({"deviceToken": token}), COMMANDS)
        .await
        .expect("the device token connects");
    operator
        .call("device.pair.remove", json!({"deviceId": device.id}))
        .await
        .expect("removed");
    assert_eq!(node.closed().await.0, 4001);
    let refused = app
        .node(&device, json!({"deviceToken": token}), COMMANDS)
        .await
        .err()
        .expect("revoked");
    assert!(
        refused["details"]["code"] == "AUTH_DEVICE_TOKEN_MISMATCH" || refused["code"] == "NOT_PAIRED",
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_neither_sees_nor_hears_the_owner() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut owner = app.operator().await;
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    owner
        .call(
            "chat.send",
            json!({"sessionKey": "main", "message": "#secret", "idempotencyKey": "run-1"}),
        )
        .await
        .expect("accepted");
    while owner.chat("run-1").await["state"] != "final" {}
    let history = member
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("an empty history");
    assert_eq!(history["messages"], json!([]));
    let aborted = member
        .call("chat.abort", json!({"sessionKey": "main", "runId": "run-1"}))
        .await;
    assert!(
        aborted.is_err() || aborted.as_ref().is_ok_and(|answer| answer["aborted"] == false),
        "{aborted:?}"
    );
    // Whatever the owner's run caused has been sent by now: the member's own answer comes after it.
    let id = member.send("health", json!({})).await;
    member.answer(&id).await.expect("health");
    assert!(
        member.silent_for(std::time::Duration::from_millis(300)).await || {
            let event = member.event("any event", |_| true).await;
            !event.to_string().contains("secret")
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_refused_and_the_socket_closes() {
    let app = TestApp::start().await;
    let url = app.socket_url();
    let host = app.host("demo");
    let hello = |auth: Value| Hello {
        url: &url,
        host: &host,
        auth,
        role: "operator",
        client: "cli",
        mode: "cli",
        scopes: &["operator.read"],
        commands: &[],
        caps: &[],
        device: None,
    };
    let refused = TestNode::connect(&hello(json!({"token": "wrong"})))
        .await
        .err()
        .expect("refused");
    assert_eq!(refused["details"]["code"], "AUTH_TOKEN_MISMATCH", "{refused}");
    let refused = TestNode::connect(&hello(json!({}))).await.err().expect("refused");
    assert_eq!(refused["code"], "NOT_PAIRED", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_says_goodbye_and_ends_cleanly() {
    let mut app = TestApp::start().await;
    let mut operator = app.operator().await;
    let status = tokio::task::block_in_place(|| app.binary.terminate());
    assert!(status.success(), "{status}");
    operator.event("shutdown", |frame| frame["event"] == "shutdown").await;
    assert_eq!(operator.closed().await.0, 1012);
}
