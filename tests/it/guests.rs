//! What a guest of somebody's agent may do to it.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::webhook::{status, telegram_update};

const GROUP: i64 = -500;

/// A message of `sender` in the group.
fn in_group(update: u64, sender: i64, text: &str) -> Value {
    let mut body = telegram_update(update, sender, text);
    body["message"]["chat"] = json!({"id": GROUP, "type": "group", "title": "Friends"});
    body
}

async fn open_group() -> TestApp {
    let telegram = json!({"groupPolicy": "open", "groups": {"*": {"requireMention": false}}});
    TestApp::start_with(&json!({"channels": {"telegram": telegram}}), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_a_group_stops_what_they_started_and_nothing_else() {
    let app = open_group().await;
    let say = async |body: Value| assert_eq!(status(app.webhooks().telegram_body(&body)).await, 200);
    say(in_group(1, 11, "[gate] #one")).await;
    app.model.asked("#one").await;
    say(in_group(2, 12, "/stop")).await;
    app.platform.message("-500", "Nothing was running.").await;
    for (update, command) in [(3, "/new"), (4, "/reset hello"), (5, "/queue interrupt #now")] {
        say(in_group(update, 12, command)).await;
    }
    app.platform.call("sendMessage").await;
    crate::support::wait::becomes("refusals", 2, || async {
        let messages = app.platform.messages("-500");
        messages
            .iter()
            .filter(|call| call.text.contains("only the owner"))
            .count()
    })
    .await;
    assert_eq!(app.model.running(), 1, "the run of somebody else was stopped");
    say(in_group(6, 11, "/stop")).await;
    app.platform.message("-500", "Stopped.").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_learns_no_cost_and_no_session_key() {
    let app = TestApp::start().await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "/status")).await, 200);
    let answer = app.platform.message("700", "Model:").await;
    assert!(
        !answer.text.contains("Session:") && !answer.text.contains('$'),
        "{}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_tools_are_those_its_rules_leave() {
    let telegram = json!({"groupPolicy": "open", "groups": {
        "*": {"requireMention": false, "systemPrompt": "Speak like a pirate.", "tools": {"allow": ["web_fetch"]},
            "toolsBySender": {"12": {"deny": ["*"]}}},
        "-600": {"requireMention": false, "tools": {"profile": "full"}}}});
    let app = TestApp::start_with(&json!({"channels": {"telegram": telegram}}), &[]).await;
    let say = async |body: Value| {
        assert_eq!(status(app.webhooks().telegram_body(&body)).await, 200);
        app.settled().await;
        let call = app.model.calls().pop().expect("asked");
        let names = call["tools"].as_array().into_iter().flatten();
        let names: Vec<String> = names
            .map(|tool| tool["function"]["name"].as_str().expect("a name").to_owned())
            .collect();
        (names, call["messages"].to_string())
    };
    let (tools, prompt) = say(in_group(1, 11, "#one")).await;
    assert_eq!(tools, ["web_fetch"]);
    assert!(prompt.contains("Speak like a pirate."), "{prompt}");
    assert_eq!(say(in_group(2, 12, "#two")).await.0, [""; 0]);
    // What is not in the list is not there when it is called either.
    let (_, prompt) = say(in_group(3, 12, "[tool:web_fetch] #three")).await;
    assert!(prompt.contains("There is no tool named web_fetch"), "{prompt}");
    let mut elsewhere = in_group(4, 12, "#four");
    elsewhere["message"]["chat"]["id"] = json!(-600);
    let (tools, prompt) = say(elsewhere).await;
    assert!(
        tools.iter().any(|name| name == "web_fetch") && !prompt.contains("pirate"),
        "{tools:?}"
    );
}
