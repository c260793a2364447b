//! Commands on nodes behind the turns that asked for them: what a restart, a change of the rules and the clock make of them.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::node::{Device, TestNode};
use crate::support::tool::{self, end_of, waits};
use crate::support::wait::becomes;

const RUNS: &[&str] = &["system.run"];

/// Asks the agent to run something a person has to allow. Gives the question.
async fn asks(app: &TestApp, approver: &mut TestNode, session: &str, run: &str) -> Value {
    let mut operator = app.operator().await;
    let wish = json!({"action": "run", "command": ["/usr/bin/make", run], "cwd": "/srv"});
    tool::ask(&mut operator, session, run, "nodes", &wish).await;
    let event = approver
        .event("a request", |frame| frame["event"] == "exec.approval.requested")
        .await;
    let request = event["payload"].clone();
    waits(app, &mut operator, run, &request).await;
    request
}

async fn decide(approver: &mut TestNode, request: &Value, decision: &str) {
    let params = json!({"id": request["id"], "decision": decision});
    approver.call("exec.approval.resolve", params).await.expect("decides");
}

/// The same node again.
async fn reconnected(app: &TestApp, device: &Device) -> TestNode {
    let auth = json!({"token": app.token(OWNER)});
    app.node(device, auth, RUNS).await.expect("is paired")
}

fn restart(app: &mut TestApp) {
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_a_command_runs_is_told_and_nothing_runs_twice() {
    let mut app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, RUNS).await;
    let mut approver = app.approver("demo", OWNER).await;
    let request = asks(&app, &mut approver, "main", "r1").await;
    decide(&mut approver, &request, "allow-once").await;
    node.invoked_as("system.run").await;
    drop(node);
    restart(&mut app);
    let mut node = reconnected(&app, &device).await;
    let end = end_of(&app, &request).await;
    assert!(
        end.contains("Exec interrupted") && end.contains("outcome unknown"),
        "{end}"
    );
    assert!(end.contains("Do not run it again"), "{end}");
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("exec_run").await, 0);
    assert_eq!(rows.count("inbox WHERE source = 'exec'").await, 1, "told once");
    node.call("skills.bins", json!({})).await.expect("answers");
    assert!(!node.has_heard("node.invoke.request"), "it ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_outlives_a_restart_and_its_command_runs_then() {
    let mut app = TestApp::start().await;
    let device = Device::generate();
    let node = app.ready_node(&device, RUNS).await;
    let mut approver = app.approver("demo", OWNER).await;
    let request = asks(&app, &mut approver, "main", "r1").await;
    drop(node);
    restart(&mut app);
    let mut node = reconnected(&app, &device).await;
    let mut approver = app.approver("demo", OWNER).await;
    decide(&mut approver, &request, "allow-once").await;
    let (asked, params) = node.invoked_as("system.run").await;
    assert_eq!(
        (&params["command"], &params["runId"], &params["approved"]),
        (&json!(["/usr/bin/make", "r1"]), &request["id"], &json!(true))
    );
    node.answer_invoke_with(&asked, &json!({"exitCode": 0, "stdout": "made"}))
        .await;
    let end = end_of(&app, &request).await;
    assert!(end.contains("code 0") && end.contains("made"), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_forbid_by_then_and_what_has_no_node_does_not_run() {
    let app = TestApp::start().await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let (mut operator, mut approver) = (app.operator().await, app.approver("demo", OWNER).await);
    let request = asks(&app, &mut approver, "main", "r1").await;
    let got = operator.call("exec.approvals.get", json!({})).await.expect("gives");
    let set = json!({"file": {"version": 1, "defaults": {"security": "deny"}}, "baseHash": got["hash"]});
    operator.call("exec.approvals.set", set).await.expect("sets");
    decide(&mut approver, &request, "allow-once").await;
    let end = end_of(&app, &request).await;
    assert!(end.contains("Exec denied") && end.contains("policy denies"), "{end}");
    node.call("skills.bins", json!({})).await.expect("answers");
    assert!(!node.has_heard("node.invoke.request"), "it ran");
    let got = operator.call("exec.approvals.get", json!({})).await.expect("gives");
    let set = json!({"file": {"version": 1}, "baseHash": got["hash"]});
    operator.call("exec.approvals.set", set).await.expect("sets");
    let request = asks(&app, &mut approver, "main", "r2").await;
    drop(node);
    becomes("connected nodes", 0, || async {
        let mut operator = app.operator().await;
        let list = operator.call("node.list", json!({})).await.expect("lists");
        let nodes = list["nodes"].as_array().expect("nodes").clone();
        nodes.iter().filter(|node| node["connected"] == true).count()
    })
    .await;
    decide(&mut approver, &request, "allow-once").await;
    let end = end_of(&app, &request).await;
    assert!(
        end.contains("Exec denied") && end.contains("node not connected"),
        "{end}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_long_is_announced() {
    let rules = json!({"tools": {"exec": {"approvalRunningNoticeMs": 1}}});
    let app = TestApp::start_with(&rules, &[]).await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let mut approver = app.approver("demo", OWNER).await;
    let request = asks(&app, &mut approver, "main", "r1").await;
    decide(&mut approver, &request, "allow-once").await;
    let (asked, _) = node.invoked_as("system.run").await;
    let rows = app.rows().await;
    becomes("lines that wait", 1, || rows.count("system_event")).await;
    node.answer_invoke_with(&asked, &json!({"exitCode": 0})).await;
    let end = end_of(&app, &request).await;
    let (started, finished) = (end.find("Exec started"), end.find("Exec finished"));
    assert!(started.is_some() && started < finished, "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_agent_ends_after_its_commands() {
    let app = TestApp::start().await;
    let mut node = app.ready_node(&Device::generate(), RUNS).await;
    let (mut operator, mut approver) = (app.operator().await, app.approver("demo", OWNER).await);
    let run = json!({"action": "run", "command": ["/usr/bin/make"], "cwd": "/srv"});
    let task = format!("#child {}", crate::support::model::calls_tool("nodes", &run));
    tool::ask(&mut operator, "main", "r1", "sessions_spawn", &json!({"task": task})).await;
    let event = approver
        .event("a request", |frame| frame["event"] == "exec.approval.requested")
        .await;
    let request = event["payload"].clone();
    operator.chat_end("r1").await;
    becomes("runs of the sub-agent", 1, || async {
        let rows = app.rows().await;
        rows.count("run WHERE session_key LIKE '%subagent%' AND status = 'ok'")
            .await
    })
    .await;
    let rows = app.rows().await;
    assert_eq!(rows.count("subagent WHERE state = 'running'").await, 1);
    decide(&mut approver, &request, "allow-once").await;
    let (asked, _) = node.invoked_as("system.run").await;
    node.answer_invoke_with(&asked, &json!({"exitCode": 0, "stdout": "#made it"}))
        .await;
    let told = app.model.asked("a sub-agent has ended").await;
    assert!(told["messages"].to_string().contains("re: #made"), "{told}");
}

/// Its session slept: its command went on, and the end of that had it run once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_sub_agent_that_sleeps_has_its_commands_stopped() {
    let mut app = TestApp::start().await;
    let node = app.ready_node(&Device::generate(), RUNS).await;
    let (mut operator, mut approver) = (app.operator().await, app.approver("demo", OWNER).await);
    let run = json!({"action": "run", "command": ["/usr/bin/make"], "cwd": "/srv"});
    let task = format!("#child {}", crate::support::model::calls_tool("nodes", &run));
    tool::ask(&mut operator, "main", "r1", "sessions_spawn", &json!({"task": task})).await;
    approver
        .event("a request", |frame| frame["event"] == "exec.approval.requested")
        .await;
    operator.chat_end("r1").await;
    app.settled().await;
    drop(node);
    restart(&mut app);
    let rows = app.rows().await;
    assert_eq!(rows.count("exec_run").await, 1);
    let mut operator = app.operator().await;
    let stop = json!({"sessionKey": "main", "message": "/stop", "idempotencyKey": "stop"});
    operator.call("chat.send", stop).await.expect("accepted");
    let told = operator.chat_end("stop").await;
    assert!(told.to_string().contains("Stopped 1 sub-agent."), "{told}");
    becomes("commands", 0, || rows.count("exec_run")).await;
    app.settled().await;
    assert_eq!(rows.count("subagent WHERE state = 'killed'").await, 1);
    assert_eq!(rows.count("inbox WHERE source = 'exec'").await, 0, "it runs again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_of_a_session_that_sleeps_stops_its_commands() {
    let mut app = TestApp::start().await;
    let node = app.ready_node(&Device::generate(), RUNS).await;
    let mut approver = app.approver("demo", OWNER).await;
    asks(&app, &mut approver, "main", "r1").await;
    app.settled().await;
    drop(node);
    restart(&mut app);
    let rows = app.rows().await;
    assert_eq!(rows.count("exec_run").await, 1);
    let mut operator = app.operator().await;
    let abort = json!({"sessionKey": "main"});
    operator.call("chat.abort", abort).await.expect("answers");
    becomes("commands", 0, || rows.count("exec_run")).await;
}
