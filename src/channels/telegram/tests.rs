//! Recorded updates through `parse`, and methods against a fake Bot API.

use claw_actors::ports::channel::{
    Account, Attachment, Channel, DeliverError, Delivery, Destination, Inbound, Malformed, Peer, PeerKind, RawWebhook,
    Rendered, WebhookOutcome,
};
use serde_json::{Value, json};

use super::Telegram;
use crate::egress::testing::{FakeServer, Reply, Seen};

const TOKEN: &str = "123456:AAtoken-_x";
const HEADER: &str = "x-telegram-bot-api-secret-token";

fn account(config: Value) -> Account {
    Account {
        tenant: "t1".into(),
        channel: "telegram".into(),
        account_id: "default".into(),
        config,
        identity: json!({"id": "123456", "username": "claw_bot", "hasTopicsEnabled": false}),
        secrets: [
            ("botToken".to_owned(), TOKEN.into()),
            ("webhookSecret".to_owned(), "Vq3-_k9Zt0aB7cD2".into()),
        ]
        .into(),
    }
}

fn telegram() -> Telegram {
    Telegram::new(FakeServer::egress())
}

fn hook(body: &str) -> RawWebhook {
    RawWebhook {
        method: "POST".into(),
        path: "/webhooks/telegram".into(),
        query: String::new(),
        headers: vec![
            ("content-type".into(), "application/json".into()),
            (HEADER.into(), "Vq3-_k9Zt0aB7cD2".into()),
        ],
        body: body.as_bytes().to_vec(),
        now: 1_763_800_010,
    }
}

fn outcome(body: &str) -> WebhookOutcome {
    telegram().parse(&hook(body), &account(json!({}))).expect("an update")
}

fn message(body: &str) -> Inbound {
    match outcome(body) {
        WebhookOutcome::Messages {
            mut messages,
            reply: None,
        } if messages.len() == 1 => messages.remove(0),
        other => panic!("not one message: {other:?}"),
    }
}

fn ignored(body: &str) -> &'static str {
    match outcome(body) {
        WebhookOutcome::Ignore(reason) => reason,
        other => panic!("not ignored: {other:?}"),
    }
}

/// An update with a text in a group.
fn said(text: &str, entities: Value) -> String {
    json!({"update_id": 1, "message": {
        "message_id": 2, "date": 3, "from": {"id": 700_100_200, "first_name": "Ada"},
        "chat": {"id": -5, "type": "supergroup", "title": "Team"}, "text": text, "entities": entities,
    }})
    .to_string()
}

// ── proof ──

#[test]
fn only_the_exact_secret_proves() {
    let verify = |change: &dyn Fn(&mut RawWebhook, &mut Account)| {
        let (mut hook, mut account) = (hook("{}"), account(json!({})));
        change(&mut hook, &mut account);
        telegram().verify(&hook, &account).map_err(|refused| refused.reason)
    };
    assert_eq!(verify(&|_, _| {}), Ok(()));
    assert_eq!(verify(&|hook, _| hook.headers[1].1.push(' ')), Err("wrong secret"));
    assert_eq!(verify(&|hook, _| hook.headers[1].1.clear()), Err("wrong secret"));
    let twice = |hook: &mut RawWebhook, _: &mut Account| hook.headers.push((HEADER.into(), "Vq3-_k9Zt0aB7cD2".into()));
    assert_eq!(verify(&twice), Err("secret header is missing or doubled"));
    let blank = |hook: &mut RawWebhook, account: &mut Account| {
        hook.headers[1].1.clear();
        account.secrets.insert("webhookSecret".into(), "".into());
    };
    assert_eq!(verify(&blank), Err("no webhook secret is stored"));
}

// ── parsing ──

#[test]
fn a_mention_in_a_forum_topic() {
    insta::assert_json_snapshot!(message(include_str!("fixtures/forum_mention.json")), @r#"
    {
      "eventKey": "update:880012345",
      "messageKey": "msg:-1001234567890:77",
      "peer": {
        "kind": "group",
        "id": "-1001234567890",
        "thread": "42",
        "topic": true,
        "title": "Ops"
      },
      "sender": {
        "id": "700100200",
        "name": "Ada Lovelace",
        "username": "ada_l",
        "isBot": false
      },
      "text": "status?",
      "messageId": "77",
      "mention": {
        "native": true,
        "replyToBot": false
      },
      "sentAt": 1763800000000,
      "edited": false,
      "command": false
    }
    "#);
}

#[test]
fn a_direct_message_and_its_edit() {
    let first = message(include_str!("fixtures/private_text.json"));
    assert_eq!(first.peer.kind, PeerKind::Direct);
    assert_eq!(
        (first.peer.id.as_str(), first.peer.thread.as_deref()),
        ("700100200", None)
    );
    assert_eq!(first.text, "hello 👋");
    assert!(!first.mention.native && !first.edited);
    let edit = message(include_str!("fixtures/edited.json"));
    assert_eq!(edit.message_key.as_deref(), Some("edit:700100200:5:1763800060"));
    assert_eq!(
        (edit.message_id.as_str(), edit.sent_at, edit.edited),
        ("5", 1_763_800_060_000, true)
    );
}

#[test]
fn a_channel_post_is_by_the_channel() {
    let post = message(include_str!("fixtures/channel_post.json"));
    assert_eq!(post.sender.id, "-1009876543210");
    assert_eq!(post.sender.name, "News");
    assert_eq!(post.peer.kind, PeerKind::Group);
}

#[test]
fn a_photo_counts_once_in_its_largest_size() {
    let photo = message(include_str!("fixtures/photo_caption.json"));
    assert_eq!(photo.text, "what is this?");
    assert_eq!(
        photo.attachments,
        [Attachment {
            kind: "image".into(),
            file: "large".into(),
            mime_type: Some("image/jpeg".into()),
            name: None,
            size: Some(90_000),
        }]
    );
}

#[test]
fn a_place_is_an_attachment_and_words() {
    let place = message(include_str!("fixtures/venue.json"));
    assert_eq!(place.text, "📍 52.5, 13.25 (Café, Main St 1)");
    assert_eq!(
        (place.attachments[0].kind.as_str(), place.attachments[0].file.as_str()),
        ("location", "geo:52.5,13.25")
    );
}

#[test]
fn other_media() {
    let with = |media: Value| {
        let mut update = json!({"update_id": 1, "message": {"message_id": 2, "date": 3, "chat": {"id": 4, "type": "private"},
            "from": {"id": 4, "first_name": "Ada"}}});
        update["message"]
            .as_object_mut()
            .expect("an object")
            .extend(media.as_object().expect("an object").clone());
        let message = message(&update.to_string());
        let list: Vec<_> = message
            .attachments
            .iter()
            .map(|a| format!("{} {} {}", a.kind, a.file, a.mime_type.as_deref().unwrap_or("-")))
            .collect();
        list.join(", ")
    };
    assert_eq!(with(json!({"voice": {"file_id": "v"}})), "audio v audio/ogg");
    assert_eq!(
        with(json!({"animation": {"file_id": "g"}, "document": {"file_id": "g", "mime_type": "video/mp4"}})),
        "video g video/mp4"
    );
    assert_eq!(
        with(json!({"document": {"file_id": "d", "mime_type": "text/csv"}})),
        "document d text/csv"
    );
    assert_eq!(
        with(json!({"sticker": {"file_id": "s", "is_video": true, "emoji": "👍"}})),
        "sticker s video/webm"
    );
}

#[test]
fn a_button_says_its_data_and_is_answered_in_the_response() {
    let WebhookOutcome::Messages { messages, reply } = outcome(include_str!("fixtures/callback_query.json")) else {
        panic!("a button is a message");
    };
    let [press] = messages.as_slice() else {
        panic!("one message")
    };
    assert_eq!(press.text, "/deploy yes");
    assert!(press.command && press.mention.native);
    assert_eq!(press.sender.id, "700100200");
    assert_eq!(press.peer.thread.as_deref(), Some("42"));
    assert_eq!(press.event_key, "update:880012350");
    let answer: Value = serde_json::from_str(&reply.expect("an answer").body).expect("JSON");
    assert_eq!(
        answer,
        json!({"method": "answerCallbackQuery", "callback_query_id": "4382bfdwdsb323b2d9"})
    );
}

#[test]
fn a_reply_with_a_quote() {
    let reply = message(include_str!("fixtures/reply_quote.json"));
    assert!(reply.mention.reply_to_bot && !reply.mention.native);
    let quoted = reply.reply_to.expect("it answers something");
    assert_eq!((quoted.message_id.as_str(), quoted.sender.as_str()), ("70", "Claw"));
    assert_eq!(quoted.text, "The disk is full.");
}

#[test]
fn what_is_not_for_us() {
    assert_eq!(
        ignored(include_str!("fixtures/migrated.json")),
        "group became a supergroup"
    );
    assert_eq!(
        ignored(include_str!("fixtures/my_chat_member.json")),
        "update kind is not used"
    );
    let joined = r#"{"update_id":1,"message":{"message_id":2,"date":3,"chat":{"id":-5,"type":"group"},
        "from":{"id":7,"first_name":"Ada"},"new_chat_members":[{"id":8}]}}"#;
    assert_eq!(ignored(joined), "nothing to read in it");
    let own = r#"{"update_id":1,"message":{"message_id":2,"date":3,"chat":{"id":-5,"type":"group"},
        "from":{"id":123456,"is_bot":true},"text":"echo"}}"#;
    assert_eq!(ignored(own), "own message");
}

#[test]
fn names_are_found_by_utf16_offsets_and_taken_out() {
    let check = |text: &str, entities: Value, expected: &str, native: bool, command: bool| {
        let read = message(&said(text, entities));
        assert_eq!(
            (read.text.as_str(), read.mention.native, read.command),
            (expected, native, command),
            "{text}"
        );
    };
    let mention = |offset: usize| json!([{"type": "mention", "offset": offset, "length": 9}]);
    check("👋 @claw_bot go", mention(3), "👋 go", true, false);
    check("@CLAW_bot: go", mention(0), ": go", true, false);
    check("@other_bo go", mention(0), "@other_bo go", false, false);
    check("hey @claw_bot what", mention(4), "hey what", true, false);
    check(
        "hi Claw",
        json!([{"type": "text_mention", "offset": 3, "length": 4, "user": {"id": 123_456}}]),
        "hi",
        true,
        false,
    );
    check(
        "hi Ada",
        json!([{"type": "text_mention", "offset": 3, "length": 3, "user": {"id": 9}}]),
        "hi Ada",
        false,
        false,
    );
    let command = |length: usize| json!([{"type": "bot_command", "offset": 0, "length": length}]);
    check("/status@claw_bot now", command(16), "/status now", true, true);
    check(
        "/status@other_bot now",
        command(17),
        "/status@other_bot now",
        false,
        false,
    );
    check("/status now", command(7), "/status now", false, false);
    // Offsets that lie: inside a character, past the end, overflowing.
    check(
        "👋👋",
        json!([{"type": "mention", "offset": 1, "length": 2}]),
        "👋👋",
        false,
        false,
    );
    check(
        "é",
        json!([{"type": "mention", "offset": 0, "length": 900}]),
        "é",
        false,
        false,
    );
    check(
        "ab",
        json!([{"type": "mention", "offset": usize::MAX, "length": 2}]),
        "ab",
        false,
        false,
    );
    check(
        "ab",
        json!([{"type": "mention", "offset": -1, "length": "x"}, 7]),
        "ab",
        false,
        false,
    );
}

#[test]
fn a_command_in_a_direct_chat_needs_no_name() {
    let body = r#"{"update_id":1,"message":{"message_id":2,"date":3,"chat":{"id":7,"type":"private"},
        "from":{"id":7,"first_name":"Ada"},"text":"/status","entities":[{"type":"bot_command","offset":0,"length":7}]}}"#;
    assert!(message(body).command);
}

#[test]
fn which_chats_have_threads() {
    let thread = |chat: Value, extra: Value, topics: bool| {
        let mut message =
            json!({"message_id": 2, "date": 3, "chat": chat, "from": {"id": 7, "first_name": "A"}, "text": "x"});
        message
            .as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        let mut account = account(json!({}));
        account.identity["hasTopicsEnabled"] = topics.into();
        let body = json!({"update_id": 1, "message": message}).to_string();
        match telegram().parse(&hook(&body), &account) {
            Ok(WebhookOutcome::Messages { messages, .. }) => (messages[0].peer.thread.clone(), messages[0].peer.topic),
            other => panic!("{other:?}"),
        }
    };
    let forum = json!({"id": -5, "type": "supergroup", "is_forum": true});
    let group = json!({"id": -5, "type": "supergroup"});
    let direct = json!({"id": 7, "type": "private"});
    let topic = json!({"message_thread_id": 42, "is_topic_message": true});
    let reply_thread = json!({"message_thread_id": 42});
    assert_eq!(thread(forum.clone(), topic.clone(), false), (Some("42".into()), true));
    assert_eq!(thread(forum.clone(), json!({}), false), (Some("1".into()), true));
    assert_eq!(thread(forum, reply_thread.clone(), false), (Some("1".into()), true));
    assert_eq!(thread(group, reply_thread, false), (None, false));
    assert_eq!(thread(direct.clone(), topic.clone(), false), (None, false));
    assert_eq!(thread(direct, topic, true), (Some("42".into()), false));
}

#[test]
fn an_anonymous_administrator_speaks_for_the_group() {
    let body = r#"{"update_id":1,"message":{"message_id":2,"date":3,"chat":{"id":-5,"type":"supergroup","title":"Team"},
        "from":{"id":1087968824,"is_bot":true,"first_name":"Group"},"sender_chat":{"id":-5,"type":"supergroup","title":"Team"},"text":"x"}}"#;
    let message = message(body);
    assert_eq!((message.sender.id.as_str(), message.sender.is_bot), ("-5", false));
}

#[test]
fn hostile_bodies_never_panic() {
    let parse = |body: &str| telegram().parse(&hook(body), &account(json!({})));
    for body in ["", "null", "[]", "7", "{", "{\"update_id\":\"x\"}", "{}", "\u{fffd}"] {
        assert!(matches!(parse(body), Err(Malformed { .. })), "{body}");
    }
    assert!(parse(&"[".repeat(100_000)).is_err());
    let deep = format!(
        "{{\"update_id\":1,\"message\":{}1{}}}",
        "{\"a\":".repeat(5000),
        "}".repeat(5000)
    );
    assert!(parse(&deep).is_err());
    for message in [
        json!(null),
        json!(7),
        json!([]),
        json!({}),
        json!({"chat": 5, "message_id": "7", "from": []}),
        json!({"chat": {"id": 1e300}, "message_id": i64::MAX, "date": i64::MAX}),
        json!({"chat": {"id": 4}, "message_id": 1, "date": i64::MAX, "text": {"a": 1}, "photo": {"x": []}, "entities": 4}),
    ] {
        let body = json!({"update_id": 1, "message": message}).to_string();
        assert!(matches!(parse(&body), Ok(WebhookOutcome::Ignore(_))), "{body}");
    }
}

// ── outbound ──

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
    match class(429, wait).await {
        DeliverError::Retry { after, .. } => assert_eq!(after, Some(std::time::Duration::from_secs(7))),
        other => panic!("{other:?}"),
    }
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

// ── connecting ──

#[tokio::test]
async fn connecting_sets_a_fresh_secret() {
    let (fake, account) = server(|method, _| match method {
        "getMe" => (
            200,
            json!({"ok": true, "result": {"id": 123_456, "is_bot": true, "first_name": "Claw", "username": "claw_bot",
                "can_read_all_group_messages": false, "has_topics_enabled": true}}),
        ),
        _ => (200, json!({"ok": true, "result": true})),
    })
    .await;
    let telegram = telegram();
    let connected = telegram
        .connect(&account, "https://acme.test/webhooks/telegram")
        .await
        .expect("connected");
    assert_eq!(
        connected.identity,
        json!({"id": "123456", "username": "claw_bot", "name": "Claw", "canReadAllGroupMessages": false, "hasTopicsEnabled": true})
    );
    assert_eq!(connected.warnings.len(), 1);
    let secret = connected.generated["webhookSecret"].expose().to_owned();
    let webhook = fake.seen()[1].json();
    assert_eq!(webhook["url"], "https://acme.test/webhooks/telegram");
    assert_eq!(webhook["secret_token"], secret);
    assert!(secret.len() >= 32 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
    assert!(
        webhook["allowed_updates"]
            .as_array()
            .expect("a list")
            .contains(&json!("callback_query"))
    );
    let again = telegram
        .connect(&account, "https://acme.test/webhooks/telegram")
        .await
        .expect("connected");
    assert_ne!(again.generated["webhookSecret"].expose(), secret);
    telegram.disconnect(&account).await.expect("gone");
    assert_eq!(methods(&fake).last().map(String::as_str), Some("deleteWebhook"));
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
