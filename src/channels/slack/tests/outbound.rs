//! Methods against a fake API.

use std::time::Duration;

use claw_actors::ports::channel::{
    Account, Attachment, Channel, Choice, DeliverError, Delivery, Destination, Peer, PeerKind, Rendered, WebhookOutcome,
};
use serde_json::{Value, json};

use super::inbound::form;
use super::{account, slack};
use crate::egress::testing::{FakeServer, Reply, Seen};

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
        choices: None,
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
async fn who_gives_a_command_where_the_bot_is_not_is_told_so_once() {
    let (fake, account) = server(|method, _| match method {
        "chat.postMessage" => error("not_in_channel"),
        _ => ok(json!({})),
    })
    .await;
    let slack = slack();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("command", "/claw")
        .append_pair("text", "hello")
        .append_pair("channel_id", "C0OPS0001")
        .append_pair("channel_name", "ops")
        .append_pair("user_id", "U0ADA0001")
        .append_pair("trigger_id", "1.2.x")
        .append_pair("response_url", &fake.url("/back"))
        .finish();
    let outcome = slack.parse(&form(&body), &account).expect("a command");
    assert!(matches!(outcome, WebhookOutcome::Messages { .. }));
    let answer = |to: &str| {
        let mut answer = delivery(room(None), None);
        answer.to.recipient = Some(to.to_owned());
        answer
    };
    for (to, paths) in [
        ("U0BOB0001", &["/api/chat.postMessage"][..]),
        ("U0ADA0001", &["/api/chat.postMessage", "/back"]),
        ("U0ADA0001", &["/api/chat.postMessage"]),
    ] {
        let before = fake.seen().len();
        let sent = slack.deliver(&account, &answer(to)).await;
        let message = "Slack: the bot is not in this channel; invite it first".to_owned();
        assert_eq!(sent, Err(DeliverError::Rejected { message }));
        let seen: Vec<_> = fake.seen().split_off(before);
        assert_eq!(
            seen.iter().map(|seen| seen.path.as_str()).collect::<Vec<_>>(),
            paths,
            "{to}"
        );
        if let Some(told) = seen.get(1) {
            assert_eq!(told.json()["response_type"], "ephemeral");
            assert_eq!(told.header("authorization"), None, "the token stays here");
        }
    }
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
async fn buttons_stand_below_a_message_until_it_is_changed_without() {
    let (fake, account) = server(|_, _| ok(json!({"channel": "C0OPS0001", "ts": "9.2"}))).await;
    let slack = slack();
    let choice = Choice {
        label: "Deny".to_owned(),
        value: "/approve 1 deny".to_owned(),
    };
    let long = Rendered {
        text: "x".repeat(3001),
        plain: String::new(),
    };
    let blocks = json!([
        {"type": "section", "text": {"type": "mrkdwn", "text": "*hi*"}},
        {"type": "actions", "elements": [{
            "type": "button", "action_id": "choice-0", "value": "/approve 1 deny",
            "text": {"type": "plain_text", "text": "Deny"},
        }]},
    ]);
    let with = |replaces: Option<&str>, choices: Vec<Choice>| Delivery {
        choices: Some(choices),
        ..delivery(room(None), replaces)
    };
    let too_long = Delivery {
        piece: long,
        ..with(None, vec![choice.clone()])
    };
    for (piece, shown) in [
        (with(None, vec![choice]), blocks),
        (with(Some("9.2"), Vec::new()), json!([])),
        (too_long, Value::Null),
    ] {
        slack.deliver(&account, &piece).await.expect("is sent");
        let seen = fake.seen().pop().expect("a request").json();
        assert_eq!(seen["blocks"], shown, "{seen}");
    }
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
        let DeliverError::Retry { after, .. } = class(reply).await else {
            panic!("a rate limit is a reason to wait");
        };
        assert_eq!(after, Some(Duration::from_secs(30)));
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
    let events = &connected.warnings[1];
    assert!(
        events.contains("message.mpim") && events.contains("reaction_removed"),
        "{events}"
    );
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
