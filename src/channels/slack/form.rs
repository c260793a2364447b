//! Slash commands and pressed buttons, which arrive as forms.

use std::collections::HashMap;

use claw_actors::crypto::token;
use claw_actors::ports::channel::{
    Account, HttpReply, Inbound, Malformed, Mention, Peer, PeerKind, RawWebhook, Sender, WebhookOutcome,
};
use serde_json::json;

use super::event::Interaction;
use super::inbound::{Bot, kind, malformed, millis};
use super::ways::Ways;
use crate::channels::lenient;

/// Commands that only address the bot: what follows is the message. Any other name is a command of ours.
const ADDRESS: [&str; 3] = ["/openclaw", "/clawcentral", "/claw"];

pub(super) fn parse(
    hook: &RawWebhook,
    account: &Account,
    bot: &Bot<'_>,
    ways: &Ways,
) -> Result<WebhookOutcome, Malformed> {
    let fields: HashMap<String, String> = url::form_urlencoded::parse(&hook.body).into_owned().collect();
    if let Some(payload) = fields.get("payload") {
        let interaction = lenient::read(payload.as_bytes()).map_err(|error| malformed(&error))?;
        return Ok(press(interaction, bot, hook.now));
    }
    if fields.contains_key("ssl_check") {
        return Ok(WebhookOutcome::Reply(HttpReply {
            status: 200,
            content_type: "text/plain; charset=utf-8",
            body: String::new(),
        }));
    }
    if fields.contains_key("command") {
        return Ok(command(&fields, account, hook, ways));
    }
    Err(Malformed {
        reason: "neither a command nor a payload".into(),
    })
}

fn command(fields: &HashMap<String, String>, account: &Account, hook: &RawWebhook, ways: &Ways) -> WebhookOutcome {
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let (user, channel, team) = (field("user_id"), field("channel_id"), field("team_id"));
    let name = field("command").trim();
    let own = account.config["slashCommand"]["name"].as_str().unwrap_or_default();
    let addresses =
        ADDRESS.contains(&name) || (!own.is_empty() && name.trim_start_matches('/') == own.trim_start_matches('/'));
    let words = field("text").trim();
    let text = match (addresses, words) {
        (true, words) => words.to_owned(),
        (false, "") => name.to_owned(),
        (false, words) => format!("{name} {words}"),
    };
    if user.is_empty() || channel.is_empty() || name.is_empty() {
        return WebhookOutcome::Ignore("command without a name, author or channel");
    }
    if text.is_empty() {
        return WebhookOutcome::Reply(usage(name));
    }
    let kind = match field("channel_name") {
        "directmessage" => PeerKind::Direct,
        name if name.starts_with("mpdm-") => PeerKind::Group,
        _ => kind("", channel),
    };
    // A command can be given in a chat between two people, where we may not write: the person's own id reaches them.
    let id = if kind == PeerKind::Direct { user } else { channel };
    if kind != PeerKind::Direct {
        ways.keep(account, (channel, user), field("response_url"));
    }
    let trigger = match field("trigger_id") {
        // Always there by the documentation; two commands must not be taken for one if it ever is not.
        "" => token::hash(&format!("{} {}", hook.now, String::from_utf8_lossy(&hook.body))),
        trigger => trigger.to_owned(),
    };
    messages(Inbound {
        event_key: format!("command:{trigger}"),
        peer: Peer {
            kind,
            id: id.to_owned(),
            thread: None,
            topic: false,
            title: None,
            space: Some(team.to_owned()).filter(|team| !team.is_empty()),
        },
        sender: Sender {
            id: user.to_owned(),
            name: field("user_name").to_owned(),
            username: fields.get("user_name").cloned(),
            is_bot: false,
        },
        text,
        message_id: trigger,
        mention: Mention {
            native: true,
            reply_to_bot: false,
            in_thread: false,
        },
        reply_to: None,
        answer_below: None,
        attachments: Vec::new(),
        sent_at: hook.now.saturating_mul(1000),
        edited: false,
        command: true,
        album: None,
        reaction: None,
    })
}

/// What a command alone is answered with, seen by who gave it.
fn usage(name: &str) -> HttpReply {
    let text = format!("Say what you want after the command: `{name} what is new?` All that I can do: `{name} /help`");
    HttpReply {
        status: 200,
        content_type: "application/json; charset=utf-8",
        body: json!({"response_type": "ephemeral", "text": text}).to_string(),
    }
}

/// A pressed button is what its value says.
fn press(interaction: Interaction, bot: &Bot<'_>, now: i64) -> WebhookOutcome {
    if interaction.kind != "block_actions" {
        return WebhookOutcome::Ignore("interaction type is not used");
    }
    let Some(action) = interaction.actions.into_iter().next() else {
        return WebhookOutcome::Ignore("interaction without an action");
    };
    let text = [action.value, action.selected_option.value]
        .into_iter()
        .find(|value| !value.trim().is_empty())
        .unwrap_or_default();
    let place = interaction.container;
    let channel = [interaction.channel.id, place.channel_id]
        .into_iter()
        .find(|id| !id.is_empty())
        .unwrap_or_default();
    if text.is_empty() || channel.is_empty() || interaction.user.id.is_empty() {
        return WebhookOutcome::Ignore("button without a value, author or channel");
    }
    let kind = match interaction.channel.name.as_str() {
        name if name.starts_with("mpdm-") => PeerKind::Group,
        _ => kind("", &channel),
    };
    let message_ts = [place.message_ts, interaction.message.ts]
        .into_iter()
        .find(|ts| !ts.is_empty())
        .unwrap_or_default();
    let stands_in = [place.thread_ts, interaction.message.thread_ts]
        .into_iter()
        .find(|ts| !ts.is_empty());
    let (thread, answer_below) = match kind {
        PeerKind::Direct => (None, stands_in),
        PeerKind::Group => (stands_in, None),
        PeerKind::Channel => {
            let begins = || bot.threads.then(|| message_ts.clone()).filter(|ts| !ts.is_empty());
            (stands_in.or_else(begins), None)
        }
    };
    let sent_at = if action.action_ts.is_empty() {
        now.saturating_mul(1000)
    } else {
        millis(&action.action_ts)
    };
    messages(Inbound {
        event_key: match interaction.trigger_id.as_str() {
            "" => format!(
                "action:{channel}:{message_ts}:{}:{}",
                interaction.user.id, action.action_ts
            ),
            trigger => format!("action:{trigger}"),
        },
        peer: Peer {
            kind,
            id: channel,
            thread,
            topic: false,
            title: None,
            space: Some(interaction.team.id).filter(|team| !team.is_empty()),
        },
        sender: Sender {
            id: interaction.user.id,
            name: interaction.user.name,
            username: interaction.user.username,
            is_bot: false,
        },
        text: text.trim().to_owned(),
        message_id: message_ts,
        mention: Mention {
            native: true,
            reply_to_bot: true,
            in_thread: false,
        },
        reply_to: None,
        answer_below,
        attachments: Vec::new(),
        sent_at,
        edited: false,
        command: true,
        album: None,
        reaction: None,
    })
}

fn messages(message: Inbound) -> WebhookOutcome {
    WebhookOutcome::Messages {
        messages: vec![message],
        reply: None,
    }
}
