//! What an agent does to messages in its user's chats, and what it sees there. At once, and once: what acts is on record
//! as the run's intent before.

use claw_entities::{UserOwned, outbox};
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use serde_json::{Value, json};

use super::message::MessageWish;
use super::{Reach, Refusal, away};
use crate::ports::channel::{Destination, PeerKind, Poll, Seen, Sign, Span};
use crate::session::cron::announce::Place;
use crate::session::sending::{self, Act};

pub use crate::session::sending::{LONGEST_POLL, OPTIONS};

/// Messages of one look.
pub const MOST_SEEN: u32 = 100;

/// Something done to a message.
#[derive(Clone, Debug)]
pub enum Doing {
    React(Sign),
    /// The new words.
    Edit(String),
    Delete,
    /// Up, or down again.
    Pin(bool),
}

/// What is looked at.
#[derive(Clone, Debug)]
pub enum Looking {
    Messages(Span),
    Pinned,
    /// The signs under a message.
    Signs(Option<String>),
}

/// Where an answer hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    /// The channel shows which message it answers.
    Message(String),
    /// In the thread that begins with this message.
    Thread(String),
}

impl Reach {
    /// Does something to a message; without an id, to the one that is being answered. An id may be that of an outbox row.
    ///
    /// # Errors
    /// What the channel cannot do, what is not the user's to change, and what the platform refuses.
    pub async fn act(&self, wish: &MessageWish, message_id: Option<&str>, doing: Doing) -> Result<Value, Refusal> {
        let place = self.chat(wish).await?;
        let message_id = self.message_in(&place.1, message_id).await?;
        let act = match doing {
            Doing::React(sign) => Act::React(sign),
            Doing::Edit(text) => Act::Edit(self.marked(&place.1, &text).await?),
            Doing::Delete => Act::Delete,
            Doing::Pin(on) => Act::Pin(on),
        };
        let (services, scope) = (self.0.directory.services(), &self.0.authority.scope);
        let done = sending::act_at(services, scope, place, &message_id, &act).await;
        let done = done.map_err(away)?;
        Ok(json!({"ok": true, "messageId": done.message_id, "target": target(&done.destination)}))
    }

    /// Asks people to choose.
    ///
    /// # Errors
    /// As [`Self::act`].
    pub async fn poll(&self, wish: &MessageWish, poll: &Poll) -> Result<Value, Refusal> {
        let place = self.chat(wish).await?;
        let poll = Poll {
            question: self.marked(&place.1, &poll.question).await?,
            ..poll.clone()
        };
        let asked = sending::poll_at(self.0.directory.services(), place, &poll).await;
        let asked = asked.map_err(away)?;
        Ok(json!({"ok": true, "messageId": asked.message_id, "target": target(&asked.destination)}))
    }

    /// Looks at what stands in a chat: the one the run is in; or a room, where nobody else reads along here.
    ///
    /// # Errors
    /// As [`Self::act`].
    pub async fn look_at(&self, wish: &MessageWish, looking: &Looking) -> Result<Value, Refusal> {
        let (account, to) = self.chat(wish).await?;
        let channel = sending::channel(self.0.directory.services(), &to).map_err(away)?;
        let looks = channel
            .looks()
            .ok_or_else(|| format!("{} does not let bots look back at messages.", to.channel))?;
        let here = self.0.place.as_ref();
        let same = here.is_some_and(|here| is_same_chat(here, &to));
        if !same && !self.0.alone {
            return Err("forbidden: others read along here, so no other chat is looked at.".to_owned());
        }
        // What people write to the bot by themselves is theirs.
        if !same && (to.peer.kind == PeerKind::Direct || !looks.is_room(&to)) {
            return Err("forbidden: a chat with one person is looked at from that chat only.".to_owned());
        }
        let account = &account.account;
        let refused = |error| away(sending::refused(error));
        let messages = |seen: Vec<Seen>| json!({"ok": true, "target": target(&to), "messages": seen});
        match looking {
            Looking::Messages(span) => Ok(messages(looks.read(account, &to, span).await.map_err(refused)?)),
            Looking::Pinned => Ok(messages(looks.pinned(account, &to).await.map_err(refused)?)),
            Looking::Signs(id) => {
                let id = self.message_in(&to, id.as_deref()).await?;
                let (services, scope) = (self.0.directory.services(), &self.0.authority.scope);
                let mine = sending::may_touch(services, scope, &to, &id, false).await;
                mine.map_err(away)?;
                let signs = looks.signs(account, &to, &id).await.map_err(refused)?;
                let signs = signs
                    .iter()
                    .map(|(emoji, count)| json!({"emoji": emoji, "count": count}));
                let signs: Vec<Value> = signs.collect();
                Ok(json!({"ok": true, "messageId": id, "target": target(&to), "reactions": signs}))
            }
        }
    }

    /// Where something would be done, if it may.
    ///
    /// # Errors
    /// As [`Self::act`], but for what the platform says.
    pub async fn would_act(&self, wish: &MessageWish) -> Result<Value, Refusal> {
        let (_, to) = self.chat(wish).await?;
        Ok(json!({"ok": true, "dryRun": true, "target": target(&to)}))
    }

    /// Where an answer to a message hangs; without an id, to the one that is being answered. An id may be that of an
    /// outbox row.
    ///
    /// # Errors
    /// When there is no such chat of the user's, or no message is answered there.
    pub async fn below(&self, wish: &MessageWish, message_id: Option<&str>) -> Result<Below, Refusal> {
        let (_, to) = self.chat(wish).await?;
        let id = self.message_in(&to, message_id).await?;
        let channel = sending::channel(self.0.directory.services(), &to).map_err(away)?;
        if !channel.replies_are_threads() {
            return Ok(Below::Message(id));
        }
        // What stands in a thread hangs below the thread's first message, and so does what answers it.
        let here = self.0.place.as_ref().filter(|here| is_same_chat(here, &to));
        let answered = self.0.answering.as_ref() == Some(&id);
        let here = here.filter(|_| answered);
        let thread = here.and_then(|here| here.peer.thread.clone().or_else(|| here.reply_to.clone()));
        Ok(Below::Thread(thread.unwrap_or(id)))
    }

    /// The chat that is meant, where something may be done in it.
    async fn chat(&self, wish: &MessageWish) -> Result<Place, Refusal> {
        if !self.0.owner {
            return Err("Only the owner's agent may act in chats.".to_owned());
        }
        Ok(self.allowed(wish).await?.0)
    }

    /// The platform's id of the message that is meant.
    async fn message_in(&self, to: &Destination, given: Option<&str>) -> Result<String, Refusal> {
        let run = &self.0;
        match given.map(str::trim).filter(|given| !given.is_empty()) {
            Some(given) => self.named(given.to_owned()).await,
            None => {
                let here = run.place.as_ref().filter(|here| is_same_chat(here, to));
                here.and(run.answering.clone())
                    .ok_or_else(|| "Say which message: messageId.".to_owned())
            }
        }
    }

    /// The platform's id of a message that may be named by its row in the outbox.
    ///
    /// # Errors
    /// For a row that is not the user's, or has not arrived.
    async fn named(&self, id: String) -> Result<String, Refusal> {
        if uuid::Uuid::try_parse(&id).is_err() {
            return Ok(id);
        }
        let run = &self.0;
        let scope = &run.authority.scope;
        let glance = run.directory.services().db.glance(scope).await;
        let glance = glance.map_err(|error| away(error.into()))?;
        let row: Option<(Option<String>, String)> = outbox::Entity::owned_by(scope)
            .select_only()
            .column(outbox::Column::MessageId)
            .column(outbox::Column::State)
            .filter(outbox::Column::Id.eq(id))
            .into_tuple()
            .one(&glance)
            .await
            .map_err(|error| away(error.into()))?;
        match row {
            Some((Some(id), _)) => Ok(id),
            Some((None, state)) => Err(format!("That message has not arrived: it is {state}.")),
            None => Err("There is no message of yours with this id.".to_owned()),
        }
    }
}

/// Are both the same chat, whatever thread of it.
pub(super) fn is_same_chat(one: &Destination, other: &Destination) -> bool {
    (&one.channel, &one.account_id, &one.peer.id) == (&other.channel, &other.account_id, &other.peer.id)
}

/// A chat, for the model.
pub(super) fn target(to: &Destination) -> Value {
    json!({
        "channel": to.channel, "accountId": to.account_id, "to": to.peer.id, "threadId": to.peer.thread,
    })
}
