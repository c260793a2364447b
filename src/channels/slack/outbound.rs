//! Sending, editing and the status line of a thread.

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError, Delivered, Delivery, Destination, PeerKind, Rendered};
use serde_json::{Value, json};

use super::Slack;
use super::api::Trouble;

const LIMIT: Duration = Duration::from_secs(30);
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// The preview is gone or cannot change any more; the text goes out as a new message.
const NOT_EDITABLE: [&str; 4] = [
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "channel_not_found",
];

/// The bot is not in the channel; of a private one it is not told more.
const NOT_THERE: [&str; 2] = ["not_in_channel", "channel_not_found"];

impl Slack {
    pub(super) async fn send_piece(&self, account: &Account, delivery: &Delivery) -> Result<Delivered, DeliverError> {
        let to = &delivery.to;
        if let Some(preview) = &delivery.replaces {
            let mut params = json!({});
            put_blocks(&mut params, delivery);
            match self.change(account, to, preview, (params, &delivery.piece)).await {
                Ok(()) => {
                    return Ok(Delivered {
                        message_id: preview.clone(),
                    });
                }
                Err(trouble) if trouble.is(&NOT_EDITABLE) => {}
                Err(trouble) => return Err(trouble.into()),
            }
        }
        let mut params = json!({
            "channel": to.peer.id,
            "text": delivery.piece.text,
            "mrkdwn": true,
            // The platform has no idempotency key; this lets a person or a later check tell what arrived.
            "metadata": {"event_type": "clawcentral_reply", "event_payload": {"outbox_id": delivery.outbox_id}},
        });
        put_blocks(&mut params, delivery);
        if let Some(thread) = thread(to) {
            params["thread_ts"] = thread.into();
        }
        let sent = match self.call(account, "chat.postMessage", &params, LIMIT).await {
            Ok(sent) => sent,
            Err(trouble) => {
                if trouble.is(&NOT_THERE) {
                    self.ask_for_invitation(account, to).await;
                }
                return Err(trouble.into());
            }
        };
        Ok(Delivered {
            message_id: message_id(to, &sent),
        })
    }

    pub(super) async fn update(
        &self,
        account: &Account,
        to: &Destination,
        message_id: &str,
        piece: &Rendered,
    ) -> Result<(), Trouble> {
        self.change(account, to, message_id, (json!({}), piece)).await
    }

    async fn change(
        &self,
        account: &Account,
        to: &Destination,
        message_id: &str,
        (mut params, piece): (Value, &Rendered),
    ) -> Result<(), Trouble> {
        let (channel, ts) = placed(to, message_id);
        params["channel"] = channel.into();
        params["ts"] = ts.into();
        params["text"] = piece.text.as_str().into();
        self.call(account, "chat.update", &params, LIMIT).await?;
        Ok(())
    }

    /// Only threads have a status line. It is a courtesy: an app without the scope for it works as well.
    pub(super) async fn set_status(
        &self,
        account: &Account,
        to: &Destination,
        status: &str,
    ) -> Result<(), DeliverError> {
        let Some(thread) = thread(to) else { return Ok(()) };
        let params = json!({"channel_id": to.peer.id, "thread_ts": thread, "status": status});
        match self
            .call(account, "assistant.threads.setStatus", &params, STATUS_LIMIT)
            .await
        {
            Ok(_) | Err(Trouble::Refused { .. }) => Ok(()),
            Err(Trouble::Other(error)) => Err(error),
        }
    }
}

/// Longest text of a section, characters; longest value of a button, and most buttons of a row (Block Kit).
const LONGEST_SECTION: usize = 3000;
const LONGEST_VALUE: usize = 2000;
const MOST_BUTTONS: usize = 25;

/// The text with a row of buttons below it. None where that does not fit: the text says it too. A message keeps its blocks
/// when it is changed without any, so that they go is said.
fn put_blocks(params: &mut Value, delivery: &Delivery) {
    let Some(choices) = &delivery.choices else { return };
    if choices.is_empty() {
        if delivery.replaces.is_some() {
            params["blocks"] = json!([]);
        }
        return;
    }
    let text = delivery.piece.text.as_str();
    if text.chars().count() > LONGEST_SECTION
        || choices.len() > MOST_BUTTONS
        || choices.iter().any(|choice| choice.value.len() > LONGEST_VALUE)
    {
        return;
    }
    let buttons: Vec<Value> = choices
        .iter()
        .enumerate()
        .map(|(at, choice)| {
            json!({
                "type": "button", "action_id": format!("choice-{at}"), "value": choice.value,
                "text": {"type": "plain_text", "text": choice.label},
            })
        })
        .collect();
    params["blocks"] = json!([
        {"type": "section", "text": {"type": "mrkdwn", "text": text}},
        {"type": "actions", "elements": buttons},
    ]);
}

/// The thread a reply belongs to. A direct chat is one session, so there the thread, if any, is only where to answer.
pub(super) fn thread(to: &Destination) -> Option<&str> {
    let aside = || to.reply_to.as_deref().filter(|_| to.peer.kind == PeerKind::Direct);
    to.peer.thread.as_deref().or_else(aside).filter(|ts| is_ts(ts))
}

fn is_ts(ts: &str) -> bool {
    ts.contains('.') && ts.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Channel and timestamp of a message, as [`message_id`] wrote them.
pub(super) fn placed<'a>(to: &'a Destination, message_id: &'a str) -> (&'a str, &'a str) {
    message_id.split_once(':').unwrap_or((&to.peer.id, message_id))
}

/// The message's timestamp; with its channel in front when that is not the one we named (a person's id names the direct
/// chat with them).
fn message_id(to: &Destination, sent: &Value) -> String {
    let ts = sent["ts"].as_str().unwrap_or_default();
    match sent["channel"].as_str() {
        Some(channel) if channel != to.peer.id => format!("{channel}:{ts}"),
        Some(_) | None => ts.to_owned(),
    }
}
