//! The channel port: a messaging platform, seen as proof of origin, parsing and delivery.
//!
//! The required part is small; what only some platforms can do is a separate small trait.

use std::collections::BTreeMap;
use std::time::Duration;

use claw_entities::TenantId;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crypto::Secret;

/// One messaging platform.
pub trait Channel: Send + Sync {
    fn manifest(&self) -> &'static Manifest;

    /// Proves that the platform sent these exact bytes. A missing secret refuses.
    fn verify(&self, hook: &RawWebhook, account: &Account) -> Result<(), Refused>;

    /// Turns verified bytes into messages. Called only after `verify`.
    fn parse(&self, hook: &RawWebhook, account: &Account) -> Result<WebhookOutcome, Malformed>;

    /// Cuts a reply (Markdown) into pieces the platform takes, in its own dialect. Pure. Never empty for
    /// non-empty text.
    fn render(&self, markdown: &str) -> Vec<Rendered>;

    /// Sends one piece. One request towards the platform; the caller retries by [`DeliverError`].
    fn deliver<'a>(
        &'a self,
        account: &'a Account,
        delivery: &'a Delivery,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>>;

    /// Checks the credentials and points the platform at `webhook_url`. Gives what to remember about the bot and the
    /// secrets it generated. Called when an account is saved or enabled.
    fn connect<'a>(
        &'a self,
        account: &'a Account,
        webhook_url: &'a str,
    ) -> BoxFuture<'a, Result<Connected, DeliverError>>;

    /// Takes the webhook away again. Called when an account is disabled or removed; best effort.
    fn disconnect<'a>(&'a self, account: &'a Account) -> BoxFuture<'a, Result<(), DeliverError>>;

    /// Is what answers a message a thread of its own: then nothing answers one unless `replyToMode` says so.
    fn replies_are_threads(&self) -> bool {
        false
    }

    /// Absent means "this platform cannot".
    fn typing(&self) -> Option<&dyn Typing> {
        None
    }
    /// Editing a sent message: what streaming previews need.
    fn edits(&self) -> Option<&dyn Edits> {
        None
    }
    /// Fetching what people attach.
    fn media(&self) -> Option<&dyn Media> {
        None
    }
    /// Sending files.
    fn files(&self) -> Option<&dyn Files> {
        None
    }
    /// Signs under messages, and taking messages back.
    fn acts(&self) -> Option<&dyn Acts> {
        None
    }
    /// Looking back at what stands in conversations.
    fn looks(&self) -> Option<&dyn Looks> {
        None
    }
    /// Asking people to choose.
    fn polls(&self) -> Option<&dyn Polls> {
        None
    }
    /// Showing which commands there are.
    fn menu(&self) -> Option<&dyn Menu> {
        None
    }
    /// Asking for the names of people.
    fn people(&self) -> Option<&dyn People> {
        None
    }
    /// Asking whether the platform is still pointed at us.
    fn watch(&self) -> Option<&dyn Watch> {
        None
    }
}

/// The names of people, where messages hold their ids alone.
pub trait People: Send + Sync {
    /// As the platform shows it; `None` where it does not tell. What was told lately is not asked for again.
    fn name<'a>(&'a self, account: &'a Account, sender_id: &'a str) -> BoxFuture<'a, Option<String>>;
}

/// Where the platform sends an account's events: anybody who has its credentials may change that.
pub trait Watch: Send + Sync {
    /// `webhook_url` is where they should go.
    fn look<'a>(&'a self, account: &'a Account, webhook_url: &'a str) -> BoxFuture<'a, Result<Reached, DeliverError>>;
}

/// Where an account's events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// To us; with what the platform complains of now, for people.
    Here { trouble: Option<String> },
    /// To somebody else: to whom, for people.
    Elsewhere(String),
}

/// The commands that a platform offers to people who begin to type one.
pub trait Menu: Send + Sync {
    /// Takes the place of what was offered before. The account's own settings may add to it, or say that it stays empty.
    fn offer<'a>(&'a self, account: &'a Account, commands: &'a [Offer]) -> BoxFuture<'a, Result<(), DeliverError>>;
}

/// One command of a menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Without the slash.
    pub name: &'static str,
    /// For people.
    pub what: String,
}

/// "… is typing" in a conversation.
pub trait Typing: Send + Sync {
    /// How often to repeat while the run goes on.
    fn refresh(&self) -> Duration;
    fn start<'a>(&'a self, account: &'a Account, to: &'a Destination) -> BoxFuture<'a, Result<(), DeliverError>>;
    /// Where the platform's indicator does not fade by itself.
    fn stop<'a>(&'a self, account: &'a Account, to: &'a Destination) -> BoxFuture<'a, Result<(), DeliverError>>;
}

/// Editing a message of ours.
pub trait Edits: Send + Sync {
    /// Shortest time between two edits of one message in such a chat.
    fn pace(&self, kind: PeerKind) -> Duration;
    /// Does `streaming: progress` mean something of its own here.
    fn shows_progress(&self) -> bool {
        false
    }
    fn edit<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        piece: &'a Rendered,
    ) -> BoxFuture<'a, Result<(), DeliverError>>;
}

/// Downloading an attachment.
pub trait Media: Send + Sync {
    /// At most `max_bytes`; more is an error.
    fn fetch<'a>(
        &'a self,
        account: &'a Account,
        attachment: &'a Attachment,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<MediaFile, DeliverError>>;
}

/// Sending a file into a conversation.
pub trait Files: Send + Sync {
    /// Largest file, bytes.
    fn largest(&self) -> usize;
    /// Does the platform show Opus in Ogg as a voice message.
    fn has_voice(&self) -> bool;
    /// One file, with the delivery's piece as its caption, which may be empty. As [`Channel::deliver`] otherwise.
    fn send<'a>(
        &'a self,
        account: &'a Account,
        delivery: &'a Delivery,
        file: &'a OutFile,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>>;
}

/// What is done to a message that stands in a conversation. Its id is the platform's, within this conversation.
pub trait Acts: Send + Sync {
    /// Puts a sign under it, or takes ours away again.
    fn react<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        sign: &'a Sign,
    ) -> BoxFuture<'a, Result<(), DeliverError>>;
    /// Takes it away.
    fn delete<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<(), DeliverError>>;
    /// Puts it where everybody sees it, or takes it down again.
    fn pin<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
        on: bool,
    ) -> BoxFuture<'a, Result<(), DeliverError>>;
}

/// Looking back at what stands in a conversation. The words there are strangers'.
pub trait Looks: Send + Sync {
    /// Is it a room, by its id, and no chat with one person.
    fn is_room(&self, to: &Destination) -> bool;
    /// Its newest messages, oldest first; a thread's where the destination names one.
    fn read<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        span: &'a Span,
    ) -> BoxFuture<'a, Result<Vec<Seen>, DeliverError>>;
    /// The messages that are pinned there.
    fn pinned<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
    ) -> BoxFuture<'a, Result<Vec<Seen>, DeliverError>>;
    /// The signs under a message: each with how many people put it there.
    fn signs<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<Vec<(String, u64)>, DeliverError>>;
}

/// Which messages are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// How many at most.
    pub limit: u32,
    /// Ids of the messages they stand between; neither is among them.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// A message that stands in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    pub message_id: String,
    /// The platform's id of who wrote it.
    pub from: String,
    pub text: String,
    /// Messages in the thread below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replies: Option<u64>,
}

/// A sign under a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// As the platform names it.
    pub emoji: String,
    /// Away with it.
    pub remove: bool,
}

/// Asking people to choose between answers.
pub trait Polls: Send + Sync {
    fn ask<'a>(
        &'a self,
        account: &'a Account,
        to: &'a Destination,
        poll: &'a Poll,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>>;
}

/// A question with answers to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    pub question: String,
    /// Two at least.
    pub options: Vec<String>,
    /// May more than one be chosen.
    pub several: bool,
    /// How long it is open; `None`: until somebody closes it.
    pub open: Option<Duration>,
    pub anonymous: bool,
    pub silent: bool,
}

/// A file on its way out.
#[derive(Clone, Debug)]
pub struct OutFile {
    pub about: FileAbout,
    pub bytes: Vec<u8>,
}

/// What a file that goes out is. Stored with its outbox row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileAbout {
    /// Id of the stored bytes.
    pub blob: String,
    pub kind: FileKind,
    /// For people; no path.
    pub name: String,
    pub mime_type: String,
}

/// How a platform is to show a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    Image,
    Voice,
    Audio,
    Video,
    Document,
}

impl FileKind {
    /// What bytes of this kind are shown as.
    pub fn of(mime_type: &str) -> Self {
        match mime_type.split('/').next() {
            // Vector graphics are documents to all platforms.
            Some("image") if mime_type != "image/svg+xml" => Self::Image,
            Some("audio") => Self::Audio,
            Some("video") => Self::Video,
            _ => Self::Document,
        }
    }
}

/// What an adapter is, for webhooks, the Admin UI, the CLI and `import`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Channel id in session keys and configuration (`telegram`, `slack`, `msteams`).
    pub id: &'static str,
    /// Last part of `/webhooks/<path>`.
    pub path: &'static str,
    /// Fixed paths of its own that mean the default account, e.g. `/events/slack`.
    pub extra_paths: &'static [&'static str],
    /// Name for people.
    pub label: &'static str,
    pub secrets: &'static [SecretField],
    /// Where the platform's own API lives unless the account says otherwise.
    pub default_api_base: &'static str,
    /// Longest piece `render` makes, in the platform's unit.
    pub text_limit: usize,
    /// Largest webhook body.
    pub max_body_bytes: usize,
    /// Does the proof of origin also prove who the sender is. Only then may a person link their account.
    pub proves_sender: bool,
    /// Does the platform drop a repeated send with the same key.
    pub idempotent_send: bool,
    /// Does it show buttons below a message ([`Delivery::choices`]).
    pub buttons: bool,
}

impl Manifest {
    /// Do the two have the same credentials, as far as a person gives them: they are the same bot then.
    pub fn is_same_bot(&self, one: &Account, other: &Account) -> bool {
        let given = |account: &Account, name| account.secret(name).map(|secret| secret.expose().trim().to_owned());
        let mut asked_for = self.secrets.iter().filter(|field| field.required && !field.generated);
        asked_for.all(|field| given(one, field.name) == given(other, field.name))
    }
}

/// One credential of a channel account.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretField {
    /// Name in the secret store and in `channels.<id>` of an OpenClaw file, e.g. `botToken`.
    pub name: &'static str,
    /// ClawCentral's name of it, e.g. `SLACK_BOT_TOKEN`.
    pub env_name: &'static str,
    pub label: &'static str,
    pub help: &'static str,
    pub required: bool,
    /// Made by `connect`, not asked for.
    pub generated: bool,
}

/// An HTTP request from a platform, byte for byte.
#[derive(Clone, Debug)]
pub struct RawWebhook {
    pub method: String,
    /// Path as received, without the query.
    pub path: String,
    pub query: String,
    /// Names lower-cased, in order of arrival; a name may stand twice.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Unix seconds, from the server's clock (tests pass the vector's).
    pub now: i64,
}

impl RawWebhook {
    /// The header's value, or `None` when it is missing **or stands more than once**: a doubled proof is no proof.
    pub fn only(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        let (_, value) = found.next()?;
        if found.next().is_some() { None } else { Some(value) }
    }
}

/// A connected bot with its secrets opened. Never serialised, never logged.
#[derive(Clone, Debug)]
pub struct Account {
    pub tenant: TenantId,
    pub channel: String,
    /// `default` for the bare webhook path.
    pub account_id: String,
    /// Settings as `channels.<id>` of an OpenClaw file spells them.
    pub config: Value,
    /// What `connect` learned: bot id, user name, team.
    pub identity: Value,
    pub secrets: BTreeMap<String, Secret>,
}

impl Account {
    /// The secret named `name`, if it is set and not blank.
    pub fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets
            .get(name)
            .filter(|secret| !secret.expose().trim().is_empty())
    }

    /// The platform's API base: `apiRoot`/`apiBaseUrl` of the settings, else the manifest's.
    pub fn api_base<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        ["apiRoot", "apiBaseUrl"]
            .iter()
            .find_map(|key| self.config.get(key).and_then(Value::as_str))
            .filter(|base| !base.is_empty())
            .unwrap_or(manifest.default_api_base)
            .trim_end_matches('/')
    }

    /// True when the API base is one a person configured (it may then be http or private by `egress.allow_private`).
    pub fn custom_api_base(&self) -> bool {
        ["apiRoot", "apiBaseUrl"]
            .iter()
            .any(|key| self.config.get(key).and_then(Value::as_str).is_some())
    }
}

/// The proof of origin failed. `reason` is for the log and holds no secret; the caller answers 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub reason: &'static str,
}

/// Verified bytes that are not what the platform documents. The caller answers 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub reason: String,
}

/// What a verified webhook means.
#[derive(Clone, Debug)]
pub enum WebhookOutcome {
    /// Store these, then answer 200 with `reply` or an empty body.
    Messages {
        messages: Vec<Inbound>,
        reply: Option<HttpReply>,
    },
    /// Answer this and store nothing (a registration challenge).
    Reply(HttpReply),
    /// A verified event we have no use for; answered 200. The reason is for metrics.
    Ignore(&'static str),
}

/// A body the platform waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// One inbound message in our own terms. Stored as the inbox row's payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbound {
    /// What is answered once, unique per account: the message where it has an id (one message can come as two events,
    /// and a repeated event names the same message), e.g. `msg:<message>:<chat>:<bot>`; else
    /// the event. What grows with time stands first: the index then grows at one place for each account.
    pub event_key: String,
    pub peer: Peer,
    pub sender: Sender,
    /// What the person wrote, mentions of the bot removed; captions included.
    pub text: String,
    /// Platform's id of the message, for replies.
    pub message_id: String,
    pub mention: Mention,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Quoted>,
    /// First message of the thread it stands in, where a thread is no session of its own: answers go there too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_below: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Epoch milliseconds by the platform.
    pub sent_at: i64,
    /// True for an edit of an earlier message.
    #[serde(default)]
    pub edited: bool,
    /// A button or native command rather than free text.
    #[serde(default)]
    pub command: bool,
    /// What several messages that were sent as one have in common (an album).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub album: Option<String>,
    /// Nothing was said: somebody put a sign under `message_id`, or took it away. `text` tells that for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<Reaction>,
}

/// What a platform knows of a sign that somebody put under a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reaction {
    /// Is the message one of the bot's; `None`: the platform does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_bot: Option<bool>,
}

impl Reaction {
    /// What the agent reads of it. `signs` are outside words: only their beginning is told.
    pub fn told(signs: &str, message_id: &str, removed: bool) -> String {
        let plain = |letter: &char| !letter.is_control() && !matches!(letter, '[' | ']');
        let signs: String = signs.chars().filter(plain).take(100).collect();
        if removed {
            format!("[took the reaction {signs} away from message {message_id}]")
        } else {
            format!("[reacted with {signs} to message {message_id}]")
        }
    }
}

/// Where a message was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    pub kind: PeerKind,
    /// Platform's id of the chat (for a direct chat: of the chat, which may differ from the sender's id).
    pub id: String,
    /// Thread or topic inside the chat that has a session of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// Telegram calls its threads topics; the session key spells it so.
    #[serde(default)]
    pub topic: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Workspace, guild or team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<String>,
}

/// What kind of room it is; the spelling stands in session keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerKind {
    Direct,
    Group,
    Channel,
}

/// Who wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sender {
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default)]
    pub is_bot: bool,
}

/// How the message addresses the bot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mention {
    /// The platform's own mention of the bot, or a command addressed to it.
    pub native: bool,
    /// A reply to a message of the bot.
    pub reply_to_bot: bool,
    /// In a thread that is the bot's business once it takes part in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_thread: bool,
}

/// The message this one answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quoted {
    pub message_id: String,
    #[serde(default)]
    pub sender: String,
    #[serde(default)]
    pub text: String,
}

/// Something attached, not yet downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// `image`, `audio`, `video`, `document`, `sticker`, `location`.
    pub kind: String,
    /// What [`Media::fetch`] needs: a file id or URL of the platform.
    pub file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Bytes of an attachment.
#[derive(Clone, Debug)]
pub struct MediaFile {
    pub bytes: Vec<u8>,
    pub mime_type: String,
    pub name: Option<String>,
}

/// Where a reply goes. Stored with the session and with every outbox row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub channel: String,
    pub account_id: String,
    pub peer: Peer,
    /// Who the reply answers (Slack streams and ephemeral notices need it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Message to reply to, where threading by reply is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
}

impl Destination {
    /// The delivery lane: rows of one conversation are sent in order, one at a time.
    pub fn conversation(&self) -> String {
        let kind = match self.peer.kind {
            PeerKind::Direct => "direct",
            PeerKind::Group => "group",
            PeerKind::Channel => "channel",
        };
        let mut key = format!("{}:{}:{kind}:{}", self.channel, self.account_id, self.peer.id);
        if let Some(thread) = &self.peer.thread {
            key.push(':');
            key.push_str(thread);
        }
        key
    }
}

/// One piece of a reply in the platform's dialect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rendered {
    /// In the dialect (`HTML` for Telegram, mrkdwn for Slack).
    pub text: String,
    /// Sent instead when the platform refuses the formatting.
    pub plain: String,
}

/// A button below a message. Who presses it says its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub label: String,
    pub value: String,
}

/// One outbox row on its way out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The row's id: idempotency key where the platform has one.
    pub outbox_id: String,
    pub to: Destination,
    pub piece: Rendered,
    /// Replace this message of ours (the streaming preview) instead of sending a new one.
    pub replaces: Option<String>,
    /// Buttons below it, where the platform has them. Empty takes away those of the message that it replaces.
    pub choices: Option<Vec<Choice>>,
}

/// The platform took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub message_id: String,
}

/// What `connect` learned.
#[derive(Clone, Debug, Default)]
pub struct Connected {
    /// Stored as the account's identity and shown in the Admin UI.
    pub identity: Value,
    /// Secrets the adapter made (a webhook secret), to be sealed.
    pub generated: BTreeMap<String, Secret>,
    /// Things the person should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a request towards a platform failed, by what the caller can do about it. Messages are safe to show to the
/// tenant: they hold no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// Certainly not sent; try again after the wait (the platform's hint, if it gave one).
    #[error("{message}")]
    Retry { message: String, after: Option<Duration> },
    /// The request left and no answer came: it may or may not have been sent.
    #[error("{message}")]
    Unknown { message: String },
    /// The platform said no, and would again.
    #[error("{message}")]
    Rejected { message: String },
    /// The credentials are refused: the account is flagged and not used again until it is reconnected.
    #[error("{message}")]
    Unauthorized { message: String },
    /// The conversation moved (Telegram `migrate_to_chat_id`); send to the new id.
    #[error("conversation moved")]
    Moved { to: String },
}
