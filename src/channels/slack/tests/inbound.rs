//! Recorded requests through `verify` and `parse`.

use claw_actors::crypto::{signature, token};
use claw_actors::ports::channel::{Account, Channel, Inbound, Malformed, PeerKind, RawWebhook, WebhookOutcome};
use serde_json::{Value, json};

use super::{SECRET, account, slack};

const NOW: i64 = 1_763_800_010;

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
        other @ (WebhookOutcome::Messages { .. } | WebhookOutcome::Reply(_) | WebhookOutcome::Ignore(_)) => {
            panic!("not one message: {other:?}")
        }
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
        other @ (WebhookOutcome::Messages { .. } | WebhookOutcome::Reply(_)) => panic!("not ignored: {other:?}"),
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
    let WebhookOutcome::Reply(reply) = outcome(&hook, json!({})) else {
        panic!("a challenge is answered");
    };
    assert_eq!((reply.status, reply.body.as_str()), (200, "3eZbrw1a"));
}

#[test]
fn a_mention_in_a_thread() {
    insta::assert_json_snapshot!(recorded(include_str!("../fixtures/app_mention.json")), @r#"
    {
      "eventKey": "msg:1763800000.000100:T0DEMO001:C0OPS0001",
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
        "replyToBot": true,
        "inThread": true
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
    let mention = recorded(include_str!("../fixtures/app_mention.json"));
    let plain = recorded(include_str!("../fixtures/message_channel.json"));
    assert_eq!(mention.event_key, plain.event_key);
    assert_eq!(
        (mention.peer, mention.mention, mention.text),
        (plain.peer, plain.mention, plain.text)
    );
}

#[test]
fn a_direct_message() {
    let message = recorded(include_str!("../fixtures/message_im.json"));
    assert_eq!(
        (message.peer.kind, message.peer.thread.as_deref()),
        (PeerKind::Direct, None)
    );
    assert_eq!(message.text, "1 < 2 & this (https://x.test)");
    assert_eq!(message.sent_at, 1_763_800_001_123);
}

#[test]
fn an_edit_has_its_own_identity() {
    let edit = recorded(include_str!("../fixtures/message_changed.json"));
    assert_eq!(
        edit.event_key,
        "edit:1763800000.000100:T0DEMO001:C0OPS0001:1763800100.000000"
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
    let message = recorded(include_str!("../fixtures/file_share.json"));
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
    assert_eq!(
        ignored(json!({"type": "reaction_added"})),
        "reaction to something else than a message"
    );
    assert_eq!(ignored(json!({"type": "pin_added"})), "event type is not used");
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
fn what_stands_in_a_thread_of_a_direct_chat_is_answered_below_its_root() {
    let below = |channel: &str, thread_ts: Option<&str>| {
        let mut said = json!({"type": "message", "channel": channel, "user": "U1", "text": "x", "ts": "5.0"});
        if let Some(thread_ts) = thread_ts {
            said["thread_ts"] = thread_ts.into();
        }
        message(&event(said), json!({})).answer_below
    };
    assert_eq!(below("D1", Some("4.0")).as_deref(), Some("4.0"));
    assert_eq!(below("D1", Some("5.0")), None, "it is the root");
    assert_eq!(below("D1", None), None);
    assert_eq!(below("C1", Some("4.0")), None, "there a thread is a session");
}

#[test]
fn before_connecting_the_bot_is_known_from_the_authorization() {
    let mut account = account(json!({}));
    account.identity = Value::Null;
    let hook = json_hook(include_str!("../fixtures/message_channel.json"));
    let WebhookOutcome::Messages { messages, .. } = slack().parse(&hook, &account).expect("an event") else {
        panic!("a mention is a message");
    };
    assert!(messages[0].mention.native && messages[0].text == "status?");
}

// ── forms ──

pub(super) fn form(body: &str) -> RawWebhook {
    hook("application/x-www-form-urlencoded; charset=utf-8", body)
}

#[test]
fn a_slash_command() {
    let body = include_str!("../fixtures/slash_command.txt");
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
fn a_command_without_words_is_told_how_it_is_used() {
    let body = include_str!("../fixtures/slash_command.txt").replace("what+is+up%3F", "");
    let told = |body: &str, config: Value| slack().parse(&form(body), &account(config)).expect("a command");
    let WebhookOutcome::Reply(reply) = told(&body, json!({})) else {
        panic!("a command alone is answered");
    };
    assert_eq!(
        (reply.status, reply.content_type),
        (200, "application/json; charset=utf-8")
    );
    let said: Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(said["response_type"], "ephemeral");
    assert!(
        said["text"].as_str().expect("a text").contains("`/claw /help`"),
        "{said}"
    );
    let own = told(
        &body.replace("%2Fclaw", "%2Fada"),
        json!({"slashCommand": {"name": "ada"}}),
    );
    assert!(matches!(own, WebhookOutcome::Reply(reply) if reply.body.contains("`/ada /help`")));
    let other = told(&body.replace("%2Fclaw", "%2Fstatus"), json!({}));
    assert!(
        matches!(other, WebhookOutcome::Messages { .. }),
        "a command of ours needs no words"
    );
}

#[test]
fn a_pressed_button() {
    let payload = include_str!("../fixtures/block_actions.json");
    let body: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", payload)
        .finish();
    let press = message(&form(&body), json!({}));
    assert_eq!((press.text.as_str(), press.command), ("/deploy yes", true));
    assert_eq!(
        (press.peer.thread.as_deref(), press.answer_below.as_deref()),
        (Some("1763790000.000200"), None)
    );
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

// ── reactions ──

fn reacted(kind: &str, item_user: &str) -> Value {
    json!({"type": kind, "user": "U0ADA0001", "reaction": "thumbsup", "item_user": item_user,
        "item": {"type": "message", "channel": "C0OPS0001", "ts": "1763800000.000100"},
        "event_ts": "1763800009.000200"})
}

#[test]
fn a_reaction_says_what_was_put_under_which_message_of_whom() {
    let one = message(&event(reacted("reaction_added", "U0CLAW001")), json!({}));
    assert_eq!(one.text, "[reacted with :thumbsup: to message 1763800000.000100]");
    assert_eq!(
        (one.peer.kind, one.peer.id.as_str(), one.peer.thread.as_deref()),
        (PeerKind::Channel, "C0OPS0001", None)
    );
    assert_eq!(
        (one.sender.id.as_str(), one.message_id.as_str()),
        ("U0ADA0001", "1763800000.000100")
    );
    assert_eq!(one.reaction.map(|reaction| reaction.to_bot), Some(Some(true)));
    let again = message(&event(reacted("reaction_removed", "U0CLAW001")), json!({}));
    assert_eq!(
        again.text,
        "[took the reaction :thumbsup: away from message 1763800000.000100]"
    );
    assert_ne!(one.event_key, again.event_key);
    let all = json!({"reactionNotifications": "all"});
    let others = message(&event(reacted("reaction_added", "U0BOB0001")), all);
    assert_eq!(others.reaction.map(|reaction| reaction.to_bot), Some(Some(false)));
}

#[test]
fn reactions_of_ours_to_others_and_to_files_are_ignored() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut inner = reacted("reaction_added", "U0CLAW001");
        change(&mut inner);
        ignored(inner)
    };
    assert_eq!(
        with(&|event| event["item_user"] = json!("U0BOB0001")),
        "a reaction that is not told"
    );
    assert_eq!(with(&|event| event["user"] = json!("U0CLAW001")), "own reaction");
    assert_eq!(
        with(&|event| event["item"] = json!({"type": "file", "file": "F1"})),
        "reaction to something else than a message"
    );
    assert_eq!(
        with(&|event| event["reaction"] = json!(null)),
        "reaction without a sign or an author"
    );
}
