//! `message`: writes into chats of the user's channels, and sends files there.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::channel::{FileAbout, FileKind};
use claw_actors::ports::tool::{Effect, Tool, ToolContext, ToolOutput, ToolSpec};
use claw_actors::session::blobs::{PREFIX, image_type};
use claw_actors::session::reach::Reach;
use claw_actors::session::reach::message::MessageWish;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};

use super::private::{text_of, workspace};
use super::{answered, media, reach, read, refused};
use crate::egress::Egress;

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
#[serde(rename_all = "lowercase")]
enum Action {
    Send,
    Broadcast,
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

    /// A file is fetched and stored only when it may go to one of the places.
    async fn check_places(&self, reach: &Reach) -> Result<(), ToolOutput> {
        let targets: Vec<Option<String>> = match self.action {
            Action::Send => vec![self.target.clone()],
            Action::Broadcast => self.targets.iter().cloned().map(Some).collect(),
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
                    several, with a file where the channel takes one. Your final answer reaches the chat you are in by itself: use this for others, and answer \
                    NO_REPLY when everything was said with it."
                    .to_owned(),
                summary: "write into other chats".to_owned(),
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "action": {"type": "string", "enum": ["send", "broadcast"]},
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
        if given.action == Action::Send {
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
        if arguments["dryRun"] == true {
            Effect::ReadOnly
        } else {
            Effect::External
        }
    }

    fn call<'a>(&'a self, context: &'a ToolContext, arguments: Value) -> BoxFuture<'a, ToolOutput> {
        Box::pin(async move { answered(self.run(context, arguments).await) })
    }
}
