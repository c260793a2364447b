//! `message`: writes into chats of the user's channels, sends files there, and does what people do with messages.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::channel::{FileAbout, FileKind, Poll, Sign, Span};
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::blobs::{PREFIX, image_type};
use claw_actors::session::reach::Reach;
use claw_actors::session::reach::acts::{Below, Doing, LONGEST_POLL, Looking, MOST_SEEN, OPTIONS};
use claw_actors::session::reach::message::MessageWish;
use claw_actors::session::untrusted;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::private::{text_of, workspace};
use super::{answered, media, reach, read, refused};
use crate::egress::Egress;

/// Messages of a look that says nothing of it.
const USUALLY_SEEN: u32 = 20;
/// Chats of one broadcast.
const MOST_TARGETS: usize = 20;
/// Largest file, bytes: what is sent is kept.
const LARGEST: usize = 16 * 1024 * 1024;

/// The tool.
pub(super) struct Message {
    spec: Arc<ToolSpec>,
    egress: Egress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    Send,
    Broadcast,
    Reply,
    ThreadCreate,
    ThreadReply,
    Poll,
    React,
    Edit,
    #[serde(alias = "unsend")]
    Delete,
    Pin,
    Unpin,
    Read,
    Reactions,
    ListPins,
}

impl Action {
    /// As the schema names them.
    const NAMES: [&'static str; 15] = [
        "send",
        "broadcast",
        "reply",
        "thread-create",
        "thread-reply",
        "poll",
        "react",
        "edit",
        "delete",
        "unsend",
        "pin",
        "unpin",
        "read",
        "reactions",
        "list-pins",
    ];

    /// Does it look, and change nothing.
    const fn looks(self) -> bool {
        match self {
            Self::Read | Self::Reactions | Self::ListPins => true,
            Self::Send
            | Self::Broadcast
            | Self::Reply
            | Self::ThreadCreate
            | Self::ThreadReply
            | Self::Poll
            | Self::React
            | Self::Edit
            | Self::Delete
            | Self::Pin
            | Self::Unpin => false,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arguments {
    action: Action,
    channel: Option<String>,
    #[serde(alias = "to")]
    target: Option<String>,
    #[serde(default)]
    targets: Vec<String>,
    account_id: Option<String>,
    thread_id: Option<String>,
    reply_to: Option<String>,
    #[serde(default)]
    message: String,
    media: Option<String>,
    buffer: Option<String>,
    filename: Option<String>,
    content_type: Option<String>,
    caption: Option<String>,
    #[serde(default)]
    as_voice: bool,
    #[serde(default)]
    dry_run: bool,
    message_id: Option<String>,
    emoji: Option<String>,
    #[serde(default)]
    remove: bool,
    limit: Option<u32>,
    before: Option<String>,
    after: Option<String>,
    poll_question: Option<String>,
    #[serde(default)]
    poll_option: Vec<String>,
    #[serde(default)]
    poll_multi: bool,
    poll_anonymous: Option<bool>,
    poll_duration_seconds: Option<u64>,
    poll_duration_hours: Option<u64>,
    #[serde(default)]
    silent: bool,
}

impl Arguments {
    fn has_file(&self) -> bool {
        self.buffer.is_some() || self.media.as_deref().is_some_and(|media| !media.trim().is_empty())
    }

    /// Where it is to go.
    fn place(&self, target: Option<String>) -> MessageWish {
        MessageWish {
            channel: self.channel.clone(),
            target,
            account_id: self.account_id.clone(),
            thread_id: self.thread_id.clone(),
            ..MessageWish::default()
        }
    }

    /// The poll that is asked for.
    fn poll(&self) -> Result<Poll, ToolOutput> {
        let question = self.poll_question.as_deref().unwrap_or(&self.message).trim();
        let options: Vec<String> = self.poll_option.iter().map(|option| option.trim().to_owned()).collect();
        if question.is_empty() || !OPTIONS.contains(&options.len()) || options.iter().any(String::is_empty) {
            return Err(ToolOutput::error(
                "poll needs pollQuestion and 2 to 12 answers in pollOption, none of them empty.",
            ));
        }
        let hours = self.poll_duration_hours.map(|hours| hours.saturating_mul(3600));
        let seconds = self.poll_duration_seconds.or(hours);
        if seconds.is_some_and(|seconds| seconds == 0 || seconds > LONGEST_POLL) {
            return Err(ToolOutput::error(format!(
                "A poll is open for 1 to {LONGEST_POLL} seconds."
            )));
        }
        Ok(Poll {
            question: question.to_owned(),
            options,
            several: self.poll_multi,
            open: seconds.map(Duration::from_secs),
            anonymous: self.poll_anonymous.unwrap_or(true),
            silent: self.silent,
        })
    }

    /// What is done to a message; `None` for an action of another kind.
    fn doing(&self) -> Result<Option<Doing>, ToolOutput> {
        Ok(Some(match self.action {
            Action::React => {
                let emoji = self.emoji.as_deref().unwrap_or_default().trim().to_owned();
                // Nothing means: away with it, as the original has it.
                if emoji.is_empty() && self.emoji.is_none() && !self.remove {
                    return Err(ToolOutput::error("react needs emoji."));
                }
                let remove = self.remove || emoji.is_empty();
                Doing::React(Sign { emoji, remove })
            }
            Action::Edit if self.message.trim().is_empty() => {
                return Err(ToolOutput::error("edit needs message: the new words."));
            }
            Action::Edit => Doing::Edit(self.message.clone()),
            Action::Delete => Doing::Delete,
            Action::Pin => Doing::Pin(true),
            Action::Unpin => Doing::Pin(false),
            Action::Send
            | Action::Broadcast
            | Action::Reply
            | Action::ThreadCreate
            | Action::ThreadReply
            | Action::Poll
            | Action::Read
            | Action::Reactions
            | Action::ListPins => return Ok(None),
        }))
    }

    /// What is looked at.
    fn looking(&self) -> Looking {
        if self.action == Action::Reactions {
            Looking::Signs(self.message_id.clone())
        } else if self.action == Action::ListPins {
            Looking::Pinned
        } else {
            Looking::Messages(Span {
                limit: self.limit.unwrap_or(USUALLY_SEEN).clamp(1, MOST_SEEN),
                before: self.before.clone(),
                after: self.after.clone(),
            })
        }
    }

    /// A file is fetched and stored only when it may go to one of the places.
    async fn check_places(&self, reach: &Reach) -> Result<(), ToolOutput> {
        let targets: Vec<Option<String>> = if self.action == Action::Broadcast {
            self.targets.iter().cloned().map(Some).collect()
        } else {
            vec![self.target.clone()]
        };
        let mut answer = Ok(());
        for target in targets {
            answer = reach.may_send_file(&self.place(target)).await.map_err(refused);
            if answer.is_ok() {
                break;
            }
        }
        answer
    }
}

impl Message {
    pub(super) fn new(egress: Egress) -> Self {
        let text = |about: &str| json!({"type": "string", "description": about});
        Self {
            egress,
            spec: Arc::new(ToolSpec {
                name: "message".to_owned(),
                description: "Writes into a chat of one of the user's channels: send to one target, or broadcast to \
                    several, with a file where the channel takes one; reply, thread-create and thread-reply answer a \
                    message or write in a thread, poll asks people to choose. react, pin and unpin do that to a message; \
                    edit and delete to one of your own. read, reactions and list-pins look back where the channel \
                    lets bots. What a channel cannot do is said. Your final answer reaches the chat you are in by \
                    itself: use this for others, and answer NO_REPLY when everything was said with it."
                    .to_owned(),
                summary: "write into other chats, react, edit, ask".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {"type": "string", "enum": Action::NAMES},
                        "channel": text("telegram, slack, …; left out: the channel you are in."),
                        "target": text("The platform's id of a chat or person, perhaps behind channel:, group: or user:."),
                        "to": text("As target."),
                        "targets": {
                            "type": "array", "items": {"type": "string"}, "maxItems": MOST_TARGETS,
                            "description": "broadcast: the targets.",
                        },
                        "accountId": text("The bot, if not the default one."),
                        "threadId": text("Topic or thread."),
                        "replyTo": text("Id of the message this answers."),
                        "message": {"type": "string", "maxLength": 65536, "description": "Needed without a file."},
                        "media": text("A file to send: https address, blob:… or a path in your workspace."),
                        "buffer": text("A file to send, as base64; with filename and contentType."),
                        "filename": text("Name of the file."),
                        "contentType": text("Kind of the file, e.g. image/png."),
                        "caption": text("Words below the file, instead of message."),
                        "asVoice": {"type": "boolean", "description": "Show a sound as a voice message."},
                        "dryRun": {"type": "boolean", "description": "Only say where it would go."},
                        "messageId": text("The message that is meant: its id, or an outboxId; left out: the one you answer."),
                        "emoji": text("react: the sign, as the platform names it; empty: yours away."),
                        "remove": {"type": "boolean", "description": "react: away with it."},
                        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_SEEN, "description": "read: how many."},
                        "before": text("read: only what is older than this message."),
                        "after": text("read: only what is newer than this message."),
                        "pollQuestion": text("poll: the question."),
                        "pollOption": {
                            "type": "array", "items": {"type": "string"}, "maxItems": OPTIONS.end(),
                            "description": "poll: two to twelve answers.",
                        },
                        "pollMulti": {"type": "boolean", "description": "poll: more than one may be chosen."},
                        "pollAnonymous": {"type": "boolean", "description": "poll: nobody sees who chose what; true if left out."},
                        "pollDurationSeconds": {"type": "integer", "minimum": 1, "maximum": LONGEST_POLL},
                        "pollDurationHours": {"type": "integer", "minimum": 1, "maximum": LONGEST_POLL / 3600},
                        "silent": {"type": "boolean", "description": "poll: nobody's phone rings."},
                    },
                    "required": ["action"],
                    "additionalProperties": false,
                }).into(),
                effect: Effect::External,
                owner_only: true,
                timeout: Duration::from_secs(60),
            }),
        }
    }

    async fn run(&self, context: &ToolContext, arguments: Value) -> Result<ToolOutput, ToolOutput> {
        let given: Arguments = read(arguments)?;
        let reach = reach(context)?;
        let doing = given.doing()?;
        if given.dry_run && (doing.is_some() || given.action == Action::Poll) {
            let place = given.place(given.target.clone());
            let there = reach.would_act(&place).await.map_err(refused)?;
            return Ok(ToolOutput::json(&there));
        }
        if let Some(doing) = doing {
            let (place, id) = (given.place(given.target.clone()), given.message_id.as_deref());
            let done = reach.act(&place, id, doing).await.map_err(refused)?;
            return Ok(ToolOutput::json(&done));
        }
        if given.action.looks() {
            let place = given.place(given.target.clone());
            let seen = reach.look_at(&place, &given.looking()).await.map_err(refused)?;
            // What people wrote is theirs.
            let text = serde_json::to_string_pretty(&seen).unwrap_or_default();
            return Ok(ToolOutput {
                details: Some(seen),
                ..ToolOutput::text(untrusted::wrap("messages of a chat", &text))
            });
        }
        if given.action == Action::Poll {
            let place = given.place(given.target.clone());
            let asked = reach.poll(&place, &given.poll()?).await.map_err(refused)?;
            return Ok(ToolOutput::json(&asked));
        }
        let given = threaded(reach, given).await?;
        if given.action == Action::Broadcast && given.targets.is_empty() {
            return Err(ToolOutput::error("targets is missing."));
        }
        if !given.dry_run && given.has_file() {
            given.check_places(reach).await?;
        }
        let file = match self.file(context, reach, &given).await? {
            Some(_) if given.dry_run => None,
            None => None,
            Some(found) => Some(kept(reach, found, given.as_voice).await?),
        };
        let words = given.caption.as_ref().filter(|_| given.message.trim().is_empty());
        let words = words.unwrap_or(&given.message);
        let wish = |target: Option<String>| MessageWish {
            reply_to: given.reply_to.clone(),
            text: words.clone(),
            file: file.clone(),
            dry_run: given.dry_run,
            ..given.place(target)
        };
        if given.action != Action::Broadcast {
            let sent = reach.message(wish(given.target.clone())).await.map_err(refused)?;
            return Ok(ToolOutput::json(&sent));
        }
        let mut results = Vec::with_capacity(given.targets.len());
        for target in &given.targets {
            results.push(match reach.message(wish(Some(target.clone()))).await {
                Ok(sent) => sent,
                Err(why) => json!({"ok": false, "target": {"to": target}, "error": why}),
            });
        }
        Ok(ToolOutput::json(&json!({"results": results})))
    }

    /// The file that is to be sent, if any.
    async fn file(&self, context: &ToolContext, reach: &Reach, given: &Arguments) -> Result<Option<File>, ToolOutput> {
        let named = |name: String, mime_type: Option<String>, bytes: Vec<u8>| File {
            name: given.filename.clone().unwrap_or(name),
            mime_type: given.content_type.clone().or(mime_type),
            bytes,
        };
        if let Some(buffer) = &given.buffer {
            if buffer.len() / 4 * 3 > LARGEST + 3 {
                return Err(ToolOutput::error(format!("The file is larger than {LARGEST} bytes.")));
            }
            let bytes = STANDARD.decode(buffer.trim());
            let bytes = bytes.map_err(|_| ToolOutput::error("buffer is not base64."))?;
            return Ok(Some(named("file".to_owned(), None, bytes)));
        }
        let Some(media) = given.media.as_deref().map(str::trim).filter(|media| !media.is_empty()) else {
            return Ok(None);
        };
        if let Some(id) = media.strip_prefix(PREFIX) {
            let stored = reach.stored(id).await.map_err(refused)?;
            let (mime_type, bytes) =
                stored.ok_or_else(|| ToolOutput::error(format!("There is nothing stored as {media}.")))?;
            return Ok(Some(named("file".to_owned(), Some(mime_type), bytes)));
        }
        if media.contains("://") {
            let fetched = media::fetch(&self.egress, media, LARGEST).await?;
            return Ok(Some(named(fetched.name, fetched.mime_type, fetched.bytes)));
        }
        let text = text_of(workspace(context)?, media).await?;
        let kind = if media.ends_with(".md") {
            "text/markdown"
        } else {
            "text/plain"
        };
        Ok(Some(named(media.to_owned(), Some(kind.to_owned()), text.into_bytes())))
    }
}

/// The message with where it hangs: below the message it answers, or in a thread.
async fn threaded(reach: &Reach, mut given: Arguments) -> Result<Arguments, ToolOutput> {
    let missing = |what: &str| ToolOutput::error(format!("{what} is missing."));
    let (replies, begins) = (given.action == Action::Reply, given.action == Action::ThreadCreate);
    if given.action == Action::ThreadReply && given.thread_id.is_none() {
        return Err(missing("threadId"));
    }
    if !replies && !begins {
        return Ok(given);
    }
    let named = given.message_id.take().or(given.reply_to.take());
    let place = given.place(given.target.clone());
    match reach.below(&place, named.as_deref()).await.map_err(refused)? {
        Below::Thread(first) => given.thread_id = given.thread_id.or(Some(first)),
        Below::Message(_) if begins => {
            return Err(ToolOutput::error(
                "This channel has no threads below messages; reply to the message instead.",
            ));
        }
        Below::Message(id) => given.reply_to = Some(id),
    }
    Ok(given)
}

/// A file before it is stored.
struct File {
    name: String,
    mime_type: Option<String>,
    bytes: Vec<u8>,
}

/// Stores it. What an image is its bytes say.
async fn kept(reach: &Reach, file: File, as_voice: bool) -> Result<FileAbout, ToolOutput> {
    if file.bytes.is_empty() {
        return Err(ToolOutput::error("The file is empty."));
    }
    let declared = file
        .mime_type
        .filter(|kind| !kind.starts_with("image/") || kind == "image/svg+xml");
    let kind = image_type(&file.bytes).map(str::to_owned).or(declared);
    let kind = kind.unwrap_or_else(|| "application/octet-stream".to_owned());
    let mut about = reach.keep_file(&file.name, &kind, file.bytes).await.map_err(refused)?;
    if as_voice && about.kind == FileKind::Audio {
        about.kind = FileKind::Voice;
    }
    Ok(about)
}

impl Tool for Message {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    fn effect(&self, arguments: &Value) -> Effect {
        let looks = Action::deserialize(&arguments["action"]).is_ok_and(Action::looks);
        if looks || arguments["dryRun"] == true {
            Effect::ReadOnly
        } else {
            Effect::External
        }
    }

    fn writes_to(&self, arguments: &Value) -> Option<String> {
        let writes = self.effect(arguments) != Effect::ReadOnly;
        let named = |name: &str| arguments[name].as_str().unwrap_or_default().trim().to_lowercase();
        writes.then(|| format!("chat:{}:{}:{}", named("channel"), named("accountId"), named("target")))
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
