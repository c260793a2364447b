//! Sending, editing and the typing sign.

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError, Delivered, Delivery, Destination, PeerKind, Rendered};
use serde_json::{Value, json};

use super::Telegram;
use super::api::Trouble;
use super::inbound::GENERAL_TOPIC;

const LIMIT: Duration = Duration::from_secs(30);
const TYPING_LIMIT: Duration = Duration::from_secs(5);

/// The HTML was not understood.
const BAD_MARKUP: [&str; 3] = ["can't parse entities", "can't find end", "unsupported start tag"];
/// The preview is gone or too old; the text goes out as a new message.
const NOT_EDITABLE: [&str; 3] = [
    "message to edit not found",
    "message can't be edited",
    "message_id_invalid",
];

impl Telegram {
    pub(super) async fn send_piece(&self, account: &Account, delivery: &Delivery) -> Result<Delivered, DeliverError> {
        if let Some(preview) = &delivery.replaces {
            // An edit without buttons takes away those that were there.
            let mut params = json!({});
            put_buttons(&mut params, delivery);
            match self
                .edit(account, &delivery.to, preview, (params, &delivery.piece))
                .await
            {
                Ok(()) => {
                    return Ok(Delivered {
                        message_id: preview.clone(),
                    });
                }
                Err(trouble) if trouble.says(&NOT_EDITABLE) => {}
                Err(trouble) => return Err(trouble.into()),
            }
        }
        let mut params = json!({"chat_id": chat_id(&delivery.to)});
        put_buttons(&mut params, delivery);
        if let Some(thread) = sending_thread(&delivery.to) {
            params["message_thread_id"] = thread.into();
        }
        if let Some(reply_to) = delivery.to.reply_to.as_deref().and_then(|id| id.parse::<i64>().ok()) {
            params["reply_parameters"] = json!({"message_id": reply_to, "allow_sending_without_reply": true});
        }
        let mut sent = self.say(account, "sendMessage", &mut params, &delivery.piece).await;
        if sent
            .as_ref()
            .is_err_and(|trouble| trouble.says(&["message thread not found"]))
        {
            // The topic was deleted: better in the open chat than nowhere.
            if let Value::Object(params) = &mut params {
                params.remove("message_thread_id");
            }
            sent = self.say(account, "sendMessage", &mut params, &delivery.piece).await;
        }
        let result = sent?;
        Ok(Delivered {
            message_id: message_id(&result),
        })
    }

    pub(super) async fn edit_text(
        &self,
        account: &Account,
        to: &Destination,
        message_id: &str,
        piece: &Rendered,
    ) -> Result<(), Trouble> {
        self.edit(account, to, message_id, (json!({}), piece)).await
    }

    async fn edit(
        &self,
        account: &Account,
        to: &Destination,
        message_id: &str,
        (mut params, piece): (Value, &Rendered),
    ) -> Result<(), Trouble> {
        let Ok(message_id) = message_id.parse::<i64>() else {
            return Err(Trouble::Refused {
                code: 400,
                description: NOT_EDITABLE[0].to_owned(),
                parameters: Default::default(),
            });
        };
        params["chat_id"] = chat_id(to);
        params["message_id"] = message_id.into();
        match self.say(account, "editMessageText", &mut params, piece).await {
            Ok(_) => Ok(()),
            Err(trouble) if trouble.says(&["message is not modified"]) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// The piece as HTML, or as plain text when the platform does not understand the HTML.
    async fn say(
        &self,
        account: &Account,
        method: &str,
        params: &mut Value,
        piece: &Rendered,
    ) -> Result<Value, Trouble> {
        params["text"] = piece.text.as_str().into();
        params["parse_mode"] = "HTML".into();
        let sent = self.call(account, method, params, LIMIT).await;
        if !sent.as_ref().is_err_and(|trouble| trouble.says(&BAD_MARKUP)) {
            return sent;
        }
        params["text"] = piece.plain.as_str().into();
        if let Value::Object(params) = params {
            params.remove("parse_mode");
        }
        self.call(account, method, params, LIMIT).await
    }

    pub(super) async fn chat_action(&self, account: &Account, to: &Destination) -> Result<(), DeliverError> {
        let mut params = json!({"chat_id": chat_id(to), "action": "typing"});
        // Unlike a message, the sign needs the general topic's number.
        if let Some(thread) = to.peer.thread.as_deref().and_then(|id| id.parse::<i64>().ok()) {
            params["message_thread_id"] = thread.into();
        }
        self.call(account, "sendChatAction", &params, TYPING_LIMIT).await?;
        Ok(())
    }
}

/// Longest value of a button, bytes (Bot API, `InlineKeyboardButton`).
const LONGEST_VALUE: usize = 64;

/// A row of buttons below the message. None where one of them says more than a button can: the text says it too.
fn put_buttons(params: &mut Value, delivery: &Delivery) {
    let choices = delivery.choices.as_deref().unwrap_or_default();
    if choices.is_empty() || choices.iter().any(|choice| choice.value.len() > LONGEST_VALUE) {
        return;
    }
    let row: Vec<Value> = choices
        .iter()
        .map(|choice| json!({"text": choice.label, "callback_data": choice.value}))
        .collect();
    params["reply_markup"] = json!({"inline_keyboard": [row]});
}

/// A number, or an `@name` as it is.
pub(super) fn chat_id(to: &Destination) -> Value {
    match to.peer.id.parse::<i64>() {
        Ok(id) => id.into(),
        Err(_) => to.peer.id.as_str().into(),
    }
}

/// Of a message that was sent.
pub(super) fn message_id(sent: &Value) -> String {
    sent["message_id"].as_i64().map(|id| id.to_string()).unwrap_or_default()
}

/// The general topic must not be named when sending to a group.
pub(super) fn sending_thread(to: &Destination) -> Option<i64> {
    let thread = to.peer.thread.as_deref()?;
    if to.peer.kind != PeerKind::Direct && thread == GENERAL_TOPIC {
        return None;
    }
    thread.parse().ok()
}
