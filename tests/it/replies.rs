//! How replies go out: in parts, cut to size, behind a prefix, or not at all.

use serde_json::{Value, json};

use crate::support::app::{SLACK_SECRET, TestApp, merge};
use crate::support::model::{calls_tool, question, says};
use crate::support::platform::Trouble;
use crate::support::wait::becomes;
use crate::support::webhook::{slack_event, status};

/// Sentences of about forty characters.
fn sentences(count: usize) -> String {
    let all: Vec<String> = (0..count)
        .map(|at| format!("This is sentence {at} of a long answer."))
        .collect();
    all.join(" ")
}

fn parts(extra: &Value) -> Value {
    let mut file = json!({"agents": {"defaults": {"blockStreamingDefault": "on",
        "blockStreamingChunk": {"minChars": 50, "maxChars": 100},
        "blockStreamingCoalesce": {"idleMs": 1, "minChars": 16, "maxChars": 100}}}});
    merge(&mut file, extra);
    file
}

async fn say(app: &TestApp, update: u64, text: &str) {
    assert_eq!(status(app.webhooks().telegram(update, 700, text)).await, 200);
}

fn texts(app: &TestApp) -> Vec<String> {
    app.platform.messages("700").into_iter().map(|call| call.text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_goes_out_in_parts_in_order_and_once() {
    let app = TestApp::start_with(&parts(&json!({"messages": {"responsePrefix": "[bot]"}})), &[]).await;
    let text = sentences(12);
    say(&app, 1, &format!("[gate] [say:{text}]")).await;
    app.model.release(30);
    // The first goes out while the model still writes.
    app.platform.message("700", "sentence 0").await;
    assert_eq!(app.model.running(), 1);
    app.model.release(1000);
    app.settled().await;
    let sent = texts(&app);
    assert!(sent.len() > 3, "{sent:?}");
    assert_eq!(sent.join(" "), format!("[bot] {text}"));
    assert!(sent.iter().all(|part| part.chars().count() <= 106), "{sent:?}");
    // Slack was not asked to.
    assert_eq!(
        status(app.webhooks().slack(2, "D1", &format!("[say:{text}]"))).await,
        200
    );
    app.settled().await;
    assert_eq!(app.platform.messages("D1").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_at_the_end_of_an_answer_come_with_pauses_between_them() {
    let extra = json!({"agents": {"defaults": {"humanDelay": {"mode": "custom", "minMs": 20, "maxMs": 30},
        "blockStreamingBreak": "message_end"}}});
    let app = TestApp::start_with(&parts(&extra), &[]).await;
    let text = sentences(8);
    say(&app, 1, &format!("[say:{text}]")).await;
    app.settled().await;
    assert_eq!(texts(&app).join(" "), text);
    let taken: Vec<i64> = app
        .rows()
        .await
        .column("SELECT updated_at - created_at FROM outbox WHERE kind = 'final' ORDER BY id")
        .await;
    assert!(taken.len() > 2, "{taken:?}");
    for (at, taken) in (0..).zip(&taken) {
        assert!(*taken >= 20 * at, "part {at} came after {taken} ms");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_an_answer_in_parts_repeats_no_part() {
    let mut app = TestApp::start_with(&parts(&json!({})), &[]).await;
    say(&app, 1, &format!("[gate] [say:{}]", sentences(12))).await;
    app.model.release(30);
    app.platform.message("700", "sentence 0").await;
    let rows = app.rows().await;
    becomes("parts on their way", 0, || async {
        rows.count("outbox WHERE state IN ('pending', 'sending')").await
    })
    .await;
    tokio::task::block_in_place(|| {
        app.binary.kill();
        app.binary.start();
    });
    app.platform.message("700", "interrupted by a restart").await;
    app.settled().await;
    let sent = texts(&app);
    for at in 0..12 {
        let words = format!("sentence {at} ");
        let count = sent.iter().filter(|part| part.contains(&words)).count();
        assert!(count <= 1, "sentence {at} came {count} times: {sent:?}");
    }
    assert!(sent.last().is_some_and(|last| last.contains("interrupted")), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_cut_as_the_account_says_and_its_prefix_rules() {
    let extra = json!({"messages": {"responsePrefix": "global"},
        "channels": {"telegram": {"textChunkLimit": 90, "responsePrefix": ""},
            "slack": {"chunkMode": "newline", "responsePrefix": "({model})"}}});
    let app = TestApp::start_with(&extra, &[]).await;
    let text = sentences(5);
    say(&app, 1, &format!("[say:{text}]")).await;
    assert_eq!(status(app.webhooks().slack(2, "D1", "[say:One.\n\nTwo.]")).await, 200);
    app.settled().await;
    let sent = texts(&app);
    assert!(
        sent.len() > 1 && sent.iter().all(|part| part.chars().count() <= 90),
        "{sent:?}"
    );
    assert_eq!(sent.join(" "), text);
    let slack: Vec<String> = app.platform.messages("D1").into_iter().map(|call| call.text).collect();
    assert_eq!(slack, ["(mock-1) One.", "Two."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_policy_denies_it_nothing_is_sent() {
    let extra = json!({"session": {"sendPolicy": {"rules": [
        {"action": "deny", "match": {"channel": "telegram", "chatType": "direct"}}]}}});
    let app = TestApp::start_with(&extra, &[]).await;
    say(&app, 1, "#one").await;
    app.settled().await;
    assert_eq!(app.model.calls().len(), 1, "it is read");
    assert!(texts(&app).is_empty());
    assert_eq!(status(app.webhooks().slack(2, "D1", "#two")).await, 200);
    app.platform.message("D1", "#two").await;
    // Nor may the agent write there from elsewhere.
    let mut operator = app.operator().await;
    let order = calls_tool(
        "message",
        &json!({"action": "send", "channel": "telegram", "target": "700", "message": "psst"}),
    );
    let params = json!({"sessionKey": "main", "message": format!("{order} #three"), "idempotencyKey": "r1"});
    operator.call("chat.send", params).await.expect("accepted");
    operator.chat_end("r1").await;
    assert!(texts(&app).is_empty());
    let last = app.model.calls().pop().expect("asked");
    assert!(last["messages"].to_string().contains("send blocked by session policy"));
    // A session's own word goes before the rules, and closes it for clients too.
    let key = json!({"key": "main", "sendPolicy": "deny"});
    operator.call("sessions.patch", key).await.expect("patched");
    let params = json!({"sessionKey": "main", "message": "#four", "idempotencyKey": "r2"});
    let refused = operator.call("chat.send", params.clone()).await.expect_err("denied");
    assert_eq!(
        (&refused["code"], &refused["message"]),
        (&json!("INVALID_REQUEST"), &json!("send blocked by session policy"))
    );
    let key = json!({"key": "main", "sendPolicy": null});
    operator.call("sessions.patch", key).await.expect("patched");
    operator.call("chat.send", params).await.expect("open again");
    operator.chat_end("r2").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_answers_the_message_it_names() {
    let app = TestApp::start().await;
    for (update, text) in [
        (1, says("[[reply_to_current]] yes")),
        (2, says("[[reply_to:1]] and again")),
        (3, "#three".to_owned()),
    ] {
        say(&app, update, &text).await;
        app.settled().await;
    }
    // Slack has threads instead, and begins none unless it is told to.
    let tagged = says("[[reply_to_current]] here");
    assert_eq!(status(app.webhooks().slack(4, "D1", &tagged)).await, 200);
    app.platform.message("D1", "here").await;
    app.settled().await;
    let answered: Vec<String> = app
        .rows()
        .await
        .column("SELECT coalesce(destination ->> 'replyTo', '') FROM outbox WHERE kind = 'final' ORDER BY id")
        .await;
    assert_eq!(answered, ["1", "1", "", ""]);
    assert_eq!(texts(&app), ["yes", "and again", "re: #three end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_to_mode_says_which_messages_are_replies() {
    let extra = json!({"channels": {"telegram": {"replyToMode": "first", "textChunkLimit": 90}}});
    let app = TestApp::start_with(&extra, &[]).await;
    say(&app, 1, &format!("[say:{}]", sentences(5))).await;
    app.settled().await;
    let answered: Vec<String> = app
        .rows()
        .await
        .column("SELECT coalesce(destination ->> 'replyTo', '') FROM outbox WHERE kind = 'final' ORDER BY id")
        .await;
    assert!(answered.len() > 1, "{answered:?}");
    assert!(
        answered[0] == "1" && answered[1..].iter().all(String::is_empty),
        "{answered:?}"
    );
}

/// A thread of a direct chat is no session of its own, and still the place where its messages are answered.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_a_thread_of_a_direct_chat_is_answered_there() {
    let app = TestApp::start_with(
        &json!({"channels": {"slack": {"replyToMode": "first", "textChunkLimit": 90}}}),
        &[],
    )
    .await;
    // What each of the messages that answer it stands below.
    let mut known = 0;
    let mut answers = async |event: u64, thread: Option<&str>, text: &str| {
        let mut body = slack_event(event, "D1", text);
        if let Some(thread) = thread {
            body["event"]["thread_ts"] = thread.into();
        }
        assert_eq!(status(app.webhooks().slack_body(&body, SLACK_SECRET)).await, 200);
        app.settled().await;
        let sql = "SELECT coalesce(destination ->> 'replyTo', '-') FROM outbox ORDER BY id";
        let all: Vec<String> = app.rows().await.column(sql).await;
        let new = all[known..].to_vec();
        known = all.len();
        new
    };
    let (root, long) = ("1763800000.000000", format!("[say:{}]", sentences(3)));
    assert_eq!(answers(1, Some(root), &long).await, [root, root]);
    assert_eq!(answers(2, Some(root), &says("[[reply_to_current]] yes")).await, [root]);
    let status = answers(3, Some(root), "/status").await;
    assert!(
        !status.is_empty() && status.iter().all(|below| below == root),
        "{status:?}"
    );
    // Outside a thread the first message of the answer begins one.
    assert_eq!(answers(4, None, &long).await, ["1763800000.000004", "-"]);
}

/// PostgreSQL stores no U+0000: one of them held up its session until the turn was a dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_what_somebody_says_holds_up_nobody() {
    let app = TestApp::start().await;
    say(&app, 1, "[say:be␀fore]").await;
    app.platform.message("700", "before").await;
    let call = calls_tool("session_status", &json!({"session\0Key": "a\0b"}));
    say(&app, 2, &format!("{call} #two")).await;
    app.platform.message("700", "re: #two end").await;
    say(&app, 3, "a\0b #three").await;
    app.platform.message("700", "re: #three end").await;
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("inbox WHERE state = 'done'").await, 3);
    assert_eq!(rows.count("inbox WHERE attempts > 1").await, 0);
    assert!(
        app.model
            .calls()
            .iter()
            .any(|call| question(call).contains("ab #three"))
    );

    let mut operator = app.operator().await;
    let send = json!({"sessionKey": "main", "message": "hello", "idempotencyKey": "a"});
    for (name, value) in [("idempotencyKey", "a\0b"), ("message", "a\0b"), ("sessionKey", "a\0b")] {
        let mut params = send.clone();
        params[name] = json!(value);
        let refused = operator.call("chat.send", params).await.expect_err("refused");
        assert_eq!(refused["code"], "INVALID_REQUEST", "{name}: {refused}");
    }
    let patch = json!({"key": "main", "label": "a\0b"});
    if let Err(refused) = operator.call("sessions.patch", patch).await {
        assert_eq!(refused["code"], "INVALID_REQUEST", "{refused}");
    }
}

/// The run had gone on until the preview was sent, and a restart lost the answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_on_record_before_its_preview_is_sent_and_takes_its_place() {
    let extra = json!({"channels": {"telegram": {"streaming": "partial"}}});
    let mut app = TestApp::start_with(&extra, &[]).await;
    let busy = json!({"ok": false, "error_code": 429, "description": "Too Many Requests",
        "parameters": {"retry_after": 900}});
    app.platform.trouble("sendMessage", Trouble::Answer(429, busy));
    // The first piece comes late enough to be shown.
    app.model.release(1);
    let pieces = "[pieces:This is how a long answer begins. |And this is its end.]";
    say(&app, 1, &format!("[slow:1300] [gate] {pieces}")).await;
    let rows = app.rows().await;
    let put_off = "outbox WHERE kind = 'preview' AND state = 'pending' AND next_attempt_at > 0";
    becomes("previews put off", 1, || rows.count(put_off)).await;
    app.model.release(3);
    becomes("turns with an answer", 1, || rows.count("run WHERE status = 'ok'")).await;
    assert_eq!(rows.count("outbox WHERE state = 'pending'").await, 2);
    // As if the time was over.
    tokio::task::block_in_place(|| app.binary.kill());
    rows.execute("UPDATE outbox SET next_attempt_at = 0").await;
    tokio::task::block_in_place(|| app.binary.start());
    app.settled().await;
    assert_eq!(texts(&app), ["This is how a long answer begins. And this is its end."]);
    assert!(app.platform.calls().iter().all(|call| call.method != "editMessageText"));
    let skipped = "outbox WHERE kind = 'preview' AND state = 'skipped'";
    assert_eq!(rows.count(skipped).await, 1);
}
