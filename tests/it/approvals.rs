//! Approvals end to end: who hears, who decides, what the clock does, and what a restart leaves.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp};
use crate::support::node::{Device, Hello, TestNode};
use crate::support::wait::becomes;

const COMMANDS: &[&str] = &["system.run", "system.run.prepare"];

fn request(id: &str) -> Value {
    json!({"id": id, "command": "echo approval-probe", "cwd": "/tmp", "host": "gateway", "security": "allowlist",
        "ask": "on-miss", "timeoutMs": 60_000, "twoPhase": true})
}

async fn heard(node: &mut TestNode, event: &str, id: &str) -> Value {
    let frame = node
        .event(event, |frame| frame["event"] == event && frame["payload"]["id"] == id)
        .await;
    frame["payload"].clone()
}

/// Asks and gives the request's number, after the first of its two answers.
async fn ask(program: &mut TestNode, params: Value) -> String {
    let id = program.send("exec.approval.request", params).await;
    let accepted = program.answer(&id).await.expect("accepted");
    assert_eq!(accepted["status"], "accepted", "{accepted}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_decides_and_everybody_who_waits_is_told() {
    let app = TestApp::start().await;
    let mut person = app.approver("demo", OWNER).await;
    let mut program = app.operator().await;
    let mut waiter = app.operator().await;
    let asked = program.send("exec.approval.request", request("a1")).await;
    let accepted = program.answer(&asked).await.expect("accepted");
    assert_eq!(
        (&accepted["status"], &accepted["id"]),
        (&json!("accepted"), &json!("a1"))
    );
    assert_eq!(accepted["deliveryRoute"], "approval-client");
    let shown = heard(&mut person, "exec.approval.requested", "a1").await;
    assert_eq!(shown["request"]["command"], "echo approval-probe");
    assert_eq!(
        shown["request"]["allowedDecisions"],
        json!(["allow-once", "allow-always", "deny"])
    );
    assert_eq!(shown["expiresAtMs"], accepted["expiresAtMs"]);
    let twice = program.call("exec.approval.request", request("a1")).await;
    assert_eq!(twice.expect_err("is taken")["message"], "approval id already pending");
    let waits = waiter.send("exec.approval.waitDecision", json!({"id": "a1"})).await;
    let list = person.call("exec.approval.list", json!({})).await.expect("lists");
    assert_eq!(list, json!([shown]));
    let one = person
        .call("exec.approval.get", json!({"id": "a1"}))
        .await
        .expect("gives");
    assert_eq!(
        (&one["commandText"], &one["host"]),
        (&json!("echo approval-probe"), &json!("gateway"))
    );
    let resolve = |decision: &str| json!({"id": "a1", "decision": decision});
    let done = person.call("exec.approval.resolve", resolve("allow-once")).await;
    assert_eq!(done.expect("decides"), json!({"ok": true}));
    let told = program.answer(&asked).await.expect("decided");
    assert_eq!((&told["id"], &told["decision"]), (&json!("a1"), &json!("allow-once")));
    let waited = waiter.answer(&waits).await.expect("decided");
    assert_eq!(
        (&waited["decision"], &waited["terminalReason"]),
        (&json!("allow-once"), &json!("user"))
    );
    let event = heard(&mut person, "exec.approval.resolved", "a1").await;
    assert_eq!(
        (&event["decision"], &event["resolvedBy"]),
        (&json!("allow-once"), &json!("test"))
    );
    assert_eq!(event["request"], shown["request"]);
    // Final: the same word is no error, another one changes nothing.
    person
        .call("exec.approval.resolve", resolve("allow-once"))
        .await
        .expect("said already");
    let late = person
        .call("exec.approval.resolve", resolve("deny"))
        .await
        .expect_err("is decided");
    assert_eq!(late["details"]["reason"], "APPROVAL_ALREADY_RESOLVED");
    let again = waiter.call("exec.approval.waitDecision", json!({"id": "a1"})).await;
    assert_eq!(again.expect("still known")["decision"], "allow-once");
    assert_eq!(
        person.call("exec.approval.list", json!({})).await.expect("lists"),
        json!([])
    );
    let gone = person
        .call("exec.approval.get", json!({"id": "a1"}))
        .await
        .expect_err("is closed");
    assert_eq!(gone["code"], "APPROVAL_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_sees_or_decides() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut person = app.approver("demo", OWNER).await;
    let mut others = [
        app.approver("demo", MEMBER).await,
        app.approver("other", STRANGER).await,
    ];
    // Of the owner's, but it cannot show an approval; and one that may not decide.
    let mut silent = app.operator().await;
    let mut reader = app
        .operator_as("demo", OWNER, &["operator.read"])
        .await
        .expect("connects");
    let mut program = app.operator().await;
    let asked = ask(&mut program, request("a1")).await;
    heard(&mut person, "exec.approval.requested", "a1").await;
    for other in &mut others {
        assert_eq!(
            other.call("exec.approval.list", json!({})).await.expect("lists"),
            json!([])
        );
        for (method, params) in [
            ("exec.approval.get", json!({"id": "a1"})),
            ("exec.approval.waitDecision", json!({"id": "a1"})),
            ("exec.approval.resolve", json!({"id": "a1", "decision": "allow-once"})),
        ] {
            let refused = other.call(method, params).await.expect_err(method);
            assert_eq!(refused["details"]["reason"], "APPROVAL_NOT_FOUND", "{refused}");
        }
        // Their own request under the same id is another one; nobody is there to decide it but themselves.
        let mut own = request("a1");
        own["command"] = json!("their own");
        let own = other.call("exec.approval.request", own).await.expect("answers");
        assert_eq!(own["decision"], Value::Null, "{own}");
    }
    let refused = reader
        .call("exec.approval.resolve", json!({"id": "a1", "decision": "deny"}))
        .await;
    assert_eq!(
        refused.expect_err("may not")["details"]["missingScope"],
        "operator.approvals"
    );
    person
        .call("exec.approval.resolve", json!({"id": "a1", "decision": "deny"}))
        .await
        .expect("decides");
    assert_eq!(program.answer(&asked).await.expect("decided")["decision"], "deny");
    // Every event of the request was sent before the deciding call was answered: these answers come after them.
    for (node, unheard) in others
        .iter_mut()
        .map(|other| (other, "approval-probe"))
        .chain([(&mut silent, "exec.approval."), (&mut reader, "exec.approval.")])
    {
        node.call("health", json!({})).await.expect("answers");
        assert!(!node.has_heard(unheard), "heard of another's approval");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_silence_deny() {
    let app = TestApp::start().await;
    let mut program = app.operator().await;
    // Nobody is there who could decide: over at once, in one answer.
    let alone = program
        .call("exec.approval.request", request("alone"))
        .await
        .expect("answers");
    assert_eq!((&alone["decision"], alone.get("status")), (&Value::Null, None));
    let mut person = app.approver("demo", OWNER).await;
    let late = json!({"id": "alone", "decision": "allow-once"});
    person.call("exec.approval.resolve", late).await.expect_err("is over");
    let mut short = request("short");
    short["timeoutMs"] = json!(300);
    let asked = ask(&mut program, short).await;
    assert_eq!(program.answer(&asked).await.expect("ends")["decision"], Value::Null);
    let late = json!({"id": "short", "decision": "allow-once"});
    let refused = person.call("exec.approval.resolve", late).await.expect_err("is over");
    assert_eq!(refused["code"], "APPROVAL_NOT_FOUND");
    let waited = program.call("exec.approval.waitDecision", json!({"id": "short"})).await;
    let waited = waited.expect("told for a while");
    assert_eq!(
        (&waited["decision"], &waited["terminalReason"]),
        (&Value::Null, &json!("timeout"))
    );
    // Much later nobody is told any more.
    let long_ago = "UPDATE approval SET expires_at = 1000, resolved_at = 1000 WHERE id = 'short'";
    app.rows().await.execute(long_ago).await;
    let over = program.call("exec.approval.waitDecision", json!({"id": "short"})).await;
    assert_eq!(
        over.expect_err("is forgotten")["message"],
        "approval expired or not found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused() {
    let app = TestApp::start().await;
    let mut person = app.approver("demo", OWNER).await;
    let mut program = app.operator().await;
    for (params, message) in [
        (json!({}), "command is required"),
        (json!({"command": " "}), "command is required"),
        (json!({"command": "x", "timeoutMs": 0}), "at /timeoutMs"),
        (json!({"command": "x", "id": "i".repeat(129)}), "at /id"),
        (json!({"command": "x".repeat(200_000)}), "too large"),
        (
            json!({"command": "x", "approvalReviewerDeviceIds": vec!["0".repeat(64); 3000]}),
            "too large",
        ),
        (json!({"host": "node", "command": "x"}), "nodeId is required"),
        (json!({"host": "node", "nodeId": "0".repeat(64)}), "unknown nodeId"),
    ] {
        let refused = program.call("exec.approval.request", params).await.expect_err(message);
        assert!(refused["message"].as_str().unwrap().contains(message), "{refused}");
    }
    let mut always = request("a1");
    always["ask"] = json!("always");
    ask(&mut program, always).await;
    let shown = heard(&mut person, "exec.approval.requested", "a1").await;
    assert_eq!(shown["request"]["allowedDecisions"], json!(["allow-once", "deny"]));
    for (decision, reason) in [
        ("allow-always", json!("APPROVAL_ALLOW_ALWAYS_UNAVAILABLE")),
        ("yes", Value::Null),
    ] {
        let params = json!({"id": "a1", "decision": decision});
        let refused = person.call("exec.approval.resolve", params).await.expect_err(decision);
        assert_eq!(refused["details"]["reason"], reason);
    }
    let unknown = json!({"id": "none", "decision": "deny"});
    let refused = person
        .call("exec.approval.resolve", unknown)
        .await
        .expect_err("there is none");
    assert_eq!(refused["message"], "unknown or expired approval id");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_named_reviewers_hear_and_decide() {
    let app = TestApp::start().await;
    let phone = Device::generate();
    let (url, host) = (app.socket_url(), app.host("demo"));
    let hello = Hello {
        url: &url,
        host: &host,
        auth: json!({"token": app.token(OWNER)}),
        role: "operator",
        client: "openclaw-ios",
        mode: "ui",
        scopes: &["operator.approvals"],
        commands: &[],
        caps: &[],
        device: Some(&phone),
    };
    let refused = TestNode::connect(&hello).await.err().expect("a new device");
    let mut program = app.operator().await;
    let pair = json!({"requestId": refused["details"]["requestId"]});
    program.call("device.pair.approve", pair).await.expect("approves");
    let mut phone_app = TestNode::connect(&hello).await.expect("paired");
    let mut person = app.approver("demo", OWNER).await;
    let mut narrow = request("a1");
    narrow["approvalReviewerDeviceIds"] = json!([phone.id]);
    let asked = ask(&mut program, narrow).await;
    assert_eq!(
        person.call("exec.approval.list", json!({})).await.expect("lists"),
        json!([])
    );
    assert!(!person.has_heard("exec.approval."));
    let deny = json!({"id": "a1", "decision": "deny"});
    person
        .call("exec.approval.resolve", deny.clone())
        .await
        .expect_err("not theirs");
    heard(&mut phone_app, "exec.approval.requested", "a1").await;
    phone_app.call("exec.approval.resolve", deny).await.expect("decides");
    assert_eq!(program.answer(&asked).await.expect("decided")["decision"], "deny");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_neither_loses_nor_allows() {
    let mut app = TestApp::start().await;
    let mut person = app.approver("demo", OWNER).await;
    let mut program = app.operator().await;
    for id in ["open", "late", "allowed"] {
        ask(&mut program, request(id)).await;
        heard(&mut person, "exec.approval.requested", id).await;
    }
    let allow = |id: &str| json!({"id": id, "decision": "allow-once"});
    person
        .call("exec.approval.resolve", allow("allowed"))
        .await
        .expect("decides");
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    app.rows()
        .await
        .execute("UPDATE approval SET expires_at = created_at WHERE id = 'late'")
        .await;
    let mut program = app.operator().await;
    let mut person = app.approver("demo", OWNER).await;
    let list = person.call("exec.approval.list", json!({})).await.expect("lists");
    let ids: Vec<&Value> = list.as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, ["open"]);
    let kept = program
        .call("exec.approval.waitDecision", json!({"id": "allowed"}))
        .await;
    assert_eq!(kept.expect("was decided")["decision"], "allow-once");
    person
        .call("exec.approval.resolve", allow("late"))
        .await
        .expect_err("is over");
    let waits = program.send("exec.approval.waitDecision", json!({"id": "open"})).await;
    person
        .call("exec.approval.resolve", allow("open"))
        .await
        .expect("decides");
    let told = program.answer(&waits).await.expect("decided");
    assert_eq!(told["decision"], "allow-once");
    let rows = app.rows().await;
    assert_eq!(
        rows.count("approval WHERE id = 'late' AND decision IS NOT NULL").await,
        0
    );
    let audited = "audit WHERE action = 'exec.approval' AND target IN ('open', 'allowed')";
    assert_eq!(rows.count(audited).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_what_was_allowed_and_nothing_else() {
    let app = TestApp::start().await;
    let device = Device::generate();
    let mut node = app.ready_node(&device, COMMANDS).await;
    let mut person = app.approver("demo", OWNER).await;
    let mut program = app.operator().await;
    let plan = json!({"argv": ["rm", "-rf", "a b"], "cwd": "/tmp", "commandText": "harmless", "commandPreview": null,
        "agentId": "main", "sessionKey": null});
    let mut wish = request("a1");
    wish["host"] = json!("node");
    wish["nodeId"] = json!(device.id);
    wish["systemRunPlan"] = plan.clone();
    let asked = ask(&mut program, wish).await;
    let shown = heard(&mut person, "exec.approval.requested", "a1").await;
    assert_eq!(
        shown["request"]["command"], "rm -rf 'a b'",
        "what runs, not what it is called"
    );
    let run = |key: &str, argv: &[&str], approved: bool| {
        let mut params = json!({"command": argv, "cwd": "/tmp", "agentId": "main", "runId": "a1"});
        if approved {
            params["approved"] = json!(true);
            params["approvalDecision"] = json!("allow-once");
        }
        json!({"nodeId": device.id, "command": "system.run", "params": params, "idempotencyKey": key})
    };
    let argv = ["rm", "-rf", "a b"];
    let early = program
        .call("node.invoke", run("k1", &argv, true))
        .await
        .expect_err("not decided");
    assert_eq!(early["details"]["code"], "APPROVAL_REQUIRED");
    person
        .call("exec.approval.resolve", json!({"id": "a1", "decision": "allow-once"}))
        .await
        .expect("decides");
    program.answer(&asked).await.expect("decided");
    let other = program.call("node.invoke", run("k2", &["rm", "-rf", "/"], true)).await;
    assert_eq!(
        other.expect_err("another command")["details"]["code"],
        "APPROVAL_REQUEST_MISMATCH"
    );
    let id = program.send("node.invoke", run("k3", &argv, true)).await;
    let asked = node.invoked().await;
    let sent = params_of(&asked);
    assert_eq!(
        (&sent["approved"], &sent["approvalDecision"]),
        (&json!(true), &json!("allow-once"))
    );
    assert_eq!((&sent["runId"], &sent["systemRunPlan"]), (&json!("a1"), &plan));
    node.answer_invoke(&asked).await;
    program.answer(&id).await.expect("ran");
    let again = program.call("node.invoke", run("k4", &argv, true)).await;
    assert_eq!(again.expect_err("was used")["details"]["code"], "APPROVAL_REQUIRED");
    // Without a claim the node decides by its own policy; a caller's own word never reaches it.
    let mut plain = run("k5", &argv, false);
    plain["params"]["approved"] = json!(false);
    program.send("node.invoke", plain).await;
    let sent = params_of(&node.invoked().await);
    assert_eq!((sent.get("approved"), sent.get("approvalDecision")), (None, None));
    let used = "approval WHERE id = 'a1' AND consumed_at IS NOT NULL";
    becomes("uses of the approval", 1, || async {
        app.rows().await.count(used).await
    })
    .await;
}

/// A request about a command on a node, as a program makes it after `system.run.prepare`.
fn on_node(device: &Device, id: &str, argv: &[&str]) -> Value {
    let mut wish = request(id);
    wish["host"] = json!("node");
    wish["nodeId"] = json!(device.id);
    wish["systemRunPlan"] = json!({"argv": argv, "cwd": "/tmp", "commandText": argv.join(" "), "commandPreview": null,
        "agentId": "main", "sessionKey": null});
    wish
}

/// The node's answer to where a program is.
async fn is_at(node: &mut TestNode, program: &str, path: &str) {
    let (asked, params) = node.invoked_as("system.which").await;
    assert_eq!(params, json!({"bins": [program]}));
    node.answer_invoke_with(&asked, &json!({"bins": {program: path}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn always_is_remembered_whoever_asked_and_means_what_the_node_said() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "admin");
    let device = Device::generate();
    let mut node = app.ready_node(&device, &["system.run", "system.which"]).await;
    let mut person = app.approver("demo", OWNER).await;
    let mut program = app.operator().await;
    // Who may only approve puts nothing on an allowlist: the plan may be their own invention.
    let asked = program
        .send("exec.approval.request", on_node(&device, "a0", &["uptime", "-p"]))
        .await;
    is_at(&mut node, "uptime", "/usr/bin/uptime").await;
    program.answer(&asked).await.expect("accepted");
    heard(&mut person, "exec.approval.requested", "a0").await;
    let listed = person.call("exec.approval.list", json!({})).await.expect("lists");
    assert_eq!(
        listed[0]["request"]["allowedDecisions"],
        json!(["allow-once", "deny"]),
        "{listed}"
    );
    let word = json!({"id": "a0", "decision": "allow-always"});
    person.call("exec.approval.resolve", word).await.expect("decides");
    assert_eq!(program.answer(&asked).await.expect("decided")["decision"], "allow-once");
    let file = program.call("exec.approvals.get", json!({})).await.expect("gives");
    assert_eq!(file["exists"], false, "{file}");
    // What the program says of where it is counts for nothing.
    let mut wish = on_node(&device, "a1", &["uptime", "-p"]);
    wish["resolvedPath"] = json!("/bin/rm");
    let asked = program.send("exec.approval.request", wish).await;
    is_at(&mut node, "uptime", "/usr/bin/uptime").await;
    program.answer(&asked).await.expect("accepted");
    let shown = heard(&mut person, "exec.approval.requested", "a1").await;
    assert_eq!(shown["request"]["resolvedPath"], "/usr/bin/uptime");
    assert_eq!(
        shown["request"]["allowedDecisions"],
        json!(["allow-once", "allow-always", "deny"])
    );
    let resolve = |id: &str, decision: &str| json!({"id": id, "decision": decision});
    let always = program
        .call("exec.approval.resolve", resolve("a1", "allow-always"))
        .await;
    assert_eq!(always.expect("decides"), json!({"ok": true}));
    assert_eq!(
        program.answer(&asked).await.expect("decided")["decision"],
        "allow-always"
    );
    let mut file = program.call("exec.approvals.get", json!({})).await.expect("gives");
    let list = file["file"]["agents"]["main"]["allowlist"].as_array().expect("a list");
    assert_eq!(
        (list.len(), &list[0]["pattern"]),
        (1, &json!("/usr/bin/uptime")),
        "{file}"
    );
    assert_eq!(
        file["resolvedDefaults"],
        json!({"security": "allowlist", "ask": "on-miss", "askFallback": "deny", "autoAllowSkills": false})
    );
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.admin"])
        .await
        .expect("connects");
    let theirs = member.call("exec.approvals.get", json!({})).await.expect("gives");
    assert_eq!(theirs["exists"], false, "{theirs}");
    // The node runs it with that word, once more with the same plan, and not another one.
    for (key, argv, ran) in [
        ("k1", ["uptime", "-p"], true),
        ("k2", ["uptime", "-p"], true),
        ("k3", ["uptime", "-s"], false),
    ] {
        let params = json!({"command": argv, "cwd": "/tmp", "agentId": "main", "runId": "a1", "approved": true});
        let call = json!({"nodeId": device.id, "command": "system.run", "params": params, "idempotencyKey": key});
        let id = program.send("node.invoke", call).await;
        if ran {
            let (asked, params) = node.invoked_as("system.run").await;
            assert_eq!(params["approvalDecision"], "allow-always");
            node.answer_invoke(&asked).await;
        }
        assert_eq!(program.answer(&id).await.is_ok(), ran, "{key}");
    }
    // A shell, a program that is nowhere, one without an agent, and a user who wants to be asked: only once.
    for (id, argv, at) in [
        ("a2", ["sh", "-c"], Some("/bin/sh")),
        ("a3", ["nowhere", "x"], Some("")),
        ("a4", ["/usr/bin/../x", "y"], None),
    ] {
        let asked = program.send("exec.approval.request", on_node(&device, id, &argv)).await;
        if let Some(at) = at {
            is_at(&mut node, argv[0], at).await;
        }
        program.answer(&asked).await.expect("accepted");
        let shown = heard(&mut person, "exec.approval.requested", id).await;
        assert_eq!(
            shown["request"]["allowedDecisions"],
            json!(["allow-once", "deny"]),
            "{argv:?}"
        );
        let refused = person
            .call("exec.approval.resolve", resolve(id, "allow-always"))
            .await
            .expect_err("not offered");
        assert_eq!(refused["details"]["reason"], "APPROVAL_ALLOW_ALWAYS_UNAVAILABLE");
    }
    file["file"]["agents"]["main"]["ask"] = json!("always");
    let set = json!({"file": file["file"], "baseHash": file["hash"]});
    program.call("exec.approvals.set", set).await.expect("sets");
    let asked = program
        .send("exec.approval.request", on_node(&device, "a5", &["uptime"]))
        .await;
    program.answer(&asked).await.expect("accepted");
    let shown = heard(&mut person, "exec.approval.requested", "a5").await;
    assert_eq!(shown["request"]["allowedDecisions"], json!(["allow-once", "deny"]));
    let audited = "audit WHERE action = 'exec_approvals.allow' AND target = 'a1'";
    assert_eq!(app.rows().await.count(audited).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_user_and_of_a_node_are_guarded_by_their_hash() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "admin");
    app.add_other_tenant();
    let device = Device::generate();
    let mut node = app
        .ready_node(
            &device,
            &["system.execApprovals.get", "system.execApprovals.set", "system.run"],
        )
        .await;
    let mut owner = app.operator().await;
    let (get, set) = ("exec.approvals.get", "exec.approvals.set");
    let first = owner.call(get, json!({})).await.expect("gives");
    let file = json!({"version": 1, "agents": {"main": {"ask": "always"}}});
    let stored = owner
        .call(set, json!({"file": file}))
        .await
        .expect("a first one needs no hash");
    assert_eq!((&stored["exists"], &stored["file"]), (&json!(true), &file));
    assert_eq!(owner.call(get, json!({})).await.expect("gives"), stored);
    for (params, complaint) in [
        (
            json!({"file": file}),
            "base hash required; re-run exec.approvals.get and retry",
        ),
        (
            json!({"file": file, "baseHash": first["hash"]}),
            "changed since last load; re-run exec.approvals.get",
        ),
        (
            json!({"file": {"version": 2}, "baseHash": stored["hash"]}),
            "at /file/version",
        ),
        (
            json!({"file": {"version": 1, "agents": []}, "baseHash": stored["hash"]}),
            "at /file",
        ),
        (
            json!({"baseHash": stored["hash"]}),
            "must have required property 'file'",
        ),
    ] {
        let refused = owner.call(set, params).await.expect_err(complaint);
        assert_eq!(refused["code"], "INVALID_REQUEST");
        assert!(refused["message"].as_str().unwrap().contains(complaint), "{refused}");
    }
    assert_eq!(
        owner.call(get, json!({})).await.expect("gives"),
        stored,
        "nothing was changed"
    );
    // The node's file is the node's: it compares, and what it says is passed on.
    let theirs = json!({"path": "/home/n/exec-approvals.json", "exists": true, "hash": "h1", "file": {"version": 1}});
    let (get, set) = ("exec.approvals.node.get", "exec.approvals.node.set");
    let id = owner.send(get, json!({"nodeId": device.id})).await;
    let (asked, params) = node.invoked_as("system.execApprovals.get").await;
    assert_eq!(params, json!({}));
    node.answer_invoke_with(&asked, &theirs).await;
    assert_eq!(owner.answer(&id).await.expect("gives"), theirs);
    let change = json!({"nodeId": device.id, "file": {"version": 1}, "baseHash": "h0"});
    let id = owner.send(set, change.clone()).await;
    let (asked, params) = node.invoked_as("system.execApprovals.set").await;
    assert_eq!(params, json!({"file": {"version": 1}, "baseHash": "h0"}));
    let stale = json!({"code": "INVALID_REQUEST", "message": "exec approvals changed; reload and retry"});
    let result = json!({"id": asked["id"], "nodeId": device.id, "ok": false, "error": stale});
    node.call("node.invoke.result", result).await.expect("taken");
    let refused = owner.answer(&id).await.expect_err("is stale");
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&stale["code"], &stale["message"])
    );
    let id = owner
        .send(set, json!({"nodeId": device.id, "file": {"version": 1}}))
        .await;
    let (asked, params) = node.invoked_as("system.execApprovals.set").await;
    assert_eq!(params, json!({"file": {"version": 1}}), "no hash is no hash");
    node.answer_invoke_with(&asked, &json!("nonsense")).await;
    let refused = owner.answer(&id).await.expect_err("is no file");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("invalid exec approvals payload"),
        "{refused}"
    );
    // Nobody else reaches either, and a person without admin neither.
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut other = app
            .operator_as(tenant, email, &["operator.admin"])
            .await
            .expect("connects");
        assert_eq!(
            other.call("exec.approvals.get", json!({})).await.expect("gives")["exists"],
            false
        );
        for (method, params) in [(get, json!({"nodeId": device.id})), (set, change.clone())] {
            let refused = other.call(method, params).await.expect_err("not theirs");
            assert_eq!(refused["message"], "unknown nodeId", "{email}");
        }
    }
    let scopes = &["operator.write", "operator.approvals", "operator.pairing"];
    let mut approver = app.operator_as("demo", OWNER, scopes).await.expect("connects");
    for method in ["exec.approvals.get", "exec.approvals.set", get, set] {
        let refused = approver.call(method, change.clone()).await.expect_err("may not");
        assert_eq!(refused["details"]["missingScope"], "operator.admin", "{method}");
    }
}

/// The parameters of a call that reached the node.
fn params_of(asked: &Value) -> Value {
    serde_json::from_str(asked["paramsJSON"].as_str().expect("a text")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn wake_words_are_the_users_own() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut node = app.ready_node(&Device::generate(), COMMANDS).await;
    let mut owner = app.operator().await;
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.write"])
        .await
        .expect("connects");
    let set = owner
        .call("voicewake.set", json!({"triggers": [" probe word ", ""]}))
        .await;
    assert_eq!(set.expect("sets"), json!({"triggers": ["probe word"]}));
    for listener in [&mut owner, &mut node] {
        let changed = listener
            .event("voicewake.changed", |frame| {
                frame["event"] == "voicewake.changed" && frame["payload"]["triggers"] == json!(["probe word"])
            })
            .await;
        assert_eq!(changed["payload"], json!({"triggers": ["probe word"]}));
    }
    let config = json!({"defaultTarget": {"agentId": "home"}, "routes": []});
    let routed = owner
        .call("voicewake.routing.set", json!({"config": config}))
        .await
        .expect("sets");
    assert_eq!(routed["config"]["defaultTarget"], json!({"agentId": "home"}));
    let changed = node
        .event("voicewake.routing.changed", |frame| {
            frame["event"] == "voicewake.routing.changed" && frame["payload"]["config"]["updatedAtMs"] != 0
        })
        .await;
    assert_eq!(changed["payload"], routed);
    for bad in [json!({"triggers": "x"}), json!({"triggers": [1]}), json!({})] {
        owner.call("voicewake.set", bad).await.expect_err("no list of words");
    }
    let theirs = member.call("voicewake.get", json!({})).await.expect("gives");
    assert_eq!(theirs["triggers"], json!(["openclaw", "claude", "computer"]));
    assert!(!member.has_heard("voicewake."));
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    let mut owner = app.operator().await;
    let kept = owner.call("voicewake.get", json!({})).await.expect("gives");
    assert_eq!(kept["triggers"], json!(["probe word"]));
    let kept = owner.call("voicewake.routing.get", json!({})).await.expect("gives");
    assert_eq!(kept, routed);
}
