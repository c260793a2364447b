//! Compaction that somebody asked for: `/compact`, and `sessions.compact`. Between turns, and aborted like one.

use actix::Addr;
use tokio_util::sync::CancellationToken;

use super::{Extent, Job, Outcome, Spent, Summarised, fresh_tokens, plan};
use crate::conversation::entry::Compaction;
use crate::conversation::transcript::SessionHead;
use crate::error::{Error, Result};
use crate::ports::message::Usage;
use crate::session::assembly::{Assembly, Place};
use crate::session::budget::Charge;
use crate::session::closing;
use crate::session::context::{cut, to_summarise};
use crate::session::events::Emitter;
use crate::session::intake::ClientMessage;
use crate::session::item::Item;
use crate::session::run;
use crate::session::skills;
use crate::session::tool_policy::Caller;
use crate::session::toolbox::Toolbox;
use crate::session::turn::{self, AskedFor, Authority, Ending, Settling};
use crate::supervisor::directory::Directory;
use crate::supervisor::lanes::UserLanes;
use crate::supervisor::user::UserActor;

/// Stands for what was left out without a summary.
const LEFT_OUT: &str = "(Earlier messages were left out without a summary.)";
/// Tokens of history looked at where nothing is summarised.
const LOOKED_AT: u64 = 2_000_000;

/// What is wished for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) instructions: Option<String>,
    /// Leaves out all but this many entries, without a summary.
    pub(crate) keep_entries: Option<usize>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    Compacted {
        body: Compaction,
        tokens_after: u64,
        /// Entries that stay, where their number was wished for.
        kept: Option<usize>,
    },
    Nothing,
    /// There is no such session.
    Missing,
    Aborted,
    /// The sentence is for people.
    Failed(String),
}

impl Done {
    /// What the person is told.
    fn sentence(&self) -> String {
        match self {
            Self::Compacted { body, tokens_after, .. } => format!(
                "Summarised the earlier part of this conversation: {} tokens before, about {tokens_after} now.",
                body.tokens_before
            ),
            Self::Nothing | Self::Missing => "There is nothing to summarise yet.".to_owned(),
            Self::Aborted => "Stopped. The conversation is as it was.".to_owned(),
            Self::Failed(why) => format!("I could not summarise this conversation: {why} It is as it was."),
        }
    }
}

/// An entry and how many others stay, or why there is none.
type Made = std::result::Result<(Summarised, Option<usize>), Done>;

/// Everything it is handed.
pub(crate) struct ByHand {
    pub(crate) directory: Directory,
    pub(crate) lanes: UserLanes,
    pub(crate) cancel: CancellationToken,
    pub(crate) wish: Wish,
    /// Of the compaction: under this id its cost is on record, and watchers hear of it.
    pub(crate) operation: String,
    pub(crate) told: Emitter,
}

/// The command that asked for it.
pub(crate) struct Command {
    pub(crate) item: Item,
    pub(crate) emitter: Option<(Emitter, Addr<UserActor>)>,
}

impl ByHand {
    /// Compacts, and answers the command in the same commit.
    ///
    /// # Errors
    /// What the database says; a summary that fails is [`Done::Failed`].
    pub(crate) async fn run(self, authority: &Authority, command: Option<Command>) -> Result<Done> {
        let conversation = &self.directory.services().conversation;
        let Some(head) = conversation.head(&authority.scope, &authority.key).await? else {
            let cost = Spent::default();
            return self.told_only(authority, "", (Done::Missing, cost), command).await;
        };
        self.told.operation(&self.operation, None).await;
        let done = Box::pin(self.tried(authority, head, command)).await;
        let completed = matches!(done, Ok(Done::Compacted { .. }));
        self.told.operation(&self.operation, Some(completed)).await;
        done
    }

    async fn tried(&self, authority: &Authority, head: SessionHead, command: Option<Command>) -> Result<Done> {
        let services = self.directory.services();
        let item = command.as_ref().map(|command| &command.item);
        let (made, cost) = match self.wish.keep_entries {
            Some(most) => (self.left_out(authority, &head, most).await?, Spent::default()),
            None => self.summarised(authority, &head, item).await?,
        };
        let (summarised, kept) = match made {
            Ok(made) => made,
            Err(done) => {
                return self.told_only(authority, &head.session_id, (done, cost), command).await;
            }
        };
        let ending = ending("ok", cost);
        let done = Done::Compacted {
            body: summarised.body.clone(),
            tokens_after: summarised.tokens_after,
            kept,
        };
        let store = |settling: Option<Settling>| async {
            let asked = AskedFor {
                run: Some((self.operation.clone(), ending)),
                command: settling,
            };
            let body = summarised.body;
            let head = turn::compact(services, authority, &head, body, &self.operation, Some(asked)).await?;
            self.told.session_changed("compact", Some(&head), false).await;
            Ok(())
        };
        match command {
            None => store(None).await?,
            Some(Command { item, emitter }) => {
                let text = done.sentence();
                closing::finish_command_with(&self.directory, authority, &item, &text, emitter, |settling| {
                    store(Some(settling))
                })
                .await?;
            }
        }
        Ok(done)
    }

    /// Answers the command. What the calls cost is on record, though nothing came of them.
    async fn told_only(
        &self,
        authority: &Authority,
        session_id: &str,
        (done, cost): (Done, Spent),
        command: Option<Command>,
    ) -> Result<Done> {
        let status = match &done {
            Done::Aborted => "aborted",
            Done::Failed(_) => "error",
            Done::Compacted { .. } | Done::Nothing | Done::Missing => "ok",
        };
        let run = (cost.usage != Usage::default()).then(|| (self.operation.clone(), ending(status, cost)));
        let services = self.directory.services();
        let store = |command: Option<Settling>| {
            let asked = AskedFor { run, command };
            turn::not_compacted(services, authority, session_id, asked)
        };
        match command {
            None => store(None).await?,
            Some(Command { item, emitter }) => {
                closing::finish_command_with(
                    &self.directory,
                    authority,
                    &item,
                    &done.sentence(),
                    emitter,
                    |settling| store(Some(settling)),
                )
                .await?;
            }
        }
        Ok(done)
    }

    /// A summary, made in a place of its own among the user's runs.
    async fn summarised(
        &self,
        authority: &Authority,
        head: &SessionHead,
        item: Option<&Item>,
    ) -> Result<(Made, Spent)> {
        let nothing = |done| Ok((Err(done), Spent::default()));
        let services = self.directory.services();
        let settings = services.config.settings(&authority.scope).await?;
        let wanted = run::override_of(head);
        let model = match services
            .config
            .resolve_model(&authority.scope, &authority.agent_id, wanted)
            .await
        {
            Ok(model) => model,
            Err(error @ (Error::Storage(_) | Error::Fenced | Error::Internal(_))) => return Err(error),
            Err(error) => return nothing(Done::Failed(format!("{error}."))),
        };
        // Who calls by a method is the user.
        let caller = Item::from_client(String::new(), String::new(), 0, true, ClientMessage::default());
        let last = item.unwrap_or(&caller);
        let caller = Caller::of(authority, Some(head), &settings, &model, last.audience()).within([last]);
        let toolbox = Toolbox::new(services, &authority.scope, caller)
            .with_servers(&settings)
            .await;
        let tools = toolbox.specs(&settings);
        let place = Place {
            scope: &authority.scope,
            key: &authority.key,
            agent_id: &authority.agent_id,
            last,
        };
        let skills = skills::offered(&self.directory, place, &settings).await?;
        let base = Assembly::new(services, place, &settings, &model, (&tools, toolbox.away()), &skills).await?;
        let most = settings.max_concurrent.unwrap_or(services.limits.user_runs);
        let place = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return nothing(Done::Aborted),
            place = self.lanes.acquire(&last.guest, most) => place,
        };
        // What is refused is said where it was asked for.
        let payer = Authority {
            charge: Charge {
                overheard: !last.audience().is_private(),
                ..authority.charge.clone()
            },
            ..authority.clone()
        };
        let job = Job {
            services,
            authority: &payer,
            settings: &settings.room.compaction,
            head,
            model: &model,
            cancel: &self.cancel,
            extent: Extent::Asked,
            base: &base,
            instructions: self.wish.instructions.as_deref(),
        };
        let Some(plan) = plan(&job).await? else {
            return nothing(Done::Nothing);
        };
        let (outcome, cost) = plan.summarise(&job).await;
        drop(place);
        let made = match outcome {
            Outcome::Summarised(summarised) => Ok((*summarised, None)),
            Outcome::Aborted => Err(Done::Aborted),
            Outcome::Failed(why) => Err(Done::Failed(why)),
        };
        Ok((made, cost))
    }

    /// Leaves out all but the newest entries.
    async fn left_out(&self, authority: &Authority, head: &SessionHead, most: usize) -> Result<Made> {
        let conversation = &self.directory.services().conversation;
        let branch = conversation.whole(&authority.scope, head, LOOKED_AT).await?;
        let entries = &branch.entries;
        let stay = entries.len().saturating_sub(most);
        let tokens: u64 = entries.iter().skip(stay).map(|entry| cut::cost(entry)).sum();
        let keep = cut::Keep {
            tokens: tokens.max(1),
            most: tokens,
            turns: 0,
        };
        let place = cut::cut(entries, keep).filter(|_| stay > 0);
        let Some((place, first)) = place.and_then(|place| Some((place, entries.get(place.at)?))) else {
            return Ok(Err(Done::Nothing));
        };
        let summary = match to_summarise(entries, place.at).0 {
            Some(so_far) => format!("{}\n\n{LEFT_OUT}", so_far.summary),
            None => LEFT_OUT.to_owned(),
        };
        let summarised = Summarised {
            tokens_after: entries.iter().skip(place.at).map(|entry| cut::cost(entry)).sum(),
            body: Compaction {
                summary,
                first_kept_entry_id: first.id.clone(),
                tokens_before: fresh_tokens(head).unwrap_or(branch.tokens),
                details: None,
            },
        };
        Ok(Ok((summarised, Some(entries.len() - place.at))))
    }
}

/// The end of the run that holds the cost.
fn ending(status: &'static str, cost: Spent) -> Ending {
    Ending {
        usage: cost.usage,
        provider: cost.provider,
        model: cost.model,
        ..Ending::without_model(status, "compaction", Vec::new())
    }
}
