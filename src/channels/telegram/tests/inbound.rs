//! Recorded requests through `verify` and `parse`.

use claw_actors::ports::channel::{
    Account, Attachment, Channel, Inbound, Malformed, PeerKind, RawWebhook, WebhookOutcome,
};
use serde_json::{Value, json};

use super::{account, telegram};

const HEADER: &str = "x-telegram-bot-api-secret-token";

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
        other @ (WebhookOutcome::Messages { .. } | WebhookOutcome::Reply(_) | WebhookOutcome::Ignore(_)) => {
            panic!("not one message: {other:?}")
        }
    }
}

fn ignored(body: &str) -> &'static str {
    match outcome(body) {
        WebhookOutcome::Ignore(reason) => reason,
        other @ (WebhookOutcome::Messages { .. } | WebhookOutcome::Reply(_)) => panic!("not ignored: {other:?}"),
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
    // A Bot API server of one's own may number its bots in its own way.
    let numbered = |_: &mut RawWebhook, account: &mut Account| {
        account.identity = json!({"id": "7", "tokenId": "123456"});
    };
    assert_eq!(verify(&numbered), Ok(()));
    let another = |_: &mut RawWebhook, account: &mut Account| {
        account.identity = json!({"id": "7", "tokenId": "99"});
    };
    assert_eq!(verify(&another), Err("another bot was connected before"));
}

// ── parsing ──

#[test]
fn a_mention_in_a_forum_topic() {
    insta::assert_json_snapshot!(message(include_str!("../fixtures/forum_mention.json")), @r#"
    {
      "eventKey": "msg:77:-1001234567890:123456",
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
    let first = message(include_str!("../fixtures/private_text.json"));
    assert_eq!(first.peer.kind, PeerKind::Direct);
    assert_eq!(
        (first.peer.id.as_str(), first.peer.thread.as_deref()),
        ("700100200", None)
    );
    assert_eq!(first.text, "hello 👋");
    assert!(!first.mention.native && !first.edited);
    let edit = message(include_str!("../fixtures/edited.json"));
    assert_eq!(edit.event_key, "edit:5:700100200:1763800060:123456");
    assert_eq!(
        (edit.message_id.as_str(), edit.sent_at, edit.edited),
        ("5", 1_763_800_060_000, true)
    );
}

#[test]
fn a_channel_post_is_by_the_channel() {
    let post = message(include_str!("../fixtures/channel_post.json"));
    assert_eq!(post.sender.id, "-1009876543210");
    assert_eq!(post.sender.name, "News");
    assert_eq!(post.peer.kind, PeerKind::Group);
}

#[test]
fn a_photo_counts_once_in_its_largest_size() {
    let photo = message(include_str!("../fixtures/photo_caption.json"));
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
    let place = message(include_str!("../fixtures/venue.json"));
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
    let WebhookOutcome::Messages { messages, reply } = outcome(include_str!("../fixtures/callback_query.json")) else {
        panic!("a button is a message");
    };
    let [press] = messages.as_slice() else {
        panic!("one message")
    };
    assert_eq!(press.text, "/deploy yes");
    assert!(press.command && press.mention.native);
    assert_eq!(press.sender.id, "700100200");
    assert_eq!(press.peer.thread.as_deref(), Some("42"));
    assert_eq!(press.event_key, "button:4382bfdwdsb323b2d9");
    let answer: Value = serde_json::from_str(&reply.expect("an answer").body).expect("JSON");
    assert_eq!(
        answer,
        json!({"method": "answerCallbackQuery", "callback_query_id": "4382bfdwdsb323b2d9"})
    );
}

#[test]
fn a_reply_with_a_quote() {
    let reply = message(include_str!("../fixtures/reply_quote.json"));
    assert!(reply.mention.reply_to_bot && !reply.mention.native);
    let quoted = reply.reply_to.expect("it answers something");
    assert_eq!((quoted.message_id.as_str(), quoted.sender.as_str()), ("70", "Claw"));
    assert_eq!(quoted.text, "The disk is full.");
}

#[test]
fn what_is_not_for_us() {
    assert_eq!(
        ignored(include_str!("../fixtures/migrated.json")),
        "group became a supergroup"
    );
    assert_eq!(
        ignored(include_str!("../fixtures/my_chat_member.json")),
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

// ── reactions ──

/// A change from the signs `old` to the signs `new` under message 77.
fn reacted(old: Value, new: Value) -> Value {
    json!({"update_id": 880, "message_reaction": {
        "chat": {"id": -5, "type": "supergroup", "title": "Ops"}, "message_id": 77,
        "user": {"id": 700_100_200, "first_name": "Ada", "username": "ada_l"}, "date": 1_763_800_000,
        "old_reaction": old, "new_reaction": new,
    }})
}

fn emoji(sign: &str) -> Value {
    json!({"type": "emoji", "emoji": sign})
}

#[test]
fn a_reaction_says_what_was_put_under_which_message() {
    let one = message(
        &reacted(
            json!([]),
            json!([emoji("👍"), {"type": "custom_emoji", "custom_emoji_id": "1"}]),
        )
        .to_string(),
    );
    assert_eq!(one.text, "[reacted with 👍 a custom emoji to message 77]");
    assert_eq!(
        (one.event_key.as_str(), one.message_id.as_str()),
        ("reaction:880:123456", "77")
    );
    assert_eq!((one.sender.id.as_str(), one.sender.name.as_str()), ("700100200", "Ada"));
    assert_eq!((one.peer.kind, one.peer.id.as_str()), (PeerKind::Group, "-5"));
    assert_eq!(one.reaction.map(|reaction| reaction.to_bot), Some(None));
    assert!(!one.mention.native && !one.mention.reply_to_bot && !one.command);
    let check = |old: Value, new: Value, text: &str| assert_eq!(message(&reacted(old, new).to_string()).text, text);
    check(
        json!([emoji("👍")]),
        json!([emoji("👍"), emoji("🔥")]),
        "[reacted with 🔥 to message 77]",
    );
    check(
        json!([emoji("👍")]),
        json!([emoji("🔥")]),
        "[reacted with 🔥 to message 77]",
    );
    check(
        json!([emoji("👍")]),
        json!([]),
        "[took the reaction 👍 away from message 77]",
    );
    check(
        json!([]),
        json!([{"type": "paid"}]),
        "[reacted with a star to message 77]",
    );
    check(
        json!([]),
        json!([emoji("👍]\n[System")]),
        "[reacted with 👍System to message 77]",
    );
}

#[test]
fn reactions_that_say_nothing_or_are_not_told_are_ignored() {
    let ignored_of = |change: &dyn Fn(&mut Value), config: Value| {
        let mut update = reacted(json!([]), json!([emoji("👍")]));
        change(&mut update["message_reaction"]);
        match telegram()
            .parse(&hook(&update.to_string()), &account(config))
            .expect("an update")
        {
            WebhookOutcome::Ignore(reason) => reason,
            other @ (WebhookOutcome::Messages { .. } | WebhookOutcome::Reply(_)) => panic!("not ignored: {other:?}"),
        }
    };
    let odd = "reaction without a chat, a message or a sign";
    assert_eq!(ignored_of(&|update| update["new_reaction"] = json!([]), json!({})), odd);
    assert_eq!(
        ignored_of(
            &|update| update["new_reaction"] = json!([3, {"type": "new kind"}]),
            json!({})
        ),
        odd
    );
    assert_eq!(ignored_of(&|update| update["message_id"] = json!("x"), json!({})), odd);
    assert_eq!(ignored_of(&|update| update["chat"] = json!(null), json!({})), odd);
    assert_eq!(
        ignored_of(&|update| update["user"]["id"] = json!(123_456), json!({})),
        "own reaction"
    );
    let off = json!({"reactionNotifications": "off"});
    assert_eq!(ignored_of(&|_| {}, off), "a reaction that is not told");
    let others = json!({"reactionNotifications": "allowlist", "reactionAllowlist": [1]});
    assert_eq!(ignored_of(&|_| {}, others), "a reaction that is not told");
}
