//! Telegram's JSON, as far as we use it. Every field may be missing or of another type.

use serde::Deserialize;

use crate::channels::lenient;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Update {
    #[serde(deserialize_with = "lenient::field")]
    pub update_id: Option<i64>,
    #[serde(deserialize_with = "lenient::field")]
    pub message: Option<Box<Message>>,
    #[serde(deserialize_with = "lenient::field")]
    pub edited_message: Option<Box<Message>>,
    #[serde(deserialize_with = "lenient::field")]
    pub channel_post: Option<Box<Message>>,
    #[serde(deserialize_with = "lenient::field")]
    pub edited_channel_post: Option<Box<Message>>,
    #[serde(deserialize_with = "lenient::field")]
    pub callback_query: Option<Box<CallbackQuery>>,
    #[serde(deserialize_with = "lenient::field")]
    pub message_reaction: Option<Box<ReactionUpdate>>,
}

/// Somebody changed the signs they put under a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReactionUpdate {
    #[serde(deserialize_with = "lenient::field")]
    pub chat: Chat,
    #[serde(deserialize_with = "lenient::field")]
    pub message_id: i64,
    #[serde(deserialize_with = "lenient::field")]
    pub user: Option<User>,
    /// Instead of a user: an administrator who is anonymous.
    #[serde(deserialize_with = "lenient::field")]
    pub actor_chat: Option<Chat>,
    /// Unix seconds.
    #[serde(deserialize_with = "lenient::field")]
    pub date: i64,
    #[serde(deserialize_with = "lenient::list")]
    pub old_reaction: Vec<ReactionKind>,
    #[serde(deserialize_with = "lenient::list")]
    pub new_reaction: Vec<ReactionKind>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct ReactionKind {
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::field")]
    pub emoji: String,
    #[serde(deserialize_with = "lenient::field")]
    pub custom_emoji_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message {
    #[serde(deserialize_with = "lenient::field")]
    pub message_id: i64,
    #[serde(deserialize_with = "lenient::field")]
    pub message_thread_id: Option<i64>,
    #[serde(deserialize_with = "lenient::field")]
    pub is_topic_message: bool,
    #[serde(deserialize_with = "lenient::field")]
    pub from: Option<User>,
    #[serde(deserialize_with = "lenient::field")]
    pub sender_chat: Option<Chat>,
    #[serde(deserialize_with = "lenient::field")]
    pub chat: Chat,
    /// Unix seconds.
    #[serde(deserialize_with = "lenient::field")]
    pub date: i64,
    #[serde(deserialize_with = "lenient::field")]
    pub edit_date: Option<i64>,
    #[serde(deserialize_with = "lenient::field")]
    pub text: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    pub entities: Vec<Entity>,
    #[serde(deserialize_with = "lenient::field")]
    pub caption: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    pub caption_entities: Vec<Entity>,
    #[serde(deserialize_with = "lenient::field")]
    pub reply_to_message: Option<Box<Message>>,
    #[serde(deserialize_with = "lenient::field")]
    pub external_reply: Option<ExternalReply>,
    #[serde(deserialize_with = "lenient::field")]
    pub quote: Option<Quote>,
    #[serde(deserialize_with = "lenient::field")]
    pub migrate_to_chat_id: Option<i64>,
    /// Of an album, whose pictures come as messages of their own.
    #[serde(deserialize_with = "lenient::field")]
    pub media_group_id: Option<String>,
    // What can hang on a message; at most one of them does, except that an animation is a document too.
    #[serde(deserialize_with = "lenient::list")]
    pub photo: Vec<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub animation: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub document: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub voice: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub audio: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub video: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub video_note: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub sticker: Option<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub location: Option<Location>,
    #[serde(deserialize_with = "lenient::field")]
    pub venue: Option<Venue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    #[serde(deserialize_with = "lenient::field")]
    pub file_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub file_name: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub mime_type: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub file_size: Option<u64>,
    #[serde(deserialize_with = "lenient::field")]
    pub width: u32,
    #[serde(deserialize_with = "lenient::field")]
    pub emoji: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub is_animated: bool,
    #[serde(deserialize_with = "lenient::field")]
    pub is_video: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Location {
    #[serde(deserialize_with = "lenient::field")]
    pub latitude: f64,
    #[serde(deserialize_with = "lenient::field")]
    pub longitude: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Venue {
    #[serde(deserialize_with = "lenient::field")]
    pub title: String,
    #[serde(deserialize_with = "lenient::field")]
    pub address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    #[serde(deserialize_with = "lenient::field")]
    pub id: i64,
    #[serde(deserialize_with = "lenient::field")]
    pub is_bot: bool,
    #[serde(deserialize_with = "lenient::field")]
    pub first_name: String,
    #[serde(deserialize_with = "lenient::field")]
    pub last_name: String,
    #[serde(deserialize_with = "lenient::field")]
    pub username: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chat {
    #[serde(deserialize_with = "lenient::field")]
    pub id: i64,
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::field")]
    pub title: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub username: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub is_forum: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Entity {
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    /// UTF-16 units.
    #[serde(deserialize_with = "lenient::field")]
    pub offset: usize,
    /// UTF-16 units.
    #[serde(deserialize_with = "lenient::field")]
    pub length: usize,
    #[serde(deserialize_with = "lenient::field")]
    pub user: Option<User>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Quote {
    #[serde(deserialize_with = "lenient::field")]
    pub text: String,
}

/// A reply to a message of another chat.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ExternalReply {
    #[serde(deserialize_with = "lenient::field")]
    pub message_id: Option<i64>,
    #[serde(deserialize_with = "lenient::field")]
    pub chat: Chat,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CallbackQuery {
    #[serde(deserialize_with = "lenient::field")]
    pub id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub from: User,
    #[serde(deserialize_with = "lenient::field")]
    pub message: Option<Box<Message>>,
    #[serde(deserialize_with = "lenient::field")]
    pub data: Option<String>,
}

impl User {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }
}
