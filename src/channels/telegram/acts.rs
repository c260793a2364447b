//! Signs under messages, taking them back, and polls.

use std::time::Duration;

use claw_actors::ports::channel::{Account, Acts, DeliverError, Delivered, Destination, Poll, Polls, Sign};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::Telegram;
use super::outbound::{chat_id, message_id, sending_thread};

const LIMIT: Duration = Duration::from_secs(30);

impl Telegram {
    async fn act(
        &self,
        account: &Account,
        to: &Destination,
        method: &str,
        id: &str,
        more: Value,
    ) -> Result<(), DeliverError> {
        let Ok(id) = id.parse::<i64>() else {
            return Err(DeliverError::Rejected {
                message: "Telegram: a message id is a number".to_owned(),
            });
        };
        let mut params = json!({"chat_id": chat_id(to), "message_id": id});
        if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
            params.extend(more);
        }
        self.call(account, method, &params, LIMIT).await?;
        Ok(())
    }
}

impl Acts for Telegram {
    fn react<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        sign: &'a Sign,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        // A bot has one sign at most; an empty list takes it away.
        let signs = if sign.remove {
            json!([])
        } else {
            json!([{"type": "emoji", "emoji": sign.emoji}])
        };
        let more = json!({"reaction": signs});
        self.act(account, to, "setMessageReaction", message_id, more).boxed()
    }

    fn delete<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        self.act(account, to, "deleteMessage", message_id, json!({})).boxed()
    }

    fn pin<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        on: bool,
    ) -> BoxFuture<'a, Result<(), DeliverError>> {
        let (method, more) = if on {
            ("pinChatMessage", json!({"disable_notification": true}))
        } else {
            ("unpinChatMessage", json!({}))
        };
        self.act(account, to, method, message_id, more).boxed()
    }
}

impl Polls for Telegram {
    fn ask<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        poll: &'a Poll,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>> {
        async move {
            let options: Vec<Value> = poll.options.iter().map(|text| json!({"text": text})).collect();
            let mut params = json!({
                "chat_id": chat_id(to), "question": poll.question, "options": options,
                "allows_multiple_answers": poll.several, "is_anonymous": poll.anonymous,
                "disable_notification": poll.silent,
            });
            if let Some(open) = poll.open {
                params["open_period"] = open.as_secs().into();
            }
            if let Some(thread) = sending_thread(to) {
                params["message_thread_id"] = thread.into();
            }
            let sent = self.call(account, "sendPoll", &params, LIMIT).await?;
            Ok(Delivered {
                message_id: message_id(&sent),
            })
        }
        .boxed()
    }
}
