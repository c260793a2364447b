//! Calls of nodes: progress, cancelling, one run per key, and what waits for a phone that sleeps.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, TestApp};
use crate::support::node::{Device, Hello, TestNode};

const COMMANDS: &[&str] = &["system.which", "canvas.present"];

fn call(device: &Device, command: &str, key: &str) -> Value {
    json!({"nodeId": device.id, "command": command, "params": {"n": 1}, "idempotencyKey": key, "timeoutMs": 60_000})
}

async fn cancelled(node: &mut TestNode, id: &Value) -> Value {
    let frame = node
        .event("a cancel", |frame| {
            frame["event"] == "node.invoke.cancel" && frame["payload"]["invokeId"] == *id
        })
        .await;
    frame["payload"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_cancels_and_the_key_never_runs_twice() {
    let mut app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let mut caller = app.operator().await;
    caller.send("node.invoke", call(&device, "system.which", "k1")).await;
    let asked = node.invoked().await;
    drop(caller);
    let cancel = cancelled(&mut node, &asked["id"]).await;
    assert_eq!(cancel["nodeId"], device.id.as_str());
    let result = json!({"id": asked["id"], "nodeId": device.id, "ok": true, "payloadJSON": "1"});
    let late = node.call("node.invoke.result", result).await.expect("answers");
    assert_eq!(late["ignored"], true);
    // The same key after that: the first outcome, and nothing reaches the node.
    let mut caller = app.operator().await;
    let again = caller.call("node.invoke", call(&device, "system.which", "k1")).await;
    assert_eq!(again.expect_err("was cancelled")["code"], "UNAVAILABLE");
    // An answered call is answered again from memory, and after a restart it is not sent a second time either.
    let id = caller.send("node.invoke", call(&device, "system.which", "k2")).await;
    let asked = node.invoked().await;
    node.answer_invoke(&asked).await;
    let first = caller.answer(&id).await.expect("ran");
    let second = caller.call("node.invoke", call(&device, "system.which", "k2")).await;
    assert_eq!(second.expect("the same"), first);
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    let auth = json!({"token": app.token(OWNER)});
    let mut node = app.node(&device, auth, COMMANDS).await.expect("comes back");
    let mut caller = app.operator().await;
    let unknown = caller.call("node.invoke", call(&device, "system.which", "k2")).await;
    assert_eq!(unknown.expect_err("nobody knows")["details"]["code"], "OUTCOME_UNKNOWN");
    let id = caller.send("node.invoke", call(&device, "system.which", "k3")).await;
    let asked = node.invoked().await;
    node.answer_invoke(&asked).await;
    assert_eq!(asked["idempotencyKey"], "k3", "the first that reached the node since");
    caller.answer(&id).await.expect("ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_cancelled() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let mut caller = app.operator().await;
    let mut short = call(&device, "system.which", "k1");
    short["timeoutMs"] = json!(200);
    let late = caller.call("node.invoke", short).await.expect_err("too long");
    assert_eq!(late["code"], "UNAVAILABLE");
    let asked = node.invoked().await;
    cancelled(&mut node, &asked["id"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_counts_for_the_nodes_own_open_calls() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let mut caller = app.operator().await;
    caller.send("node.invoke", call(&device, "system.which", "k1")).await;
    let asked = node.invoked().await;
    let piece =
        |seq: u64, chunk: &str| json!({"invokeId": asked["id"], "nodeId": device.id, "seq": seq, "chunk": chunk});
    let mut other_call = piece(2, "x");
    other_call["invokeId"] = json!("none");
    let mut other_node = piece(2, "x");
    other_node["nodeId"] = json!("none");
    for (progress, ignored) in [
        (piece(0, "a"), Value::Null),
        (piece(1, ""), Value::Null),
        (piece(1, "again"), json!(true)),
        (other_call, json!(true)),
        (other_node, json!(true)),
        (piece(2, &"x".repeat(16_384)), Value::Null),
    ] {
        let answer = node.call("node.invoke.progress", progress).await.expect("answers");
        assert_eq!((&answer["ok"], &answer["ignored"]), (&json!(true), &ignored));
    }
    let large = node.call("node.invoke.progress", piece(3, &"x".repeat(16_385))).await;
    assert!(
        large.expect_err("too large")["message"]
            .as_str()
            .unwrap()
            .contains("/chunk")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn work_waits_for_a_sleeping_node() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let device = Device::generate();
    drop(app.ready_node(&device, COMMANDS).await);
    let mut operator = app.operator().await;
    let work = |kind: &str, priority: &str| json!({"nodeId": device.id, "type": kind, "priority": priority});
    let queued = operator
        .call("node.pending.enqueue", work("status.request", "normal"))
        .await;
    let queued = queued.expect("queued");
    assert_eq!(
        (&queued["nodeId"], &queued["wakeTriggered"]),
        (&json!(device.id), &json!(false))
    );
    let again = operator
        .call("node.pending.enqueue", work("status.request", "high"))
        .await;
    assert_eq!(again.expect("queued")["queued"]["id"], queued["queued"]["id"]);
    operator
        .call("node.pending.enqueue", work("location.request", "high"))
        .await
        .expect("queued");
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.write"])
        .await
        .expect("connects");
    let foreign = member
        .call("node.pending.enqueue", work("status.request", "normal"))
        .await;
    assert_eq!(foreign.expect_err("not theirs")["message"], "unknown nodeId");
    operator
        .call("node.pending.enqueue", work("format.disk", "normal"))
        .await
        .expect_err("no such work");
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    let auth = json!({"token": app.token(OWNER)});
    let mut node = app.node(&device, auth, COMMANDS).await.expect("comes back");
    let first = node
        .call("node.pending.drain", json!({"maxItems": 1}))
        .await
        .expect("drains");
    assert_eq!(
        (&first["items"][0]["type"], &first["hasMore"]),
        (&json!("location.request"), &json!(true))
    );
    let second = node.call("node.pending.drain", json!({})).await.expect("drains");
    assert_eq!(
        (&second["items"][0], &second["hasMore"]),
        (&queued["queued"], &json!(false))
    );
    let third = node.call("node.pending.drain", json!({})).await.expect("drains");
    assert_eq!(third["items"], json!([]));
    node.call("node.pending.drain", json!({"maxItems": 11}))
        .await
        .expect_err("too many");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_in_the_background_comes_for_its_calls_later() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let (url, host) = (app.socket_url(), app.host("demo"));
    let hello = Hello {
        url: &url,
        host: &host,
        auth: json!({"token": app.token(OWNER)}),
        role: "node",
        client: "openclaw-ios",
        mode: "node",
        scopes: &[],
        commands: COMMANDS,
        caps: &[],
        device: Some(&device),
    };
    let mut node = app.pair_node(&hello).await;
    let mut caller = app.operator().await;
    let id = caller.send("node.invoke", call(&device, "canvas.present", "k1")).await;
    let asked = node.invoked().await;
    let error = json!({"code": "NODE_BACKGROUND_UNAVAILABLE", "message": "canvas needs the foreground"});
    let refused = json!({"id": asked["id"], "nodeId": device.id, "ok": false, "error": error});
    node.call("node.invoke.result", refused).await.expect("taken");
    let told = caller.answer(&id).await.expect_err("put off");
    assert_eq!(told["details"]["code"], "QUEUED_UNTIL_FOREGROUND", "{told}");
    let pulled = node.call("node.pending.pull", json!({})).await.expect("pulls");
    let action = &pulled["actions"][0];
    assert_eq!(
        (&action["id"], &action["command"]),
        (&told["details"]["queuedActionId"], &json!("canvas.present"))
    );
    assert_eq!(action["paramsJSON"], "{\"n\":1}");
    let again = node.call("node.pending.pull", json!({})).await.expect("pulls");
    assert_eq!(again, pulled, "it stays until the node is done with it");
    let done = node
        .call("node.pending.ack", json!({"ids": [action["id"], "none"]}))
        .await
        .expect("acks");
    assert_eq!(
        done,
        json!({"nodeId": device.id, "ackedIds": [action["id"]], "remainingCount": 0})
    );
    let after = node.call("node.pending.pull", json!({})).await.expect("pulls");
    assert_eq!(after["actions"], json!([]));
    node.call("node.pending.ack", json!({"ids": []}))
        .await
        .expect_err("nothing named");
}
