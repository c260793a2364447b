//! Signs that people put under messages, and take away again.

use claw_actors::config::accounts::ReactionNotices;
use claw_actors::ports::channel::{Account, Inbound, Mention, Peer, Reaction, Sender};

use super::MANIFEST;
use super::event::Envelope;
use super::inbound::{Bot, kind, millis};

/// Does the event tell of one.
pub(super) fn is_one(kind: &str) -> bool {
    matches!(kind, "reaction_added" | "reaction_removed")
}

/// Slack says whose the message is, and not whether it stands in a thread.
pub(super) fn parse(envelope: Envelope, account: &Account, bot: &Bot<'_>) -> Result<Inbound, &'static str> {
    let (team, event) = (envelope.team_id, envelope.event);
    let item = event.item;
    if item.kind != "message" || item.channel.is_empty() || item.ts.is_empty() {
        return Err("reaction to something else than a message");
    }
    if event.user.is_empty() || event.reaction.is_empty() {
        return Err("reaction without a sign or an author");
    }
    if event.user == *bot.user {
        return Err("own reaction");
    }
    let to_bot = Some(!bot.user.is_empty() && event.item_user == *bot.user);
    if !ReactionNotices::at_first_sight(MANIFEST.id, &account.config).takes(&event.user, to_bot) {
        return Err("a reaction that is not told");
    }
    let removed = event.kind == "reaction_removed";
    let way = if removed { "removed" } else { "added" };
    Ok(Inbound {
        event_key: format!(
            "reaction:{}:{team}:{}:{}:{way}:{}:{}",
            event.event_ts, item.channel, event.user, event.reaction, item.ts
        ),
        peer: Peer {
            kind: kind("", &item.channel),
            id: item.channel,
            thread: None,
            topic: false,
            title: None,
            space: Some(team).filter(|team| !team.is_empty()),
        },
        sender: Sender {
            id: event.user,
            name: String::new(),
            username: None,
            is_bot: false,
        },
        text: Reaction::told(&format!(":{}:", event.reaction), &item.ts, removed),
        message_id: item.ts,
        mention: Mention::default(),
        reply_to: None,
        answer_below: None,
        attachments: Vec::new(),
        sent_at: millis(&event.event_ts),
        edited: false,
        command: false,
        album: None,
        reaction: Some(Reaction { to_bot }),
    })
}
