//! Shortcuts inside a longer message (`/status`, `/help`, `/commands`, `/whoami`): answered at once and once, and the rest of
//! the message goes on to the model.

use serde_json::{Value, json};

use crate::support::app::{OWNER, TestApp};
use crate::support::model::{prompt, question};
use crate::support::wait::becomes;

const OWNERS_CHAT: i64 = 700;
const GUESTS_CHAT: i64 = 900;

/// Answers in a chat that hold this.
fn answers(app: &TestApp, chat: &str, part: &str) -> usize {
    let said = app.platform.messages(chat);
    said.iter().filter(|call| call.text.contains(part)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shortcut_in_a_text_is_answered_and_the_rest_is_asked() {
    let app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "before you go on, /status please #one /id")
        .await;
    app.platform.message("700", "re: #one end").await;
    let asked = prompt(&app.model.asked("#one").await);
    assert!(asked.contains("before you go on, please #one"), "{asked}");
    assert!(!asked.contains("/status") && !asked.contains("/id"), "{asked}");
    let said = app.platform.messages("700");
    let at = |part: &str| said.iter().position(|call| call.text.contains(part));
    assert!(at("Model:") < at("re: #one"), "the shortcut is answered first");
    assert_eq!(answers(&app, "700", "Sender id: 700"), 1);
    // A guest whose commands are heard has them too; code and longer words are text.
    app.says(3, GUESTS_CHAT, "what is `/status` or /statusquo, /whoami #two")
        .await;
    app.platform.message("900", "re: #two end").await;
    app.platform.message("900", "Sender id: 900").await;
    let asked = prompt(&app.model.asked("#two").await);
    assert!(asked.contains("what is `/status` or /statusquo, #two"), "{asked}");
    app.settled().await;
    assert_eq!((answers(&app, "700", "Model:"), answers(&app, "900", "Model:")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_whose_commands_are_not_heard_a_shortcut_is_text() {
    let heard = json!({"commands": {"allowFrom": {"telegram": [OWNERS_CHAT]}}});
    let app = TestApp::start_with(&heard, &[]).await;
    app.says(2, GUESTS_CHAT, "hello /status #one").await;
    app.platform.message("900", "re: #one end").await;
    assert!(question(&app.model.calls()[0]).contains("hello /status #one"));
    app.settled().await;
    assert_eq!(answers(&app, "900", "Model:"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_answer_as_a_run_of_its_own() {
    let app = TestApp::start().await;
    let mut operator = app.operator().await;
    let mut watcher = app.operator().await;
    let params = json!({"sessionKey": "main", "message": "/status how are you? #one", "idempotencyKey": "r1"});
    operator.call("chat.send", params).await.expect("accepted");
    let told = watcher.chat_end("r1:shortcut").await;
    let text = told["message"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("Model:"), "{told}");
    let end = operator.chat_end("r1").await;
    assert_eq!(end["message"]["content"][0]["text"], "re: #one end");
    assert_eq!(question(&app.model.calls()[0]), "how are you? #one");
    let history: Value = operator
        .call("chat.history", json!({"sessionKey": "main"}))
        .await
        .expect("reads");
    assert!(!history.to_string().contains("/status"), "{history}");
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("run WHERE id = 'r1:shortcut' AND status = 'ok'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_answer_neither_answers_again_nor_loses_the_rest() {
    let mut app = TestApp::start().await;
    app.link(OWNER, OWNERS_CHAT).await;
    app.says(2, OWNERS_CHAT, "[gate] #busy").await;
    app.model.asked("#busy").await;
    app.says(3, OWNERS_CHAT, "and /status then #rest").await;
    app.platform.message("700", "Model:").await;
    let rows = app.rows().await;
    becomes("the answer is on record", 1, || {
        rows.count("outbox WHERE text LIKE '%Compactions:%' AND state = 'sent'")
    })
    .await;
    drop(rows);
    app.binary.kill();
    app.binary.start();
    app.model.release(1_000);
    app.platform.message("700", "re: #busy end").await;
    app.platform.message("700", "#rest end").await;
    app.settled().await;
    assert_eq!(answers(&app, "700", "Compactions:"), 1);
    let asked = prompt(&app.model.asked("#rest").await);
    assert!(asked.contains("and then #rest"), "{asked}");
}
