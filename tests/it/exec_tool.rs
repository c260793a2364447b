//! The agent's `exec` and `canvas` tools against nodes that answer.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::model::question;
use crate::support::node::{Device, TestNode};
use crate::support::tool::{ask, told, tool_result, waits};
use crate::support::wait::becomes;

const RUNS: &[&str] = &["system.run"];

/// With nodes on which commands run unasked.
async fn open() -> TestApp {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let file = json!({"version": 1, "defaults": {"security": "full", "ask": "off"}});
    operator
        .call("exec.approvals.set", json!({"file": file}))
        .await
        .expect("sets");
    app
}

/// Answers the command that comes next. Gives its parameters.
async fn runs(node: &mut TestNode, printed: &str) -> Value {
    let (asked, params) = node.invoked_as("system.run").await;
    node.answer_invoke_with(&asked, &json!({"exitCode": 0, "stdout": printed}))
        .await;
    params
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_runs_on_the_node_and_a_shell_only_where_it_needs_one() {
    let app = open().await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let mut operator = app.operator().await;
    let plain =
        json!({"command": "uptime -p", "workdir": "/srv", "env": {"LANG": "C", "LD_PRELOAD": "/x.so"}, "timeout": 7});
    ask(&mut operator, "main", "r1", "exec", &plain).await;
    let params = runs(&mut node, "up 3 days").await;
    assert_eq!(
        (&params["command"], &params["cwd"], &params["env"], &params["timeoutMs"]),
        (
            &json!(["uptime", "-p"]),
            &json!("/srv"),
            &json!({"LANG": "C"}),
            &json!(7000)
        )
    );
    let answer = told(&app, &mut operator, "r1").await;
    assert!(
        answer.contains("Exit code 0.") && answer.contains("up 3 days"),
        "{answer}"
    );
    ask(
        &mut operator,
        "main",
        "r2",
        "exec",
        &json!({"command": "cd /tmp && ls | wc -l"}),
    )
    .await;
    let params = runs(&mut node, "4").await;
    assert_eq!(params["command"], json!(["/bin/sh", "-lc", "cd /tmp && ls | wc -l"]));
    told(&app, &mut operator, "r2").await;
    let rows = app.rows().await;
    becomes("rows of commands", 0, || rows.count("exec_run")).await;
    assert_eq!(
        rows.count("inbox WHERE source = 'exec'").await,
        0,
        "told by the call alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_goes_on_behind_the_turn_and_is_told_once() {
    let app = open().await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let mut operator = app.operator().await;
    for (run, wait) in [("r1", json!({"background": true})), ("r2", json!({"yieldMs": 50}))] {
        let mut wish = wait;
        wish["command"] = json!("make all");
        ask(&mut operator, "main", run, "exec", &wish).await;
        let (asked, params) = node.invoked_as("system.run").await;
        let answer = told(&app, &mut operator, run).await;
        let id = params["runId"].as_str().expect("an id");
        assert!(answer.contains("running") && answer.contains(id), "{answer}");
        let made = format!("made by {run}");
        node.answer_invoke_with(&asked, &json!({"exitCode": 2, "stdout": made}))
            .await;
        let end = question(&app.model.asked(&format!("id={id}")).await);
        assert!(end.contains("Exec finished") && end.contains("code 2"), "{end}");
        assert!(end.contains(&made), "{end}");
    }
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("exec_run").await, 0);
    assert_eq!(rows.count("inbox WHERE source = 'exec'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_stops_the_command_that_the_call_waits_for() {
    let app = open().await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let mut operator = app.operator().await;
    ask(
        &mut operator,
        "main",
        "r1",
        "exec",
        &json!({"command": "sleep 9", "yieldMs": 100_000}),
    )
    .await;
    let (asked, _) = node.invoked_as("system.run").await;
    operator
        .call("chat.abort", json!({"sessionKey": "main", "runId": "r1"}))
        .await
        .expect("aborts");
    node.event("a cancel", |frame| {
        frame["event"] == "node.invoke.cancel" && frame["payload"]["invokeId"] == asked["id"]
    })
    .await;
    assert_eq!(operator.chat_end("r1").await["state"], "aborted");
    let rows = app.rows().await;
    becomes("rows of commands", 0, || rows.count("exec_run")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_makes_the_policy_stricter_and_never_less_strict() {
    let app = open().await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let (mut operator, mut approver) = (app.operator().await, app.approver("demo", OWNER).await);
    ask(
        &mut operator,
        "main",
        "r1",
        "exec",
        &json!({"command": "make all", "ask": "always"}),
    )
    .await;
    let event = approver
        .event("a request", |frame| frame["event"] == "exec.approval.requested")
        .await;
    waits(&app, &mut operator, "r1", &event["payload"]).await;
    let params = json!({"id": event["payload"]["id"], "decision": "deny"});
    approver.call("exec.approval.resolve", params).await.expect("decides");
    let denied = json!({"command": "make all", "security": "deny"});
    ask(&mut operator, "main", "r2", "exec", &denied).await;
    let refusal = told(&app, &mut operator, "r2").await;
    assert!(refusal.contains("policy denies"), "{refusal}");
    let got = operator.call("exec.approvals.get", json!({})).await.expect("gives");
    let file = json!({"version": 1, "defaults": {"security": "deny"}});
    operator
        .call("exec.approvals.set", json!({"file": file, "baseHash": got["hash"]}))
        .await
        .expect("sets");
    let asks_for_more = json!({"command": "make all", "security": "full", "ask": "off"});
    ask(&mut operator, "main", "r3", "exec", &asks_for_more).await;
    let refusal = told(&app, &mut operator, "r3").await;
    assert!(refusal.contains("policy denies"), "{refusal}");
    node.call("skills.bins", json!({})).await.expect("answers");
    assert!(!node.has_heard("node.invoke.request"), "it reached the node");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_it_is_told_which_there_are() {
    let app = open().await;
    let mut operator = app.operator().await;
    let run = json!({"command": "ls"});
    ask(&mut operator, "main", "r1", "exec", &run).await;
    let none = told(&app, &mut operator, "r1").await;
    assert!(none.contains("The user has no nodes"), "{none}");
    let first = Device::generate();
    let _one = app.ready_node(&first, RUNS).await;
    for (run, wish) in [
        ("r2", json!({"command": "ls", "host": "gateway"})),
        ("r3", json!({"command": "ls", "host": "sandbox"})),
        ("r4", json!({"command": "ls", "node": "nobody"})),
    ] {
        ask(&mut operator, "main", run, "exec", &wish).await;
        let refusal = told(&app, &mut operator, run).await;
        assert!(refusal.contains("(connected)"), "{wish}: {refusal}");
    }
    let second = Device::generate();
    let mut two = app.ready_node(&second, RUNS).await;
    ask(&mut operator, "main", "r5", "exec", &run).await;
    let several = told(&app, &mut operator, "r5").await;
    assert!(several.contains("Several nodes take system.run"), "{several}");
    // The configuration says which is meant.
    let chosen = json!({"tools": {"exec": {"node": second.id}}});
    app.reconfigure(&chosen, "/tools/exec/node").await;
    ask(&mut operator, "main", "r6", "exec", &run).await;
    runs(&mut two, "files").await;
    let answer = told(&app, &mut operator, "r6").await;
    assert!(answer.contains("files"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canvas_of_a_node_is_shown_on_and_looked_at() {
    let app = TestApp::start().await;
    let commands = ["canvas.present", "canvas.snapshot", "canvas.a2ui.pushJSONL"];
    let mut node = app.ready_node(&Device::generate(), &commands).await;
    let mut operator = app.operator().await;
    let present = json!({"action": "present", "target": "https://example.com", "width": 300});
    ask(&mut operator, "main", "r1", "canvas", &present).await;
    let (asked, params) = node.invoked_as("canvas.present").await;
    assert_eq!(
        params,
        json!({"url": "https://example.com", "placement": {"width": 300.0}})
    );
    node.answer_invoke_with(&asked, &json!({"ok": true})).await;
    told(&app, &mut operator, "r1").await;
    ask(&mut operator, "main", "r2", "canvas", &json!({"action": "snapshot"})).await;
    let (asked, params) = node.invoked_as("canvas.snapshot").await;
    assert_eq!(params, json!({"format": "png"}));
    // A picture of one pixel.
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    node.answer_invoke_with(&asked, &json!({"format": "png", "base64": png}))
        .await;
    operator.chat_end("r2").await;
    let rows = app.rows().await;
    assert_eq!(rows.count("blob").await, 1, "kept as a picture");
    let result = tool_result(&app, "r2").unwrap_or_default();
    assert!(!result.contains(png), "not as text: {result}");
    ask(
        &mut operator,
        "main",
        "r3",
        "canvas",
        &json!({"action": "eval", "javaScript": "1"}),
    )
    .await;
    let refusal = told(&app, &mut operator, "r3").await;
    assert!(refusal.contains("No node that takes canvas.eval"), "{refusal}");
}
