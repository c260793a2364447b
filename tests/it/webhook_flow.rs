//! From a platform's webhook to the reply on the platform, and what bad webhooks get.

use serde_json::json;

use crate::support::app::{SLACK_SECRET, TestApp};
use crate::support::platform::{SLACK_BOT_USER, Trouble};
use crate::support::wait::{becomes, eventually};
use crate::support::webhook::{send, slack_event, status, telegram_update};

#[tokio::test(flavor = "multi_thread")]
async fn a_telegram_message_is_answered_on_telegram() {
    let app = TestApp::start().await;
    let response = send(app.webhooks().telegram(1, 700, "hello #one")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-openclaw-delivery-accepted"], "durable");
    let reply = app.platform.message("700", "re: #one end").await;
    assert!(reply.method == "sendMessage" || reply.method == "editMessageText");
    app.settled().await;
    assert_eq!(app.rows().await.count("inbox WHERE state = 'done'").await, 1);
    let ids: Vec<String> = app
        .rows()
        .await
        .column("SELECT message_id FROM outbox WHERE state = 'sent'")
        .await;
    assert_eq!(ids, [reply.message_id], "the platform's id is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slack_message_is_answered_on_slack() {
    let app = TestApp::start().await;
    assert_eq!(status(app.webhooks().slack(1, "D0ADA0001", "hello #one")).await, 200);
    app.platform.message("D0ADA0001", "re: #one end").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_webhook_is_acknowledged_and_answered_once() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        assert_eq!(status(app.webhooks().telegram(7, 700, "hello #one")).await, 200);
    }
    app.platform.message("700", "#one").await;
    // The same message under another update is the same message.
    let mut again = telegram_update(8, 700, "hello #one");
    again["message"]["message_id"] = json!(7);
    assert_eq!(status(app.webhooks().telegram_body(&again)).await, 200);
    assert_eq!(status(app.webhooks().telegram(9, 700, "hello #two")).await, 200);
    app.platform.message("700", "#two").await;
    app.settled().await;
    assert_eq!(app.rows().await.count("inbox").await, 2);
    assert_eq!(app.platform.messages("700").len(), 2);
}

async fn connected(app: &TestApp) {
    becomes("connected bots", 1, || async {
        let connected = "channel_account WHERE channel = 'telegram' AND status = 'connected'";
        app.rows().await.count(connected).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_somebody_else_changed_is_set_again() {
    let mut app = TestApp::start().await;
    connected(&app).await;
    assert!(app.platform.webhook(4242).contains("/webhooks/telegram"));
    app.platform.point(4242, "https://thief.example/hook/secret");
    // Looked at when the service starts, and every ten minutes.
    app.binary.kill();
    app.binary.start();
    let detail = eventually("the account says what happened", || async {
        let details: Vec<String> = app
            .rows()
            .await
            .column("SELECT coalesce(status_detail, '') FROM channel_account WHERE channel = 'telegram'")
            .await;
        details.into_iter().find(|detail| !detail.is_empty())
    })
    .await;
    assert!(
        detail.contains("thief.example") && !detail.contains("secret"),
        "{detail}"
    );
    assert!(app.platform.webhook(4242).contains("/webhooks/telegram"));
    connected(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bot_in_the_place_of_one_is_answered_and_the_one_before_is_not_believed() {
    let app = TestApp::start().await;
    connected(&app).await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.message("700", "re: #one end").await;
    let another = json!({"enabled": true, "secrets": {"botToken": "4343:another-token"}, "config": {
        "apiRoot": app.platform.telegram_root(), "dmPolicy": "open", "allowFrom": ["*"], "streaming": "off"}});
    let (code, saved) = app.owner().put("/api/channels/telegram/default", &another).await;
    assert_eq!(
        (code, &saved["account"]["status"]),
        (200, &json!("connected")),
        "{saved}"
    );
    let calls = app.platform.calls();
    let last = |method: &str| calls.iter().rfind(|call| call.method == method).expect("it was called");
    assert_eq!((last("deleteWebhook").bot, last("setWebhook").bot), (4242, 4343));
    let mut hooks = app.webhooks();
    assert_eq!(status(hooks.telegram(2, 700, "hello #old")).await, 401);
    hooks.telegram_secret.clone_from(&last("setWebhook").text);
    // Its messages are counted from the beginning again.
    assert_eq!(status(hooks.telegram(1, 700, "hello #two")).await, 200);
    app.platform.message("700", "re: #two end").await;
    app.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_copies_at_the_same_time_are_one_message() {
    let app = TestApp::start().await;
    let copies = (0..16).map(|_| status(app.webhooks().telegram(7, 700, "hello #one")));
    let statuses = futures::future::join_all(copies).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    app.platform.message("700", "#one").await;
    app.settled().await;
    assert_eq!(app.rows().await.count("inbox").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_proof_is_401_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let hooks = app.webhooks();
    let telegram = telegram_update(1, 700, "hello").to_string();
    let slack = slack_event(1, "D0ADA0001", "hello");
    let secret = "x-telegram-bot-api-secret-token";
    let refused = [
        ("no Telegram secret", hooks.post("/webhooks/telegram", telegram.clone())),
        (
            "wrong Telegram secret",
            hooks
                .post("/webhooks/telegram", telegram.clone())
                .header(secret, "wrong"),
        ),
        (
            "Telegram secret twice",
            hooks
                .telegram_body(&telegram_update(1, 700, "hello"))
                .header(secret, "wrong"),
        ),
        ("no Slack signature", hooks.post("/webhooks/slack", slack.to_string())),
        ("wrong Slack secret", hooks.slack_body(&slack, "wrong")),
        (
            "stale Slack time",
            hooks
                .post("/webhooks/slack", slack.to_string())
                .header("x-slack-request-timestamp", "1531420618")
                .header(
                    "x-slack-signature",
                    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
                ),
        ),
    ];
    for (what, request) in refused {
        assert_eq!(status(request).await, 401, "{what}");
    }
    assert_eq!(app.rows().await.count("inbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_tenants_and_channels_are_404_and_say_nothing() {
    let app = TestApp::start().await;
    let mut hooks = app.webhooks();
    assert_eq!(status(hooks.post("/webhooks/nosuch", "{}".into())).await, 404);
    assert_eq!(status(hooks.post("/webhooks/telegram/nosuch", "{}".into())).await, 404);
    hooks.host = app.host("nobody");
    let response = send(hooks.telegram(1, 700, "hello")).await;
    assert_eq!(response.status(), 404);
    let body = response.text().await.unwrap();
    assert!(!body.contains("nobody") && !body.contains("telegram"), "{body}");
    assert_eq!(app.rows().await.count("inbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_bodies_are_4xx_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let hooks = app.webhooks();
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let bodies = [
        ("no JSON", b"hello".to_vec()),
        ("cut JSON", br#"{"update_id": 1, "message": {"#.to_vec()),
        ("deep JSON", deep.into_bytes()),
        (
            "not UTF-8",
            b"{\"update_id\":1,\"message\":{\"text\":\"\xff\xfe\"}}".to_vec(),
        ),
        ("wrong types", br#"{"update_id":"one","message":7}"#.to_vec()),
    ];
    for (what, body) in bodies {
        let request = hooks.telegram(1, 700, "").body(body);
        let got = status(request).await;
        assert!((400..500).contains(&got), "{what}: {got}");
    }
    let huge = hooks.telegram(1, 700, &"x".repeat(11 << 20));
    assert_eq!(status(huge).await, 413, "11 MiB");
    assert_eq!(app.rows().await.count("inbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_reply_is_sent_again_when_the_platform_says() {
    let app = TestApp::start().await;
    app.platform.trouble(
        "sendMessage",
        Trouble::Answer(429, json!({"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 1}})),
    );
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.message("700", "#one").await;
    app.settled().await;
    assert_eq!(app.platform.messages("700").len(), 1);
    assert_eq!(app.rows().await.count("outbox WHERE state = 'sent'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_the_platform_refuses_does_not_block_the_next() {
    let app = TestApp::start().await;
    app.platform.trouble(
        "sendMessage",
        Trouble::Answer(
            403,
            json!({"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
        ),
    );
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.settled().await;
    assert_eq!(app.rows().await.count("outbox WHERE state = 'failed'").await, 1);
    assert_eq!(status(app.webhooks().slack(1, "D0ADA0001", "hello #two")).await, 200);
    app.platform.message("D0ADA0001", "#two").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_account_is_connected_and_keeps_its_webhook_secret() {
    let app = TestApp::start().await;
    app.platform.call("setWebhook").await;
    app.platform.call("auth.test").await;
    let rows = app.rows().await;
    becomes("connected accounts", 2, || {
        rows.count("channel_account WHERE status = 'connected'")
    })
    .await;
    // Signed with the secret of the file.
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    app.platform.message("700", "#one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_closed_account_gets_is_on_record_and_wakes_nobody() {
    let closed = json!({"channels": {"telegram": {"dmPolicy": "disabled"}}});
    let app = TestApp::start_with(&closed, &[]).await;
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    let rows = app.rows().await;
    let reasons: Vec<String> = rows.column("SELECT reason FROM inbox WHERE state = 'skipped'").await;
    assert_eq!(reasons, ["direct messages are disabled"]);
    assert!(app.model.calls().is_empty());
}

/// A group takes less than a bot may send in all: its limit is no other chat's. Two chats at once are the bot.
#[tokio::test(flavor = "multi_thread")]
async fn a_limited_chat_holds_up_no_other_and_two_hold_up_the_bot() {
    let app = TestApp::start().await;
    let refuse_one = || {
        let busy = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 900",
            "parameters": {"retry_after": 900}});
        app.platform.trouble("sendMessage", Trouble::Answer(429, busy));
    };
    let refused = async |count| {
        let put_off = "outbox WHERE attempts = 1 AND state = 'pending'";
        becomes("refused replies", count, || async {
            app.rows().await.count(put_off).await
        })
        .await;
    };
    refuse_one();
    assert_eq!(status(app.webhooks().telegram(1, 700, "hello #one")).await, 200);
    refused(1).await;
    assert_eq!(status(app.webhooks().telegram(2, 701, "hello #two")).await, 200);
    app.platform.message("701", "re: #two end").await;
    refuse_one();
    assert_eq!(status(app.webhooks().telegram(3, 702, "hello #three")).await, 200);
    refused(2).await;
    assert_eq!(status(app.webhooks().telegram(4, 703, "hello #four")).await, 200);
    becomes("replies", 4, || async { app.rows().await.count("outbox").await }).await;
    // Another platform goes on.
    assert_eq!(status(app.webhooks().slack(5, "D0ADA0001", "hello #five")).await, 200);
    app.platform.message("D0ADA0001", "re: #five end").await;
    let asked = app.platform.calls().into_iter();
    assert_eq!(asked.filter(|call| call.method == "sendMessage").count(), 3);
    let waits = "outbox WHERE attempts = 0 AND state = 'pending'";
    assert_eq!(app.rows().await.count(waits).await, 1);
}

/// Who follows up in a thread that the bot takes part in need not mention it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_the_bot_takes_part_in_is_heard_without_a_mention() {
    let groups = json!({"channels": {"slack": {"groupPolicy": "open"}}});
    let app = TestApp::start_with(&groups, &[]).await;
    let say = async |at: u64, root: u64, text: &str| {
        let mut event = slack_event(at, "C0ROOM", text);
        event["event"]["channel_type"] = json!("channel");
        event["event"]["user"] = json!("U0ADA0001");
        event["event"]["thread_ts"] = slack_event(root, "C0ROOM", "")["event"]["ts"].clone();
        assert_eq!(status(app.webhooks().slack_body(&event, SLACK_SECRET)).await, 200);
    };
    say(2, 1, &format!("<@{SLACK_BOT_USER}> hello #one")).await;
    app.platform.message("C0ROOM", "re: #one end").await;
    say(3, 1, "and then? #two").await;
    app.platform.message("C0ROOM", "re: #two end").await;
    // A thread of others.
    say(5, 4, "hello all #three").await;
    app.settled().await;
    let rows = app.rows().await;
    assert_eq!(rows.count("inbox WHERE state = 'context'").await, 1);
    assert_eq!(rows.count("inbox WHERE state = 'done'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_album_is_one_message() {
    let app = TestApp::start().await;
    let sent = [(1, Some("look #album")), (2, None), (3, None)].map(|(message, caption)| {
        let mut body = telegram_update(message, 700, "");
        let photo = body["message"].as_object_mut().expect("a message");
        photo.remove("text");
        if let Some(caption) = caption {
            photo.insert("caption".to_owned(), json!(caption));
        }
        photo.insert("media_group_id".to_owned(), json!("77"));
        photo.insert(
            "photo".to_owned(),
            json!([{"file_id": format!("p{message}"), "width": 90, "height": 90}]),
        );
        status(app.webhooks().telegram_body(&body))
    });
    assert_eq!(futures::future::join_all(sent).await, [200; 3]);
    app.platform.message("700", "re: #album end").await;
    app.settled().await;
    assert_eq!(app.rows().await.count("run").await, 1);
    assert_eq!(app.platform.messages("700").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_slack_has_a_name() {
    let closed = json!({"channels": {"slack": {"dmPolicy": "pairing", "allowFrom": []}}});
    let app = TestApp::start_with(&closed, &[]).await;
    assert_eq!(status(app.webhooks().slack(1, "D0ADA0001", "hello")).await, 200);
    app.platform.message("D0ADA0001", "I do not know you yet").await;
    let names: Vec<String> = app.rows().await.column("SELECT sender_name FROM pairing_request").await;
    assert_eq!(names, ["Ada Lovelace"]);
}
