//! A person's word about a command, by chat and over REST: the same decision, and nobody else's.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, OWNER, STRANGER, TestApp, merge};
use crate::support::model::calls_tool;
use crate::support::node::{Device, TestNode};
use crate::support::wait::eventually;
use crate::support::webhook::status;

const OWNERS_CHAT: i64 = 700;

/// A question of a program that waits for an answer.
async fn asks(app: &TestApp, program: &mut TestNode, id: &str) -> String {
    let _listener = app.approver("demo", OWNER).await;
    let wish = json!({"id": id, "command": "echo hi", "timeoutMs": 600_000, "twoPhase": true});
    let asked = program.send("exec.approval.request", wish).await;
    program.answer(&asked).await.expect("waits");
    asked
}

async fn said(app: &TestApp, update: u64, chat: i64, text: &str, answer: &str) {
    assert_eq!(status(app.webhooks().telegram(update, chat, text)).await, 200);
    app.platform.message(&chat.to_string(), answer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_answers_where_the_agent_was_asked() {
    let app = TestApp::start().await;
    let mut node = app.ready_node(&Device::generate(), &["system.run"]).await;
    app.link(OWNER, OWNERS_CHAT).await;
    let wish = calls_tool(
        "nodes",
        &json!({"action": "run", "command": ["/usr/bin/make", "all"], "cwd": "/srv"}),
    );
    let ordered = app.webhooks().telegram(2, OWNERS_CHAT, &format!("#build {wish}"));
    assert_eq!(status(ordered).await, 200);
    let question = app.platform.message("700", "/approve").await.text;
    for part in ["/usr/bin/make all", "test", "/srv", "allow-once", "deny"] {
        assert!(question.contains(part), "{part}: {question}");
    }
    let id: String = app.rows().await.column("SELECT id FROM approval").await.remove(0);
    let short = id.get(..8).expect("a long id");
    assert!(question.contains(&format!("/approve {short} allow-once")), "{question}");
    // A guest of the same bot knows the id, and it helps them nothing.
    let by_guest = format!("/approve {id} allow-once");
    said(&app, 3, 800, &by_guest, "Only the owner").await;
    said(&app, 4, OWNERS_CHAT, "/approve", "Usage:").await;
    said(&app, 5, OWNERS_CHAT, "/approve zzzz deny", "no open question").await;
    let word = format!("/approve {short} allow-once");
    said(&app, 6, OWNERS_CHAT, &word, "Allowed.").await;
    let (asked, params) = node.invoked_as("system.run").await;
    assert_eq!(
        (&params["command"], &params["runId"], &params["approved"]),
        (&json!(["/usr/bin/make", "all"]), &json!(id), &json!(true))
    );
    // The turn that asked has ended long since; the agent tells what came of it in the same chat.
    app.platform.message("700", "re: #build").await;
    node.answer_invoke_with(&asked, &json!({"exitCode": 0, "stdout": "#built it"}))
        .await;
    app.platform.message("700", "re: #built").await;
    let by: Vec<String> = app.rows().await.column("SELECT resolved_by FROM approval").await;
    assert_eq!(by, ["telegram"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_decides_by_chat_only_if_it_may_decide() {
    let app = TestApp::start().await;
    let (mut program, mut owner) = (app.operator().await, app.operator().await);
    let mut writer = app
        .operator_as("demo", OWNER, &["operator.read", "operator.write"])
        .await
        .expect("connects");
    let first = asks(&app, &mut program, "same-1").await;
    let second = asks(&app, &mut program, "same-2").await;
    let say = |run: &str, text: &str| json!({"sessionKey": "main", "message": text, "idempotencyKey": run});
    let refused = say("r1", "/approve same-1 allow-once");
    writer.call("chat.send", refused).await.expect("accepted");
    assert!(writer.chat_end("r1").await.to_string().contains("missing scope"));
    for (run, text, answer) in [
        ("r2", "/approve same- deny", "Several open questions"),
        ("r3", "/approve same-1 deny", "Denied."),
        ("r4", "/approve same-1 allow-once", "no open question"),
        ("r5", "/approve same-2 always", "Allowed."),
    ] {
        owner.call("chat.send", say(run, text)).await.expect("accepted");
        let end = owner.chat_end(run).await.to_string();
        assert!(end.contains(answer), "{text}: {end}");
    }
    assert_eq!(program.answer(&first).await.expect("decided")["decision"], "deny");
    assert_eq!(
        program.answer(&second).await.expect("decided")["decision"],
        "allow-always"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_ui_lists_and_decides() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut program = app.operator().await;
    let asked = asks(&app, &mut program, "a1").await;
    let (code, list) = app.owner().get("/api/approvals").await;
    assert_eq!((code, &list["approvals"][0]["id"]), (200, &json!("a1")), "{list}");
    let row = &list["approvals"][0];
    assert_eq!((&row["command"], &row["nodeId"]), (&json!("echo hi"), &Value::Null));
    assert_eq!(row["decisions"], json!(["allow-once", "allow-always", "deny"]));
    let allow = json!({"decision": "allow-once"});
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let foreign = app.person(tenant, email);
        assert_eq!(
            foreign.get("/api/approvals").await.1,
            json!({"approvals": []}),
            "{email}"
        );
        let (code, _) = foreign.post("/api/approvals/a1", &allow).await;
        assert_eq!(code, 404, "{email}");
    }
    let token = app.binary.cli(&[
        "token",
        "create",
        "--tenant",
        "demo",
        "--user",
        OWNER,
        "--scopes",
        "operator.write",
    ]);
    for request in [
        app.anonymous().request(Method::GET, "/api/approvals"),
        app.anonymous().request(Method::POST, "/api/approvals/a1").json(&allow),
    ] {
        assert_eq!(
            status(request.bearer_auth(&token)).await,
            403,
            "a token that may not approve"
        );
    }
    for (body, expected) in [
        (json!({}), 400),
        (json!({"decision": "yes"}), 400),
        (allow.clone(), 204),
        (allow, 204),
        (json!({"decision": "deny"}), 409),
    ] {
        let (code, answer) = app.owner().post("/api/approvals/a1", &body).await;
        assert_eq!(code, expected, "{body} {answer}");
    }
    assert_eq!(
        app.owner()
            .post("/api/approvals/none", &json!({"decision": "deny"}))
            .await
            .0,
        404
    );
    assert_eq!(program.answer(&asked).await.expect("decided")["decision"], "allow-once");
    eventually("nothing is open", || async {
        let (_, list) = app.owner().get("/api/approvals").await;
        (list["approvals"] == json!([])).then_some(())
    })
    .await;
    let by: Vec<String> = app.rows().await.column("SELECT resolved_by FROM approval").await;
    assert_eq!(by, [OWNER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_told_in_the_chats_that_the_user_chose_and_so_is_their_end() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    let chosen = json!({"approvals": {"exec": {"enabled": true, "mode": "both", "sessionFilter": ["agent:main:"], "targets": [
        {"channel": "telegram", "to": "700"}, {"channel": "slack", "to": "C9"}, {"channel": "telegram", "to": "700"},
        {"channel": "discord", "to": "1"},
    ]}}});
    app.reconfigure(&chosen, "/approvals/exec/enabled").await;
    let mut program = app.operator().await;
    let wish = |id: &str, session: &str| {
        json!({"id": id, "command": format!("echo {id}"), "timeoutMs": 600_000, "twoPhase": true,
        "sessionKey": session, "turnSourceChannel": "telegram", "turnSourceTo": "555"})
    };
    // Nobody is connected who could decide: the chats are a way.
    let asked = program
        .send("exec.approval.request", wish("0f000001", "agent:main:main"))
        .await;
    let accepted = program.answer(&asked).await.expect("waits");
    assert_eq!(accepted["status"], "accepted", "{accepted}");
    for chat in ["555", "700", "C9"] {
        let question = app.platform.message(chat, "/approve 0f000001 deny").await.text;
        assert!(question.contains("echo 0f000001"), "{question}");
    }
    said(&app, 2, OWNERS_CHAT, "/approve 0f000001 allow-once", "Allowed.").await;
    assert_eq!(program.answer(&asked).await.expect("decides")["decision"], "allow-once");
    for chat in ["555", "700", "C9"] {
        app.platform
            .message(chat, "question 0f000001 was allowed once, by telegram")
            .await;
    }
    app.settled().await;
    let questions = |chat: &str| {
        let messages = app.platform.messages(chat).into_iter();
        messages.filter(|call| call.text.contains("echo 0f000001")).count()
    };
    assert_eq!(["555", "700", "C9"].map(questions), [1, 1, 1], "each chat once");
    // Of another session nobody is told, and so nobody can decide.
    let other = program
        .send("exec.approval.request", wish("0f000002", "agent:work:main"))
        .await;
    assert_eq!(program.answer(&other).await.expect("is over")["decision"], Value::Null);
    app.settled().await;
    assert!(app.platform.calls().iter().all(|call| !call.text.contains("0f000002")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_told_to_those_alone_whom_the_program_wants_told() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    let chosen = json!({"approvals": {"exec": {"enabled": true, "mode": "targets", "targets": [
        {"channel": "telegram", "to": "700"},
    ]}}});
    app.reconfigure(&chosen, "/approvals/exec/enabled").await;
    let mut program = app.operator().await;
    let wish = |id: &str, more: Value| {
        let mut wish = json!({"id": id, "command": format!("echo {id}"), "timeoutMs": 600_000, "twoPhase": true});
        merge(&mut wish, &more);
        wish
    };
    // Nobody who decides is connected, and the chat is not to be told: over at once.
    for (id, only) in [
        ("0a000001", "suppressDelivery"),
        ("0a000002", "deliverToApprovalClientsOnly"),
    ] {
        let over = program
            .call("exec.approval.request", wish(id, json!({only: true})))
            .await;
        let over = over.expect("answers");
        assert_eq!((&over["decision"], over.get("status")), (&Value::Null, None), "{only}");
    }
    // Unless it may wait for somebody who looks.
    let alone = json!({"suppressDelivery": true, "requireDeliveryRoute": false});
    let asked = program
        .send("exec.approval.request", wish("0a000003", alone.clone()))
        .await;
    let accepted = program.answer(&asked).await.expect("waits");
    assert_eq!(
        (&accepted["status"], &accepted["deliveryRoute"]),
        (&json!("accepted"), &json!("none"))
    );
    let mut person = app.approver("demo", OWNER).await;
    let no = json!({"id": "0a000003", "decision": "deny"});
    person.call("exec.approval.resolve", no).await.expect("decides");
    assert_eq!(program.answer(&asked).await.expect("decided")["decision"], "deny");
    // With somebody there: each way as it was asked for.
    for (id, more, route) in [
        (
            "0a000004",
            json!({"deliverToApprovalClientsOnly": true}),
            "approval-client",
        ),
        ("0a000005", alone, "none"),
        ("0a000006", json!({}), "forwarder"),
    ] {
        let asked = program.send("exec.approval.request", wish(id, more)).await;
        let accepted = program.answer(&asked).await.expect("waits");
        assert_eq!(accepted["deliveryRoute"], route, "{id}");
    }
    for id in ["0a000004", "0a000006"] {
        let heard = person
            .event("a question", |frame| frame["event"] == "exec.approval.requested")
            .await;
        assert_eq!(heard["payload"]["id"], id);
    }
    app.platform.message("700", "/approve 0a000006 deny").await;
    app.settled().await;
    let told = app.platform.calls().into_iter().map(|call| call.text);
    let others: Vec<String> = told
        .filter(|text| text.contains("0a00000") && !text.contains("0a000006"))
        .collect();
    assert_eq!(others, Vec::<String>::new());
}

/// Somebody presses the button that says `data` below the bot's message.
fn press(update: u64, chat: i64, (message, by): (&str, i64), data: &str) -> Value {
    json!({"update_id": update, "callback_query": {
        "id": format!("press-{update}"), "data": data, "chat_instance": "1",
        "from": {"id": by, "is_bot": false, "first_name": "Ada"},
        "message": {
            "message_id": message.parse::<i64>().expect("a number"), "date": 1_763_800_000, "text": "?",
            "from": {"id": 1, "is_bot": true, "first_name": "Claw"},
            "chat": {"id": chat, "type": "private", "first_name": "Ada"},
        },
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_below_the_question_is_an_answer_and_goes_when_there_is_one() {
    let app = TestApp::start().await;
    let mut node = app.ready_node(&Device::generate(), &["system.run"]).await;
    app.link(OWNER, OWNERS_CHAT).await;
    let chosen = json!({"approvals": {"exec": {"enabled": true, "mode": "targets", "targets": [
        {"channel": "slack", "to": "C9"},
    ]}}});
    app.reconfigure(&chosen, "/approvals/exec/enabled").await;
    let wish = calls_tool("nodes", &json!({"action": "run", "command": ["/usr/bin/make", "all"]}));
    app.says(2, OWNERS_CHAT, &format!("#build {wish}")).await;
    let question = app.platform.message("700", "/approve").await;
    let elsewhere = app.platform.message("C9", "/approve").await;
    assert_eq!(question.buttons, elsewhere.buttons);
    let word = |end: &str| {
        let ends = question.buttons.iter().find(|value| value.ends_with(end));
        ends.unwrap_or_else(|| panic!("no {end}: {:?}", question.buttons))
            .clone()
    };
    let (yes, no) = (word(" allow-once"), word(" deny"));
    // A guest who got hold of the words presses for nothing.
    let by_guest = press(3, 800, (&question.message_id, 800), &yes);
    assert_eq!(status(app.webhooks().telegram_body(&by_guest)).await, 200);
    app.platform.message("800", "Only the owner").await;
    let by_owner = press(4, OWNERS_CHAT, (&question.message_id, OWNERS_CHAT), &yes);
    assert_eq!(status(app.webhooks().telegram_body(&by_owner)).await, 200);
    let (asked, params) = node.invoked_as("system.run").await;
    assert_eq!(params["approved"], true);
    for (chat, method) in [("700", "editMessageText"), ("C9", "chat.update")] {
        let over = app.platform.message(chat, "was allowed once, by telegram").await;
        assert_eq!((over.method.as_str(), over.buttons.len()), (method, 0), "{over:?}");
        assert!(over.text.contains("/usr/bin/make all"), "{}", over.text);
    }
    let late = press(5, OWNERS_CHAT, (&question.message_id, OWNERS_CHAT), &no);
    assert_eq!(status(app.webhooks().telegram_body(&late)).await, 200);
    app.platform.message("700", "no open question").await;
    node.answer_invoke_with(&asked, &json!({"exitCode": 0, "stdout": "#built it"}))
        .await;
    app.platform.message("700", "re: #built").await;
}
