//! Slack's JSON, as far as we use it. Every field may be missing or of another type.

use serde::Deserialize;
use serde_json::Value;

use crate::channels::lenient;

/// The outer object of an events request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Envelope {
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::field")]
    pub challenge: String,
    #[serde(deserialize_with = "lenient::field")]
    pub team_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub api_app_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub event_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub event: Event,
    #[serde(deserialize_with = "lenient::list")]
    pub authorizations: Vec<Authorization>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Authorization {
    #[serde(deserialize_with = "lenient::field")]
    pub user_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub is_bot: bool,
}

/// A message, or an event about one. In `message_changed` the new and the old message are nested.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::field")]
    pub subtype: String,
    #[serde(deserialize_with = "lenient::field")]
    pub channel: String,
    #[serde(deserialize_with = "lenient::field")]
    pub channel_type: String,
    #[serde(deserialize_with = "lenient::field")]
    pub user: String,
    /// Name a bot chose for itself.
    #[serde(deserialize_with = "lenient::field")]
    pub username: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub user_profile: Profile,
    #[serde(deserialize_with = "lenient::field")]
    pub bot_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub app_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub text: String,
    #[serde(deserialize_with = "lenient::field")]
    pub ts: String,
    #[serde(deserialize_with = "lenient::field")]
    pub event_ts: String,
    #[serde(deserialize_with = "lenient::field")]
    pub thread_ts: String,
    /// Author of the thread's first message.
    #[serde(deserialize_with = "lenient::field")]
    pub parent_user_id: String,
    #[serde(deserialize_with = "lenient::list")]
    pub files: Vec<File>,
    #[serde(deserialize_with = "lenient::field")]
    pub edited: Option<Edited>,
    /// Set in the agent view: every conversation there is a thread.
    #[serde(deserialize_with = "lenient::field")]
    pub assistant_thread: Option<Value>,
    /// Of a reaction: its name, whose the message is, and which.
    #[serde(deserialize_with = "lenient::field")]
    pub reaction: String,
    #[serde(deserialize_with = "lenient::field")]
    pub item_user: String,
    #[serde(deserialize_with = "lenient::field")]
    pub item: Item,
    #[serde(deserialize_with = "lenient::field")]
    pub message: Option<Box<Event>>,
    #[serde(deserialize_with = "lenient::field")]
    pub previous_message: Option<Box<Event>>,
}

/// What a reaction is to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Item {
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::field")]
    pub channel: String,
    #[serde(deserialize_with = "lenient::field")]
    pub ts: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Profile {
    #[serde(deserialize_with = "lenient::field")]
    pub display_name: String,
    #[serde(deserialize_with = "lenient::field")]
    pub real_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Edited {
    #[serde(deserialize_with = "lenient::field")]
    pub ts: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    #[serde(deserialize_with = "lenient::field")]
    pub name: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub mimetype: Option<String>,
    #[serde(deserialize_with = "lenient::field")]
    pub size: Option<u64>,
    #[serde(deserialize_with = "lenient::field")]
    pub url_private: String,
    #[serde(deserialize_with = "lenient::field")]
    pub url_private_download: String,
}

/// `payload` of an interactivity request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Interaction {
    #[serde(rename = "type", deserialize_with = "lenient::field")]
    pub kind: String,
    #[serde(deserialize_with = "lenient::field")]
    pub trigger_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub user: Named,
    #[serde(deserialize_with = "lenient::field")]
    pub team: Named,
    #[serde(deserialize_with = "lenient::field")]
    pub channel: Named,
    #[serde(deserialize_with = "lenient::field")]
    pub container: Container,
    #[serde(deserialize_with = "lenient::field")]
    pub message: Event,
    #[serde(deserialize_with = "lenient::list")]
    pub actions: Vec<Action>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    #[serde(deserialize_with = "lenient::field")]
    pub id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub name: String,
    #[serde(deserialize_with = "lenient::field")]
    pub username: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    #[serde(deserialize_with = "lenient::field")]
    pub channel_id: String,
    #[serde(deserialize_with = "lenient::field")]
    pub message_ts: String,
    #[serde(deserialize_with = "lenient::field")]
    pub thread_ts: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Action {
    #[serde(deserialize_with = "lenient::field")]
    pub value: String,
    #[serde(deserialize_with = "lenient::field")]
    pub selected_option: Choice,
    #[serde(deserialize_with = "lenient::field")]
    pub action_ts: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    #[serde(deserialize_with = "lenient::field")]
    pub value: String,
}
