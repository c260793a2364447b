//! Calls of nodes: progress, cancelling, one run per key, and what waits for a phone that sleeps.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp};
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

/// Reports something as a node.
async fn report(node: &mut TestNode, event: &str, payload: Value) -> Value {
    let report = json!({"event": event, "payloadJSON": payload.to_string()});
    let mut answer = node.call("node.event", report).await.expect("is answered");
    assert_eq!(
        (answer["ok"].take(), answer["event"].take()),
        (json!(true), json!(event))
    );
    json!([answer["handled"], answer["reason"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_hears_and_does_reaches_its_users_agent() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let mut operator = app.operator().await;
    let answered = |session: &'static str, words: &'static str| {
        move |frame: &Value| {
            let (event, payload) = (&frame["event"], &frame["payload"]);
            event == "chat"
                && payload["state"] == "final"
                && payload["sessionKey"] == session
                && payload["message"].to_string().contains(words)
        }
    };
    // Words, once for each event, or for each moment where events have no id.
    let said = json!({"text": " turn on #lamp ", "eventId": "e1"});
    for _ in 0..2 {
        assert_eq!(
            report(&mut node, "voice.transcript", said.clone()).await,
            json!([true, null])
        );
    }
    operator.event("an answer", answered("agent:main:main", "#lamp")).await;
    assert_eq!(
        report(&mut node, "voice.transcript", json!({"text": " "})).await,
        json!([false, "invalid"])
    );
    // A request, in the node's own session or in a named one, with the answer in a chat where that is wanted.
    let own = format!("agent:main:node-{}", device.id);
    report(&mut node, "agent.request", json!({"message": "#door"})).await;
    operator
        .event("an answer", |frame| {
            frame["payload"]["state"] == "final" && frame["payload"]["sessionKey"] == own.as_str()
        })
        .await;
    let told = json!({"message": "#gate", "sessionKey": "hall", "deliver": true, "channel": "telegram", "to": "703"});
    assert_eq!(report(&mut node, "agent.request", told).await, json!([true, null]));
    operator.event("an answer", answered("agent:main:hall", "#gate")).await;
    app.platform.message("703", "#gate").await;
    app.settled().await;
    assert_eq!(app.model.calls().len(), 3);
    // Nobody who writes to the bot reads what a node says.
    let elsewhere = json!({"message": "#x", "sessionKey": "agent:main:telegram:direct:700"});
    assert_eq!(
        report(&mut node, "agent.request", elsewhere).await,
        json!([false, "session"])
    );
    // What it ran and what it showed stands before the next turn.
    let ran = json!({"sessionKey": "main", "runId": "r1", "command": "make", "exitCode": 2, "output": "broken"});
    assert_eq!(report(&mut node, "exec.finished", ran).await, json!([true, "queued"]));
    let quiet = json!({"sessionKey": "main", "command": "make", "exitCode": 0, "output": ""});
    assert_eq!(report(&mut node, "exec.finished", quiet).await, json!([false, "quiet"]));
    report(
        &mut node,
        "exec.denied",
        json!({"command": "rm -r /", "reason": "user"}),
    )
    .await;
    let shown = json!({"change": "posted", "key": "n7", "packageName": "org.mail", "title": "Ann", "text": "lunch?"});
    assert_eq!(
        report(&mut node, "notifications.changed", shown).await,
        json!([true, "queued"])
    );
    let status = operator.call("status", json!({})).await.expect("answers");
    let id = &device.id;
    assert_eq!(
        status["queuedSystemEvents"],
        json!([
            format!("Exec finished (node={id} id=r1, code 2) broken"),
            format!("Exec denied (node={id}, user): rm -r /"),
            format!("Notification posted (node={id} key=n7 package=org.mail): Ann - lunch?"),
        ])
    );
    for event in ["push.apns.register", "chat.subscribe", "brand.new"] {
        assert_eq!(
            report(&mut node, event, json!({})).await,
            json!([false, null]),
            "{event}"
        );
    }
    // It does not ask without end.
    let mut refused = Value::Null;
    for number in 0..31 {
        let request = json!({"event": "agent.request", "payload": {"message": "[hang] #more", "idempotencyKey": number.to_string()}});
        if let Err(error) = node.call("node.event", request).await {
            refused = error;
            break;
        }
    }
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&json!("UNAVAILABLE"), &json!(true))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_node_is_removed_meanwhile_says_so() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut operator = app.operator().await;
    for (number, (method, params)) in [
        ("device.token.rotate", json!({"deviceId": device.id, "role": "node"})),
        ("node.pair.remove", json!({"nodeId": device.id})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut node = match number {
            0 => app.ready_node(&device, COMMANDS).await,
            _ => {
                let auth = json!({"token": app.token(OWNER)});
                app.node(&device, auth, COMMANDS).await.expect("comes again")
            }
        };
        let mut caller = app.operator().await;
        let key = format!("changed {number}");
        let open = caller.send("node.invoke", call(&device, "system.which", &key)).await;
        node.invoked().await;
        operator.call(method, params).await.expect("is done");
        let error = caller.answer(&open).await.expect_err("nobody answers it any more");
        assert_eq!(error["code"], "UNAVAILABLE", "{error}");
        assert_eq!(
            (&error["details"]["code"], &error["retryable"]),
            (&json!("PAIRING_CHANGED"), &json!(true))
        );
        let message = error["message"].as_str().expect("a text");
        assert!(message.starts_with("node pairing changed"), "{message}");
        assert_eq!(node.closed().await.0, 4001);
    }
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

async fn progress(node: &mut TestNode, asked: &Value, seq: u64, chunk: &str) {
    let piece = json!({"invokeId": asked["id"], "nodeId": asked["nodeId"], "seq": seq, "chunk": chunk});
    let taken = node.call("node.invoke.progress", piece).await.expect("answers");
    assert_eq!(taken, json!({"ok": true}));
}

async fn heard(caller: &mut TestNode) -> Value {
    let frame = caller
        .event("progress", |frame| frame["event"] == "node.invoke.progress")
        .await;
    assert_eq!(frame.get("seq"), None, "for this connection alone");
    frame["payload"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_reaches_who_called_and_nobody_else() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let (mut caller, mut other) = (app.operator().await, app.operator().await);
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.write"])
        .await
        .expect("connects");
    let mut stranger = app
        .operator_as("other", STRANGER, &["operator.write"])
        .await
        .expect("connects");
    let id = caller.send("node.invoke", call(&device, "system.which", "k1")).await;
    let asked = node.invoked().await;
    for (seq, chunk) in [(0, "one"), (1, "é"), (5, "after a gap")] {
        progress(&mut node, &asked, seq, chunk).await;
        let expected = json!({"invokeId": asked["id"], "nodeId": device.id, "seq": seq, "chunk": chunk,
            "idempotencyKey": "k1"});
        assert_eq!(heard(&mut caller).await, expected);
    }
    // The last piece comes before the answer, and what comes after the answer is not news of anything.
    progress(&mut node, &asked, 6, "last").await;
    node.answer_invoke(&asked).await;
    caller.answer(&id).await.expect("ran");
    assert!(caller.has_heard("\"last\""), "progress was behind the answer");
    let late = json!({"invokeId": asked["id"], "nodeId": device.id, "seq": 7, "chunk": "late"});
    let late = node.call("node.invoke.progress", late).await.expect("answers");
    assert_eq!(late["ignored"], true);
    for silent in [&mut other, &mut member, &mut stranger] {
        silent.call("health", json!({})).await.expect("answers");
        assert!(!silent.has_heard("node.invoke"), "heard of another connection's call");
    }
    // A flood of it does not hold the answer up.
    let id = caller.send("node.invoke", call(&device, "system.which", "k2")).await;
    let asked = node.invoked().await;
    let chunk = "x".repeat(16_384);
    for seq in 0..200 {
        progress(&mut node, &asked, seq, &chunk).await;
    }
    node.answer_invoke(&asked).await;
    caller.answer(&id).await.expect("the answer is not lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_gives_a_call_no_more_time() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let mut caller = app.operator().await;
    let mut short = call(&device, "system.which", "k1");
    short["timeoutMs"] = json!(1_500);
    let id = caller.send("node.invoke", short).await;
    let asked = node.invoked().await;
    let mut seq = 0;
    // However lively the node is, its time is what the caller gave.
    loop {
        let piece = json!({"invokeId": asked["id"], "nodeId": device.id, "seq": seq, "chunk": ""});
        let taken = node.call("node.invoke.progress", piece).await.expect("answers");
        if taken["ignored"] == true {
            break;
        }
        seq += 1;
    }
    cancelled(&mut node, &asked["id"]).await;
    let late = caller.answer(&id).await.expect_err("too long");
    assert_eq!(late["code"], "UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_feeds_and_cancels_its_own_calls_only() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let (mut caller, mut other) = (app.operator().await, app.operator().await);
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.write"])
        .await
        .expect("connects");
    let mut reader = app
        .operator_as("demo", OWNER, &["operator.read"])
        .await
        .expect("connects");
    let id = caller.send("node.invoke", call(&device, "system.which", "k1")).await;
    let asked = node.invoked().await;
    let own = |more: Value| {
        let mut params = json!({"nodeId": device.id, "idempotencyKey": "k1"});
        for (name, value) in more.as_object().expect("fields") {
            params[name] = value.clone();
        }
        params
    };
    for foreign in [&mut other, &mut member] {
        for (method, params) in [
            ("node.invoke.input", own(json!({"payload": "not theirs"}))),
            ("node.invoke.cancel", own(json!({}))),
        ] {
            let answer = foreign.call(method, params).await.expect("answers");
            assert_eq!(answer, json!({"ok": true, "ignored": true}), "{method}");
        }
    }
    for method in ["node.invoke.input", "node.invoke.cancel"] {
        let refused = reader.call(method, own(json!({}))).await.expect_err("may not write");
        assert_eq!(refused["details"]["missingScope"], "operator.write");
        let refused = node.call(method, own(json!({}))).await.expect_err("is a node");
        assert!(
            refused["message"].as_str().unwrap().contains("unauthorized role"),
            "{refused}"
        );
        caller
            .call(method, json!({"nodeId": device.id}))
            .await
            .expect_err("names no call");
    }
    for (seq, params, expected) in [
        (0, own(json!({"payload": {"kind": "data"}})), "{\"kind\":\"data\"}"),
        (1, own(json!({"payloadJSON": "[1]"})), "[1]"),
    ] {
        let given = caller.call("node.invoke.input", params).await.expect("takes");
        assert_eq!(given, json!({"ok": true}));
        let input = node.event("input", |frame| frame["event"] == "node.invoke.input").await;
        let payload = json!({"id": asked["id"], "nodeId": device.id, "seq": seq, "payloadJSON": expected});
        assert_eq!(input["payload"], payload);
    }
    for (wrong, complaint) in [
        (
            own(json!({"payloadJSON": format!("\"{}\"", "x".repeat(16_384))})),
            "16384 bytes",
        ),
        (own(json!({"payloadJSON": "{"})), "must be JSON"),
    ] {
        let refused = caller.call("node.invoke.input", wrong).await.expect_err(complaint);
        assert!(refused["message"].as_str().unwrap().contains(complaint), "{refused}");
    }
    let stopped = caller
        .call("node.invoke.cancel", own(json!({})))
        .await
        .expect("cancels");
    assert_eq!(stopped, json!({"ok": true}));
    cancelled(&mut node, &asked["id"]).await;
    let ended = caller.answer(&id).await.expect_err("was cancelled");
    assert_eq!(
        (&ended["code"], &ended["details"]["code"]),
        (&json!("UNAVAILABLE"), &json!("ABORTED"))
    );
    let gone = caller
        .call("node.invoke.cancel", own(json!({})))
        .await
        .expect("answers");
    assert_eq!(gone["ignored"], true);
    // The key of a cancelled call does not run later.
    let again = caller.call("node.invoke", call(&device, "system.which", "k1")).await;
    assert_eq!(again.expect_err("is over")["details"]["code"], "ABORTED");
    assert!(!node.has_heard("not theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sensitive_waits_for_its_users_setting() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "admin");
    let device = Device::generate();
    let declared = &["camera.snap", "canvas.present", "file.fetch", "location.get"];
    let mut node = app.ready_node(&device, declared).await;
    let mut caller = app.operator().await;
    let set = async |caller: &mut TestNode, nodes: Value| {
        let hash = caller.call("config.get", json!({})).await.expect("gives")["hash"].take();
        let raw = json!({"gateway": {"nodes": nodes}}).to_string();
        let patch = json!({"raw": raw, "baseHash": hash, "replacePaths": ["gateway.nodes.allowCommands",
            "gateway.nodes.denyCommands"]});
        caller.call("config.patch", patch).await.expect("sets");
    };
    let commands = async |caller: &mut TestNode| {
        let row = caller
            .call("node.describe", json!({"nodeId": device.id}))
            .await
            .expect("describes");
        row["commands"].clone()
    };
    // On Linux a place is no business of a server's; files were not even put up for approval.
    assert_eq!(commands(&mut caller).await, json!(["canvas.present"]));
    for (key, command, setting) in [
        ("k1", "camera.snap", "gateway.nodes.allowCommands"),
        ("k2", "location.get", "gateway.nodes.allowCommands"),
        ("k3", "file.fetch", "gateway.nodes.allowCommands"),
    ] {
        let refused = caller
            .call("node.invoke", call(&device, command, key))
            .await
            .expect_err("is off");
        assert_eq!(
            (&refused["code"], &refused["details"]["setting"]),
            (&json!("INVALID_REQUEST"), &json!(setting))
        );
        assert!(refused["message"].as_str().unwrap().contains(setting), "{refused}");
    }
    // Somebody else's word about their own nodes says nothing about these.
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.admin"])
        .await
        .expect("connects");
    set(&mut member, json!({"allowCommands": ["camera.snap"]})).await;
    let refused = caller.call("node.invoke", call(&device, "camera.snap", "k4")).await;
    assert_eq!(refused.expect_err("is still off")["code"], "INVALID_REQUEST");
    set(
        &mut caller,
        json!({"allowCommands": ["camera.snap"], "denyCommands": ["canvas.present"]}),
    )
    .await;
    assert_eq!(commands(&mut caller).await, json!(["camera.snap"]));
    let id = caller.send("node.invoke", call(&device, "camera.snap", "k5")).await;
    let asked = node.invoked().await;
    assert_eq!(asked["command"], "camera.snap", "the first that reached the node");
    node.answer_invoke(&asked).await;
    caller.answer(&id).await.expect("ran");
    let denied = caller
        .call("node.invoke", call(&device, "canvas.present", "k6"))
        .await
        .expect_err("is denied");
    assert_eq!(denied["details"]["setting"], "gateway.nodes.denyCommands");
    set(
        &mut caller,
        json!({"allowCommands": ["camera.snap"], "denyCommands": ["camera.snap"]}),
    )
    .await;
    let denied = caller
        .call("node.invoke", call(&device, "camera.snap", "k7"))
        .await
        .expect_err("denied wins");
    assert_eq!(denied["details"]["setting"], "gateway.nodes.denyCommands");
}
