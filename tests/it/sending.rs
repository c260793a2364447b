//! What clients do in chats by themselves: messages, polls, signs, changes; and files of a session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::app::{MEMBER, STRANGER, TestApp};
use crate::support::node::TestNode;
use crate::support::platform::Trouble;
use crate::support::webhook::status;

async fn call(operator: &mut TestNode, method: &str, params: Value) -> Value {
    operator
        .call(method, params)
        .await
        .unwrap_or_else(|error| panic!("{method}: {error}"))
}

async fn refused(operator: &mut TestNode, method: &str, params: Value) -> String {
    let error = operator.call(method, params).await.expect_err("is refused");
    error["message"].as_str().expect("a message").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_writes_into_a_chat_once_for_each_key() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    app.add_other_tenant();
    let mut operator = app.operator().await;
    let hello = json!({"channel": "telegram", "to": "700", "message": "**hello** there", "idempotencyKey": "k1"});
    let sent = call(&mut operator, "send", hello.clone()).await;
    assert_eq!(
        (&sent["runId"], &sent["channel"]),
        (&json!("k1"), &json!("telegram")),
        "{sent}"
    );
    let arrived = app.platform.message("700", "<b>hello</b> there").await;
    assert_eq!(sent["messageId"], arrived.message_id.as_str());
    assert_eq!(call(&mut operator, "send", hello).await, sent, "the same key again");
    assert_eq!(app.platform.messages("700").len(), 1);
    let file = json!({"channel": "telegram", "to": "700", "buffer": STANDARD.encode("the bytes"), "filename": "a/b.txt",
        "contentType": "text/plain", "idempotencyKey": "k2"});
    let shown = call(&mut operator, "send", file.clone()).await;
    assert_eq!(app.platform.call("sendDocument").await.text, "the bytes");
    let rows = app.rows().await;
    let kept = rows.count("blob").await;
    assert_eq!(call(&mut operator, "send", file).await, shown, "the same key again");
    assert_eq!(rows.count("blob").await, kept, "its bytes are kept once");
    // Nothing of it went through an agent.
    assert!(app.model.calls().is_empty());
    for (params, why) in [
        (json!({"to": "1", "message": "x", "idempotencyKey": "k"}), "'channel'"),
        (
            json!({"channel": "telegram", "to": " ", "message": "x", "idempotencyKey": "k"}),
            "/to",
        ),
        (
            json!({"channel": "telegram", "to": "1", "message": " ", "idempotencyKey": "k"}),
            "requires text or media",
        ),
        (
            json!({"channel": "telegram", "to": "1", "message": "x"}),
            "idempotencyKey",
        ),
        (
            json!({"channel": "pigeon", "to": "1", "message": "x", "idempotencyKey": "k"}),
            "no channel account",
        ),
        (
            json!({"channel": "telegram", "to": "1", "buffer": "!", "idempotencyKey": "k"}),
            "base64",
        ),
        (
            json!({"channel": "telegram", "to": "1", "message": "x", "mediaUrl": "http://127.0.0.1/", "idempotencyKey": "k"}),
            "mediaUrl",
        ),
        (
            json!({"channel": "telegram", "to": "1", "message": "x", "agentId": "nobody", "idempotencyKey": "k"}),
            "unknown agent",
        ),
    ] {
        let text = refused(&mut operator, "send", params).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    app.platform.trouble(
        "sendMessage",
        Trouble::Answer(
            403,
            json!({"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
        ),
    );
    let blocked = json!({"channel": "telegram", "to": "700", "message": "again", "idempotencyKey": "k3"});
    let text = refused(&mut operator, "send", blocked).await;
    assert!(text.contains("blocked"), "{text}");
    // Who is not the bot's owner, and linked to nothing, reaches nobody.
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut other = app
            .operator_as(tenant, email, &["operator.write"])
            .await
            .expect("connects");
        let place = json!({"channel": "telegram", "to": "700", "idempotencyKey": "k1", "message": "stolen",
            "question": "?", "options": ["a", "b"]});
        for method in ["send", "poll"] {
            let text = refused(&mut other, method, place.clone()).await;
            assert!(text.contains("no channel account"), "{email} {method}: {text}");
        }
        let act = json!({"channel": "telegram", "action": "delete", "idempotencyKey": "k1",
            "params": {"to": "700", "messageId": arrived.message_id}});
        let text = refused(&mut other, "message.action", act).await;
        assert!(text.contains("no channel account"), "{email}: {text}");
    }
    assert!(
        app.platform
            .calls()
            .iter()
            .all(|call| call.method != "deleteMessage" && call.method != "sendPoll")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_to_a_chat_besides_where_that_is_asked_for() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    // The session of a chat: its last destination.
    let webhooks = app.webhooks();
    assert_eq!(status(webhooks.telegram(1, 701, "#first")).await, 200);
    app.platform.message("701", "#first").await;
    app.settled().await;
    let sessions = call(&mut operator, "sessions.list", json!({})).await;
    let key = sessions["sessions"][0]["key"].clone();
    let send = json!({"sessionKey": key, "message": "#second", "idempotencyKey": "d1", "deliver": true});
    assert_eq!(
        call(&mut operator, "chat.send", send.clone()).await["status"],
        "started"
    );
    let shown = operator.chat_end("d1").await;
    assert_eq!(shown["state"], "final", "{shown}");
    app.platform.message("701", "#second").await;
    // Once, whoever repeats the call.
    assert_eq!(call(&mut operator, "chat.send", send).await["status"], "ok");
    app.settled().await;
    let said = |chat: &str, part: &str| {
        let messages = app.platform.messages(chat).into_iter();
        messages.filter(|message| message.text.contains(part)).count()
    };
    assert_eq!(said("701", "#second"), 1);
    // Without the wish it stays here.
    let quiet = json!({"sessionKey": key, "message": "#third", "idempotencyKey": "d2"});
    call(&mut operator, "chat.send", quiet).await;
    operator.chat_end("d2").await;
    // A chat that is named; the main session does not become that chat's.
    let named = json!({"message": "#fourth", "idempotencyKey": "d3", "deliver": true, "channel": "last",
        "replyChannel": "telegram", "to": "1", "replyTo": "702"});
    let id = operator.send("agent", named).await;
    assert_eq!(operator.answer(&id).await.expect("is accepted")["status"], "accepted");
    let ended = operator.answer(&id).await.expect("is answered");
    assert_eq!(ended["status"], "ok", "{ended}");
    app.platform.message("702", "#fourth").await;
    // Where there is no chat yet, the answer goes to who asks.
    let sent = app.platform.calls().len();
    let id = operator
        .send(
            "agent",
            json!({"message": "#fifth", "idempotencyKey": "d4", "deliver": true}),
        )
        .await;
    assert_eq!(operator.answer(&id).await.expect("is accepted")["status"], "accepted");
    assert_eq!(operator.answer(&id).await.expect("is answered")["status"], "ok");
    app.settled().await;
    assert_eq!(app.platform.calls().len(), sent);
    assert_eq!(
        (said("701", "#third"), said("702", "#fourth"), said("1", "#fourth")),
        (0, 1, 0)
    );
    // What cannot be is said before anything is accepted.
    let before = app.model.calls().len();
    for (place, why) in [
        (json!({"channel": "pigeon", "to": "1"}), "no channel account"),
        (
            json!({"channel": "telegram", "to": "1", "accountId": "other"}),
            "no channel account",
        ),
        (json!({"channel": "telegram"}), "to is missing"),
        (json!({"to": "702"}), "without a channel"),
    ] {
        let mut wish = json!({"message": "#sixth", "idempotencyKey": "d5", "deliver": true});
        for (name, value) in place.as_object().expect("an object") {
            wish[name] = value.clone();
        }
        let text = refused(&mut operator, "agent", wish).await;
        assert!(text.contains(why), "{why}: {text}");
    }
    let mut member = app
        .operator_as("demo", MEMBER, &["operator.write"])
        .await
        .expect("connects");
    let stolen =
        json!({"message": "stolen", "idempotencyKey": "d6", "deliver": true, "channel": "telegram", "to": "702"});
    let text = refused(&mut member, "agent", stolen).await;
    assert!(text.contains("no channel account"), "{text}");
    app.settled().await;
    assert_eq!(app.model.calls().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_two_calls_with_one_key_bring_is_kept_once() {
    let app = TestApp::start().await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(app.operator().await);
    }
    let file = json!({"channel": "telegram", "to": "700", "buffer": STANDARD.encode("x".repeat(300_000)),
        "filename": "a.txt", "contentType": "text/plain", "idempotencyKey": "k1"});
    let sending = clients.iter_mut().map(|client| call(client, "send", file.clone()));
    let sent = futures::future::join_all(sending).await;
    assert!(sent.iter().all(|one| *one == sent[0]), "{sent:?}");
    let rows = app.rows().await;
    assert_eq!((rows.count("blob").await, rows.count("outbox").await), (1, 1));
    // What is refused leaves nothing.
    let mut client = app.operator().await;
    let mut long = file.clone();
    (long["message"], long["idempotencyKey"]) = (json!("word ".repeat(40_000)), json!("k2"));
    refused(&mut client, "send", long).await;
    assert_eq!(rows.count("blob").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_and_changes_what_stands_in_a_chat() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let poll = json!({"channel": "telegram", "to": "-100700", "question": "Tea?", "options": ["yes", "no"], "maxSelections": 2,
        "durationSeconds": 60, "idempotencyKey": "p1"});
    let asked = call(&mut operator, "poll", poll.clone()).await;
    let seen = app.platform.call("sendPoll").await;
    assert_eq!((seen.chat.as_str(), seen.text.as_str()), ("-100700", "Tea?"));
    assert_eq!(asked["messageId"], seen.message_id.as_str());
    assert_eq!(call(&mut operator, "poll", poll).await, asked, "the same key again");
    let three = json!({"channel": "telegram", "to": "1", "question": "?", "options": ["a", "b", "c"],
        "maxSelections": 2, "idempotencyKey": "p4"});
    let text = refused(&mut operator, "poll", three).await;
    assert!(text.contains("must be 1 or the number of options"), "{text}");
    for (field, value) in [
        ("options", json!(["one"])),
        ("options", json!(["one", " "])),
        ("maxSelections", json!(3)),
        ("durationSeconds", json!(0)),
    ] {
        let mut bad =
            json!({"channel": "telegram", "to": "1", "question": "?", "options": ["a", "b"], "idempotencyKey": "p2"});
        bad[field] = value;
        let text = refused(&mut operator, "poll", bad).await;
        assert!(text.contains(&format!("/{field}")), "{text}");
    }
    let slack = json!({"channel": "slack", "to": "C1", "question": "?", "options": ["a", "b"], "idempotencyKey": "p3"});
    assert!(refused(&mut operator, "poll", slack).await.contains("has no polls"));
    let act = |channel: &str, action: &str, params: Value| json!({"channel": channel, "action": action, "params": params, "idempotencyKey": format!("{channel} {action}")});
    let mut sent = Vec::new();
    for (channel, to) in [("telegram", "700"), ("slack", "C1")] {
        let hello = json!({"channel": channel, "to": to, "message": "hello", "idempotencyKey": channel});
        sent.push(call(&mut operator, "send", hello).await["messageId"].clone());
    }
    let (telegram, slack) = (&sent[0], &sent[1]);
    for (channel, action, params, method, chat, text) in [
        (
            "telegram",
            "react",
            json!({"to": "700", "messageId": 7, "emoji": "👍"}),
            "setMessageReaction",
            "700",
            "👍",
        ),
        (
            "telegram",
            "edit",
            json!({"to": "700", "messageId": telegram, "message": "new *words*"}),
            "editMessageText",
            "700",
            "new",
        ),
        (
            "telegram",
            "delete",
            json!({"to": "700", "messageId": telegram}),
            "deleteMessage",
            "700",
            "",
        ),
        (
            "slack",
            "react",
            json!({"to": "C1", "messageId": "1763.01", "emoji": ":tea:"}),
            "reactions.add",
            "C1",
            "tea",
        ),
        (
            "slack",
            "edit",
            json!({"to": "C1", "messageId": slack, "message": "new"}),
            "chat.update",
            "C1",
            "new",
        ),
        (
            "slack",
            "delete",
            json!({"to": "C1", "messageId": slack}),
            "chat.delete",
            "C1",
            "",
        ),
    ] {
        let done = call(&mut operator, "message.action", act(channel, action, params.clone())).await;
        assert_eq!(done["ok"], true, "{done}");
        let seen = app.platform.call(method).await;
        assert!(
            seen.chat == chat && seen.text.contains(text),
            "{method}: {} {}",
            seen.chat,
            seen.text
        );
        // The same key acts once.
        call(&mut operator, "message.action", act(channel, action, params)).await;
        let times = app.platform.calls().iter().filter(|call| call.method == method).count();
        assert_eq!(times, 1, "{method}");
    }
    for (channel, action, params, why) in [
        (
            "telegram",
            "pin",
            json!({"to": "700", "messageId": "7"}),
            "does not support action pin",
        ),
        (
            "telegram",
            "react",
            json!({"to": "700", "messageId": "8"}),
            "requires emoji",
        ),
        (
            "telegram",
            "edit",
            json!({"to": "700", "messageId": "8", "message": " "}),
            "requires message",
        ),
        (
            "telegram",
            "edit",
            json!({"to": "700", "messageId": telegram, "message": "x".repeat(9_000)}),
            "does not fit",
        ),
        ("telegram", "delete", json!({"to": "700"}), "messageId"),
        ("telegram", "delete", json!({"messageId": "8"}), "/to"),
        (
            "telegram",
            "react",
            json!({"to": "700", "messageId": "x", "emoji": "👍"}),
            "is a number",
        ),
        // Others' messages, and what stands in another chat.
        (
            "telegram",
            "delete",
            json!({"to": "700", "messageId": "123456"}),
            "sent to this chat for you not found",
        ),
        (
            "telegram",
            "edit",
            json!({"to": "-100700", "messageId": telegram, "message": "x"}),
            "this chat for you not found",
        ),
        // The id of a message in another chat is none here.
        (
            "slack",
            "delete",
            json!({"to": "D1", "messageId": "C9:1763.01"}),
            "for you not found",
        ),
        (
            "slack",
            "react",
            json!({"to": "D1", "messageId": "C9:1763.01", "emoji": ":tea:"}),
            "you not found",
        ),
        (
            "slack",
            "delete",
            json!({"to": "C1", "messageId": "1763/01"}),
            "is no id of a message",
        ),
    ] {
        let mut params = act(channel, action, params);
        params["idempotencyKey"] = json!(why);
        let text = refused(&mut operator, "message.action", params).await;
        assert!(text.contains(why), "{why}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_to_a_person_in_slack_is_changed_there() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let hello = json!({"channel": "slack", "to": "U7", "message": "hello", "idempotencyKey": "k"});
    let sent = call(&mut operator, "send", hello).await["messageId"].clone();
    let ts = sent.as_str().and_then(|id| id.strip_prefix("D7:")).expect("its chat");
    assert!(ts.starts_with("1763900000."), "{sent}");
    let act = |action: &str, to: &str| {
        let params = json!({"to": to, "messageId": sent, "emoji": "tea", "message": "new"});
        json!({"channel": "slack", "action": action, "params": params, "idempotencyKey": format!("{action} {to}")})
    };
    for action in ["react", "edit", "delete"] {
        let text = refused(&mut operator, "message.action", act(action, "U8")).await;
        assert!(text.contains("not found"), "{action}: {text}");
    }
    for (action, method) in [
        ("react", "reactions.add"),
        ("edit", "chat.update"),
        ("delete", "chat.delete"),
    ] {
        let done = call(&mut operator, "message.action", act(action, "U7")).await;
        assert_eq!((&done["ok"], &done["messageId"]), (&json!(true), &sent), "{done}");
        assert_eq!(app.platform.call(method).await.chat, "D7", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_sent_twice_at_once_is_one_message() {
    let app = TestApp::start().await;
    let (mut one, mut other) = (app.operator().await, app.operator().await);
    for round in 0..8 {
        let chat = format!("90{round}");
        let hello = json!({"channel": "telegram", "to": chat, "message": "hello", "idempotencyKey": chat});
        let both = tokio::join!(
            call(&mut one, "send", hello.clone()),
            call(&mut other, "send", hello.clone())
        );
        assert_eq!(both.0, both.1);
        app.settled().await;
        assert_eq!(app.platform.messages(&chat).len(), 1, "{chat}");
    }
    let rows = app.rows().await;
    assert_eq!(rows.count("outbox").await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_a_session_are_listed_and_fetched_by_its_user() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "member");
    let mut operator = app.operator().await;
    let png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let image = json!({"type": "image", "mimeType": "image/png", "fileName": "x.png", "content": png});
    let said = json!({"sessionKey": "main", "message": "#one", "idempotencyKey": "one", "attachments": [image]});
    call(&mut operator, "chat.send", said).await;
    operator.chat_end("one").await;
    let listed = call(&mut operator, "artifacts.list", json!({"sessionKey": "main"})).await;
    let all = listed["artifacts"].as_array().expect("artifacts");
    assert_eq!(all.len(), 1, "{listed}");
    let one = &all[0];
    assert_eq!(
        (
            &one["type"],
            &one["mimeType"],
            &one["sessionKey"],
            &one["source"],
            &one["download"]["mode"]
        ),
        (
            &json!("image"),
            &json!("image/png"),
            &json!("agent:main:main"),
            &json!("user"),
            &json!("bytes")
        )
    );
    let of_run = call(&mut operator, "artifacts.list", json!({"runId": "one"})).await;
    assert_eq!(of_run, listed);
    let which = json!({"sessionKey": "main", "artifactId": one["id"]});
    assert_eq!(
        call(&mut operator, "artifacts.get", which.clone()).await["artifact"],
        *one
    );
    let fetched = call(&mut operator, "artifacts.download", which.clone()).await;
    assert_eq!(
        (&fetched["encoding"], &fetched["data"]),
        (&json!("base64"), &json!(png))
    );
    // By its id alone nothing is fetched: it belongs to a session.
    let elsewhere = json!({"sessionKey": "another", "artifactId": one["id"]});
    assert!(
        refused(&mut operator, "artifacts.get", elsewhere)
            .await
            .contains("artifact not found")
    );
    assert!(
        refused(&mut operator, "artifacts.list", json!({}))
            .await
            .contains("requires sessionKey or runId")
    );
    let mut other = app
        .operator_as("demo", MEMBER, &["operator.read"])
        .await
        .expect("connects");
    assert_eq!(
        call(&mut other, "artifacts.list", json!({"sessionKey": "main"})).await["artifacts"],
        json!([])
    );
    for method in ["artifacts.get", "artifacts.download"] {
        assert!(
            refused(&mut other, method, which.clone())
                .await
                .contains("artifact not found")
        );
    }
    assert!(
        refused(&mut other, "artifacts.list", json!({"runId": "one"}))
            .await
            .contains("no session found")
    );
    // The run is on record in the newer form too.
    let record = call(&mut operator, "audit.activity.list", json!({"sessionKey": "main"})).await;
    let event = &record["events"][0];
    assert_eq!(
        (
            &event["schemaVersion"],
            &event["eventType"],
            &event["status"],
            &event["runId"]
        ),
        (&json!(1), &json!("agent_run"), &json!("succeeded"), &json!("one"))
    );
    let theirs = call(&mut other, "audit.activity.list", json!({})).await;
    assert_eq!(theirs["events"], json!([]));
}

/// Three tries within two seconds were all: a platform that was away for longer lost the reply.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_outlasts_a_platform_that_is_away_for_some_seconds() {
    let app = TestApp::start().await;
    for _ in 0..4 {
        app.platform.trouble("sendMessage", Trouble::Answer(502, json!({})));
    }
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.message("700", "#one").await;
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("outbox WHERE state = 'sent' AND attempts = 5").await, 1);
}
