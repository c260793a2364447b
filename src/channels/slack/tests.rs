//! Recorded requests through `verify` and `parse`, and methods against a fake Web API.

use std::time::Duration;

use claw_actors::crypto::{signature, token};
use claw_actors::ports::channel::{
    Account, Attachment, Channel, DeliverError, Delivery, Destination, Inbound, Malformed, Peer, PeerKind, RawWebhook,
    Rendered, WebhookOutcome,
};
use serde_json::{Value, json};

use super::Slack;
use crate::egress::testing::{FakeServer, Reply, Seen};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const NOW: i64 = 1_763_800_010;

pub(super) fn account(config: Value) -> Account {
    Account {
        tenant: "t1".into(),
        channel: "slack".into(),
        account_id: "default".into(),
        config,
        identity: json!({"teamId": "T0DEMO001", "botUserId": "U0CLAW001", "botId": "B0CLAW001"}),
        secrets: [
            ("botToken".to_owned(), "xoxb-1-secret".into()),
            ("signingSecret".to_owned(), SECRET.into()),
        ]
        .into(),
    }
}

fn slack() -> Slack {
    Slack::new(FakeServer::egress())
}

/// A signed request.
fn hook(content_type: &str, body: &str) -> RawWebhook {
    let timestamp = NOW.to_string();
    let mac = signature::hmac_sha256(SECRET.as_bytes(), &[format!("v0:{timestamp}:{body}").as_bytes()]);
    RawWebhook {
        method: "POST".into(),
        path: "/webhooks/slack".into(),
        query: String::new(),
        headers: vec![
            ("content-type".into(), content_type.into()),
            ("x-slack-request-timestamp".into(), timestamp),
            ("x-slack-signature".into(), format!("v0={}", token::hex(&mac))),
        ],
        body: body.as_bytes().to_vec(),
        now: NOW,
    }
}

fn json_hook(body: &str) -> RawWebhook {
    hook("application/json", body)
}

fn outcome(hook: &RawWebhook, config: Value) -> WebhookOutcome {
    let account = account(config);
    slack().verify(hook, &account).expect("signed");
    slack().parse(hook, &account).expect("a request of Slack")
}

fn message(hook: &RawWebhook, config: Value) -> Inbound {
    match outcome(hook, config) {
        WebhookOutcome::Messages {
            mut messages,
            reply: None,
        } if messages.len() == 1 => messages.remove(0),
        other => panic!("not one message: {other:?}"),
    }
}

fn recorded(body: &str) -> Inbound {
    message(&json_hook(body), json!({}))
}

/// An event around `event`, as Slack sends it.
fn event(event: Value) -> RawWebhook {
    let body =
        json!({"type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "Ev1", "event": event});
    json_hook(&body.to_string())
}

fn ignored(inner: Value) -> &'static str {
    match outcome(&event(inner), json!({})) {
        WebhookOutcome::Ignore(reason) => reason,
        other => panic!("not ignored: {other:?}"),
    }
}

// ── proof ──

#[test]
fn the_signature_must_be_exact_fresh_and_single() {
    let verify = |change: &dyn Fn(&mut RawWebhook, &mut Account)| {
        let (mut hook, mut account) = (json_hook("{\"a\":1}"), account(json!({})));
        change(&mut hook, &mut account);
        slack().verify(&hook, &account).map_err(|refused| refused.reason)
    };
    assert_eq!(verify(&|_, _| {}), Ok(()));
    assert_eq!(verify(&|hook, _| hook.now += 300), Ok(()));
    assert_eq!(
        verify(&|hook, _| hook.now += 301),
        Err("timestamp is outside the window")
    );
    assert_eq!(
        verify(&|hook, _| hook.now -= 301),
        Err("timestamp is outside the window")
    );
    assert_eq!(verify(&|hook, _| hook.body.push(b' ')), Err("wrong signature"));
    assert_eq!(
        verify(&|hook, _| hook.headers[2].1.make_ascii_uppercase()),
        Err("unknown signature version")
    );
    let upper = |hook: &mut RawWebhook, _: &mut Account| {
        hook.headers[2].1 = format!("v0={}", hook.headers[2].1[3..].to_uppercase());
    };
    assert_eq!(verify(&upper), Err("wrong signature"));
    assert_eq!(
        verify(&|hook, _| hook.headers[2].1.truncate(20)),
        Err("wrong signature")
    );
    let doubled = |hook: &mut RawWebhook, _: &mut Account| hook.headers.push(hook.headers[2].clone());
    assert_eq!(verify(&doubled), Err("signature header is missing or doubled"));
    for odd in ["", "+1763800010", "1763800010.0", "99999999999999999999", "now"] {
        assert_eq!(
            verify(&|hook, _| hook.headers[1].1 = odd.into()),
            Err("timestamp is not a number"),
            "{odd}"
        );
    }
    let no_secret = |_: &mut RawWebhook, account: &mut Account| {
        account.secrets.insert("signingSecret".into(), " ".into());
    };
    assert_eq!(verify(&no_secret), Err("no signing secret is stored"));
}

// ── events ──

#[test]
fn the_challenge_is_answered() {
    let hook = json_hook(r#"{"token":"x","challenge":"3eZbrw1a","type":"url_verification"}"#);
    match outcome(&hook, json!({})) {
        WebhookOutcome::Reply(reply) => assert_eq!((reply.status, reply.body.as_str()), (200, "3eZbrw1a")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mention_in_a_thread() {
    insta::assert_json_snapshot!(recorded(include_str!("fixtures/app_mention.json")), @r#"
    {
      "eventKey": "event:Ev0DEMO0001",
      "messageKey": "msg:T0DEMO001:C0OPS0001:1763800000.000100",
      "peer": {
        "kind": "channel",
        "id": "C0OPS0001",
        "thread": "1763790000.000200",
        "topic": false,
        "space": "T0DEMO001"
      },
      "sender": {
        "id": "U0ADA0001",
        "name": "",
        "isBot": false
      },
      "text": "status?",
      "messageId": "1763800000.000100",
      "mention": {
        "native": true,
        "replyToBot": true
      },
      "replyTo": {
        "messageId": "1763790000.000200",
        "sender": "U0CLAW001",
        "text": ""
      },
      "sentAt": 1763800000000,
      "edited": false,
      "command": false
    }
    "#);
}

#[test]
fn one_post_as_two_events_has_one_identity_and_one_place() {
    let mention = recorded(include_str!("fixtures/app_mention.json"));
    let plain = recorded(include_str!("fixtures/message_channel.json"));
    assert_ne!(mention.event_key, plain.event_key);
    assert_eq!(mention.message_key, plain.message_key);
    assert_eq!(
        (mention.peer, mention.mention, mention.text),
        (plain.peer, plain.mention, plain.text)
    );
}

#[test]
fn a_direct_message() {
    let message = recorded(include_str!("fixtures/message_im.json"));
    assert_eq!(
        (message.peer.kind, message.peer.thread.as_deref()),
        (PeerKind::Direct, None)
    );
    assert_eq!(message.text, "1 < 2 & this (https://x.test)");
    assert_eq!(message.sent_at, 1_763_800_001_123);
}

#[test]
fn an_edit_has_its_own_identity() {
    let edit = recorded(include_str!("fixtures/message_changed.json"));
    assert_eq!(
        edit.message_key.as_deref(),
        Some("edit:T0DEMO001:C0OPS0001:1763800000.000100:1763800100.000000")
    );
    assert_eq!((edit.text.as_str(), edit.edited), ("new words", true));
    assert_eq!(edit.message_id, "1763800000.000100");
    let unfurled = json!({"type": "message", "subtype": "message_changed", "channel": "C1",
        "message": {"user": "U1", "text": "same", "ts": "1.2"}, "previous_message": {"text": "same"}});
    assert_eq!(ignored(unfurled), "an edit without new words");
    let ours = json!({"type": "message", "subtype": "message_changed", "channel": "C1",
        "message": {"user": "U0CLAW001", "bot_id": "B0CLAW001", "text": "b", "ts": "1.2", "edited": {"ts": "2.0"}},
        "previous_message": {"text": "a"}});
    assert_eq!(ignored(ours), "own message");
}

#[test]
fn files_without_words_are_a_message() {
    let message = recorded(include_str!("fixtures/file_share.json"));
    let files: Vec<_> = message
        .attachments
        .iter()
        .map(|a| (a.kind.as_str(), a.file.as_str(), a.size))
        .collect();
    assert_eq!(
        files,
        [
            (
                "document",
                "https://files.slack.com/files-pri/T0-F1/download/plan.pdf",
                Some(2048)
            ),
            ("image", "https://files.slack.com/files-pri/T0-F3/a.png", Some(10)),
        ]
    );
}

#[test]
fn what_is_not_for_us() {
    let said = |extra: Value| {
        let mut event = json!({"type": "message", "channel": "C1", "user": "U1", "text": "x", "ts": "1.2"});
        event
            .as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        event
    };
    assert_eq!(ignored(said(json!({"user": "U0CLAW001"}))), "own message");
    assert_eq!(ignored(said(json!({"user": "", "bot_id": "B0CLAW001"}))), "own message");
    assert_eq!(ignored(said(json!({"bot_id": "B9", "app_id": "A1"}))), "own message");
    assert_eq!(
        ignored(said(json!({"subtype": "message_deleted"}))),
        "a deleted message"
    );
    assert_eq!(
        ignored(said(json!({"subtype": "channel_join"}))),
        "message subtype is not used"
    );
    assert_eq!(ignored(said(json!({"text": " "}))), "nothing to read in it");
    assert_eq!(ignored(json!({"type": "reaction_added"})), "event type is not used");
    assert_eq!(
        ignored(json!({"type": "message"})),
        "message without a channel or a timestamp"
    );
    let limited = json_hook(r#"{"type":"app_rate_limited","team_id":"T1","minute_rate_limited":1518467820}"#);
    assert!(matches!(
        outcome(&limited, json!({})),
        WebhookOutcome::Ignore("slack holds events back")
    ));
}

#[test]
fn other_bots_are_marked() {
    let bot = message(
        &event(
            json!({"type": "message", "subtype": "bot_message", "channel": "C1", "bot_id": "B9", "username": "ci", "text": "x", "ts": "1.2"}),
        ),
        json!({}),
    );
    assert!(bot.sender.is_bot);
    assert_eq!((bot.sender.id.as_str(), bot.sender.name.as_str()), ("B9", "ci"));
}

#[test]
fn which_messages_have_threads() {
    let thread = |channel: &str, channel_type: &str, extra: Value, config: Value| {
        let mut said = json!({"type": "message", "channel": channel, "channel_type": channel_type, "user": "U1", "text": "x", "ts": "5.0"});
        said.as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        let message = message(&event(said), config);
        (message.peer.kind, message.peer.thread)
    };
    let root = json!({"thread_ts": "5.0"});
    let reply = json!({"thread_ts": "4.0"});
    let agent = json!({"assistant_thread": {"action_token": "x"}});
    let (direct, group, room) = (PeerKind::Direct, PeerKind::Group, PeerKind::Channel);
    assert_eq!(thread("C1", "channel", json!({}), json!({})), (room, None));
    assert_eq!(thread("C1", "channel", root.clone(), json!({})), (room, None));
    assert_eq!(
        thread("C1", "group", reply.clone(), json!({})),
        (room, Some("4.0".into()))
    );
    assert_eq!(
        thread("C1", "channel", json!({}), json!({"replyToMode": "all"})),
        (room, Some("5.0".into()))
    );
    assert_eq!(
        thread("C1", "channel", reply.clone(), json!({"replyToMode": "all"})),
        (room, Some("4.0".into()))
    );
    assert_eq!(
        thread("G1", "mpim", reply.clone(), json!({})),
        (group, Some("4.0".into()))
    );
    assert_eq!(thread("D1", "im", reply, json!({"replyToMode": "all"})), (direct, None));
    assert_eq!(thread("D1", "im", agent, json!({})), (direct, Some("5.0".into())));
    assert_eq!(thread("D1", "", json!({}), json!({})), (direct, None));
}

#[test]
fn before_connecting_the_bot_is_known_from_the_authorization() {
    let mut account = account(json!({}));
    account.identity = Value::Null;
    let hook = json_hook(include_str!("fixtures/message_channel.json"));
    match slack().parse(&hook, &account).expect("an event") {
        WebhookOutcome::Messages { messages, .. } => {
            assert!(messages[0].mention.native && messages[0].text == "status?")
        }
        other => panic!("{other:?}"),
    }
}

// ── forms ──

fn form(body: &str) -> RawWebhook {
    hook("application/x-www-form-urlencoded; charset=utf-8", body)
}

#[test]
fn a_slash_command() {
    let body = include_str!("fixtures/slash_command.txt");
    let command = message(&form(body), json!({}));
    assert_eq!(
        (command.text.as_str(), command.command, command.mention.native),
        ("what is up?", true, true)
    );
    assert_eq!(
        (command.peer.kind, command.peer.id.as_str()),
        (PeerKind::Channel, "C0OPS0001")
    );
    assert_eq!(command.event_key, "command:13345224609.738474920.8088930838d88f008e0");
    let other = message(&form(&body.replace("%2Fclaw", "%2Fstatus")), json!({}));
    assert_eq!(other.text, "/status what is up?");
    let direct = body
        .replace("channel_name=ops", "channel_name=directmessage")
        .replace("C0OPS0001", "D0OTHER01");
    let direct = message(&form(&direct), json!({}));
    assert_eq!(
        (direct.peer.kind, direct.peer.id.as_str()),
        (PeerKind::Direct, "U0ADA0001")
    );
}

#[test]
fn a_pressed_button() {
    let payload = include_str!("fixtures/block_actions.json");
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", payload)
        .finish();
    let press = message(&form(&body), json!({}));
    assert_eq!((press.text.as_str(), press.command), ("/deploy yes", true));
    assert_eq!(press.peer.thread.as_deref(), Some("1763790000.000200"));
    assert_eq!(
        (press.sender.id.as_str(), press.sent_at),
        ("U0ADA0001", 1_763_800_004_000)
    );
    assert_eq!(press.event_key, "action:1.2.abc");
}

#[test]
fn hostile_bodies_never_panic() {
    let parse = |hook: &RawWebhook| slack().parse(hook, &account(json!({})));
    for body in ["", "null", "[]", "7", "{", "{}", "\u{fffd}"] {
        assert!(matches!(parse(&json_hook(body)), Err(Malformed { .. })), "{body}");
    }
    assert!(parse(&json_hook(&"[".repeat(100_000))).is_err());
    for body in ["", "a=b", "payload=", "payload=%7B", "payload=7", "%00=%ff"] {
        assert!(parse(&form(body)).is_err(), "{body}");
    }
    for body in [
        "command=%2Fx",
        "payload=%7B%7D",
        "command=&text=",
        "payload=%7B%22type%22%3A%22block_actions%22%2C%22actions%22%3A%5B7%5D%7D",
    ] {
        assert!(matches!(parse(&form(body)), Ok(WebhookOutcome::Ignore(_))), "{body}");
    }
    for inner in [
        json!(null),
        json!(7),
        json!({"type": 5}),
        json!({"type": "message", "ts": 1.5, "channel": []}),
        json!({"type": "message", "subtype": "message_changed", "message": 7}),
        json!({"type": "message", "channel": "C1", "ts": "x.y", "user": {}, "text": [], "files": {"a": 1}}),
    ] {
        assert!(
            matches!(parse(&event(inner.clone())), Ok(WebhookOutcome::Ignore(_))),
            "{inner}"
        );
    }
}

// ── outbound ──

fn to(kind: PeerKind, id: &str, thread: Option<&str>) -> Destination {
    Destination {
        channel: "slack".into(),
        account_id: "default".into(),
        peer: Peer {
            kind,
            id: id.into(),
            thread: thread.map(str::to_owned),
            topic: false,
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
            text: "*hi*".into(),
            plain: "hi".into(),
        },
        replaces: replaces.map(str::to_owned),
    }
}

fn room(thread: Option<&str>) -> Destination {
    to(PeerKind::Channel, "C0OPS0001", thread)
}

/// A Web API that answers by method.
async fn server(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> (FakeServer, Account) {
    let server = FakeServer::start(move |seen: &Seen| {
        let params = serde_json::from_slice(&seen.body).unwrap_or_default();
        answer(seen.path.rsplit('/').next().unwrap_or_default(), &params)
    })
    .await;
    let account = account(json!({"apiBaseUrl": server.url("/api/")}));
    (server, account)
}

fn ok(body: Value) -> Reply {
    let mut answer = json!({"ok": true});
    answer
        .as_object_mut()
        .expect("an object")
        .extend(body.as_object().expect("an object").clone());
    Reply::json(200, &answer)
}

fn error(code: &str) -> Reply {
    Reply::json(200, &json!({"ok": false, "error": code}))
}

#[tokio::test]
async fn posts_into_the_thread_with_the_outbox_id() {
    let (fake, account) = server(|_, _| ok(json!({"channel": "C0OPS0001", "ts": "9.1"}))).await;
    let sent = slack()
        .deliver(&account, &delivery(room(Some("4.0")), None))
        .await
        .expect("sent");
    assert_eq!(sent.message_id, "9.1");
    let seen = &fake.seen()[0];
    assert_eq!(seen.path, "/api/chat.postMessage");
    assert_eq!(seen.header("authorization"), Some("Bearer xoxb-1-secret"));
    assert_eq!(
        seen.json(),
        json!({
            "channel": "C0OPS0001", "text": "*hi*", "mrkdwn": true, "thread_ts": "4.0",
            "metadata": {"event_type": "clawcentral_reply", "event_payload": {"outbox_id": "o1"}},
        })
    );
}

#[tokio::test]
async fn the_thread_of_a_direct_chat_is_where_to_answer() {
    let (fake, account) = server(|_, _| ok(json!({"channel": "D1", "ts": "9.1"}))).await;
    let mut aside = delivery(to(PeerKind::Direct, "D1", None), None);
    aside.to.reply_to = Some("4.0".into());
    slack().deliver(&account, &aside).await.expect("sent");
    let mut in_room = delivery(room(None), None);
    in_room.to.reply_to = Some("4.0".into());
    slack().deliver(&account, &in_room).await.expect("sent");
    assert_eq!(fake.seen()[0].json()["thread_ts"], "4.0");
    assert_eq!(fake.seen()[1].json().get("thread_ts"), None);
}

#[tokio::test]
async fn a_message_to_a_person_can_be_edited_in_the_chat_it_went_to() {
    let (fake, account) = server(|_, _| ok(json!({"channel": "D7", "ts": "9.1"}))).await;
    let slack = slack();
    let person = to(PeerKind::Direct, "U0ADA0001", None);
    let sent = slack
        .deliver(&account, &delivery(person.clone(), None))
        .await
        .expect("sent");
    assert_eq!(sent.message_id, "D7:9.1");
    let edited = slack
        .deliver(&account, &delivery(person, Some("D7:9.1")))
        .await
        .expect("edited");
    assert_eq!(edited.message_id, "D7:9.1");
    let seen = &fake.seen()[1];
    assert_eq!(seen.path, "/api/chat.update");
    assert_eq!(seen.json(), json!({"channel": "D7", "ts": "9.1", "text": "*hi*"}));
}

#[tokio::test]
async fn a_preview_that_is_gone_is_sent_anew() {
    let (fake, account) = server(|method, _| match method {
        "chat.update" => error("message_not_found"),
        _ => ok(json!({"channel": "C0OPS0001", "ts": "9.2"})),
    })
    .await;
    let sent = slack()
        .deliver(&account, &delivery(room(None), Some("9.1")))
        .await
        .expect("sent");
    assert_eq!((sent.message_id.as_str(), fake.seen().len()), ("9.2", 2));
}

#[tokio::test]
async fn errors_by_what_can_be_done() {
    let class = |reply: Reply| async move {
        let (_fake, account) = server(move |_, _| reply.clone()).await;
        slack()
            .deliver(&account, &delivery(room(None), None))
            .await
            .expect_err("refused")
    };
    for code in ["invalid_auth", "account_inactive", "token_revoked"] {
        assert!(
            matches!(class(error(code)).await, DeliverError::Unauthorized { .. }),
            "{code}"
        );
    }
    for code in [
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "msg_too_long",
        "missing_scope",
        "something_new",
    ] {
        assert!(
            matches!(class(error(code)).await, DeliverError::Rejected { .. }),
            "{code}"
        );
    }
    for code in ["internal_error", "fatal_error"] {
        assert!(
            matches!(class(error(code)).await, DeliverError::Unknown { .. }),
            "{code}"
        );
    }
    let limited = || vec![("retry-after", "30".to_owned())];
    let body = json!({"ok": false, "error": "ratelimited"}).to_string().into_bytes();
    for reply in [
        Reply::Full(429, limited(), body),
        Reply::Full(429, limited(), Vec::new()),
    ] {
        match class(reply).await {
            DeliverError::Retry { after, .. } => assert_eq!(after, Some(Duration::from_secs(30))),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        class(Reply::text(503, "later")).await,
        DeliverError::Retry { .. }
    ));
    assert!(matches!(
        class(Reply::text(200, "<html>")).await,
        DeliverError::Unknown { .. }
    ));
    assert!(matches!(class(Reply::Close).await, DeliverError::Unknown { .. }));
    let scope = Reply::json(
        200,
        &json!({"ok": false, "error": "missing_scope", "needed": "chat:write"}),
    );
    assert!(class(scope).await.to_string().contains("chat:write"));
}

#[tokio::test]
async fn the_status_line_is_a_courtesy_of_threads() {
    let (fake, account) = server(|_, _| error("missing_scope")).await;
    let slack = slack();
    let typing = slack.typing().expect("can type");
    typing.start(&account, &room(None)).await.expect("nothing to do");
    assert!(fake.seen().is_empty());
    typing
        .start(&account, &room(Some("4.0")))
        .await
        .expect("a missing scope is no failure");
    assert_eq!(fake.seen()[0].path, "/api/assistant.threads.setStatus");
    assert_eq!(
        fake.seen()[0].json(),
        json!({"channel_id": "C0OPS0001", "thread_ts": "4.0", "status": "is thinking…"})
    );
}

#[tokio::test]
async fn connecting_checks_the_token_and_tells_the_url() {
    let (_fake, mut account) = server(|_, _| {
        ok(
            json!({"url": "https://demo.slack.com/", "team": "Demo", "user": "claw", "team_id": "T0DEMO001",
            "user_id": "U0CLAW001", "bot_id": "B0CLAW001"}),
        )
    })
    .await;
    let connected = slack()
        .connect(&account, "https://acme.test/webhooks/slack")
        .await
        .expect("connected");
    assert_eq!(
        connected.identity,
        json!({"teamId": "T0DEMO001", "team": "Demo", "url": "https://demo.slack.com/", "botUserId": "U0CLAW001",
            "botId": "B0CLAW001", "name": "claw"})
    );
    assert!(connected.warnings[0].contains("https://acme.test/webhooks/slack"));
    account.secrets.remove("signingSecret");
    let refused = slack()
        .connect(&account, "https://acme.test/webhooks/slack")
        .await
        .expect_err("no secret");
    assert!(matches!(refused, DeliverError::Unauthorized { .. }));
}

#[tokio::test]
async fn files_come_with_the_token_and_a_sign_in_page_is_no_file() {
    let (fake, account) = server(|file, _| match file {
        "page" => Reply::Full(200, vec![("content-type", "text/html".into())], b"<html>".to_vec()),
        _ => Reply::Full(200, vec![("content-type", "image/png".into())], b"png".to_vec()),
    })
    .await;
    let slack = slack();
    let fetch = async |url: String| {
        let attachment = Attachment {
            kind: "image".into(),
            file: url,
            mime_type: None,
            name: Some("a.png".into()),
            size: None,
        };
        slack
            .media()
            .expect("has media")
            .fetch(&account, &attachment, 100)
            .await
    };
    let file = fetch(fake.url("/files/a.png")).await.expect("fetched");
    assert_eq!(
        (file.bytes.as_slice(), file.mime_type.as_str()),
        (b"png".as_slice(), "image/png")
    );
    assert_eq!(fake.seen()[0].header("authorization"), Some("Bearer xoxb-1-secret"));
    assert!(matches!(
        fetch(fake.url("/files/page")).await,
        Err(DeliverError::Rejected { .. })
    ));
    let elsewhere = FakeServer::start(|_| Reply::text(200, "x")).await;
    assert!(matches!(
        fetch(elsewhere.url("/a.png")).await,
        Err(DeliverError::Rejected { .. })
    ));
    assert!(elsewhere.seen().is_empty());
}
