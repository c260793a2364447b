//! Writing into chats. An agent reaches what its user does: chats on their own bots, and where they linked themselves.

use serde_json::{Value, json};

use super::acts::target;
use super::{Reach, Refusal, away};
use crate::config::cron::job::Target;
use crate::ports::channel::{Destination, FileAbout, FileKind};
use crate::session::blobs;
use crate::session::cron::announce::{self, Place};
use crate::session::repeats::WRITTEN;
use crate::session::{send_policy, turn};

/// Longest text, bytes, and pieces of one message.
const LONGEST: usize = 64 * 1024;
const PIECES: usize = 30;

/// What is written where. Without a target: into the chat the run is in.
#[derive(Clone, Debug, Default)]
pub struct MessageWish {
    pub channel: Option<String>,
    pub target: Option<String>,
    pub account_id: Option<String>,
    pub thread_id: Option<String>,
    pub reply_to: Option<String>,
    pub text: String,
    /// A file of the user's stored ones; the text stands below it and may be empty.
    pub file: Option<FileAbout>,
    /// Only says where it would go.
    pub dry_run: bool,
}

impl Reach {
    /// Puts a message into the outbox, from where it is sent in order with everything else of its chat.
    pub async fn message(&self, wish: MessageWish) -> Result<Value, Refusal> {
        let run = &self.0;
        if !run.owner {
            return Err("Only the owner's agent may write into chats.".to_owned());
        }
        let silent = wish.text.trim().is_empty();
        if (silent && wish.file.is_none()) || wish.text.len() > LONGEST {
            return Err(format!("A message has 1 byte to {} KiB.", LONGEST / 1024));
        }
        let services = run.directory.services();
        let ((account, mut destination), text) = self.allowed(&wish).await?;
        if wish.file.is_some() {
            self.takes_files(&destination)?;
        }
        destination.reply_to = wish.reply_to;
        let to = target(&destination);
        if wish.dry_run {
            return Ok(json!({"ok": true, "dryRun": true, "target": to}));
        }
        let place = (account, destination);
        let said = match wish.file {
            Some(file) => announce::shown_as(WRITTEN, &run.directory, place, file, &text)?,
            None => announce::said_as(WRITTEN, &run.directory, place, &text)?,
        };
        if said.pieces.len() > PIECES {
            return Err(format!("That would be {} messages: send less.", said.pieces.len()));
        }
        let ids: Vec<String> = said.pieces.iter().map(|piece| piece.id.clone()).collect();
        turn::post(services, &run.authority, &run.run_id, said.pieces)
            .await
            .map_err(away)?;
        run.directory.delivery().kick(&run.authority.scope, &said.conversation);
        Ok(json!({"ok": true, "status": "queued", "target": to, "outboxIds": ids}))
    }

    /// Says whether a file could go where the wish says: asked before there is one.
    pub async fn may_send_file(&self, wish: &MessageWish) -> Result<(), Refusal> {
        if !self.0.owner {
            return Err("Only the owner's agent may send files.".to_owned());
        }
        let ((_, destination), _) = self.allowed(wish).await?;
        self.takes_files(&destination)
    }

    /// Where it goes and with what text, if it may.
    pub(super) async fn allowed(&self, wish: &MessageWish) -> Result<(Place, String), Refusal> {
        let run = &self.0;
        let (account, destination) = self.place(wish).await?;
        let (scope, key) = (&run.authority.scope, &run.authority.key);
        let head = run.directory.services().conversation.head(scope, key).await;
        let entry = head.map_err(away)?.map(|head| head.entry).unwrap_or_default();
        let policy = &self.settings().await?.session.send_policy;
        if !send_policy::allows(policy, key, &entry, Some(&destination)) {
            return Err(send_policy::BLOCKED.to_owned());
        }
        let text = self.marked(&destination, &wish.text).await?;
        Ok(((account, destination), text))
    }

    /// Stores a file that is to be sent, and gives what it is.
    pub async fn keep_file(&self, name: &str, mime_type: &str, bytes: Vec<u8>) -> Result<FileAbout, Refusal> {
        let run = &self.0;
        if !run.owner {
            return Err("Only the owner's agent may send files.".to_owned());
        }
        let stored = blobs::store(run.directory.services(), &run.authority.scope, mime_type, bytes);
        Ok(about(stored.await.map_err(away)?, name, mime_type))
    }

    /// Can files go there.
    fn takes_files(&self, to: &Destination) -> Result<(), Refusal> {
        let channel = self.0.directory.services().ports.channel(&to.channel);
        match channel.and_then(|channel| channel.files()) {
            Some(_) => Ok(()),
            None => Err(format!("{} takes no files from here; send text.", to.channel)),
        }
    }

    /// The chat that is meant, as far as the user reaches it.
    async fn place(&self, wish: &MessageWish) -> Result<Place, Refusal> {
        let run = &self.0;
        let here = run.place.as_ref();
        let filled = |text: &Option<String>| {
            text.as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let channel = filled(&wish.channel).map(|channel| channel.to_lowercase());
        let channel = channel
            .or_else(|| here.map(|here| here.channel.clone()))
            .ok_or("Say on which channel, and to whom: this session is not in a chat.")?;
        let same = here.filter(|here| here.channel == channel);
        let account_id = filled(&wish.account_id).or_else(|| same.map(|here| here.account_id.clone()));
        let Some(to) = filled(&wish.target) else {
            let here = same.ok_or("Say to whom: target.")?;
            let config = &run.directory.services().config;
            let account = config
                .account(run.authority.scope.tenant(), &here.channel, &here.account_id)
                .await
                .map_err(away)?;
            let account = account
                .filter(|account| account.enabled)
                .ok_or("This chat's bot is switched off.")?;
            let mut here = here.clone();
            if let Some(thread) = filled(&wish.thread_id) {
                here.peer.topic = here.channel == "telegram";
                here.peer.thread = Some(thread);
            }
            return Ok((account, here));
        };
        let target = Target {
            channel: Some(channel),
            to: Some(to),
            account_id,
            thread_id: filled(&wish.thread_id).map(Value::String),
        };
        let found = announce::find(&run.directory, &run.authority.scope, &run.authority.agent_id, &target);
        found.await.map_err(away)?
    }

    /// The text, with where it comes from when it leaves the chat the run is in, if it may.
    pub(super) async fn marked(&self, to: &Destination, text: &str) -> Result<String, Refusal> {
        let Some(here) = &self.0.place else {
            return Ok(text.to_owned());
        };
        // A thread of the chat is the chat still.
        if super::acts::is_same_chat(here, to) {
            return Ok(text.to_owned());
        }
        let rules = &self.settings().await?.tools;
        let (allowed, setting) = if here.channel == to.channel {
            (rules.message_within, "allowWithinProvider")
        } else {
            (rules.message_across, "allowAcrossProviders")
        };
        if !allowed {
            return Err(format!(
                "forbidden: from this chat no other one may be written to. The user can change \
                 tools.message.crossContext.{setting}."
            ));
        }
        Ok(format!("[from {}] {text}", here.channel))
    }
}

/// Stored bytes as a file. A name is no path, and short.
pub(crate) fn about(blob: String, name: &str, mime_type: &str) -> FileAbout {
    let name: String = name
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_control() && *letter != '"')
        .take(120)
        .collect();
    FileAbout {
        blob,
        kind: FileKind::of(mime_type),
        name: if name.trim().is_empty() {
            "file".to_owned()
        } else {
            name
        },
        mime_type: mime_type.to_owned(),
    }
}
