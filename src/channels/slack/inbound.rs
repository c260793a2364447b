//! Verified requests into messages: events as JSON; buttons and slash commands as forms.

use std::borrow::Cow;

use claw_actors::ports::channel::{
    Account, Attachment, HttpReply, Inbound, Malformed, Mention, Peer, PeerKind, Quoted, RawWebhook, Sender,
    WebhookOutcome,
};
use serde_json::Value;

use super::event::{Envelope, Event, File};
use super::ways::Ways;
use super::{form, reaction, text};
use crate::channels::lenient;

/// Who we are in the workspace, as `connect` learned it.
pub(super) struct Bot<'a> {
    pub user: Cow<'a, str>,
    pub id: &'a str,
    /// Answers to a message in a room start a thread.
    pub threads: bool,
    /// Threads are no exception: who does not mention the bot does not talk to it.
    explicit: bool,
}

impl<'a> Bot<'a> {
    pub(super) fn of(account: &'a Account) -> Self {
        let known = |key: &str| account.identity[key].as_str().unwrap_or_default();
        Self {
            user: known("botUserId").into(),
            id: known("botId"),
            threads: reply_mode(&account.config) != "off",
            explicit: account.config["thread"]["requireExplicitMention"] == true,
        }
    }
}

/// `replyToMode` for rooms: `off` (default), `first` or `all`.
fn reply_mode(config: &Value) -> &str {
    config["replyToModeByChatType"]["channel"]
        .as_str()
        .or(config["replyToMode"].as_str())
        .unwrap_or("off")
}

pub(super) fn parse(hook: &RawWebhook, account: &Account, ways: &Ways) -> Result<WebhookOutcome, Malformed> {
    let bot = Bot::of(account);
    let is_form = match hook.only("content-type") {
        Some(kind) => kind
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded"),
        None => !hook.body.trim_ascii_start().starts_with(b"{"),
    };
    if is_form {
        return form::parse(hook, account, &bot, ways);
    }
    let envelope: Envelope = lenient::read(&hook.body).map_err(|error| malformed(&error))?;
    match envelope.kind.as_str() {
        "url_verification" => Ok(WebhookOutcome::Reply(HttpReply {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body: envelope.challenge,
        })),
        "event_callback" => Ok(event(envelope, account, bot)),
        "app_rate_limited" => {
            metrics::counter!("claw_channel_rate_limited_total", "channel" => "slack").increment(1);
            tracing::warn!(channel = "slack", account = %account.account_id, "slack holds events back: too many in an hour");
            Ok(WebhookOutcome::Ignore("slack holds events back"))
        }
        "" => Err(Malformed {
            reason: "type is missing".into(),
        }),
        _ => Ok(WebhookOutcome::Ignore("request type is not used")),
    }
}

pub(super) fn malformed(error: &serde_json::Error) -> Malformed {
    Malformed {
        reason: format!("not JSON: line {}, column {}", error.line(), error.column()),
    }
}

fn event(envelope: Envelope, account: &Account, mut bot: Bot<'_>) -> WebhookOutcome {
    if bot.user.is_empty()
        && let Some(ours) = envelope
            .authorizations
            .iter()
            .find(|authorization| authorization.is_bot)
    {
        bot.user = ours.user_id.clone().into();
    }
    let message = if reaction::is_one(&envelope.event.kind) {
        reaction::parse(envelope, account, &bot)
    } else {
        inbound(envelope, &bot)
    };
    match message {
        Ok(message) => WebhookOutcome::Messages {
            messages: vec![message],
            reply: None,
        },
        Err(reason) => WebhookOutcome::Ignore(reason),
    }
}

fn inbound(envelope: Envelope, bot: &Bot<'_>) -> Result<Inbound, &'static str> {
    let Envelope {
        team_id: team,
        api_app_id: app,
        event: outer,
        ..
    } = envelope;
    if !matches!(outer.kind.as_str(), "message" | "app_mention") {
        return Err("event type is not used");
    }
    let native = outer.kind == "app_mention";
    let (channel, channel_type) = (outer.channel.clone(), outer.channel_type.clone());
    let (message, edited) = match outer.subtype.as_str() {
        "" | "file_share" | "thread_broadcast" | "bot_message" | "me_message" => (outer, false),
        "message_changed" => (changed(outer)?, true),
        "message_deleted" => return Err("a deleted message"),
        _ => return Err("message subtype is not used"),
    };
    if channel.is_empty() || message.ts.is_empty() {
        return Err("message without a channel or a timestamp");
    }
    let by_us = (!bot.user.is_empty() && message.user == *bot.user)
        || (!bot.id.is_empty() && message.bot_id == bot.id)
        || (!app.is_empty() && !message.bot_id.is_empty() && message.app_id == app);
    if by_us {
        return Err("own message");
    }
    let read = text::read(&message.text, &bot.user);
    let attachments: Vec<_> = message.files.iter().filter_map(attachment).collect();
    let mentioned = native || read.mentioned;
    if read.text.is_empty() && attachments.is_empty() && !mentioned {
        return Err("nothing to read in it");
    }
    let sender = sender(&message);
    if sender.id.is_empty() {
        return Err("message without an author");
    }
    let kind = kind(&channel_type, &channel);
    let ts = message.ts.clone();
    // A mention in a joined channel comes as two events: the message is what is answered once. Its time comes first:
    // keys of one app lie beside each other in the index.
    let event_key = match message.edited.as_ref().filter(|_| edited) {
        Some(edit) => format!("edit:{ts}:{team}:{channel}:{}", edit.ts),
        None => format!("msg:{ts}:{team}:{channel}"),
    };
    let in_thread = !message.thread_ts.is_empty() && message.thread_ts != ts;
    Ok(Inbound {
        event_key,
        peer: Peer {
            kind,
            id: channel,
            thread: thread(&message, kind, bot),
            topic: false,
            title: None,
            space: Some(team).filter(|team| !team.is_empty()),
        },
        sender,
        text: read.text,
        mention: Mention {
            native: mentioned,
            reply_to_bot: !bot.explicit && !bot.user.is_empty() && message.parent_user_id == *bot.user,
            in_thread: in_thread && !bot.explicit,
        },
        reply_to: in_thread.then(|| Quoted {
            message_id: message.thread_ts.clone(),
            sender: message.parent_user_id.clone(),
            text: String::new(),
        }),
        answer_below: (in_thread && kind == PeerKind::Direct).then(|| message.thread_ts.clone()),
        attachments,
        sent_at: millis(message.edited.as_ref().filter(|_| edited).map_or(&ts, |edit| &edit.ts)),
        message_id: ts,
        edited,
        command: false,
        album: None,
        reaction: None,
    })
}

/// The new message of an edit. Slack also "changes" a message when it unfurls a link or a thread grows.
fn changed(outer: Event) -> Result<Event, &'static str> {
    let Some(message) = outer.message else {
        return Err("an edit without a message");
    };
    let before = outer.previous_message.map(|previous| previous.text).unwrap_or_default();
    if message.edited.is_none() || message.text == before {
        return Err("an edit without new words");
    }
    Ok(*message)
}

fn sender(message: &Event) -> Sender {
    let is_bot = !message.bot_id.is_empty() || message.subtype == "bot_message";
    let profile = &message.user_profile;
    let name = [profile.display_name.as_str(), profile.real_name.as_str()]
        .into_iter()
        .find(|name| !name.is_empty())
        .or(message.username.as_deref())
        .unwrap_or_default();
    Sender {
        id: if message.user.is_empty() {
            message.bot_id.clone()
        } else {
            message.user.clone()
        },
        name: name.to_owned(),
        username: message.username.clone(),
        is_bot,
    }
}

/// The kind of a room; without `channel_type` (mentions have none) by the first letter of its id.
pub(super) fn kind(channel_type: &str, channel: &str) -> PeerKind {
    match (channel_type, channel.as_bytes().first()) {
        ("im" | "app_home", _) => PeerKind::Direct,
        ("mpim", _) => PeerKind::Group,
        ("", Some(b'D')) => PeerKind::Direct,
        _ => PeerKind::Channel,
    }
}

/// A thread of a room has its own session, and so has a message whose answer will start one. A direct chat is one
/// session, threads or not, except in the agent view, where each conversation is a thread.
fn thread(message: &Event, kind: PeerKind, bot: &Bot<'_>) -> Option<String> {
    let root = if message.thread_ts.is_empty() {
        &message.ts
    } else {
        &message.thread_ts
    };
    let in_thread = !message.thread_ts.is_empty() && message.thread_ts != message.ts;
    let wanted = match kind {
        PeerKind::Direct => message.assistant_thread.as_ref().is_some_and(Value::is_object),
        PeerKind::Group => in_thread,
        PeerKind::Channel => in_thread || bot.threads,
    };
    wanted.then(|| root.clone())
}

fn attachment(file: &File) -> Option<Attachment> {
    let url = [&file.url_private_download, &file.url_private]
        .into_iter()
        .find(|url| !url.is_empty())?;
    let kind = match file.mimetype.as_deref().and_then(|mime| mime.split('/').next()) {
        Some("image") => "image",
        Some("audio") => "audio",
        Some("video") => "video",
        Some(_) | None => "document",
    };
    Some(Attachment {
        kind: kind.to_owned(),
        file: url.clone(),
        mime_type: file.mimetype.clone(),
        name: file.name.clone(),
        size: file.size,
    })
}

/// `1763800000.000100` is seconds with a counter behind the point.
pub(super) fn millis(ts: &str) -> i64 {
    let (seconds, fraction) = ts.split_once('.').unwrap_or((ts, ""));
    let seconds: i64 = seconds.parse().unwrap_or_default();
    let millis: i64 = fraction
        .get(..3)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(millis)
}
