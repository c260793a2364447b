//! The menu of commands that a bot offers on its platform.

use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::platform::{Call, Trouble};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::status;

const KNOWN: &str = "channel_account WHERE CAST(identity AS text) LIKE '%menu%'";

fn menus(app: &TestApp) -> Vec<Call> {
    let mut calls = app.platform.calls();
    calls.retain(|call| call.method == "setMyCommands");
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_offers_its_commands_and_a_new_version_renews_them() {
    let custom = json!([{"command": "plan", "description": "What is on today"}]);
    let mut app = TestApp::start_with(&json!({"channels": {"telegram": {"customCommands": custom}}}), &[]).await;
    let offered = app.platform.call("setMyCommands").await.text;
    for part in [
        "\"command\":\"fast\"",
        "\"command\":\"status\"",
        "\"command\":\"plan\"",
        "What is on today",
    ] {
        assert!(offered.contains(part), "{part}: {offered}");
    }
    let rows = app.rows().await;
    becomes("accounts whose menu is known", 1, || rows.count(KNOWN)).await;
    // As an earlier version left it; the platform is in trouble when this one comes.
    app.binary.kill();
    let before = menus(&app).len();
    let known = "SELECT CAST(identity AS TEXT) FROM channel_account WHERE channel = 'telegram'";
    let known = rows.column::<String>(known).await.pop().expect("an account");
    let mut identity: Value = serde_json::from_str(&known).expect("JSON");
    identity.as_object_mut().expect("an object").remove("menu");
    let forget = format!("UPDATE channel_account SET identity = '{identity}' WHERE channel = 'telegram'");
    rows.execute(&forget).await;
    let refusal = json!({"ok": false, "error_code": 400, "description": "Bad Request"});
    app.platform.trouble("setMyCommands", Trouble::Answer(400, refusal));
    app.binary.start();
    eventually("it is asked", || async { (menus(&app).len() > before).then_some(()) }).await;
    // That costs the menu alone, and the next start asks again.
    assert_eq!(status(app.webhooks().telegram(1, 700, "#still")).await, 200);
    app.platform.message("700", "#still").await;
    assert_eq!(rows.count(KNOWN).await, 0);
    app.binary.kill();
    app.binary.start();
    becomes("accounts whose menu is known", 1, || rows.count(KNOWN)).await;
    assert_eq!(
        rows.count("channel_account WHERE status = 'connected' AND channel = 'telegram'")
            .await,
        1
    );
    // Who has today's menu is not asked again.
    let asked = menus(&app).len();
    app.binary.kill();
    app.binary.start();
    assert_eq!(status(app.webhooks().telegram(2, 700, "#again")).await, 200);
    app.platform.message("700", "#again").await;
    assert_eq!(menus(&app).len(), asked);
}
