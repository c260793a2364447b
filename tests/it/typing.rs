//! "… is typing" to people whose messages wait: behind a turn of the same session, or for a place.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::{status, telegram_update};

const CHAT: i64 = 900;
const GROUP: i64 = -500;

async fn say(app: &TestApp, body: &Value) {
    assert_eq!(status(app.webhooks().telegram_body(body)).await, 200);
}

fn signs(app: &TestApp, chat: i64) -> usize {
    let chat = chat.to_string();
    let calls = app.platform.calls();
    calls
        .iter()
        .filter(|call| call.method == "sendChatAction" && call.chat == chat)
        .count()
}

/// The session of the chat, once something was said in it.
async fn begun(app: &TestApp) -> String {
    say(app, &telegram_update(1, CHAT, "hello #first")).await;
    app.platform.message("900", "re: #first end").await;
    app.settled().await;
    let keys: Vec<String> = app.rows().await.column("SELECT key FROM session").await;
    keys.into_iter().next().expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_behind_a_turn_that_answers_elsewhere_sees_it() {
    let app = TestApp::start().await;
    let key = begun(&app).await;
    let mut operator = app.operator().await;
    let before = signs(&app, CHAT);
    let params = json!({"sessionKey": key, "message": "[gate] #elsewhere", "idempotencyKey": "r1"});
    operator.call("chat.send", params).await.expect("accepted");
    app.model.asked("#elsewhere").await;
    say(&app, &telegram_update(2, CHAT, "#late")).await;
    eventually("the sign", || async { (signs(&app, CHAT) > before).then_some(()) }).await;
    assert_eq!(app.model.running(), 1, "it still waits");
    app.model.release(100);
    app.platform.message("900", "re: #late end").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_place_sees_it_if_the_agent_is_meant_and_may_answer() {
    let deny = json!([{"action": "deny", "match": {"keyPrefix": "agent:main:telegram:group:-502"}}]);
    let one = json!({"agents": {"defaults": {"maxConcurrent": 1}}, "session": {"sendPolicy": {"rules": deny}},
        "channels": {"telegram": {"groupPolicy": "open", "groups": {"*": {"requireMention": false}}}}});
    let app = TestApp::start_with(&one, &[]).await;
    say(&app, &telegram_update(1, CHAT, "[gate] #one")).await;
    app.model.asked("#one").await;
    let in_group = |update: u64, group: i64, meant: bool| {
        let mut body = telegram_update(update, CHAT, "#two");
        body["message"]["chat"] = json!({"id": group, "type": "group", "title": "Friends"});
        if meant {
            let bot = json!({"id": 4242, "is_bot": true, "first_name": "Bot"});
            body["message"]["reply_to_message"] = json!({"message_id": 1, "date": 1_763_800_000, "from": bot,
                "chat": {"id": group, "type": "group", "title": "Friends"}, "text": "yes?"});
        }
        body
    };
    say(&app, &in_group(2, GROUP - 1, false)).await;
    say(&app, &in_group(3, GROUP - 2, true)).await;
    say(&app, &in_group(4, GROUP, true)).await;
    becomes("the sign where the agent is meant", true, || async {
        signs(&app, GROUP) > 0
    })
    .await;
    assert_eq!((signs(&app, GROUP - 1), app.model.running()), (0, 1));
    assert_eq!(signs(&app, GROUP - 2), 0, "nothing may be said there");
    app.model.release(100);
    app.platform.message(&GROUP.to_string(), "re: #two end").await;
    app.settled().await;
}
