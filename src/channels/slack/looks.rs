//! Looking back: what was written in a channel or thread, what is pinned there, and the signs under a message.

use std::collections::VecDeque;
use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError, Destination, Looks, Seen, Span};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;

use super::Slack;
use super::outbound::{placed, thread};
use crate::channels::lenient;

const LIMIT: Duration = Duration::from_secs(30);
/// Longest text of a message, characters.
const LONGEST: usize = 2_000;
/// Messages of a page of a thread, which comes oldest first, and how many pages are gone through to its end.
const PAGE: &str = "200";
const PAGES: usize = 10;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    #[serde(deserialize_with = "lenient::list")]
    messages: Vec<Message>,
    #[serde(deserialize_with = "lenient::list")]
    items: Vec<Pinned>,
    #[serde(deserialize_with = "lenient::field")]
    message: Message,
    #[serde(deserialize_with = "lenient::field")]
    response_metadata: Place,
}

/// Where a list goes on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Place {
    #[serde(deserialize_with = "lenient::field")]
    next_cursor: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pinned {
    #[serde(deserialize_with = "lenient::field")]
    message: Message,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(deserialize_with = "lenient::field")]
    ts: String,
    #[serde(deserialize_with = "lenient::field")]
    user: String,
    #[serde(deserialize_with = "lenient::field")]
    bot_id: String,
    #[serde(deserialize_with = "lenient::field")]
    text: String,
    #[serde(deserialize_with = "lenient::field")]
    reply_count: Option<u64>,
    #[serde(deserialize_with = "lenient::list")]
    reactions: Vec<Reaction>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reaction {
    #[serde(deserialize_with = "lenient::field")]
    name: String,
    #[serde(deserialize_with = "lenient::field")]
    count: u64,
    #[serde(deserialize_with = "lenient::list")]
    users: Vec<String>,
}

impl From<Message> for Seen {
    fn from(message: Message) -> Self {
        Self {
            message_id: message.ts,
            from: if message.user.is_empty() {
                message.bot_id
            } else {
                message.user
            },
            text: message.text.chars().take(LONGEST).collect(),
            replies: message.reply_count.filter(|count| *count > 0),
        }
    }
}

impl Slack {
    /// A method that reads no JSON.
    async fn look(&self, account: &Account, method: &str, fields: &[(&str, &str)]) -> Result<Page, DeliverError> {
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let answer: Value = self.call_form(account, method, form, LIMIT).await?;
        Ok(lenient::read(answer.to_string().as_bytes()).unwrap_or_default())
    }

    /// The last messages of a thread. The platform begins at its beginning.
    async fn end_of_thread(
        &self,
        account: &Account,
        fields: &[(&str, &str)],
        most: u32,
    ) -> Result<Vec<Seen>, DeliverError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (mut seen, mut cursor) = (VecDeque::new(), String::new());
        for _ in 0..PAGES {
            let mut fields = fields.to_vec();
            fields.push(("limit", PAGE));
            if !cursor.is_empty() {
                fields.push(("cursor", cursor.as_str()));
            }
            let page = self.look(account, "conversations.replies", &fields).await?;
            seen.extend(page.messages.into_iter().map(Seen::from));
            while seen.len() > most {
                seen.pop_front();
            }
            cursor = page.response_metadata.next_cursor;
            if cursor.is_empty() {
                break;
            }
        }
        Ok(seen.into())
    }

    /// The signs that the bot itself put under a message.
    pub(super) async fn own_signs(
        &self,
        account: &Account,
        (channel, ts): (&str, &str),
    ) -> Result<Vec<String>, DeliverError> {
        let bot = account.identity["botUserId"].as_str().unwrap_or_default();
        let fields = [("channel", channel), ("timestamp", ts), ("full", "true")];
        let page = self.look(account, "reactions.get", &fields).await?;
        let signs = page.message.reactions.into_iter();
        let own = signs.filter(|sign| sign.users.iter().any(|user| user == bot));
        Ok(own.map(|sign| sign.name).collect())
    }
}

impl Looks for Slack {
    fn is_room(&self, to: &Destination) -> bool {
        to.peer.id.starts_with(['C', 'G'])
    }

    fn read<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        span: &'a Span,
    ) -> BoxFuture<'a, Result<Vec<Seen>, DeliverError>> {
        async move {
            let mut fields = vec![("channel", to.peer.id.as_str())];
            fields.extend(span.before.as_deref().map(|ts| ("latest", ts)));
            fields.extend(span.after.as_deref().map(|ts| ("oldest", ts)));
            if let Some(ts) = thread(to) {
                fields.push(("ts", ts));
                return self.end_of_thread(account, &fields, span.limit).await;
            }
            let limit = span.limit.to_string();
            fields.push(("limit", limit.as_str()));
            let page = self.look(account, "conversations.history", &fields).await?;
            // Newest first.
            let mut seen: Vec<Seen> = page.messages.into_iter().map(Seen::from).collect();
            seen.reverse();
            Ok(seen)
        }
        .boxed()
    }

    fn pinned<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
    ) -> BoxFuture<'a, Result<Vec<Seen>, DeliverError>> {
        async move {
            let page = self
                .look(account, "pins.list", &[("channel", to.peer.id.as_str())])
                .await?;
            let pinned = page.items.into_iter().map(|item| Seen::from(item.message));
            Ok(pinned.filter(|seen| !seen.message_id.is_empty()).collect())
        }
        .boxed()
    }

    fn signs<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, u64)>, DeliverError>> {
        async move {
            let (channel, ts) = placed(to, message_id);
            let fields = [("channel", channel), ("timestamp", ts), ("full", "true")];
            let page = self.look(account, "reactions.get", &fields).await?;
            let signs = page.message.reactions.into_iter();
            Ok(signs.map(|sign| (sign.name, sign.count)).collect())
        }
        .boxed()
    }
}
