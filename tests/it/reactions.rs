//! Signs under messages: those people put there reach the agent with its next turn, and the agent's say that it saw a message.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::platform::{Call, SLACK_BOT_USER, SLACK_TEAM};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::{status, telegram_update};

const GROUP: i64 = -500;
const ROOM: &str = "C0OPS0001";

fn in_group(update: u64, sender: i64, text: &str) -> Value {
    let mut body = telegram_update(update, sender, text);
    body["message"]["chat"] = json!({"id": GROUP, "type": "group", "title": "Friends"});
    body
}

/// Somebody puts a sign under a message of the group.
fn under(update: u64, message: &str, sign: &str) -> Value {
    json!({"update_id": update, "message_reaction": {
        "chat": {"id": GROUP, "type": "group", "title": "Friends"}, "date": 1_763_800_000,
        "message_id": message.parse::<i64>().expect("a number"),
        "user": {"id": 12, "is_bot": false, "first_name": "Bob"},
        "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": sign}],
    }})
}

fn in_room(event: u64, inner: Value) -> Value {
    json!({"type": "event_callback", "team_id": SLACK_TEAM, "api_app_id": "A0TEST001",
        "event_id": format!("Ev{event:09}"), "event_time": 1_763_800_000, "event": inner,
        "authorizations": [{"user_id": SLACK_BOT_USER, "is_bot": true}]})
}

fn said(event: u64, text: &str) -> Value {
    let ts = format!("1763800000.{event:06}");
    in_room(
        event,
        json!({"type": "app_mention", "user": "U0ADA0001", "channel": ROOM, "ts": ts, "event_ts": ts,
        "text": format!("<@{SLACK_BOT_USER}> {text}")}),
    )
}

fn put_in_room(event: u64, ts: &str, of: &str) -> Value {
    in_room(
        event,
        json!({"type": "reaction_added", "user": "U0BOB0001", "reaction": "tada", "item_user": of,
        "item": {"type": "message", "channel": ROOM, "ts": ts}, "event_ts": format!("1763800100.{event:06}")}),
    )
}

/// The whole prompt of the newest call.
fn prompt(app: &TestApp) -> String {
    app.model.calls().pop().expect("the model was asked")["messages"].to_string()
}

/// Reason of the inbox row with this key.
async fn reason(app: &TestApp, key: &str) -> Option<String> {
    let sql = format!(
        "SELECT coalesce(reason, '') FROM inbox WHERE event_key LIKE '{key}%' AND state NOT IN ('pending', 'running')"
    );
    app.rows().await.column::<String>(&sql).await.pop()
}

/// Ids of the messages that our bot put a sign under, or took it away from, in order.
fn signs(app: &TestApp, method: &str) -> Vec<Call> {
    let mut calls = app.platform.calls();
    calls.retain(|call| call.method == method);
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_to_an_answer_is_read_with_the_next_turn_and_is_none_itself() {
    let telegram = json!({"groupPolicy": "open", "groups": {"*": {"requireMention": false}}});
    let app = TestApp::start_with(&json!({"channels": {"telegram": telegram}}), &[]).await;
    let hear = async |body: Value| assert_eq!(status(app.webhooks().telegram_body(&body)).await, 200);
    hear(in_group(1, 11, "#one")).await;
    app.platform.message("-500", "#one").await;
    app.settled().await;
    let sql = "SELECT message_id FROM outbox WHERE state = 'sent'";
    let ours = app
        .rows()
        .await
        .column::<String>(sql)
        .await
        .pop()
        .expect("an answer was sent");
    hear(under(2, &ours, "🎉")).await;
    hear(under(3, "424242", "👎")).await;
    becomes(
        "what is kept of them",
        (
            Some("a reaction".to_owned()),
            Some("a reaction that is not told".to_owned()),
        ),
        || async { (reason(&app, "reaction:2:").await, reason(&app, "reaction:3:").await) },
    )
    .await;
    assert_eq!(app.model.calls().len(), 1, "nobody asked for an answer");
    hear(in_group(4, 11, "#two")).await;
    app.platform.message("-500", "#two").await;
    let prompt = prompt(&app);
    assert!(
        prompt.contains(&format!("Bob: [reacted with 🎉 to message {ours}]")),
        "{prompt}"
    );
    assert!(!prompt.contains("👎"), "{prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_in_a_room_of_slack_is_read_with_the_next_turn() {
    let slack = json!({"groupPolicy": "open"});
    let app = TestApp::start_with(&json!({"channels": {"slack": slack}}), &[]).await;
    let hear = async |body: Value| {
        let request = app.webhooks().slack_body(&body, crate::support::app::SLACK_SECRET);
        assert_eq!(status(request).await, 200);
    };
    hear(said(1, "#one")).await;
    app.platform.message(ROOM, "#one").await;
    app.settled().await;
    hear(put_in_room(2, "1763900000.000009", SLACK_BOT_USER)).await;
    hear(put_in_room(3, "1763900000.000010", "U0EVE0001")).await;
    becomes("what is kept of it", Some("a reaction".to_owned()), || {
        reason(&app, "reaction:1763800100.000002")
    })
    .await;
    hear(said(4, "#two")).await;
    app.platform.message(ROOM, "#two").await;
    let prompt = prompt(&app);
    assert!(
        prompt.contains("[reacted with :tada: to message 1763900000.000009]"),
        "{prompt}"
    );
    assert!(!prompt.contains("000010"), "{prompt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_mentions_the_agent_in_a_group_sees_that_it_saw() {
    let extra = json!({
        "channels": {"telegram": {"groupPolicy": "open"}, "slack": {"groupPolicy": "open", "ackReaction": ""}},
        "messages": {"removeAckAfterReply": true},
    });
    let app = TestApp::start_with(&extra, &[]).await;
    let mut mention = in_group(1, 11, "You there [gate] #one");
    mention["message"]["entities"] = json!([{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": 4242}}]);
    assert_eq!(status(app.webhooks().telegram_body(&mention)).await, 200);
    app.model.asked("#one").await;
    let seen = eventually("the sign", || async {
        signs(&app, "setMessageReaction").first().cloned()
    })
    .await;
    assert_eq!(
        (seen.chat.as_str(), app.platform.messages("-500").len()),
        ("-500", 0),
        "it comes before the answer"
    );
    app.model.release(1000);
    app.platform.message("-500", "#one").await;
    becomes("signs put and taken away", 2, || async {
        signs(&app, "setMessageReaction").len()
    })
    .await;
    // Nobody was mentioned; and where no sign is chosen there is none.
    assert_eq!(status(app.webhooks().telegram(2, 700, "#two")).await, 200);
    app.platform.message("700", "#two").await;
    let slack = app
        .webhooks()
        .slack_body(&said(3, "#three"), crate::support::app::SLACK_SECRET);
    assert_eq!(status(slack).await, 200);
    app.platform.message(ROOM, "#three").await;
    app.settled().await;
    assert_eq!(signs(&app, "setMessageReaction").len(), 2);
    assert!(signs(&app, "reactions.add").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_people_is_let_in_wherever_a_list_names_it() {
    let lists = |team: Value| {
        let team = json!({"type": "message.senders", "members": team});
        json!({
            "accessGroups": {"team": team},
            "channels": {"telegram": {"dmPolicy": "allowlist", "allowFrom": ["accessGroup:team", "accessGroup:gone"]}},
        })
    };
    let extra = lists(json!({"*": ["700"], "telegram": ["tg:701"], "slack": ["702"]}));
    let app = TestApp::start_with(&extra, &[]).await;
    for (update, chat) in [(1, 700), (2, 701), (3, 702)] {
        let sent = app.webhooks().telegram(update, chat, &format!("#from{chat}"));
        assert_eq!(status(sent).await, 200);
    }
    app.platform.message("700", "#from700").await;
    app.platform.message("701", "#from701").await;
    app.settled().await;
    assert_eq!(
        reason(&app, "msg:3:").await.as_deref(),
        Some("the sender is not allowed")
    );
    assert_eq!(app.model.calls().len(), 2);
    // Who is taken off the list is let in no longer.
    let less = lists(json!({"*": ["700"], "telegram": []}));
    app.reconfigure(&less, "/accessGroups/team/members/telegram").await;
    assert_eq!(status(app.webhooks().telegram(4, 701, "#again")).await, 200);
    becomes("a refusal", Some("the sender is not allowed".to_owned()), || {
        reason(&app, "msg:4:")
    })
    .await;
}
