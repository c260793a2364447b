//! Sessions as operators handle them: messages as they are written, history by place, changes beside running turns.

use serde_json::{Value, json};

use crate::support::app::{MEMBER, STRANGER, TestApp};
use crate::support::node::TestNode;
use crate::support::wait::becomes;

const KEY: &str = "agent:main:side";
const EVERYTHING: &[&str] = &["operator.read", "operator.write", "operator.admin"];

/// Sends a message without waiting for its answer.
async fn send(operator: &mut TestNode, key: &str, run: &str, message: &str) {
    let params = json!({"sessionKey": key, "message": message, "idempotencyKey": run, "queueMode": "followup"});
    operator.call("chat.send", params).await.expect("accepted");
}

/// Sends a message and waits for the end of its answer.
async fn ask(operator: &mut TestNode, key: &str, run: &str, message: &str) {
    send(operator, key, run, message).await;
    let waited = operator.call("agent.wait", json!({"runId": run})).await.expect("waits");
    assert_eq!(waited["status"], "ok", "{run}");
}

async fn history(operator: &mut TestNode, params: Value) -> Value {
    operator.call("chat.history", params).await.expect("history")
}

/// Roles and texts of a page.
fn said(page: &Value) -> Vec<(String, String)> {
    let messages = page["messages"].as_array().expect("messages");
    let text = |message: &Value| {
        let content = &message["content"];
        let text = content.as_str().or(content[0]["text"].as_str());
        text.unwrap_or_default().to_owned()
    };
    messages
        .iter()
        .map(|message| (message["role"].as_str().unwrap_or_default().to_owned(), text(message)))
        .collect()
}

fn texts(page: &Value) -> Vec<String> {
    said(page).into_iter().map(|(_, text)| text).collect()
}

/// The first delta of a run: its turn has begun and waits at the gate.
async fn begun(operator: &mut TestNode, run: &str) {
    operator
        .event("the first chunk", |frame| {
            frame["event"] == "chat" && frame["payload"]["runId"] == run && frame["payload"]["state"] == "delta"
        })
        .await;
}

async fn named(operator: &mut TestNode, name: &str) -> Value {
    let event = operator.event(name, |frame| frame["event"] == name).await;
    event["payload"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_hear_every_message_with_its_place() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let subscribed = operator
        .call("sessions.messages.subscribe", json!({"key": KEY}))
        .await
        .expect("subscribed");
    assert_eq!(subscribed["subscribed"], true);
    ask(&mut operator, KEY, "run-1", "hello #one").await;
    operator
        .call(
            "chat.inject",
            json!({"sessionKey": KEY, "message": "a note", "label": "Ops"}),
        )
        .await
        .expect("injected");
    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(named(&mut operator, "session.message").await);
    }
    let told: Vec<(String, i64, String)> = heard
        .iter()
        .map(|payload| {
            assert_eq!(payload["sessionKey"], KEY);
            assert_eq!(payload["agentId"], "main");
            assert_eq!(payload["messageId"], payload["message"]["__openclaw"]["id"]);
            assert_eq!(payload["messageSeq"], payload["message"]["__openclaw"]["seq"]);
            assert_eq!(payload["session"]["key"], KEY);
            let page = json!({"messages": [payload["message"]]});
            let (role, text) = said(&page).remove(0);
            (role, payload["messageSeq"].as_i64().expect("a place"), text)
        })
        .collect();
    let expected = [
        ("user", 1, "hello #one"),
        ("assistant", 2, "re: #one end"),
        ("assistant", 3, "[Ops]\n\na note"),
    ];
    let expected = expected.map(|(role, seq, text)| (role.to_owned(), seq, text.to_owned()));
    assert_eq!(told, expected);
    // What is heard and what is read are the same messages.
    let page = history(&mut operator, json!({"sessionKey": KEY})).await;
    let ids = |all: &[Value]| all.iter().map(|one| one["__openclaw"].clone()).collect::<Vec<_>>();
    let heard: Vec<Value> = heard.iter().map(|payload| payload["message"].clone()).collect();
    assert_eq!(ids(page["messages"].as_array().expect("messages")), ids(&heard));
    // Whoever follows nothing hears nothing.
    operator
        .call("sessions.messages.unsubscribe", json!({"key": KEY}))
        .await
        .expect("unsubscribed");
    send(&mut operator, KEY, "run-2", "more #two").await;
    operator
        .event("the end of the second run", |frame| {
            assert_ne!(frame["event"], "session.message", "{frame}");
            frame["event"] == "chat" && frame["payload"]["runId"] == "run-2" && frame["payload"]["state"] == "final"
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_note_is_in_the_history_at_once_and_told() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let missing = operator
        .call("chat.inject", json!({"sessionKey": KEY, "message": "too early"}))
        .await
        .expect_err("no such session");
    assert_eq!(
        (&missing["code"], &missing["message"]),
        (&json!("INVALID_REQUEST"), &json!("session not found"))
    );
    ask(&mut operator, KEY, "run-1", "hello #one").await;
    operator
        .call("sessions.subscribe", json!({}))
        .await
        .expect("subscribed");
    let injected = operator
        .call("chat.inject", json!({"sessionKey": KEY, "message": "a note"}))
        .await
        .expect("injected");
    assert_eq!(injected["ok"], true);
    let run = format!("inject-{}", injected["messageId"].as_str().expect("an id"));
    let told = operator.chat(&run).await;
    assert_eq!((&told["state"], &told["seq"]), (&json!("final"), &json!(0)));
    assert_eq!(told["message"]["content"][0]["text"], "a note");
    assert_eq!(told["message"]["model"], "gateway-injected");
    let changed = operator
        .event("the change", |frame| {
            frame["event"] == "sessions.changed" && frame["payload"]["reason"] == "inject"
        })
        .await;
    assert_eq!(changed["payload"]["session"]["key"], KEY);
    let page = history(&mut operator, json!({"sessionKey": KEY})).await;
    assert_eq!(texts(&page), ["hello #one", "re: #one end", "a note"]);
    assert_eq!(page["messages"][2]["__openclaw"]["id"], injected["messageId"]);
    // The model hears of it in the next turn.
    ask(&mut operator, KEY, "run-2", "and now #two").await;
    let call = app.model.asked("#two").await;
    assert!(call["messages"].to_string().contains("a note"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_note_waits_for_the_running_turn() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    send(&mut operator, KEY, "run-1", "[gate] #one #two").await;
    app.model.release(1);
    begun(&mut operator, "run-1").await;
    send(&mut operator, KEY, "run-2", "next #three").await;
    let injected = operator
        .call("chat.inject", json!({"sessionKey": KEY, "message": "a note"}))
        .await
        .expect("stored, though the turn goes on");
    // So far it waits, and so does the next question; the turn shows what it has said.
    let page = history(&mut operator, json!({"sessionKey": KEY})).await;
    assert_eq!(texts(&page), ["[gate] #one #two"]);
    assert_eq!(page["inFlightRun"]["runId"], "run-1");
    assert_eq!(page["inFlightRun"]["text"], "re:");
    assert_eq!(page["sessionInfo"]["hasActiveRun"], true);
    assert_eq!(page["sessionInfo"]["activeRunIds"], json!(["run-1"]));
    let waiting = &page["pendingInputs"];
    assert_eq!(waiting["total"], 2);
    let runs: Vec<&Value> = waiting["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| &item["runId"])
        .collect();
    let run = format!("inject-{}", injected["messageId"].as_str().expect("an id"));
    assert_eq!(runs, [&json!("run-2"), &json!(run)]);
    let listed = operator.call("sessions.list", json!({})).await.expect("list");
    assert_eq!(listed["sessions"][0]["status"], "running");
    app.model.release(100);
    let waited = operator
        .call("agent.wait", json!({"runId": "run-2"}))
        .await
        .expect("waits");
    assert_eq!(waited["status"], "ok");
    let page = history(&mut operator, json!({"sessionKey": KEY})).await;
    let expected = [
        "[gate] #one #two",
        "re: #one #two end",
        "a note",
        "next #three",
        "re: #three end",
    ];
    assert_eq!(texts(&page), expected);
    assert_eq!(page["pendingInputs"]["total"], 0);
    assert!(page.get("inFlightRun").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_read_by_page_by_place_and_from_a_cursor() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for turn in 1..=3 {
        ask(&mut operator, KEY, &format!("run-{turn}"), &format!("question #{turn}")).await;
    }
    let newest = history(&mut operator, json!({"sessionKey": KEY, "limit": 2})).await;
    assert_eq!(texts(&newest), ["question #3", "re: #3 end"]);
    assert_eq!((&newest["hasMore"], &newest["nextOffset"]), (&json!(true), &json!(2)));
    assert_eq!(newest["totalMessages"], 6);
    let older = history(&mut operator, json!({"sessionKey": KEY, "limit": 3, "offset": 2})).await;
    assert_eq!(texts(&older), ["re: #1 end", "question #2", "re: #2 end"]);
    let oldest = history(
        &mut operator,
        json!({"sessionKey": KEY, "limit": 3, "offset": older["nextOffset"]}),
    )
    .await;
    assert_eq!(texts(&oldest), ["question #1"]);
    assert_eq!(oldest["hasMore"], false);
    assert!(oldest.get("nextOffset").is_none());
    let place = older["messages"][1]["__openclaw"]["id"].clone();
    let around = history(
        &mut operator,
        json!({"sessionKey": KEY, "limit": 3, "messageId": place}),
    )
    .await;
    assert_eq!(texts(&around), ["re: #1 end", "question #2", "re: #2 end"]);
    // The cursor gives what came since, once.
    let cursor = newest["deltaCursor"].clone();
    let nothing = history(&mut operator, json!({"sessionKey": KEY, "cursor": cursor})).await;
    assert_eq!((&nothing["kind"], &nothing["messages"]), (&json!("delta"), &json!([])));
    ask(&mut operator, KEY, "run-4", "question #4").await;
    let delta = history(
        &mut operator,
        json!({"sessionKey": KEY, "cursor": nothing["deltaCursor"]}),
    )
    .await;
    let since: Vec<&Value> = delta["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|one| &one["messageSeq"])
        .collect();
    assert_eq!(since, [&json!(7), &json!(8)]);
    assert_eq!(delta["messages"][1]["message"]["content"][0]["text"], "re: #4 end");
    for (params, complaint) in [
        (
            json!({"sessionKey": KEY, "offset": 1, "messageId": "m"}),
            "cannot be used together",
        ),
        (json!({"sessionKey": KEY, "limit": 0}), "at /limit"),
        (
            json!({"sessionKey": KEY, "messageId": place, "sessionId": "not-its"}),
            "does not belong",
        ),
    ] {
        let error = operator.call("chat.history", params).await.expect_err(complaint);
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains(complaint)),
            "{error}"
        );
    }
    // After a reset the cursor says so, and the old transcript can still be read at a place of it.
    let old = newest["sessionId"].clone();
    let reset = operator
        .call("sessions.reset", json!({"key": KEY, "reason": "new"}))
        .await
        .expect("reset");
    assert_ne!(reset["entry"]["sessionId"], old);
    let stale = history(
        &mut operator,
        json!({"sessionKey": KEY, "cursor": delta["deltaCursor"]}),
    )
    .await;
    assert_eq!(stale, json!({"kind": "reset"}));
    let before = history(
        &mut operator,
        json!({"sessionKey": KEY, "messageId": place, "sessionId": old, "limit": 2}),
    )
    .await;
    assert_eq!(texts(&before), ["question #2", "re: #2 end"]);
    assert_eq!(
        texts(&history(&mut operator, json!({"sessionKey": KEY})).await),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_message_is_read_whole_and_a_start_brings_models_and_commands() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let long = format!("#long {}", "x".repeat(20_000));
    ask(&mut operator, KEY, "run-1", &long).await;
    let startup = operator
        .call(
            "chat.startup",
            json!({"sessionKey": KEY, "limit": 80, "maxBytes": 262_144}),
        )
        .await
        .expect("startup");
    assert_eq!(startup["metadata"]["models"][0]["id"], "mock-1");
    let names = |view: &Value| {
        view["commands"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["name"] == "new"))
    };
    assert!(names(&startup["metadata"]));
    let shown = startup["messages"][0]["content"].as_str().expect("text");
    assert!(shown.len() < 13_000, "history shows the beginning");
    let id = startup["messages"][0]["__openclaw"]["id"].clone();
    let whole = operator
        .call("chat.message.get", json!({"sessionKey": KEY, "messageId": id}))
        .await
        .expect("found");
    assert_eq!(
        (&whole["ok"], &whole["message"]["content"]),
        (&json!(true), &json!(long))
    );
    let missing = operator
        .call("chat.message.get", json!({"sessionKey": KEY, "messageId": "nobody's"}))
        .await
        .expect("answers");
    assert_eq!(missing, json!({"ok": false, "unavailableReason": "not_found"}));
    let metadata = operator
        .call("chat.metadata", json!({"sessionKey": KEY}))
        .await
        .expect("metadata");
    assert!(names(&metadata) && metadata["models"][0]["id"] == "mock-1");
    let got = operator
        .call("sessions.get", json!({"key": KEY}))
        .await
        .expect("messages");
    assert_eq!(got["messages"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_kept_shown_and_refused_where_nothing_acts_on_them() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    operator
        .call("sessions.subscribe", json!({}))
        .await
        .expect("subscribed");
    ask(&mut operator, KEY, "run-1", "Plan the garden #one").await;
    ask(&mut operator, "agent:main:other", "run-2", "Buy seeds #two").await;
    let patched = operator
        .call(
            "sessions.patch",
            json!({"key": KEY, "label": "100% green_house", "pinned": true, "icon": "🌱"}),
        )
        .await
        .expect("patched");
    assert_eq!((&patched["ok"], &patched["key"]), (&json!(true), &json!(KEY)));
    assert_eq!(patched["entry"]["label"], "100% green_house");
    assert_eq!(patched["resolved"], json!({"modelProvider": "mock", "model": "mock-1"}));
    let changed = operator
        .event("the change", |frame| {
            frame["event"] == "sessions.changed" && frame["payload"]["reason"] == "patch"
        })
        .await;
    assert_eq!(changed["payload"]["session"]["pinned"], true);
    for (params, complaint) in [
        (
            json!({"key": "agent:main:other", "label": "100% green_house"}),
            "label already in use: 100% green_house",
        ),
        (json!({"key": KEY, "label": " "}), "invalid label: empty"),
        (json!({"key": KEY, "thinkingLevel": "high"}), "invalid thinkingLevel"),
        (json!({"key": KEY, "sendPolicy": "never"}), "invalid sendPolicy"),
        (json!({"key": KEY, "fastMode": "slow"}), "invalid fastMode"),
        (json!({"key": KEY, "responseUsage": "some"}), "invalid responseUsage"),
        (json!({"key": KEY, "queueMode": "sideways"}), "invalid queueMode"),
        (json!({"key": KEY, "queueCap": 0}), "invalid queueCap"),
        (
            json!({"key": KEY, "execNode": "n1"}),
            "at /execNode: this server does not support it",
        ),
        (json!({"key": KEY, "model": "nobody/nothing"}), ""),
        (json!({"key": KEY, "expectedSessionId": "another"}), "changed meanwhile"),
        (
            json!({"key": "main", "archived": true}),
            "Cannot archive the main session",
        ),
        (json!({"label": "x"}), "must have required property 'key'"),
    ] {
        let error = operator
            .call("sessions.patch", params.clone())
            .await
            .expect_err(complaint);
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains(complaint)),
            "{params}: {error}"
        );
        assert_eq!(error["code"], "INVALID_REQUEST", "{params}");
    }
    let model = operator
        .call(
            "sessions.patch",
            json!({"key": KEY, "model": "mock-1", "sendPolicy": "allow", "thinkingLevel": null}),
        )
        .await
        .expect("a known model");
    assert_eq!(model["entry"]["modelOverride"], "mock/mock-1");
    let set = json!({"key": KEY, "fastMode": true, "responseUsage": "on"});
    let set = operator.call("sessions.patch", set).await.expect("both are set");
    assert_eq!(
        [&set["entry"]["fastMode"], &set["entry"]["responseUsage"]],
        [&json!(true), &json!("tokens")]
    );
    let unset = json!({"key": KEY, "fastMode": "auto", "responseUsage": null});
    let unset = operator.call("sessions.patch", unset).await.expect("both are unset");
    assert!(unset["entry"].get("fastMode").is_none(), "{unset}");
    let made = json!({"key": "agent:main:made", "fastMode": "auto"});
    let made = operator.call("sessions.create", made).await.expect("made");
    operator
        .call("sessions.delete", json!({"key": made["key"]}))
        .await
        .expect("deleted");
    // Lists are searched literally, in any case, with titles and last words when asked.
    let list = async |operator: &mut TestNode, params: Value| {
        let listed = operator.call("sessions.list", params).await.expect("list");
        let keys: Vec<String> = listed["sessions"]
            .as_array()
            .expect("sessions")
            .iter()
            .map(|row| row["key"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(listed["count"], keys.len());
        (keys, listed)
    };
    let (keys, listed) = list(
        &mut operator,
        json!({"search": "0% GREEN_", "includeDerivedTitles": true, "includeLastMessage": true}),
    )
    .await;
    assert_eq!(keys, [KEY]);
    let row = &listed["sessions"][0];
    assert_eq!(row["derivedTitle"], "Plan the garden #one");
    assert_eq!(row["lastMessagePreview"], "re: #one end");
    assert_eq!(
        (&row["model"], &row["modelOverrideSource"]),
        (&json!("mock-1"), &json!("user"))
    );
    assert_eq!(row["hasActiveRun"], false);
    assert_eq!(
        list(&mut operator, json!({"search": "greenXhouse"})).await.0,
        Vec::<String>::new()
    );
    assert_eq!(list(&mut operator, json!({"label": "100% green_house"})).await.0, [KEY]);
    assert_eq!(list(&mut operator, json!({"limit": 1, "offset": 1})).await.0, [KEY]);
    // Archived sessions are listed when asked for, and come back when somebody writes to them.
    operator
        .call("sessions.patch", json!({"key": KEY, "archived": true}))
        .await
        .expect("archived");
    assert_eq!(list(&mut operator, json!({})).await.0, ["agent:main:other"]);
    assert_eq!(list(&mut operator, json!({"archived": true})).await.0, [KEY]);
    assert_eq!(list(&mut operator, json!({"archived": "all"})).await.0.len(), 2);
    ask(&mut operator, KEY, "run-3", "again #three").await;
    assert_eq!(list(&mut operator, json!({})).await.0, [KEY, "agent:main:other"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_during_a_turn_aborts_it_and_starts_over() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    operator
        .call("sessions.subscribe", json!({}))
        .await
        .expect("subscribed");
    send(&mut operator, "main", "run-1", "[gate] #one #two").await;
    app.model.release(1);
    begun(&mut operator, "run-1").await;
    operator
        .call("sessions.patch", json!({"key": "main", "label": "kept"}))
        .await
        .expect("patched");
    let reset = operator
        .call("sessions.reset", json!({"key": "main"}))
        .await
        .expect("reset");
    assert_eq!((&reset["ok"], &reset["key"]), (&json!(true), &json!("agent:main:main")));
    assert_eq!(
        (&reset["entry"]["label"], &reset["entry"]["inputTokens"]),
        (&json!("kept"), &json!(0))
    );
    let aborted = operator
        .event("the aborted run", |frame| {
            frame["event"] == "chat" && frame["payload"]["runId"] == "run-1" && frame["payload"]["state"] == "aborted"
        })
        .await;
    assert_eq!(aborted["payload"]["stopReason"], "reset");
    let changed = operator
        .event("the change", |frame| {
            frame["event"] == "sessions.changed" && frame["payload"]["reason"] == "reset"
        })
        .await;
    assert_eq!(changed["payload"]["session"]["sessionId"], reset["entry"]["sessionId"]);
    let page = history(&mut operator, json!({"sessionKey": "main"})).await;
    assert_eq!(
        (&page["messages"], &page["sessionId"]),
        (&json!([]), &reset["entry"]["sessionId"])
    );
    ask(&mut operator, "main", "run-2", "fresh #three").await;
    let call = app.model.asked("#three").await;
    assert!(
        !call["messages"].to_string().contains("#one"),
        "the old transcript is not sent"
    );
    becomes("model calls after the reset", 0, || async { app.model.running() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_during_a_turn_leaves_nothing() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    operator
        .call("sessions.subscribe", json!({}))
        .await
        .expect("subscribed");
    ask(&mut operator, KEY, "run-0", "quartz-zero #zero").await;
    operator
        .call("sessions.reset", json!({"key": KEY}))
        .await
        .expect("reset");
    send(&mut operator, KEY, "run-1", "[gate] quartz-one #one").await;
    app.model.release(1);
    begun(&mut operator, "run-1").await;
    send(&mut operator, KEY, "run-2", "quartz-two #two").await;
    let main = operator
        .call("sessions.delete", json!({"key": "main"}))
        .await
        .expect_err("the main one stays");
    assert_eq!(main["message"], "Cannot delete the main session (agent:main:main).");
    let archived = operator
        .call("sessions.delete", json!({"key": KEY, "archivedOnly": true}))
        .await
        .expect_err("it is not archived");
    assert!(archived["message"].to_string().contains("is not archived"));
    let deleted = operator
        .call("sessions.delete", json!({"key": KEY, "deleteTranscript": true}))
        .await
        .expect("deleted");
    assert_eq!(
        deleted,
        json!({"ok": true, "key": KEY, "deleted": true, "archived": []})
    );
    for run in ["run-1", "run-2"] {
        let waited = operator.call("agent.wait", json!({"runId": run})).await.expect("waits");
        assert_eq!(waited["status"], "error", "{run}");
    }
    operator
        .event("the change", |frame| {
            frame["event"] == "sessions.changed" && frame["payload"]["reason"] == "delete"
        })
        .await;
    let listed = operator
        .call("sessions.list", json!({"archived": "all"}))
        .await
        .expect("list");
    assert_eq!(listed["totalCount"], 0);
    app.settled().await;
    let rows = app.rows().await;
    for (table, column) in [("transcript_entry", "body"), ("inbox", "payload"), ("run", "result")] {
        let words = format!("{table} WHERE CAST({column} AS text) LIKE '%quartz%'");
        assert_eq!(rows.count(&words).await, 0, "words of the deleted session in {table}");
    }
    assert_eq!(rows.count("transcript_entry").await, 0);
    assert_eq!(rows.count("session").await, 0);
    let again = operator
        .call("sessions.delete", json!({"key": KEY}))
        .await
        .expect("answers");
    assert_eq!(again["deleted"], false);
    becomes("model calls after the deletion", 0, || async { app.model.running() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reads_or_changes_a_session() {
    let mut app = TestApp::start().await;
    app.add_user("demo", MEMBER, "admin");
    app.add_other_tenant();
    let mut owner = app.operator().await;
    ask(&mut owner, KEY, "run-1", "secret-quartz #one").await;
    owner
        .call("sessions.patch", json!({"key": KEY, "label": "secret-quartz label"}))
        .await
        .expect("patched");
    let page = history(&mut owner, json!({"sessionKey": KEY})).await;
    let (message, session) = (
        page["messages"][0]["__openclaw"]["id"].clone(),
        page["sessionId"].clone(),
    );
    let cursor = page["deltaCursor"].clone();
    for (tenant, email) in [("demo", MEMBER), ("other", STRANGER)] {
        let mut stranger = app.operator_as(tenant, email, EVERYTHING).await.expect("connects");
        stranger
            .call("sessions.messages.subscribe", json!({"key": KEY}))
            .await
            .expect("subscribes to a session of their own");
        for (method, params, expected) in [
            (
                "chat.message.get",
                json!({"sessionKey": KEY, "messageId": message}),
                Ok("not_found"),
            ),
            (
                "chat.history",
                json!({"sessionKey": KEY, "cursor": cursor}),
                Ok("\"kind\":\"reset\""),
            ),
            (
                "chat.history",
                json!({"sessionKey": KEY, "messageId": message, "sessionId": session}),
                Err("does not belong"),
            ),
            (
                "chat.inject",
                json!({"sessionKey": KEY, "message": "planted"}),
                Err("session not found"),
            ),
            ("sessions.get", json!({"key": KEY}), Ok("\"messages\":[]")),
            ("sessions.describe", json!({"key": KEY}), Ok("\"session\":null")),
            (
                "sessions.resolve",
                json!({"sessionId": session}),
                Err("No session found"),
            ),
            (
                "sessions.resolve",
                json!({"label": "secret-quartz label"}),
                Err("No session found"),
            ),
            (
                "sessions.list",
                json!({"search": "quartz", "includeLastMessage": true}),
                Ok("\"count\":0"),
            ),
            ("sessions.usage", json!({"key": KEY}), Ok("\"sessions\":[]")),
            ("usage.cost", json!({}), Ok("\"daily\":[]")),
            ("sessions.delete", json!({"key": KEY}), Ok("\"deleted\":false")),
            // The same key names a session of their own; the owner's label is free for it.
            (
                "sessions.patch",
                json!({"key": KEY, "label": "secret-quartz label"}),
                Ok("\"ok\":true"),
            ),
            ("sessions.reset", json!({"key": KEY}), Ok("\"ok\":true")),
            ("sessions.delete", json!({"key": KEY}), Ok("\"deleted\":true")),
        ] {
            let answer = stranger.call(method, params.clone()).await;
            match (&answer, expected) {
                (Ok(view), Ok(part)) => assert!(view.to_string().contains(part), "{email} {method} {params}: {view}"),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{email} {method} {params}: {error}")
                }
                (got, _) => panic!("{email} {method} {params}: {got:?}"),
            }
        }
        // The owner's next message is told to nobody else: their own answer comes first.
        ask(&mut owner, KEY, &format!("run-{tenant}"), "secret-quartz #more").await;
        let id = stranger.send("health", json!({})).await;
        stranger.answer(&id).await.expect("health");
        while !stranger.silent_for(std::time::Duration::from_millis(200)).await {
            let event = stranger.event("any event", |_| true).await;
            assert!(!event.to_string().contains("secret-quartz"), "{event}");
        }
    }
    let page = history(&mut owner, json!({"sessionKey": KEY})).await;
    assert_eq!(
        (page["messages"].as_array().map(Vec::len), &page["sessionId"]),
        (Some(6), &session)
    );
    assert_eq!(page["sessionInfo"]["label"], "secret-quartz label");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_summed_by_session_and_day_and_outlives_a_session() {
    let app = TestApp::start_with(
        &json!({"models": {"providers": {"mock": {"models": [{"id": "mock-1", "name": "Mock", "reasoning": false,
            "input": ["text"], "contextWindow": 128_000, "maxTokens": 4096,
            "cost": {"input": 1_000_000, "output": 2_000_000, "cacheRead": 0, "cacheWrite": 0}}]}}}}),
        &[],
    )
    .await;
    let mut operator = app.operator().await;
    for (key, run) in [(KEY, "run-1"), (KEY, "run-2"), ("main", "run-3")] {
        ask(&mut operator, key, run, "hello #one").await;
    }
    operator
        .call("chat.inject", json!({"sessionKey": KEY, "message": "costs nothing"}))
        .await
        .expect("injected");
    // The model reports 12 tokens in and 3 out for each call.
    let cost = operator.call("usage.cost", json!({"days": 7})).await.expect("cost");
    assert_eq!(
        (&cost["days"], &cost["totals"]["input"], &cost["totals"]["output"]),
        (&json!(7), &json!(36), &json!(9))
    );
    assert_eq!(cost["totals"]["totalTokens"], 45);
    assert_eq!(cost["totals"]["totalCost"], json!(36.0 + 18.0));
    assert!(!cost["daily"].as_array().expect("days").is_empty());
    let usage = operator.call("sessions.usage", json!({})).await.expect("usage");
    assert_eq!(usage["aggregates"]["sessionCount"], 2);
    assert_eq!(usage["totals"], cost["totals"]);
    let mine = usage["sessions"]
        .as_array()
        .expect("sessions")
        .iter()
        .find(|row| row["key"] == KEY)
        .expect("the session");
    assert_eq!(
        (&mine["usage"]["input"], &mine["usage"]["output"]),
        (&json!(24), &json!(6))
    );
    assert_eq!(mine["usage"]["messageCounts"]["user"], 2);
    assert_eq!(mine["usage"]["messageCounts"]["assistant"], 3);
    assert_eq!(
        (&mine["modelProvider"], &mine["model"]),
        (&json!("mock"), &json!("mock-1"))
    );
    let one = operator
        .call("sessions.usage", json!({"key": "main"}))
        .await
        .expect("usage");
    assert_eq!(
        (one["sessions"].as_array().map(Vec::len), &one["totals"]["input"]),
        (Some(1), &json!(12))
    );
    let before = operator
        .call(
            "usage.cost",
            json!({"startDate": "2020-01-01", "endDate": "2020-01-31"}),
        )
        .await
        .expect("cost");
    assert_eq!(
        (&before["daily"], &before["totals"]["totalTokens"]),
        (&json!([]), &json!(0))
    );
    let status = operator.call("usage.status", json!({})).await.expect("status");
    assert_eq!(status["providers"][0]["provider"], "mock");
    // What was spent stays spent.
    operator
        .call("sessions.delete", json!({"key": KEY}))
        .await
        .expect("deleted");
    let after = operator.call("usage.cost", json!({"days": 7})).await.expect("cost");
    assert_eq!(after["totals"], cost["totals"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_all_sense_are_answered_in_a_list() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    for params in [
        json!({"offset": u64::MAX, "limit": u64::MAX}),
        json!({"activeMinutes": i64::MIN}),
        json!({"activeMinutes": i64::MAX}),
    ] {
        let listed = operator.call("sessions.list", params.clone()).await;
        assert_eq!(listed.expect("a list")["sessions"], json!([]), "{params}");
    }
}
