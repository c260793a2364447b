//! The owner's own direct chat with a bot: theirs alone, like their main session, for as long as nobody but them can write
//! there.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp, merge};
use crate::support::model::calls_tool;
use crate::support::node::{Device, TestNode};
use crate::support::tool::{ask, say, told};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::status;

const OWNERS: &str = "agent:main:telegram:direct:900";
const GUESTS: &str = "agent:main:telegram:direct:700";
const MERGED: &str = "agent:main:telegram:direct:ada";

/// Agents write to every session of theirs, and hear of every sign.
fn wide() -> Value {
    json!({"tools": {"sessions": {"visibility": "agent"}}, "session": {"agentToAgent": {"maxPingPongTurns": 1}},
        "channels": {"telegram": {"reactionNotifications": "all"}}})
}

/// Ties the chat 900 to the owner.
async fn link(app: &TestApp, update: u64) {
    let word = app.link_code(OWNER).await;
    assert_eq!(status(app.webhooks().telegram(update, 900, &word)).await, 200);
    app.platform.message("900", "now linked").await;
}

/// Somebody writes to the bot and is answered.
async fn write(app: &TestApp, update: u64, chat: i64, text: &str) -> Value {
    assert_eq!(status(app.webhooks().telegram(update, chat, text)).await, 200);
    let asked = app.model.asked(text).await;
    app.settled().await;
    asked
}

/// Somebody puts a sign under a message in their chat. Gives what became of it.
async fn react(app: &TestApp, update: u64, chat: i64) -> (String, String) {
    let person = json!({"id": chat, "is_bot": false, "first_name": "Ada"});
    let body = json!({"update_id": update, "message_reaction": {
        "chat": {"id": chat, "type": "private", "first_name": "Ada"}, "date": 1_763_800_000, "message_id": 1,
        "user": person, "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "🎉"}],
    }});
    assert_eq!(status(app.webhooks().telegram_body(&body)).await, 200);
    let row = |column: &str| {
        format!(
            "SELECT coalesce({column}, '') FROM inbox WHERE event_key LIKE 'reaction:{update}:%' \
             AND state NOT IN ('pending', 'running')"
        )
    };
    eventually("the reaction is settled", || async {
        let rows = app.rows().await;
        let state = rows.column::<String>(&row("state")).await.pop()?;
        Some((state, rows.column::<String>(&row("reason")).await.pop()?))
    })
    .await
}

/// What the model is sent when the owner types into a session from a client.
async fn typed(app: &TestApp, operator: &mut TestNode, key: &str, run: &str) -> Value {
    say(operator, key, run, "hello").await;
    assert_eq!(operator.chat_end(run).await["state"], "final");
    app.model.asked(&format!("#{run} ")).await
}

fn offers(call: &Value, tool: &str) -> bool {
    let mut tools = call["tools"].as_array().into_iter().flatten();
    tools.any(|offered| offered["function"]["name"] == tool)
}

/// Is the model told what only the owner may read, and given what only they may use.
fn is_private(call: &Value) -> bool {
    let prompt = call["messages"][0]["content"].to_string();
    let facts = [
        prompt.contains("the owner likes zebras"),
        !prompt.contains("everybody here reads") && !prompt.contains("Who you speak with"),
        offers(call, "memory_read"),
        offers(call, "write"),
        offers(call, "cron"),
    ];
    assert!(
        facts.iter().all(|fact| *fact == facts[0]),
        "half of what is private: {facts:?}\n{prompt}"
    );
    facts[0]
}

/// Writes what only the owner may read.
async fn remember(app: &TestApp, operator: &mut TestNode) {
    let note = json!({"content": "the owner likes zebras", "path": "MEMORY.md"});
    ask(operator, "main", "keep", "memory_write", &note).await;
    told(app, operator, "keep").await;
}

/// Reports as a node, and gives whether a session took it.
async fn report(node: &mut TestNode, event: &str, payload: &Value) -> Value {
    let report = json!({"event": event, "payloadJSON": payload.to_string()});
    let answer = node.call("node.event", report).await.expect("is answered");
    json!([answer["handled"], answer["reason"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_into_the_owners_own_chat_is_for_them_alone() {
    let app = TestApp::start_with(&wide(), &[]).await;
    let mut operator = app.operator().await;
    remember(&app, &mut operator).await;
    link(&app, 1).await;
    assert!(is_private(&write(&app, 2, 900, "#hi there").await));
    assert!(is_private(&typed(&app, &mut operator, OWNERS, "t1").await));
    let shown = operator.call("tools.effective", json!({"sessionKey": OWNERS})).await;
    assert!(shown.expect("answers").to_string().contains("memory_read"));
    // Not where a guest writes, nor in a room; there the owner's words are read by others.
    assert!(!is_private(&write(&app, 3, 700, "#guest here").await));
    assert!(!is_private(&typed(&app, &mut operator, GUESTS, "t2").await));
    let room = "agent:main:telegram:group:900";
    assert!(!is_private(&typed(&app, &mut operator, room, "t3").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_in_the_owners_own_chat_is_read_with_the_next_turn() {
    let app = TestApp::start_with(&wide(), &[]).await;
    link(&app, 1).await;
    write(&app, 2, 900, "#one").await;
    let (state, reason) = react(&app, 3, 900).await;
    assert_eq!((state.as_str(), reason.as_str()), ("done", "a reaction"));
    let asked = write(&app, 4, 900, "#two").await["messages"].to_string();
    assert!(
        asked.contains("System: [") && asked.contains("Ada: [reacted with 🎉 to message 1]"),
        "{asked}"
    );
    // A guest's goes no further.
    write(&app, 5, 700, "#three").await;
    let (state, reason) = react(&app, 6, 700).await;
    assert_eq!(
        (state.as_str(), reason.as_str()),
        ("skipped", "a reaction in a guest's chat")
    );
    let asked = write(&app, 7, 700, "#four").await["messages"].to_string();
    assert!(!asked.contains("reacted"), "{asked}");
    assert_eq!(app.rows().await.count("system_event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_on_a_node_is_told_in_the_owners_own_chat_and_in_no_guests() {
    let app = TestApp::start_with(&wide(), &[]).await;
    let mut node = app.ready_node(&Device::generate(), &["system.which"]).await;
    let mut operator = app.operator().await;
    link(&app, 1).await;
    write(&app, 2, 900, "#one").await;
    write(&app, 3, 700, "#other").await;
    let ran =
        |key: &str| json!({"sessionKey": key, "runId": "r1", "command": "make", "exitCode": 2, "output": "broken"});
    let shown =
        |key: &str| json!({"sessionKey": key, "change": "posted", "key": "n7", "title": "Ann", "text": "lunch?"});
    for (key, taken) in [(OWNERS, json!([true, "queued"])), (GUESTS, json!([false, "session"]))] {
        assert_eq!(report(&mut node, "exec.finished", &ran(key)).await, taken, "{key}");
        assert_eq!(
            report(&mut node, "notifications.changed", &shown(key)).await,
            taken,
            "{key}"
        );
        let event = json!({"sessionKey": key, "text": "the door is open"});
        let done = operator.call("system-event", event).await;
        assert_eq!(done.is_ok(), key == OWNERS, "{done:?}");
    }
    let asked = write(&app, 4, 900, "#two").await["messages"].to_string();
    for line in ["code 2) broken", "Ann - lunch?", "the door is open"] {
        assert!(asked.contains(line), "{asked}");
    }
    let asked = write(&app, 5, 700, "#next").await["messages"].to_string();
    assert!(!asked.contains("System: ["), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_is_answered_in_the_owners_own_chat_with_the_owners_rights() {
    let app = TestApp::start_with(&wide(), &[]).await;
    let mut operator = app.operator().await;
    link(&app, 1).await;
    write(&app, 2, 900, "#one").await;
    let listing = calls_tool("cron", &json!({"action": "list"}));
    let wish = json!({"sessionKey": OWNERS, "message": format!("#inner {listing}")});
    ask(&mut operator, "main", "outer", "sessions_send", &wish).await;
    told(&app, &mut operator, "outer").await;
    assert!(offers(&app.model.asked("#inner").await, "cron"));
    // The two go on, and the owner hears in their chat what came of it.
    let rows = app.rows().await;
    becomes("over", 0, || rows.count("exchange")).await;
    app.settled().await;
    assert_eq!(rows.count("inbox WHERE source = 'session'").await, 3);
    // A job that is set up there belongs there.
    let job = json!({"action": "add", "job": {"name": "tea", "schedule": {"kind": "every", "everyMs": 3_600_000},
        "payload": {"kind": "systemEvent", "text": "tea"}}});
    write(&app, 3, 900, &format!("#job {}", calls_tool("cron", &job))).await;
    let jobs = operator.call("cron.list", json!({})).await.expect("lists");
    assert_eq!(jobs["jobs"][0]["sessionKey"], OWNERS, "{jobs}");
}

/// A guest who shares the session with the owner reads what stands there.
#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_the_owners_identities_share_with_a_guest_is_not_private() {
    let merging = |ids: &[&str], sender: &str| {
        let mut extra = wide();
        let links = json!({"session": {"identityLinks": {"ada": ids}},
            "channels": {"telegram": {"dmPolicy": "allowlist", "allowFrom": [sender]}}});
        merge(&mut extra, &links);
        extra
    };
    let app = TestApp::start_with(&merging(&["telegram:900"], "5"), &[]).await;
    let mut operator = app.operator().await;
    remember(&app, &mut operator).await;
    link(&app, 1).await;
    assert!(is_private(&write(&app, 2, 900, "#alone").await));
    assert!(is_private(&typed(&app, &mut operator, MERGED, "t1").await));
    // Accepted while the owner is alone there, and begun when they are not.
    say(&mut operator, MERGED, "slow", "[gate]").await;
    app.model.asked("#slow ").await;
    say(&mut operator, MERGED, "later", "hello").await;
    let event = json!({"sessionKey": MERGED, "text": "for the owner alone"});
    operator.call("system-event", event.clone()).await.expect("is told");
    // A guest is let in and merged: from now on nothing of the owner's is said there.
    let both = merging(&["telegram:900", "telegram:700"], "700");
    app.reconfigure(&both, "/channels/telegram/allowFrom").await;
    assert!(operator.call("system-event", event).await.is_err());
    app.model.release(1000);
    assert_eq!(operator.chat_end("later").await["state"], "final");
    assert!(!is_private(&app.model.asked("#later ").await));
    assert!(!is_private(&typed(&app, &mut operator, MERGED, "t2").await));
    assert!(!is_private(&write(&app, 3, 900, "#owner").await));
    let asked = write(&app, 4, 700, "#guest").await;
    assert!(!is_private(&asked));
    assert!(!asked.to_string().contains("for the owner alone"), "{asked}");
    assert_eq!(react(&app, 5, 900).await.0, "skipped");
    let wish = json!({"sessionKey": MERGED, "message": "#inner"});
    ask(&mut operator, "main", "outer", "sessions_send", &wish).await;
    told(&app, &mut operator, "outer").await;
    assert!(!offers(&app.model.asked("#inner").await, "cron"));
    app.settled().await;
}
