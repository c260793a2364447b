//! Signs that people put under messages. Telegram says which there are now and which there were before, not whose the
//! message is, and not which topic it stands in.

use claw_actors::config::accounts::ReactionNotices;
use claw_actors::ports::channel::{Account, Inbound, Mention, Reaction, WebhookOutcome};

use super::MANIFEST;
use super::inbound::{Bot, peer, sender};
use super::update::{Message, ReactionKind, ReactionUpdate};

pub(super) fn parse(update_id: i64, update: ReactionUpdate, account: &Account, bot: &Bot) -> WebhookOutcome {
    let (before, now) = (&update.old_reaction, &update.new_reaction);
    let added = signs(now, before);
    let (signs, removed) = if added.is_empty() {
        (signs(before, now), true)
    } else {
        (added, false)
    };
    if update.chat.id == 0 || update.message_id == 0 || signs.is_empty() {
        return WebhookOutcome::Ignore("reaction without a chat, a message or a sign");
    }
    let message = Message {
        message_id: update.message_id,
        from: update.user,
        sender_chat: update.actor_chat,
        chat: update.chat,
        ..Message::default()
    };
    let sender = sender(&message);
    if sender.id == bot.id.to_string() {
        return WebhookOutcome::Ignore("own reaction");
    }
    if !ReactionNotices::at_first_sight(MANIFEST.id, &account.config).takes(&sender.id, None) {
        return WebhookOutcome::Ignore("a reaction that is not told");
    }
    let message_id = message.message_id.to_string();
    WebhookOutcome::Messages {
        messages: vec![Inbound {
            event_key: format!("reaction:{update_id}:{}", bot.id),
            peer: peer(&message, &sender, bot),
            sender,
            text: Reaction::told(&signs, &message_id, removed),
            message_id,
            mention: Mention::default(),
            reply_to: None,
            answer_below: None,
            attachments: Vec::new(),
            sent_at: update.date.saturating_mul(1000),
            edited: false,
            command: false,
            album: None,
            reaction: Some(Reaction::default()),
        }],
        reply: None,
    }
}

/// Those of the one list that are not in the other, in words.
fn signs(list: &[ReactionKind], without: &[ReactionKind]) -> String {
    let new = list.iter().filter(|sign| !without.contains(sign));
    let names: Vec<&str> = new
        .filter_map(|sign| match sign.kind.as_str() {
            "emoji" => Some(sign.emoji.as_str()).filter(|emoji| !emoji.is_empty()),
            "custom_emoji" => Some("a custom emoji"),
            "paid" => Some("a star"),
            _ => None,
        })
        .collect();
    names.join(" ")
}
