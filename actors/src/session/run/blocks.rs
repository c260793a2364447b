//! A reply that goes out in parts while it is written, and what is left of it for the end of the run.
//!
//! Parts are outbox rows in the order of the text. One that could not be stored goes along with the next, at the latest
//! with the commit that ends the run. `block` rows hold text that is in no transcript yet: a crash makes the turn
//! interrupted. With the entry that holds the text they become `said`.

use claw_entities::Scope;
use tokio::time::Instant;

use super::{RunContext, Work};
use crate::Services;
use crate::clock::now_ms;
use crate::config::accounts::ResolvedAccount;
use crate::config::document::{BlockBreak, BlockSettings, Bounds, Break, HumanDelay, UserSettings};
use crate::config::providers::ResolvedModel;
use crate::error::Result;
use crate::ports::channel::Destination;
use crate::session::blocks::{Chunker, Coalescer};
use crate::session::item::Item;
use crate::session::key::DEFAULT_ACCOUNT;
use crate::session::preview::{Outlet, Shown};
use crate::session::reply::{self, ReplyTo};
use crate::session::turn::{self, BLOCK, Piece};
use crate::supervisor::directory::Directory;

/// The reply of one run on its way to a chat.
pub(super) struct Parts {
    chunker: Chunker,
    coalescer: Option<Coalescer>,
    /// When parts go out before the end; `None` = not at all.
    streams: Option<BlockBreak>,
    delay: HumanDelay,
    /// Parts handed out so far.
    count: usize,
    /// When the last of them is due, epoch milliseconds.
    due_at: i64,
    /// Not in the outbox yet.
    unstored: Vec<Piece>,
    /// The message that the answer says it answers, by the platform's id.
    answers: Option<String>,
    /// Only its first message is a reply (`replyToMode: first`).
    once: bool,
}

impl Parts {
    /// `settings`: how the channel sends in parts; `None` = in one.
    pub(super) fn new(settings: Option<BlockSettings>, delay: HumanDelay) -> Self {
        let whole = Bounds {
            min: usize::MAX,
            max: usize::MAX,
            preference: Break::Paragraph,
        };
        Self {
            chunker: Chunker::new(settings.map_or(whole, |settings| settings.bounds)),
            coalescer: settings.map(|settings| Coalescer::new(settings.joining, settings.bounds.preference)),
            streams: settings.map(|settings| settings.when),
            delay,
            count: 0,
            due_at: 0,
            unstored: Vec::new(),
            answers: None,
            once: false,
        }
    }

    /// Do parts go out before the end.
    pub(super) fn streams(&self) -> bool {
        self.streams.is_some()
    }

    /// Bytes of the run's text that went out, or are about to.
    pub(super) fn at(&self) -> usize {
        self.chunker.at()
    }

    /// When what is held back goes out.
    pub(super) fn due(&self) -> Option<Instant> {
        self.coalescer.as_ref().and_then(Coalescer::due)
    }

    /// What goes out of the text so far.
    fn grown(&mut self, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        if self.streams != Some(BlockBreak::TextEnd) {
            return out;
        }
        while let Some(part) = self.chunker.next(text) {
            match &mut self.coalescer {
                Some(coalescer) => out.extend(coalescer.push(&part, Instant::now())),
                None => out.push(part),
            }
        }
        out
    }

    /// All that has not gone out.
    pub(super) fn rest(&mut self, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        for part in self.chunker.rest(text) {
            match &mut self.coalescer {
                Some(coalescer) => out.extend(coalescer.push(&part, Instant::now())),
                None => out.push(part),
            }
        }
        out.extend(self.coalescer.as_mut().and_then(Coalescer::flush));
        out
    }

    /// The part as outbox pieces. All but the first take as long as a person would.
    fn pieces(&mut self, kind: &'static str, outlet: &Outlet, text: &str) -> Vec<Piece> {
        if self.count > 0 {
            let wait = self.delay.wait();
            if wait > 0 {
                self.due_at = self.due_at.max(now_ms()).saturating_add(wait);
            }
        }
        self.count += 1;
        let rendered = outlet.render(text).into_iter().enumerate();
        rendered
            .map(|(at, rendered)| Piece {
                due_at: self.due_at,
                ..Piece::new(kind, &self.destination(outlet, at > 0), rendered)
            })
            .collect()
    }

    /// Where a piece goes, and what it answers.
    fn destination(&self, outlet: &Outlet, later: bool) -> Destination {
        let mut destination = outlet.destination.clone();
        if self.once && (later || self.count > 1) {
            destination.reply_to = None;
        } else if self.answers.is_some() {
            destination.reply_to.clone_from(&self.answers);
        }
        destination
    }
}

impl Work {
    /// Minds which message the model wants to answer, where the platform and its settings let it.
    pub(super) fn answers(&mut self, context: &RunContext) {
        let (Some(wanted), Some(outlet)) = (self.hold.reply_to(), &self.outlet) else {
            return;
        };
        if !outlet.takes_reply_tags() {
            return;
        }
        let current = || {
            let said = context.turn.steered.iter().rev().chain(context.turn.items.iter().rev());
            said.map(Item::answered).next().flatten()
        };
        let answers = match wanted {
            ReplyTo::Current => current(),
            ReplyTo::Message(id) => Some(id.clone()),
        };
        if answers.is_some() && answers != self.parts.answers {
            if let Some(preview) = &mut self.preview {
                preview.answers(answers.clone());
            }
            self.parts.answers = answers;
        }
    }

    /// More of the reply is visible.
    pub(super) async fn text_grew(&mut self, context: &RunContext) {
        let parts = self.parts.grown(context.emitter.text());
        self.send_parts(context, parts).await;
    }

    /// No more came for a while.
    pub(super) async fn text_rests(&mut self, context: &RunContext) {
        let held = self.parts.coalescer.as_mut().and_then(Coalescer::flush);
        self.send_parts(context, held.into_iter().collect()).await;
    }

    /// The message is complete, and a tool is about to start: what it said comes first.
    pub(super) async fn text_is_complete(&mut self, context: &RunContext) {
        if self.parts.streams() {
            let parts = self.parts.rest(context.emitter.text());
            self.send_parts(context, parts).await;
        }
    }

    /// Puts parts into the outbox ahead of the end.
    async fn send_parts(&mut self, context: &RunContext, parts: Vec<String>) {
        let Some(outlet) = self.outlet.clone().filter(|_| !parts.is_empty()) else {
            return;
        };
        let pieces = self.part_pieces(BLOCK, &outlet, &parts);
        self.parts.unstored.extend(pieces);
        let pieces = self.parts.unstored.clone();
        match turn::post(&self.services, &self.authority, &context.turn.run_id, pieces).await {
            Ok(()) => {
                self.parts.unstored.clear();
                let conversation = outlet.destination.conversation();
                context.directory.delivery().kick(&context.scope, &conversation);
            }
            Err(error) => tracing::warn!(error = ?error, run.id = %context.turn.run_id, "a part of a reply waits"),
        }
    }

    /// Parts as outbox pieces, the reply's prefix before the first.
    pub(super) fn part_pieces(&mut self, kind: &'static str, outlet: &Outlet, parts: &[String]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in parts {
            let text = if self.parts.count == 0 {
                self.prefixed(part, self.model.as_ref())
            } else {
                part.clone()
            };
            pieces.extend(self.parts.pieces(kind, outlet, &text));
        }
        pieces
    }

    /// What could not be stored so far, for the next commit.
    pub(super) fn unstored_parts(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.parts.unstored)
    }

    /// The end of the reply as outbox pieces. `replaces`: the preview whose place the first takes.
    pub(super) fn final_pieces(
        &mut self,
        outlet: Option<&Outlet>,
        reply: &[String],
        replaces: Option<&Shown>,
    ) -> Vec<Piece> {
        let Some(outlet) = outlet else { return Vec::new() };
        let mut pieces = self.part_pieces("final", outlet, reply);
        if let Some(first) = pieces.first_mut() {
            first.replaces = replaces.map(|preview| preview.id().to_owned());
        }
        pieces
    }

    /// The reply with the user's response prefix in front.
    pub(super) fn prefixed(&self, text: &str, model: Option<&ResolvedModel>) -> String {
        let Some(template) = self.prefix.as_deref() else {
            return text.to_owned();
        };
        let agent = self
            .settings
            .agents
            .iter()
            .find(|agent| agent.id == self.authority.agent_id);
        let identity = agent
            .and_then(|agent| agent.identity.get("name"))
            .and_then(serde_json::Value::as_str);
        let prefix = reply::response_prefix(
            template,
            &reply::PrefixFacts {
                provider: model.map_or("", |model| model.provider.as_str()),
                model: model.map_or("", |model| model.model.as_str()),
                thinking_level: model.map_or("off", |model| model.thinking.name()),
                identity_name: identity
                    .or(agent.and_then(|agent| agent.name.as_deref()))
                    .unwrap_or_default(),
            },
        );
        reply::with_prefix(prefix.as_deref(), text.to_owned())
    }
}

/// `responsePrefix` of the account, else of the channel, else of all messages. An empty one ends the search.
pub(super) async fn prefix(
    services: &Services,
    settings: &UserSettings,
    outlet: Option<&Outlet>,
) -> Result<Option<String>> {
    let own = |account: &ResolvedAccount| {
        let prefix = account.account.config.get("responsePrefix");
        prefix.and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let Some(account) = outlet.map(|outlet| &outlet.account) else {
        return Ok(settings.response_prefix.clone());
    };
    let mut found = own(account);
    let account = &account.account;
    if found.is_none() && account.account_id != DEFAULT_ACCOUNT {
        let config = &services.config;
        let channel = config
            .account(&account.tenant, &account.channel, DEFAULT_ACCOUNT)
            .await?;
        found = channel.and_then(|channel| own(&channel));
    }
    Ok(match found {
        Some(prefix) => Some(prefix).filter(|prefix| !prefix.is_empty()),
        None => settings.response_prefix.clone(),
    })
}

/// How the reply goes out. What an agent says that looks by itself may be nothing: it is judged as a whole.
pub(super) fn parts(context: &RunContext, settings: &UserSettings, outlet: Option<&Outlet>) -> Parts {
    let told = outlet.filter(|_| context.turn.beat().is_none());
    let blocks = told.and_then(|outlet| {
        let account = &outlet.account.account;
        settings
            .reply
            .on_channel(&account.channel, &account.config, outlet.limit())
    });
    let own = settings.agent(&context.agent_id).and_then(|agent| agent.human_delay);
    Parts {
        once: outlet.is_some_and(Outlet::replies_once),
        ..Parts::new(blocks, own.unwrap_or(settings.reply.delay))
    }
}

/// A word about an earlier reply that may be missing. Said once, and not where nothing is sent.
pub(super) fn doubt(directory: &Directory, scope: &Scope, outlet: &Outlet) -> Option<&'static str> {
    let conversation = outlet.destination.conversation();
    (!outlet.is_muted() && directory.delivery().take_unconfirmed(scope.tenant(), &conversation))
        .then_some("(An earlier reply of mine may not have arrived.)")
}

/// Puts a text below the reply; on its own where nothing of the reply is left.
pub(super) fn below(reply: &mut Vec<String>, text: &str) {
    match reply.last_mut() {
        Some(last) => *last = format!("{last}\n\n{text}"),
        None => reply.push(text.to_owned()),
    }
}
