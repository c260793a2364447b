//! What a person on a platform sees while the run goes on: "… is typing", and one message that grows.
//!
//! The preview is an outbox row like any other; only its edits are not. The first piece of the final reply takes its
//! place; where there is none, it is taken back. The end of a run does not wait for it: one that is still to be sent
//! then is not sent any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::blocks::{self, Chunker};
use super::turn::{self, Authority, Piece};
use crate::config::accounts::ResolvedAccount;
use crate::config::document::{Bounds, Break, Cut, MannerSettings, TypingMode};
use crate::ports::channel::{Channel, DeliverError, Destination, PeerKind, Rendered};
use crate::supervisor::directory::Directory;

/// Kind of its outbox row.
pub(crate) const PREVIEW: &str = "preview";
/// A reply that is done sooner needs no typing indicator.
const TYPING_AFTER: Duration = Duration::from_millis(400);
/// A reply that is done sooner needs no preview, nor does one that has said less.
const PREVIEW_AFTER: Duration = Duration::from_millis(1200);
const PREVIEW_CHARS: usize = 24;

/// A preview that grows by paragraphs does so by this much, characters.
const STEP: Bounds = Bounds {
    min: 200,
    max: 800,
    preference: Break::Paragraph,
};
/// What stands for an answer whose words are not shown yet.
const PROGRESS: &str = "Working on the answer…";

/// Where a run's reply goes, opened once per run.
#[derive(Clone)]
pub(crate) struct Outlet {
    pub(crate) directory: Directory,
    pub(crate) account: Arc<ResolvedAccount>,
    pub(crate) destination: Destination,
    /// Only the first of its messages is a reply.
    replies_once: bool,
    /// Nothing is said there: the send policy denies it.
    muted: Arc<AtomicBool>,
}

impl Outlet {
    pub(crate) fn new(directory: &Directory, account: Arc<ResolvedAccount>, destination: Destination) -> Self {
        Self {
            directory: directory.clone(),
            account,
            destination,
            replies_once: false,
            muted: Arc::default(),
        }
    }

    /// Says nothing from now on, in all copies.
    pub(crate) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    /// Makes its messages replies, or not, as `replyToMode` says; without it those in groups are. Where replies are threads
    /// the platform's adapter has chosen the thread of a room, and what was said in a thread of a direct chat is answered there.
    pub(crate) fn replying_to(mut self, message_id: Option<&String>) -> Self {
        let to = &self.destination;
        let chosen = to.peer.kind != PeerKind::Direct || to.reply_to.is_some();
        if chosen && self.channel().is_some_and(|channel| channel.replies_are_threads()) {
            return self;
        }
        let mode = self.reply_mode();
        match mode {
            Some(ReplyMode::Off) => self.destination.reply_to = None,
            Some(ReplyMode::First | ReplyMode::All) => self.destination.reply_to = message_id.cloned(),
            None => {}
        }
        self.replies_once = mode == Some(ReplyMode::First);
        self
    }

    /// Is only the first of its messages a reply.
    pub(crate) fn replies_once(&self) -> bool {
        self.replies_once
    }

    /// `replyToMode` of this kind of chat.
    pub(crate) fn reply_mode(&self) -> Option<ReplyMode> {
        let config = &self.account.account.config;
        let kind = match self.destination.peer.kind {
            PeerKind::Direct => "direct",
            PeerKind::Group => "group",
            PeerKind::Channel => "channel",
        };
        let by_kind = config["replyToModeByChatType"][kind].as_str();
        match by_kind.or_else(|| config["replyToMode"].as_str())? {
            "off" => Some(ReplyMode::Off),
            "first" => Some(ReplyMode::First),
            "all" => Some(ReplyMode::All),
            _ => None,
        }
    }

    /// May the model say which message it answers.
    pub(crate) fn takes_reply_tags(&self) -> bool {
        let threads = self.channel().is_none_or(|channel| channel.replies_are_threads());
        !threads || matches!(self.reply_mode(), Some(ReplyMode::First | ReplyMode::All))
    }

    /// Longest message of the platform, characters.
    pub(crate) fn limit(&self) -> usize {
        self.channel()
            .map_or(usize::MAX, |channel| channel.manifest().text_limit)
    }

    fn channel(&self) -> Option<&Arc<dyn Channel>> {
        self.directory.services().ports.channel(&self.destination.channel)
    }

    /// Shows "… is typing" until the guard is dropped, again after `interval` or when the platform needs it.
    pub(crate) fn typing(&self, interval: Option<Duration>) -> Option<DropGuard> {
        self.channel()?.typing()?;
        let stop = CancellationToken::new();
        let (this, stopped) = (self.clone(), stop.clone());
        self.directory
            .services()
            .io
            .spawn(async move { this.type_until(stopped, interval).await });
        Some(stop.drop_guard())
    }

    async fn type_until(&self, stopped: CancellationToken, interval: Option<Duration>) {
        let Some(channel) = self.channel().cloned() else { return };
        let Some(typing) = channel.typing() else { return };
        let mut wait = TYPING_AFTER;
        let mut shown = false;
        loop {
            tokio::select! {
                () = stopped.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
            if self.is_muted() {
                continue;
            }
            // Best effort: a refused indicator must not touch the run.
            shown = typing.start(&self.account.account, &self.destination).await.is_ok() || shown;
            wait = interval.unwrap_or_else(|| typing.refresh());
        }
        if shown {
            let _ = typing.stop(&self.account.account, &self.destination).await;
        }
    }

    /// The pieces of a reply in the platform's dialect.
    pub(crate) fn render(&self, markdown: &str) -> Vec<Rendered> {
        let Some(channel) = self.channel().filter(|_| !self.is_muted()) else {
            return Vec::new();
        };
        let platform = channel.manifest().text_limit;
        let Some(cut) = Cut::of(&self.account.account.config, platform) else {
            return channel.render(markdown);
        };
        let texts = if cut.paragraphs {
            blocks::paragraphs(markdown)
        } else {
            vec![markdown]
        };
        let bounds = Bounds {
            min: 0,
            max: cut.limit,
            preference: Break::Paragraph,
        };
        let parts = texts.into_iter().flat_map(|text| Chunker::new(bounds).rest(text));
        parts.flat_map(|part| channel.render(&part)).collect()
    }

    /// Deletes a message of ours, or leaves next to nothing of it where the platform refuses that.
    async fn take_back(&self, message_id: &str) -> bool {
        let Some(channel) = self.channel() else { return false };
        let (account, to) = (&self.account.account, &self.destination);
        if let Some(acts) = channel.acts()
            && acts.delete(account, to, message_id).await.is_ok()
        {
            return true;
        }
        match (channel.edits(), channel.render("…").first()) {
            (Some(edits), Some(piece)) => edits.edit(account, to, message_id, piece).await.is_ok(),
            (Some(_) | None, _) => false,
        }
    }

    /// How an answer that is being written is shown here.
    fn growth(&self) -> Option<Growth> {
        let edits = self.channel()?.edits()?;
        Growth::of(self.account.account.config.get("streaming"), edits.shows_progress())
    }
}

/// `replyToMode`: which messages of an answer are replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    Off,
    First,
    All,
}

/// `streaming`: how an answer is shown before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// It grows as it is written.
    Partial,
    /// By whole paragraphs.
    Block,
    /// That there will be one.
    Progress,
}

impl Growth {
    /// `None`: not at all. `progress`: whether the platform shows a state instead of the text.
    fn of(said: Option<&Value>, progress: bool) -> Option<Self> {
        let said = match said {
            Some(Value::Object(fields)) => fields.get("mode"),
            said => said,
        };
        match said {
            Some(Value::Bool(false)) => None,
            Some(Value::String(word)) => match word.trim().to_ascii_lowercase().as_str() {
                "off" | "false" | "none" => None,
                "block" => Some(Self::Block),
                "progress" if progress => Some(Self::Progress),
                _ => Some(Self::Partial),
            },
            _ => Some(Self::Partial),
        }
    }
}

/// "… is typing" of one run: from the time its settings say until it ends.
pub(crate) struct Typing {
    outlet: Option<Outlet>,
    mode: TypingMode,
    interval: Option<Duration>,
    shown: Option<DropGuard>,
}

impl Typing {
    pub(crate) fn new(outlet: Option<Outlet>, manner: &MannerSettings, addressed: bool) -> Self {
        Self {
            outlet,
            mode: manner.typing_for(addressed),
            interval: manner.typing_interval,
            shown: None,
        }
    }

    /// This happens: is it what begins it.
    pub(crate) fn when(&mut self, happens: TypingMode) {
        if self.mode == happens
            && let Some(outlet) = self.outlet.take()
        {
            self.shown = outlet.typing(self.interval);
        }
    }

    pub(crate) fn stop(&mut self) {
        self.outlet = None;
        self.shown = None;
    }
}

/// The growing message of one run.
pub(crate) struct Preview {
    started: Instant,
    growth: Growth,
    /// Where paragraphs end.
    steps: Chunker,
    text: Option<watch::Sender<String>>,
    task: Option<tokio::task::JoinHandle<Option<Shown>>>,
    outlet: Outlet,
    authority: Authority,
    run_id: String,
}

impl Preview {
    pub(crate) fn new(outlet: &Outlet, authority: &Authority, run_id: &str) -> Option<Self> {
        outlet.growth().map(|growth| Self {
            started: Instant::now(),
            growth,
            steps: Chunker::new(STEP),
            text: None,
            task: None,
            outlet: outlet.clone(),
            authority: authority.clone(),
            run_id: run_id.to_owned(),
        })
    }

    /// Which message it answers, while it does not stand there yet.
    pub(crate) fn answers(&mut self, message_id: Option<String>) {
        self.outlet.destination.reply_to = message_id;
    }

    /// The visible text so far.
    pub(crate) fn update(&mut self, text: &str) {
        let text = match self.growth {
            Growth::Partial => text,
            Growth::Block => {
                while self.steps.next(text).is_some() {}
                text.get(..self.steps.at()).unwrap_or(text).trim_end()
            }
            Growth::Progress => PROGRESS,
        };
        if let Some(sender) = &self.text {
            sender.send_replace(text.to_owned());
            return;
        }
        let least = if self.growth == Growth::Progress {
            1
        } else {
            PREVIEW_CHARS
        };
        if self.started.elapsed() < PREVIEW_AFTER || text.chars().count() < least {
            return;
        }
        let (sender, receiver) = watch::channel(text.to_owned());
        self.text = Some(sender);
        let (outlet, authority, run_id) = (self.outlet.clone(), self.authority.clone(), self.run_id.clone());
        self.task = Some(
            self.outlet
                .directory
                .services()
                .io
                .spawn(async move { grow(outlet, authority, run_id, receiver).await }),
        );
    }

    /// Ends the edits. Gives the preview if it was sent or still may be, for the final reply to take its place.
    pub(crate) async fn finish(mut self) -> Option<Shown> {
        drop(self.text.take());
        self.task.take()?.await.ok().flatten()
    }
}

/// A preview that stands in the chat, or is on its way there.
pub(crate) struct Shown {
    /// Of its outbox row.
    id: String,
    message: Sent,
    outlet: Outlet,
}

/// The platform's id of a preview.
enum Sent {
    As(String),
    /// Not known yet. The row may be waiting for as long as the platform says.
    Later(oneshot::Receiver<Option<String>>),
}

impl Shown {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Does one of these take its place.
    pub(crate) fn is_replaced(&self, pieces: &[Piece]) -> bool {
        pieces
            .iter()
            .any(|piece| piece.replaces.as_deref() == Some(self.id.as_str()))
    }

    /// Takes it away again: nothing takes its place. Nobody waits for that.
    pub(crate) fn take_back(self) {
        let io = self.outlet.directory.services().io.clone();
        io.spawn(async move {
            let message_id = match self.message {
                Sent::As(id) => Some(id),
                Sent::Later(sent) => sent.await.ok().flatten(),
            };
            let Some(message_id) = message_id else { return };
            if !self.outlet.take_back(&message_id).await {
                tracing::warn!(
                    channel.id = self.outlet.destination.channel,
                    "a preview was not taken back"
                );
            }
        });
    }
}

/// Sends the preview and edits it at the platform's pace until the sender is dropped.
fn grow(
    outlet: Outlet,
    authority: Authority,
    run_id: String,
    mut text: watch::Receiver<String>,
) -> BoxFuture<'static, Option<Shown>> {
    Box::pin(async move {
        let channel = outlet.channel()?.clone();
        let edits = channel.edits()?;
        let first = first_piece(&outlet, &text.borrow_and_update().clone())?;
        let mut shown = first.text.clone();
        let piece = Piece::new(PREVIEW, &outlet.destination, first);
        let id = piece.id.clone();
        let delivery = outlet.directory.delivery();
        let mut sent = delivery.settled(&id);
        let posted = turn::post(outlet.directory.services(), &authority, &run_id, vec![piece]).await;
        if posted.is_err() {
            delivery.forget(&id);
            return None;
        }
        delivery.kick(&authority.scope, &outlet.destination.conversation());
        let sent_as = tokio::select! {
            biased;
            sent_as = &mut sent => Some(sent_as.ok().flatten()?),
            () = ended(&mut text) => None,
        };
        // What was said meanwhile is looked at now.
        text.mark_changed();
        let Some(message_id) = sent_as else {
            let message = Sent::Later(sent);
            return Some(Shown { id, message, outlet });
        };
        while text.changed().await.is_ok() {
            let latest = text.borrow_and_update().clone();
            if let Some(piece) = first_piece(&outlet, &latest)
                && piece.text != shown
            {
                if let Some(wait) = delivery.paused(&outlet.account, &outlet.destination) {
                    if ends_within(&mut text, wait).await {
                        break;
                    }
                    continue;
                }
                // A failed edit is made good by the next one, and at the latest by the final reply.
                let edited = edits
                    .edit(&outlet.account.account, &outlet.destination, &message_id, &piece)
                    .await;
                if let Err(DeliverError::Retry { after: Some(wait), .. }) = edited {
                    delivery.pause(&outlet.account, &outlet.destination, wait);
                    continue;
                }
                shown = piece.text;
                // The end of the answer takes its place at once.
                if ends_within(&mut text, edits.pace(outlet.destination.peer.kind)).await {
                    break;
                }
            }
        }
        let message = Sent::As(message_id);
        Some(Shown { id, message, outlet })
    })
}

/// Waits, but not for longer than the answer takes. What was said meanwhile is looked at afterwards.
async fn ends_within(text: &mut watch::Receiver<String>, wait: Duration) -> bool {
    let ended = tokio::time::timeout(wait, ended(text)).await.is_ok();
    text.mark_changed();
    ended
}

/// Waits until no more is said.
async fn ended(text: &mut watch::Receiver<String>) {
    while text.changed().await.is_ok() {}
}

fn first_piece(outlet: &Outlet, text: &str) -> Option<Rendered> {
    outlet.render(text).into_iter().next()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_an_answer_is_shown_while_it_is_written() {
        for (said, elsewhere, with_progress) in [
            (json!(null), Some(Growth::Partial), Some(Growth::Partial)),
            (json!(true), Some(Growth::Partial), Some(Growth::Partial)),
            (json!(false), None, None),
            (json!("off"), None, None),
            (json!({"mode": "off"}), None, None),
            (json!("partial"), Some(Growth::Partial), Some(Growth::Partial)),
            (json!("block"), Some(Growth::Block), Some(Growth::Block)),
            (
                json!({"mode": "progress"}),
                Some(Growth::Partial),
                Some(Growth::Progress),
            ),
        ] {
            assert_eq!(Growth::of(Some(&said), false), elsewhere, "{said}");
            assert_eq!(Growth::of(Some(&said), true), with_progress, "{said}");
        }
    }
}
