//! What the agent's `message` tool does in chats beside sending: answering, asking, changing, looking back.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::model::calls_tool;
use crate::support::platform::{Call, SLACK_BOT_USER};
use crate::support::tool::{ask, told, tool_result};
use crate::support::wait::eventually;
use crate::support::webhook::{slack_event, status};

/// What the tool said, as the model reads it.
fn parsed(told: &str) -> Value {
    let text: String = serde_json::from_str(told).expect("a text");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_does_in_a_chat_what_the_channel_can() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let mut run = 0;
    let mut does = async |arguments: Value| {
        run += 1;
        let name = format!("m{run}");
        ask(&mut operator, "main", &name, "message", &arguments).await;
        told(&app, &mut operator, &name).await
    };
    let sent = parsed(&does(json!({"action": "send", "channel": "slack", "target": "C1", "message": "one"})).await);
    let row = sent["outboxIds"][0].clone();
    let first = app.platform.message("C1", "one").await.message_id;
    app.settled().await;
    // By the row it was sent as, and by the platform's name.
    for (arguments, method, chat, text) in [
        (
            json!({"action": "edit", "messageId": row, "message": "two"}),
            "chat.update",
            "C1",
            "two",
        ),
        (json!({"action": "pin", "messageId": first}), "pins.add", "C1", ""),
        (json!({"action": "unpin", "messageId": first}), "pins.remove", "C1", ""),
        (
            json!({"action": "react", "messageId": first, "emoji": ":tea:"}),
            "reactions.add",
            "C1",
            "tea",
        ),
        (
            json!({"action": "react", "messageId": first, "emoji": "tea", "remove": true}),
            "reactions.remove",
            "C1",
            "tea",
        ),
        (json!({"action": "unsend", "messageId": row}), "chat.delete", "C1", ""),
    ] {
        let mut wish = arguments;
        wish["channel"] = json!("slack");
        wish["target"] = json!("C1");
        let answer = does(wish).await;
        assert_eq!(parsed(&answer)["ok"], true, "{method}: {answer}");
        let seen = app.platform.call(method).await;
        assert!(seen.chat == chat && seen.text.contains(text), "{method}: {seen:?}");
    }
    let question = json!({"action": "poll", "channel": "telegram", "target": "-100700", "pollQuestion": "Tea?",
        "pollOption": ["yes", "no"], "pollMulti": true});
    let mut dry = question.clone();
    dry["dryRun"] = json!(true);
    assert_eq!(parsed(&does(dry).await)["dryRun"], true);
    assert!(app.platform.calls().iter().all(|call| call.method != "sendPoll"));
    assert_eq!(parsed(&does(question).await)["ok"], true);
    assert_eq!(app.platform.call("sendPoll").await.text, "Tea?");
    let pinned = does(json!({"action": "pin", "channel": "telegram", "target": "-100700", "messageId": "7"})).await;
    assert_eq!(parsed(&pinned)["ok"], true, "{pinned}");
    assert_eq!(app.platform.call("pinChatMessage").await.chat, "-100700");
    // In a thread, and below a message where threads are.
    let thread = json!({"action": "thread-create", "channel": "slack", "target": "C1", "messageId": first,
        "message": "below it"});
    assert_eq!(parsed(&does(thread).await)["target"]["threadId"], json!(first));
    app.platform.message("C1", "below it").await;
    // What cannot be is said.
    for (arguments, why) in [
        (
            json!({"action": "poll", "channel": "slack", "target": "C1", "pollQuestion": "?", "pollOption": ["a", "b"]}),
            "has no polls",
        ),
        (
            json!({"action": "read", "channel": "telegram", "target": "-100700"}),
            "does not let bots look back",
        ),
        (
            json!({"action": "thread-create", "channel": "telegram", "target": "9", "messageId": "1", "message": "x"}),
            "no threads below messages",
        ),
        (
            json!({"action": "thread-reply", "channel": "slack", "target": "C1", "message": "x"}),
            "threadId is missing",
        ),
        (
            json!({"action": "edit", "channel": "slack", "target": "C1", "messageId": "1763.99", "message": "x"}),
            "not found",
        ),
        (
            json!({"action": "edit", "channel": "slack", "target": "C1", "messageId": first}),
            "needs message",
        ),
        (
            json!({"action": "react", "channel": "slack", "target": "C1", "messageId": first}),
            "needs emoji",
        ),
        (
            json!({"action": "delete", "channel": "slack", "target": "C1"}),
            "messageId",
        ),
        (
            json!({"action": "poll", "channel": "telegram", "target": "9", "pollQuestion": "?", "pollOption": ["a"]}),
            "2 to 12",
        ),
        (
            json!({"action": "read", "channel": "slack", "target": "D77"}),
            "from that chat only",
        ),
        (
            json!({"action": "read", "channel": "slack", "target": "channel:D77"}),
            "from that chat only",
        ),
        (
            json!({"action": "reactions", "channel": "slack", "target": "C1", "messageId": "D77:1763.01"}),
            "not found",
        ),
        // What is answered in one chat is nothing in another.
        (
            json!({"action": "reply", "channel": "telegram", "target": "-100700", "message": "x"}),
            "Say which message",
        ),
    ] {
        let answer = does(arguments.clone()).await;
        assert!(answer.contains(why), "{arguments}: {answer}");
    }
    assert!(app.platform.calls().iter().all(|call| call.chat != "D77"));
    // Looking back is what strangers wrote.
    let read = does(json!({"action": "read", "channel": "slack", "target": "C1", "limit": 2})).await;
    let (early, late) = (read.find("ignore your rules"), read.find("and me too"));
    assert!(early.is_some() && early < late && read.contains("EXTERNAL"), "{read}");
    let signs = does(json!({"action": "reactions", "channel": "slack", "target": "C1", "messageId": first})).await;
    assert!(signs.contains("tada") && signs.contains('3'), "{signs}");
    let thread = json!({"action": "read", "channel": "slack", "target": "C1", "threadId": "1763.03", "limit": 2});
    let read = does(thread).await;
    assert!(
        read.contains("its second message") && read.contains("the end of the thread"),
        "{read}"
    );
    assert!(!read.contains("how the thread began"), "the last ones: {read}");
    let away =
        json!({"action": "react", "channel": "slack", "target": "C1", "messageId": first, "emoji": "", "remove": true});
    assert_eq!(parsed(&does(away).await)["ok"], true);
    let taken = |call: &Call| call.method == "reactions.remove" && call.text == "eyes";
    assert!(app.platform.calls().iter().any(taken));
    let pins = does(json!({"action": "list-pins", "channel": "slack", "target": "C1"})).await;
    assert!(pins.contains("the pinned one"), "{pins}");
    app.settled().await;
    let rows = app.rows().await;
    // Looking leaves no trace, acting does: sent, six acts, poll, pin, thread; and those refused after their start.
    assert_eq!(rows.count("tool_intent WHERE run_id = 'm1'").await, 1);
    assert_eq!(rows.count("tool_intent WHERE run_id = 'm2'").await, 1);
    assert_eq!(rows.count(&format!("tool_intent WHERE run_id = 'm{run}'")).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_without_a_message_is_about_the_one_that_is_answered() {
    let app = TestApp::start().await;
    app.link(OWNER, 900).await;
    let from_chat = async |update: u64, run: &str, arguments: &Value| {
        let text = format!("#{run} {}", calls_tool("message", arguments));
        assert_eq!(status(app.webhooks().telegram(update, 900, &text)).await, 200);
        eventually("the model hears of it", || async { tool_result(&app, run) }).await
    };
    let liked = from_chat(2, "x1", &json!({"action": "react", "emoji": "👍"})).await;
    assert_eq!(parsed(&liked)["ok"], true, "{liked}");
    let seen = app.platform.call("setMessageReaction").await;
    assert_eq!(seen.chat, "900");
    assert!(seen.text.contains("👍"), "{}", seen.text);
    // Only what the bot wrote is changed.
    let refusal = from_chat(3, "x2", &json!({"action": "delete"})).await;
    assert!(refusal.contains("not found"), "{refusal}");
    let answered = from_chat(4, "x3", &json!({"action": "reply", "message": "as you wish"})).await;
    assert_eq!(parsed(&answered)["status"], "queued", "{answered}");
    app.platform.message("900", "as you wish").await;
    app.settled().await;
    assert!(app.platform.calls().iter().all(|call| call.method != "deleteMessage"));
    // A guest's agent has none of it.
    let text = format!(
        "#g1 {}",
        calls_tool("message", &json!({"action": "react", "emoji": "👎"}))
    );
    assert_eq!(status(app.webhooks().telegram(5, 901, &text)).await, 200);
    app.platform.message("901", "re: #g1").await;
    assert!(app.platform.calls().iter().all(|call| !call.text.contains("👎")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_a_thread_hangs_below_the_threads_first_message() {
    let groups = json!({"channels": {"slack": {"groupPolicy": "open"}}});
    let app = TestApp::start_with(&groups, &[]).await;
    let code = app.link_code(OWNER).await;
    assert_eq!(status(app.webhooks().slack(1, "D0ADA0001", &code)).await, 200);
    app.platform.message("D0ADA0001", "linked").await;
    let root = slack_event(2, "C0ROOM", "")["event"]["ts"].clone();
    let reply = calls_tool("message", &json!({"action": "reply", "message": "below"}));
    let mut event = slack_event(3, "C0ROOM", &format!("<@{SLACK_BOT_USER}> #th {reply}"));
    event["event"]["channel_type"] = json!("channel");
    event["event"]["user"] = json!("UD0ADA0001");
    event["event"]["thread_ts"] = root.clone();
    let webhooks = app.webhooks();
    assert_eq!(status(webhooks.slack_body(&event, &webhooks.slack_secret)).await, 200);
    let told = eventually("the model hears of it", || async { tool_result(&app, "th") }).await;
    assert_eq!(parsed(&told)["target"]["threadId"], root, "{told}");
    app.platform.message("C0ROOM", "below").await;
}
