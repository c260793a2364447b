//! Methods against a fake API.

use claw_actors::ports::channel::{
    Account, Attachment, Channel, Choice, DeliverError, Delivery, Destination, Peer, PeerKind, Reached, Rendered,
};
use serde_json::{Value, json};

use super::{TOKEN, account, telegram};
use crate::egress::testing::{FakeServer, Reply, Seen};

fn to(thread: Option<&str>) -> Destination {
    Destination {
        channel: "telegram".into(),
        account_id: "default".into(),
        peer: Peer {
            kind: PeerKind::Group,
            id: "-1001234567890".into(),
            thread: thread.map(str::to_owned),
            topic: thread.is_some(),
            title: None,
            space: None,
        },
        recipient: None,
        reply_to: None,
    }
}

fn delivery(to: Destination, replaces: Option<&str>) -> Delivery {
    Delivery {
        outbox_id: "o1".into(),
        to,
        piece: Rendered {
            text: "<b>hi</b>".into(),
            plain: "hi".into(),
        },
        replaces: replaces.map(str::to_owned),
        choices: None,
    }
}

/// A Bot API that answers by method.
async fn server(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + Sync + 'static) -> (FakeServer, Account) {
    let server = FakeServer::start(move |seen: &Seen| {
        let method = seen.path.rsplit('/').next().unwrap_or_default();
        let params = serde_json::from_slice(&seen.body).unwrap_or_default();
        let (status, body) = answer(method, &params);
        Reply::json(status, &body)
    })
    .await;
    let account = account(json!({"apiRoot": server.url("")}));
    (server, account)
}

fn refusal(code: u16, description: &str) -> (u16, Value) {
    (
        code,
        json!({"ok": false, "error_code": code, "description": description}),
    )
}

fn methods(server: &FakeServer) -> Vec<String> {
    server
        .seen()
        .iter()
        .map(|seen| seen.path.rsplit('/').next().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn sends_html_with_topic_and_reply() {
    let (server, account) = server(|_, _| (200, json!({"ok": true, "result": {"message_id": 900}}))).await;
    let mut delivery = delivery(to(Some("42")), None);
    delivery.to.reply_to = Some("77".into());
    let sent = telegram().deliver(&account, &delivery).await.expect("sent");
    assert_eq!(sent.message_id, "900");
    let seen = server.seen();
    assert_eq!(seen[0].path, format!("/bot{TOKEN}/sendMessage"));
    assert_eq!(
        seen[0].json(),
        json!({
            "chat_id": -1_001_234_567_890_i64, "text": "<b>hi</b>", "parse_mode": "HTML", "message_thread_id": 42,
            "reply_parameters": {"message_id": 77, "allow_sending_without_reply": true},
        })
    );
}

#[tokio::test]
async fn the_general_topic_is_named_for_typing_only() {
    let (server, account) = server(|_, _| (200, json!({"ok": true, "result": {"message_id": 1}}))).await;
    let telegram = telegram();
    telegram
        .deliver(&account, &delivery(to(Some("1")), None))
        .await
        .expect("sent");
    telegram
        .typing()
        .expect("can type")
        .start(&account, &to(Some("1")))
        .await
        .expect("shown");
    let seen = server.seen();
    assert_eq!(seen[0].json().get("message_thread_id"), None);
    assert_eq!(
        seen[1].json(),
        json!({"chat_id": -1_001_234_567_890_i64, "action": "typing", "message_thread_id": 1})
    );
}

#[tokio::test]
async fn markup_that_is_refused_goes_out_as_plain_text() {
    let (server, account) = server(|_, params| match params.get("parse_mode") {
        Some(_) => refusal(400, "Bad Request: can't parse entities: Unsupported start tag"),
        None => (200, json!({"ok": true, "result": {"message_id": 4}})),
    })
    .await;
    let sent = telegram()
        .deliver(&account, &delivery(to(None), None))
        .await
        .expect("sent");
    assert_eq!(sent.message_id, "4");
    assert_eq!(server.seen()[1].json()["text"], "hi");
}

#[tokio::test]
async fn a_deleted_topic_falls_back_to_the_chat() {
    let (server, account) = server(|_, params| match params.get("message_thread_id") {
        Some(_) => refusal(400, "Bad Request: message thread not found"),
        None => (200, json!({"ok": true, "result": {"message_id": 4}})),
    })
    .await;
    telegram()
        .deliver(&account, &delivery(to(Some("42")), None))
        .await
        .expect("sent");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn refusals_by_what_can_be_done() {
    let class = |code: u16, body: Value| async move {
        let (_server, account) = server(move |_, _| (code, body.clone())).await;
        telegram()
            .deliver(&account, &delivery(to(None), None))
            .await
            .expect_err("refused")
    };
    let body = |code: u16, description: &str| refusal(code, description).1;
    let wait = json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 7", "parameters": {"retry_after": 7}});
    let DeliverError::Retry { after, .. } = class(429, wait).await else {
        panic!("a rate limit is a reason to wait");
    };
    assert_eq!(after, Some(std::time::Duration::from_secs(7)));
    let blocked = class(403, body(403, "Forbidden: bot was blocked by the user")).await;
    assert!(
        matches!(&blocked, DeliverError::Rejected { message } if message.contains("blocked")),
        "{blocked:?}"
    );
    let unauthorized = class(401, body(401, "Unauthorized")).await;
    assert!(matches!(&unauthorized, DeliverError::Unauthorized { message } if message.contains("BotFather")));
    assert!(!unauthorized.to_string().contains(TOKEN));
    let moved = json!({"ok": false, "error_code": 400, "description": "group upgraded", "parameters": {"migrate_to_chat_id": -100_200}});
    assert_eq!(class(400, moved).await, DeliverError::Moved { to: "-100200".into() });
    assert!(matches!(
        class(400, body(400, "Bad Request: chat not found")).await,
        DeliverError::Rejected { .. }
    ));
    assert!(matches!(
        class(502, json!("bad gateway")).await,
        DeliverError::Retry { .. }
    ));
    assert!(matches!(
        class(504, json!("timeout")).await,
        DeliverError::Unknown { .. }
    ));
    assert!(matches!(class(200, json!("?")).await, DeliverError::Unknown { .. }));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_a_refused_connection_is_not_sent() {
    let server = FakeServer::start(|_| Reply::Close).await;
    let lost = telegram()
        .deliver(&account(json!({"apiRoot": server.url("")})), &delivery(to(None), None))
        .await
        .expect_err("no answer");
    assert!(matches!(lost, DeliverError::Unknown { .. }), "{lost:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    let unsent = telegram()
        .deliver(&account(json!({"apiRoot": url})), &delivery(to(None), None))
        .await
        .expect_err("nobody listens");
    assert!(matches!(unsent, DeliverError::Retry { .. }), "{unsent:?}");
    assert!(!unsent.to_string().contains(TOKEN) && !lost.to_string().contains(TOKEN));
}

#[tokio::test]
async fn a_preview_is_replaced_in_place_or_sent_anew_when_gone() {
    let (fake, account) = server(|method, params| match (method, params["message_id"].as_i64()) {
        ("editMessageText", Some(5)) => refusal(400, "Bad Request: message is not modified: same content"),
        ("editMessageText", _) => refusal(400, "Bad Request: message to edit not found"),
        _ => (200, json!({"ok": true, "result": {"message_id": 900}})),
    })
    .await;
    let telegram = telegram();
    let same = telegram
        .deliver(&account, &delivery(to(None), Some("5")))
        .await
        .expect("edited");
    let gone = telegram
        .deliver(&account, &delivery(to(None), Some("6")))
        .await
        .expect("sent");
    assert_eq!((same.message_id.as_str(), gone.message_id.as_str()), ("5", "900"));
    assert_eq!(methods(&fake), ["editMessageText", "editMessageText", "sendMessage"]);
}

#[tokio::test]
async fn buttons_stand_below_a_message_until_it_is_edited_without() {
    let (fake, account) = server(|_, _| (200, json!({"ok": true, "result": {"message_id": 900}}))).await;
    let telegram = telegram();
    let choice = |value: &str| Choice {
        label: "Deny".to_owned(),
        value: value.to_owned(),
    };
    let long = "x".repeat(65);
    for (replaces, choices, shown) in [
        (
            None,
            vec![choice("/approve 1 deny")],
            json!({"inline_keyboard": [[{"text": "Deny", "callback_data": "/approve 1 deny"}]]}),
        ),
        (Some("900"), Vec::new(), Value::Null),
        (None, vec![choice("/approve 1 deny"), choice(&long)], Value::Null),
    ] {
        let piece = Delivery {
            choices: Some(choices),
            ..delivery(to(None), replaces)
        };
        telegram.deliver(&account, &piece).await.expect("is sent");
        let seen = fake.seen().pop().expect("a request").json();
        assert_eq!(seen["reply_markup"], shown, "{seen}");
    }
}

// ── connecting ──

#[tokio::test]
async fn connecting_sets_a_fresh_secret_unless_there_is_one() {
    let (fake, mut account) = server(|method, _| match method {
        "getMe" => (
            200,
            json!({"ok": true, "result": {"id": 123_456, "is_bot": true, "first_name": "Claw", "username": "claw_bot",
                "can_read_all_group_messages": false, "has_topics_enabled": true}}),
        ),
        _ => (200, json!({"ok": true, "result": true})),
    })
    .await;
    account.secrets.remove("webhookSecret");
    let telegram = telegram();
    let connected = telegram
        .connect(&account, "https://acme.test/webhooks/telegram")
        .await
        .expect("connected");
    let webhook = fake.seen()[1].json();
    assert_eq!(
        connected.identity,
        json!({"id": "123456", "tokenId": "123456", "username": "claw_bot", "name": "Claw",
            "canReadAllGroupMessages": false,
            "hasTopicsEnabled": true, "updates": webhook["allowed_updates"]})
    );
    assert_eq!(connected.warnings.len(), 1);
    let secret = connected.generated["webhookSecret"].expose().to_owned();
    assert_eq!(webhook["url"], "https://acme.test/webhooks/telegram");
    assert_eq!(webhook["secret_token"], secret);
    assert!(secret.len() >= 32 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
    let asked_for = webhook["allowed_updates"].as_array().expect("a list");
    for update in ["callback_query", "message_reaction"] {
        assert!(
            asked_for.contains(&json!(update)),
            "{update} comes only to who asks for it"
        );
    }
    for (before, kept) in [("made-by_hand-1", true), ("not usable!", false)] {
        account.secrets.insert("webhookSecret".to_owned(), before.into());
        let again = telegram
            .connect(&account, "https://acme.test/webhooks/telegram")
            .await
            .expect("connected");
        assert_eq!(again.generated["webhookSecret"].expose() == before, kept, "{before}");
    }
    // Another bot than the one before: what that one knows proves nothing any more.
    account
        .secrets
        .insert("webhookSecret".to_owned(), "made-by_hand-1".into());
    account.identity = json!({"id": "99"});
    let another = telegram.connect(&account, "https://acme.test/webhooks/telegram").await;
    assert_ne!(
        another.expect("connected").generated["webhookSecret"].expose(),
        "made-by_hand-1"
    );
    telegram.disconnect(&account).await.expect("gone");
    assert_eq!(methods(&fake).last().map(String::as_str), Some("deleteWebhook"));
}

#[tokio::test]
async fn a_bot_that_was_asked_for_fewer_updates_is_connected_again() {
    const URL: &str = "https://acme.test/webhooks/telegram";
    let (_fake, mut account) = server(|method, _| match method {
        "getMe" => (
            200,
            json!({"ok": true, "result": {"id": 123_456, "username": "claw_bot"}}),
        ),
        "getWebhookInfo" => (200, json!({"ok": true, "result": {"url": URL}})),
        _ => (200, json!({"ok": true, "result": true})),
    })
    .await;
    let telegram = telegram();
    let look = async |account: &Account, url: &str| {
        let watch = telegram.watch().expect("can look");
        watch.look(account, url).await.expect("an answer")
    };
    let elsewhere = |to: &str| Reached::Elsewhere(to.to_owned());
    assert_eq!(
        look(&account, URL).await,
        elsewhere("the bot was not sent all of its updates"),
        "connected by an earlier version"
    );
    account.identity = telegram.connect(&account, URL).await.expect("connected").identity;
    assert_eq!(look(&account, URL).await, Reached::Here { trouble: None });
    assert_eq!(
        look(&account, "https://acme.test/another").await,
        elsewhere("the bot's updates were sent to acme.test")
    );
}

#[tokio::test]
async fn updates_that_do_not_arrive_are_told_while_it_lasts() {
    const URL: &str = "https://acme.test/webhooks/telegram";
    let check = async |ago: i64, waiting: u64, told: Option<&str>| {
        let failed_at = claw_actors::clock::now_ms() / 1_000 - ago;
        let (_fake, mut account) = server(move |method, _| match method {
            "getMe" => (200, json!({"ok": true, "result": {"id": 123_456}})),
            "getWebhookInfo" => (
                200,
                json!({"ok": true, "result": {"url": URL, "pending_update_count": waiting,
                    "last_error_date": failed_at, "last_error_message": "Connection timed\nout"}}),
            ),
            _ => (200, json!({"ok": true, "result": true})),
        })
        .await;
        let telegram = telegram();
        account.identity = telegram.connect(&account, URL).await.expect("connected").identity;
        let seen = telegram.watch().expect("can look").look(&account, URL).await;
        let trouble = told.map(str::to_owned);
        assert_eq!(seen, Ok(Reached::Here { trouble }), "{ago} seconds ago, {waiting} wait");
    };
    check(60, 0, Some("Telegram says \"Connection timedout\", and 0 updates wait")).await;
    check(
        1_800,
        7,
        Some("Telegram says \"Connection timedout\", and 7 updates wait"),
    )
    .await;
    check(1_800, 0, None).await;
    check(90_000, 7, None).await;
}

#[tokio::test]
async fn a_wrong_token_is_told_clearly_and_never_leaves_its_place_in_the_url() {
    let (fake, mut account) = server(|_, _| refusal(401, "Unauthorized")).await;
    let refused = telegram()
        .connect(&account, "https://acme.test/w")
        .await
        .expect_err("wrong token");
    assert!(matches!(&refused, DeliverError::Unauthorized { message } if message.contains("bot token")));
    assert_eq!(fake.seen().len(), 1);
    for token in ["../../x", "1:a/../b", "nonsense", "1:", ":a", "1:a?b"] {
        account.secrets.insert("botToken".into(), token.into());
        let refused = telegram()
            .connect(&account, "https://acme.test/w")
            .await
            .expect_err("no token");
        assert!(matches!(refused, DeliverError::Unauthorized { .. }), "{token}");
    }
    assert_eq!(fake.seen().len(), 1);
}

// ── media ──

#[tokio::test]
async fn files_are_fetched_within_limits() {
    let fake = FakeServer::start(|seen: &Seen| {
        let params: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        match (seen.path.contains("/file/"), params["file_id"].as_str()) {
            (true, _) => Reply::text(200, "0123456789"),
            (false, Some("escape")) => Reply::json(200, &json!({"ok": true, "result": {"file_path": "a/../../x"}})),
            (false, _) => Reply::json(
                200,
                &json!({"ok": true, "result": {"file_path": "photos/file_1.jpg", "file_size": 10}}),
            ),
        }
    })
    .await;
    let account = account(json!({"apiRoot": fake.url("")}));
    let telegram = telegram();
    let fetch = async |file: &str, limit: usize| {
        let attachment = Attachment {
            kind: "image".into(),
            file: file.into(),
            mime_type: Some("image/jpeg".into()),
            name: None,
            size: None,
        };
        telegram
            .media()
            .expect("has media")
            .fetch(&account, &attachment, limit)
            .await
    };
    let file = fetch("f1", 10).await.expect("fetched");
    assert_eq!(
        (file.bytes.as_slice(), file.mime_type.as_str(), file.name.as_deref()),
        (b"0123456789".as_slice(), "image/jpeg", Some("file_1.jpg"))
    );
    assert_eq!(fake.seen()[1].path, format!("/file/bot{TOKEN}/photos/file_1.jpg"));
    assert!(matches!(fetch("f1", 9).await, Err(DeliverError::Rejected { .. })));
    assert!(matches!(fetch("escape", 10).await, Err(DeliverError::Rejected { .. })));
}
