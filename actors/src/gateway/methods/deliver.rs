//! `deliver` of `chat.send` and `agent`: where the answer goes besides, decided before anything is accepted.

use serde::Deserialize;
use serde_json::Value;

use super::session_key;
use crate::config::cron::job::Target;
use crate::error::Error;
use crate::gateway::protocol::WireError;
use crate::gateway::rpc::Call;
use crate::ports::channel::Destination;
use crate::session::sending;

/// Whether and where. What is said of the reply goes before what is said of the message.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeliverParams {
    pub(super) deliver: bool,
    channel: Option<String>,
    to: Option<String>,
    account_id: Option<String>,
    thread_id: Option<Value>,
    reply_channel: Option<String>,
    reply_to: Option<String>,
    reply_account_id: Option<String>,
}

impl DeliverParams {
    pub(super) fn last(deliver: bool) -> Self {
        Self {
            deliver,
            ..Self::default()
        }
    }

    /// The chat, if the answer is wanted in one.
    pub(super) async fn read(self, call: &Call, session: &str) -> Result<Option<Destination>, WireError> {
        if !self.deliver {
            return Ok(None);
        }
        let text = |given: Option<String>| given.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let target = Target {
            channel: text(self.reply_channel)
                .or(text(self.channel))
                .map(|channel| channel.to_lowercase()),
            to: text(self.reply_to).or(text(self.to)),
            account_id: text(self.reply_account_id).or(text(self.account_id)),
            thread_id: self.thread_id.filter(|thread| thread.is_string() || thread.is_number()),
        };
        let key = session_key(call, session).await?;
        let named = target.channel().is_some() || target.to.is_some();
        match sending::chat_of(&call.state.directory, call.scope(), &key, target).await {
            // There is no chat yet that it could go to besides: the answer goes to who asks.
            Err(Error::Invalid(_)) if !named => Ok(None),
            chat => Ok(Some(chat?)),
        }
    }
}
