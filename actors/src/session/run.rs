//! The agent loop: one run, from admission to its durable end. Knows no actor: a plain future that is `Send`.

mod aloud;
mod attached;
mod blocks;
mod calling;
mod cancel;
mod ending;
mod facts;
mod failover;
mod flush;
mod room;
mod steered;
mod telling;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use claw_entities::{Scope, SessionKey};
use tokio::time::Instant;

use self::attached::Attached;
use self::blocks::{Parts, below, doubt, parts, prefix};
pub(crate) use self::cancel::Cancel;
use self::facts::{failed, plain_failure, run_timeout, text_parts, waits_for_children};
pub(crate) use self::facts::{override_of, pieces, snapshot};
pub(crate) use self::failover::fallback_of;
use self::failover::{Call, Failover};
use self::room::{Again, Room};
use self::telling::afterwards;
use super::context::check_window;
use super::events::Emitter;
use super::exec::{self, Which};
use super::item::Item;
use super::overheard::Overheard;
use super::preview::{Outlet, Preview, Typing};
use super::prompt::Audience;
use super::reach::Chain;
use super::reach::subagents::YIELD;
use super::steering::Steering;
use super::tool_context::Calling;
use super::tool_policy::{self, Caller};
use super::toolbox::Toolbox;
use super::turn::{self, Authority, Beside, Ending, Turn};
use super::understanding::{self, Reader};
use super::{assembly, blobs, closing, freshness, heartbeat, own, reply, send_policy, signs, skills};
use crate::Services;
use crate::clock::now_ms;
use crate::config::document::{TypingMode, UserSettings};
use crate::config::providers::ResolvedModel;
use crate::conversation::transcript::SessionHead;
use crate::error::{Error, Result};
use crate::ports::message::{AssistantMessage, Message, StopReason, ToolCall, Usage};
use crate::ports::model::{ErrorClass, ModelError};
use crate::ports::tool::{SessionSnapshot, ToolContext};
use crate::supervisor::directory::{Directory, RunEnded};
use crate::supervisor::lanes::{UserLanes, asker};
use crate::supervisor::slot::Slot;

/// Model calls of one run: what bounds one is its time, and the guard against calls that go round in circles. This is for
/// a run without either.
const MAX_CALLS: usize = 500;
/// The same for what guests ask for.
const MAX_GUEST_CALLS: usize = 32;
/// The tool that fetches what stands at an address.
const FETCH: &str = "web_fetch";
/// Tries of one model call while nothing of its answer was shown.
const TRIES: u32 = 3;

/// Everything a run is handed.
pub(crate) struct RunContext {
    pub(crate) directory: Directory,
    pub(crate) scope: Scope,
    pub(crate) key: SessionKey,
    pub(crate) agent_id: String,
    pub(crate) turn: Turn,
    pub(crate) lanes: UserLanes,
    /// Held while it works, not while it waits for a model or a tool.
    pub(crate) slot: Slot,
    pub(crate) emitter: Emitter,
    pub(crate) cancel: Cancel,
    /// What people say meanwhile.
    pub(crate) steering: Steering,
    pub(crate) queued: usize,
}

/// What the session has to do next.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// On record. The watchers may be told.
    Ended(RunEnded),
    /// Not on record: the rows are still open. Look at them again after this time.
    Left { again: Duration },
    /// The process stops; the next one recovers the rows.
    Stopped,
}

/// Why the loop ended.
enum End {
    Answer {
        silent: bool,
    },
    /// It is the client's turn to run a tool, or the sub-agents' to end: the calls' results, some of which say that.
    Handed {
        results: Vec<Message>,
    },
    Aborted,
    TimedOut(Duration),
    Failed(Box<ModelError>),
}

/// Runs the turn. Never panics by itself; a panic in a provider ends this future only.
pub(crate) async fn run(mut context: RunContext) -> Outcome {
    let shutdown = context.directory.shutdown().clone();
    let cancel = context.cancel.clone();
    let beat = context.turn.beat().is_some();
    if beat {
        context.emitter.hush();
    }
    let settings = match context.directory.services().config.settings(&context.scope).await {
        Ok(settings) => settings,
        Err(error) => return left(&error),
    };
    let most = settings
        .max_concurrent
        .unwrap_or(context.directory.services().limits.user_runs);
    let guest = context.turn.last().guest.clone();
    let (lanes, scheduled) = (
        context.lanes.clone(),
        context.turn.last().options.scheduled.is_some() && !beat,
    );
    let most_scheduled = settings.cron.max_concurrent_runs;
    let subagent = context.turn.last().options.relayed && tool_policy::is_subagent(&context.key);
    let most_subagents = settings.subagents(&context.agent_id).at_once;
    // Another session of the user's asked, and may wait for the answer.
    let nested = context.turn.last().options.relayed && guest.is_empty();
    let slot = &context.slot;
    let place = async {
        let permit = if subagent {
            lanes.acquire_subagent(most_subagents).await
        } else if scheduled {
            lanes.acquire_scheduled(most_scheduled).await
        } else if nested {
            lanes.acquire_nested().await
        } else {
            lanes.acquire(&guest, most).await
        };
        slot.begin(asker(&guest)).await;
        permit
    };
    let sign = signs::shown(
        &context.directory,
        &context.scope,
        &context.key,
        signs::place(context.turn.last()),
    );
    let permit = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Outcome::Stopped,
        () = cancel.token.cancelled() => None,
        permit = place => Some(permit),
        // Who waits sees that something comes. It has no end of its own.
        () = sign => None,
    };
    let Some(permit) = permit else {
        return unstarted(&mut context).await;
    };
    let queued_ms = now_ms().saturating_sub(context.turn.last().received_at);
    tracing::Span::current().record("queued_ms", queued_ms);
    let outcome = tokio::select! {
        biased;
        () = shutdown.cancelled() => Outcome::Stopped,
        outcome = admitted(&mut context, settings) => outcome,
    };
    context.slot.give_back();
    drop(permit);
    outcome
}

/// Nothing final is on record: the rows are looked at again soon.
pub(crate) fn left(error: &Error) -> Outcome {
    let soon = matches!(error, Error::Fenced | Error::Conflict(_));
    let again = Duration::from_millis(if soon { 50 } else { 2000 });
    tracing::warn!(error = ?error, "turn left for later");
    Outcome::Left { again }
}

/// Aborted while it waited for its place: nothing was stored but the message itself, or, of what goes on after a crash, what
/// had come before.
async fn unstarted(context: &mut RunContext) -> Outcome {
    let services = context.directory.services();
    let stop_reason = context.cancel.reason();
    let (leases, here) = (context.directory.leases(), &*context);
    let ended = leases.under(&context.scope, |epoch| async move {
        let (authority, turn) = (authority(here, epoch), &here.turn);
        if turn.entry_id().is_some() {
            return closing::stopped(services, &authority, turn, stop_reason)
                .await
                .map(Some);
        }
        let mut runs = vec![turn.run_id.clone()];
        runs.extend(turn.merged().cloned());
        let reason = "aborted before it started";
        let dropped = closing::dropped(services, &authority, turn.inbox_ids(), reason, runs, stop_reason);
        // The session tells the others' watchers along with this one's.
        Ok(dropped.await?.into_iter().next())
    });
    match ended.await {
        Ok(ended) => {
            context.emitter.aborted(stop_reason).await;
            ended.map_or(Outcome::Stopped, Outcome::Ended)
        }
        Err(error) => left(&error),
    }
}

fn authority(context: &RunContext, epoch: i64) -> Authority {
    Authority {
        scope: context.scope.clone(),
        key: context.key.clone(),
        agent_id: context.agent_id.clone(),
        epoch,
        charge: context.turn.charge(),
    }
}

async fn admitted(context: &mut RunContext, settings: Arc<UserSettings>) -> Outcome {
    let (leases, scope) = (context.directory.leases().clone(), context.scope.clone());
    match leases
        .under(&scope, |epoch| Box::pin(tried(context, settings, epoch)))
        .await
    {
        Ok(ended) => Outcome::Ended(ended),
        Err(error) => left(&error),
    }
}

/// The run itself. An error means that nothing final is on record.
async fn tried(context: &mut RunContext, settings: Arc<UserSettings>, epoch: i64) -> Result<RunEnded> {
    let services = context.directory.services().clone();
    let started_at = now_ms();
    let authority = authority(context, epoch);
    if context.turn.last().audience().is_private()
        && !own::is_own(&services.config, &context.scope, &context.key).await?
    {
        // A guest came while it waited.
        context.turn.items.iter_mut().for_each(Item::overheard);
    }
    let outlet = outlet(context, &services).await?;
    let addressed = context.turn.items.iter().any(|item| item.addressed);
    let mut typing = Typing::new(outlet.clone(), &settings.manner, addressed);
    typing.when(TypingMode::Instant);
    if !context.turn.last().direct && context.turn.entry_id().is_none() {
        let most = group_history(&settings, &context.agent_id, outlet.as_ref());
        context.turn.overheard = Overheard::read(&services, &context.scope, &context.key, most).await?;
    }
    let stop = context.cancel.token().clone();
    let turn = &context.turn;
    let mut reader = Reader::of(&services, &authority, turn, &stop);
    let user = assembly::user_entry(&services, &context.scope, turn, outlet.as_ref(), &mut reader);
    let user = context.slot.aside(user).await?;
    let zone = settings.zone();
    let rule = freshness::rule(&settings.session, &context.key, context.turn.last().channel());
    let said = user.clone().filter(|_| context.emitter.heard());
    let head = turn::begin(&services, &authority, &context.turn, user, (rule, zone)).await?;
    let missed = match context.turn.entry_id() {
        Some(_) => understanding::missed_before(&services, &authority.scope, &head, turn.inbox_ids()).await?,
        None => reader.begun().await,
    };
    context.emitter.set_session_id(&head.session_id);
    if let Some(outlet) = &outlet
        && !send_policy::allows(
            &settings.session.send_policy,
            &context.key,
            &head.entry,
            Some(&outlet.destination),
        )
    {
        outlet.mute();
    }
    if let Some(said) = &said {
        context.emitter.appended(&head, said, head.next_seq - 1).await;
    }
    context
        .emitter
        .session_changed("agent.run.started", Some(&head), true)
        .await;
    context.emitter.start().await;
    context.emitter.phase("preparing_context").await;
    for run_id in context.turn.merged() {
        context.emitter.merged(run_id).await;
    }
    let parts = parts(context, &settings, outlet.as_ref());
    let prefix = prefix(&services, &settings, outlet.as_ref()).await?;
    let mut work = Work {
        preview: outlet
            .as_ref()
            .filter(|_| !parts.streams())
            .and_then(|outlet| Preview::new(outlet, &authority, &context.turn.run_id)),
        prefix,
        parts,
        authority,
        services: services.clone(),
        settings,
        head,
        usage: Usage::default(),
        context_tokens: 0,
        model: None,
        last: None,
        handed: Vec::new(),
        hold: reply::HoldBack::default(),
        outlet: outlet.clone(),
        base: 0,
        recorded: 0,
        room: Room::default(),
        failover: None,
        missed,
        voice: false,
        media: Vec::new(),
        fetches: false,
        failed: None,
        wrote: false,
        typing,
    };
    let end = work.converse(context).await?;
    work.typing.stop();
    context.slot.go_on().await;
    let (ended, head) = Box::pin(work.finish(context, outlet.as_ref(), end, started_at)).await?;
    context.slot.give_back();
    if let Some(outlet) = &outlet {
        context
            .directory
            .delivery()
            .kick(&context.scope, &outlet.destination.conversation());
    }
    context
        .emitter
        .session_changed("agent.input.settled", Some(&head), false)
        .await;
    Ok(ended)
}

/// How much of a group's talk the agent is shown: the account says, else the agent, else the settings for all.
fn group_history(settings: &UserSettings, agent_id: &str, outlet: Option<&Outlet>) -> usize {
    let account = outlet.and_then(|outlet| outlet.account.account.config["historyLimit"].as_u64());
    let account = account.and_then(|most| usize::try_from(most).ok());
    let agent = || settings.agent(agent_id).and_then(|agent| agent.group_history);
    account.or_else(agent).unwrap_or(settings.group_history)
}

async fn outlet(context: &RunContext, services: &Services) -> Result<Option<Outlet>> {
    let Some(destination) = context.turn.last().destination.clone() else {
        return Ok(None);
    };
    let account = services
        .config
        .account(context.scope.tenant(), &destination.channel, &destination.account_id)
        .await?;
    let last = context.turn.last();
    let outlet = account.map(|account| Outlet::new(&context.directory, account, destination));
    Ok(outlet.map(|outlet| outlet.replying_to(last.message_id.as_ref())))
}

/// What the loop carries from call to call.
struct Work {
    authority: Authority,
    services: Services,
    settings: Arc<UserSettings>,
    head: SessionHead,
    usage: Usage,
    context_tokens: u64,
    model: Option<ResolvedModel>,
    /// The message that ends the run, not stored yet.
    last: Option<AssistantMessage>,
    /// Calls of it that are the client's.
    handed: Vec<ToolCall>,
    preview: Option<Preview>,
    /// Template of what stands before the reply.
    prefix: Option<String>,
    parts: Parts,
    hold: reply::HoldBack,
    outlet: Option<Outlet>,
    /// Bytes of the run's visible text when the call that goes on began.
    base: usize,
    /// Bytes of it that stand in entries of their own.
    recorded: usize,
    room: Room,
    failover: Option<Failover>,
    /// Why what people sent was not understood, for them.
    missed: Vec<String>,
    /// The model wants its answer read aloud.
    voice: bool,
    /// What the answer's `MEDIA:` lines name.
    media: Vec<String>,
    /// May files be fetched for it: what somebody else may not have fetched by a tool they have not this way either.
    fetches: bool,
    /// The tool of the last round that failed, and how.
    failed: Option<(String, String)>,
    /// A tool has written into a chat.
    wrote: bool,
    typing: Typing,
}

impl Work {
    /// Calls the model, runs its tools, and again, until there is an answer.
    async fn converse(&mut self, context: &mut RunContext) -> Result<End> {
        let options = context.turn.last().options.clone();
        let limit = run_timeout(&options, &self.settings, &self.services);
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        let wanted = options.model.as_deref().or_else(|| override_of(&self.head));
        let (mut failover, mut model) = match Failover::begin(self, context, wanted).await? {
            Ok(begun) => begun,
            Err(end) => return Ok(end),
        };
        let audience = context.turn.last().audience();
        let caller = Caller {
            only: options.scheduled.as_ref().and_then(|scheduled| scheduled.tools.clone()),
            ..Caller::of(&self.authority, Some(&self.head), &self.settings, &model, audience)
                .within(&context.turn.items)
        };
        let toolbox = Toolbox::new(&self.services, &context.scope, caller).with_servers(&self.settings);
        let toolbox = tokio::select! {
            biased;
            () = context.cancel.token.cancelled() => return Ok(End::Aborted),
            toolbox = context.slot.aside(toolbox) => toolbox,
        };
        let mut toolbox = toolbox.with_client(&options.client_tools);
        let mut specs = Arc::new(toolbox.specs(&self.settings));
        self.fetches = audience.speaks_with_owner() || specs.iter().any(|spec| spec.name == FETCH);
        if let Err(refusal) = check_window(&model.model, model.context_window) {
            return Ok(failed(plain_failure(ErrorClass::ContextOverflow, refusal.to_string())));
        }
        let place = assembly::Place::of(context);
        let skills = skills::offered(&context.directory, place, &self.settings);
        let skills = context.slot.aside(skills).await?;
        let mut base = assembly::Assembly::new(
            &self.services,
            place,
            &self.settings,
            &model,
            (&specs, toolbox.away()),
            &skills,
        )
        .await?;
        let mut sent = base.messages(&self.services, &self.head, &model).await?;
        context.emitter.phase("starting_model").await;
        context.emitter.model(&model.provider, &model.model).await;
        self.model = Some(model.clone());
        let noted = self.keep_notes(context, &model, &base, &sent, &specs, &mut deadline);
        if let Some(end) = Box::pin(noted).await? {
            return Ok(end);
        }
        let most = if audience.speaks_with_owner() {
            MAX_CALLS
        } else {
            MAX_GUEST_CALLS
        };
        for call in 0..most {
            if call > 0 {
                self.hold = reply::HoldBack::default();
            }
            sent = match self.make_room(context, &model, &base, sent, &mut deadline).await? {
                Ok(sent) => sent,
                Err(end) => return Ok(end),
            };
            let mut message = loop {
                let request = base.request(&model, sent.messages.clone(), specs.clone(), &self.head.session_id);
                let tries = if failover.is_last() { TRIES } else { 1 };
                let answered = match self.call(context, &model, request, (deadline, tries)).await {
                    Ok(message) => {
                        self.count(&message, &model);
                        if !self.hides_overflow(&message, &model) {
                            break message;
                        }
                        Some(message)
                    }
                    Err(End::TimedOut(_)) => return Ok(End::TimedOut(limit.unwrap_or_default())),
                    Err(End::Failed(error))
                        if error.class == ErrorClass::ContextOverflow && self.parts.at() <= self.base =>
                    {
                        None
                    }
                    Err(End::Failed(error)) => {
                        let call = Call {
                            model: &mut model,
                            base: &mut base,
                            sent: &mut sent,
                            deadline: &mut deadline,
                            toolbox: &mut toolbox,
                            specs: &mut specs,
                            skills: &skills,
                        };
                        match Box::pin(self.switch(context, &mut failover, *error, call)).await? {
                            Some(end) => return Ok(end),
                            None => continue,
                        }
                    }
                    Err(end) => return Ok(end),
                };
                match (
                    Box::pin(self.after_overflow(context, &model, &base, &mut deadline)).await?,
                    answered,
                ) {
                    (Again::Retry(messages), _) => sent.messages = messages,
                    // An answer to a part of the conversation is better than none.
                    (Again::GiveUp(End::Failed(_)), Some(message)) => break message,
                    (Again::GiveUp(end), _) => return Ok(end),
                }
                self.hold = reply::HoldBack::default();
            };
            let calls: Vec<_> = message.tool_calls().cloned().collect();
            if calls.is_empty() && context.steering.waits() && call + 1 < most {
                let said = context.slot.aside(self.hear(context)).await;
                if !said.is_empty() {
                    let answer = Arc::new(Message::Assistant(message.clone()));
                    let heard = self.answer_more(context, &model, message, said).await?;
                    let history = Arc::make_mut(&mut sent.messages);
                    history.push(answer);
                    history.extend(heard);
                    continue;
                }
            }
            if calls.is_empty() {
                self.own_up(context, &mut message).await;
                let silent = reply::shape(&message.text()).text.is_none() && context.emitter.text().is_empty();
                self.last = Some(message);
                self.failover = Some(failover);
                return Ok(End::Answer { silent });
            }
            self.text_is_complete(context).await;
            self.tell_calls(context, &calls).await;
            let tool_context = self.tool_context(context, &model, audience);
            let stop = context.cancel.token.clone();
            let (results, late) = self.run_tools(context, &toolbox, &tool_context, &calls, deadline).await;
            let handed = calls.iter().any(|call| toolbox.is_clients(&call.name));
            if (handed || waits_for_children(&results)) && !stop.is_cancelled() && !late {
                self.handed = calls;
                self.handed.retain(|call| toolbox.is_clients(&call.name));
                self.last = Some(message);
                self.failover = Some(failover);
                return Ok(End::Handed { results });
            }
            self.tell_results(context, &results).await;
            self.note_results(&results);
            let history = Arc::make_mut(&mut sent.messages);
            history.push(Arc::new(Message::Assistant(message.clone())));
            let mut shown: Vec<_> = results.iter().cloned().map(Arc::new).collect();
            blobs::hydrate(&self.services, &context.scope, &mut shown, model.takes).await?;
            history.extend(shown);
            let mut entries = vec![turn::entry(Message::Assistant(message), &context.turn.run_id)];
            entries.extend(
                results
                    .into_iter()
                    .map(|result| turn::entry(result, &context.turn.run_id)),
            );
            let beside = Beside {
                pieces: self.unstored_parts(),
                ..Beside::default()
            };
            // What comes too late for this run has a turn of its own.
            let said = if late {
                Vec::new()
            } else {
                context.slot.aside(self.hear(context)).await
            };
            let heard = self.go_on(context, &model, entries, beside, said).await?;
            Arc::make_mut(&mut sent.messages).extend(heard);
            if stop.is_cancelled() {
                return Ok(End::Aborted);
            }
            if late {
                return Ok(End::TimedOut(limit.unwrap_or_default()));
            }
        }
        let text = format!(
            "I have called tools in {most} rounds without coming to an end, so I stop here. What was done so far \
             stands above; tell me how to go on."
        );
        let base = context.emitter.text().len();
        context.emitter.show(base, &text).await;
        self.last = Some(AssistantMessage {
            content: text_parts(&text),
            ..AssistantMessage::default()
        });
        self.failover = Some(failover);
        Ok(End::Answer { silent: false })
    }

    fn count(&mut self, message: &AssistantMessage, model: &ResolvedModel) {
        self.context_tokens = message.usage.prompt_tokens();
        self.usage.add(&message.usage, model.prices);
    }

    fn tool_context(&self, context: &RunContext, model: &ResolvedModel, audience: Audience) -> ToolContext {
        let chains = context.turn.items.iter().map(|item| item.options.chain);
        let calling = Calling {
            directory: &context.directory,
            authority: &self.authority,
            run_id: &context.turn.run_id,
            round: self.head.next_seq,
            audience,
            place: context.turn.last().destination.clone(),
            answering: context.turn.last().message_id.clone(),
            group: context.turn.last().group().cloned(),
            outlet: self.outlet.clone(),
            chain: chains.fold(Chain::default(), Chain::longer),
            depth: tool_policy::spawn_depth(&self.head),
            time_zone: self.settings.time_zone.as_deref().unwrap_or("UTC"),
            status: SessionSnapshot {
                model: format!("{}/{}", model.provider, model.model),
                context_window: model.context_window,
                context_tokens: Some(self.context_tokens),
                queued: context.queued,
                ..snapshot(&self.head)
            },
            cancel: context.cancel.token.child_token(),
        };
        calling.context()
    }

    /// The durable end, and what the clients are told.
    async fn finish(
        mut self,
        context: &mut RunContext,
        outlet: Option<&Outlet>,
        end: End,
        started_at: i64,
    ) -> Result<(RunEnded, SessionHead)> {
        let preview = match self.preview.take() {
            Some(preview) => context.slot.aside(preview.finish()).await,
            None => None,
        };
        let shown = context.emitter.text().to_owned();
        let model = self.model.clone();
        let (status, stop_reason, failure, text) = match &end {
            End::Answer { silent: true } => ("ok", "stop".to_owned(), None, None),
            End::Answer { silent: false } => {
                let stop = self.last.as_ref().map_or(StopReason::Stop, |last| last.stop_reason);
                let stop = if stop == StopReason::Length { "length" } else { "stop" };
                ("ok", stop.to_owned(), None, Some(self.prefixed(&shown, model.as_ref())))
            }
            End::Handed { .. } => {
                let text = (!shown.is_empty()).then(|| self.prefixed(&shown, model.as_ref()));
                let stop = if self.handed.is_empty() { "stop" } else { "tool_calls" };
                ("ok", stop.to_owned(), None, text)
            }
            End::Aborted => {
                let partial = (!shown.is_empty()).then(|| shown.clone());
                ("aborted", context.cancel.reason().to_owned(), None, partial)
            }
            End::TimedOut(limit) => {
                let message = format!("The answer took longer than {} s, so I stopped it.", limit.as_secs());
                (
                    "error",
                    "timeout".to_owned(),
                    Some((ErrorClass::Timeout, message)),
                    None,
                )
            }
            End::Failed(error) => (
                "error",
                "error".to_owned(),
                Some((error.class, error.message.clone())),
                None,
            ),
        };
        let (text, reason) = if context.turn.beat().is_some() {
            self.concluded(context, status == "ok", model.as_ref()).await?
        } else {
            (text, None)
        };
        let shows = status == "ok" && reason.is_none() && !self.media.is_empty();
        let forgotten = context.turn.beat().is_some() && text.is_none() && !shows;
        if !forgotten {
            context.emitter.speak();
        }
        let mut final_message =
            self.final_message(&end, &shown, model.as_ref(), failure.as_ref().map(|(_, text)| text));
        let mut reply = match outlet {
            Some(_) if context.turn.beat().is_none() && (text.is_some() || failure.is_some()) => {
                self.parts.rest(&shown)
            }
            Some(_) | None => text.iter().cloned().collect(),
        };
        if let (Some(outlet), None) = (outlet, &failure)
            && self.is_repeated(context, outlet, &reply).await
        {
            reply.clear();
        }
        // An agent that looks by itself would say of a limit at each look that it is reached.
        let unsaid = |class| context.turn.beat().is_some() && class == ErrorClass::Budget;
        if let Some((class, message)) = &failure
            && !unsaid(*class)
        {
            below(&mut reply, message);
        }
        // All of it may have been sent already.
        let spoken = !reply.is_empty() || (text.is_some() && !shown.trim().is_empty());
        if spoken
            && matches!(end, End::Answer { silent: false })
            && let Some(footer) = self.footer(context, model.as_ref())
        {
            below(&mut reply, &footer);
        }
        let attached = match &end {
            End::Answer { .. } | End::Handed { .. } if !forgotten => {
                let attached = self.attached(context, outlet);
                Box::pin(context.slot.aside(attached)).await
            }
            End::Answer { .. } | End::Handed { .. } | End::Aborted | End::TimedOut(_) | End::Failed(_) => {
                Attached::default()
            }
        };
        for missing in &attached.missing {
            below(&mut reply, missing);
        }
        final_message.attachments = attached.parts(outlet.is_none());
        let files = final_message.attachments.clone();
        let spoken = spoken || !attached.missing.is_empty();
        let told = outlet.filter(|_| spoken);
        for missed in self.missed.iter().filter(|_| told.is_some()) {
            below(&mut reply, missed);
        }
        if let Some(doubt) = told.and_then(|outlet| doubt(&context.directory, &context.scope, outlet)) {
            below(&mut reply, doubt);
        }
        let aloud = told
            .filter(|_| status == "ok" && attached.is_empty())
            .and_then(|outlet| self.aloud(context, outlet, &shown));
        let mut payloads: Vec<String> = text.iter().cloned().collect();
        // Whoever a job, a hook or a sub-agent tells does not read its transcript.
        let options = &context.turn.last().options;
        let unread = options.scheduled.is_some() || options.background || tool_policy::spawn_depth(&self.head) > 0;
        for missing in attached.missing.iter().filter(|_| unread && outlet.is_none()) {
            below(&mut payloads, missing);
        }
        let failover = self.failover.take();
        let marks = failover
            .as_ref()
            .map(|failover| failover.marks(&self.head))
            .unwrap_or_default();
        let ending = Ending {
            status,
            stop_reason: stop_reason.clone(),
            error_class: failure.as_ref().map(|(class, _)| class.name()),
            error_message: failure.as_ref().map(|(_, message)| message.clone()),
            provider: model.as_ref().map(|model| model.provider.clone()).unwrap_or_default(),
            model: model.as_ref().map(|model| model.model.clone()).unwrap_or_default(),
            usage: self.usage,
            context_tokens: self.context_tokens,
            payloads,
            files: attached.files(),
            inbox_state: "done",
            reason,
            forgotten,
            entry: marks.entry,
            handed: std::mem::take(&mut self.handed),
        };
        // Pieces are sent in the order in which they are made.
        let mut pieces = self.unstored_parts();
        if let Some(outlet) = told {
            let notice = marks.notice.as_ref();
            pieces.extend(notice.map(|notice| notice.pieces(context, outlet)).unwrap_or_default());
            pieces.extend(self.thoughts(context, outlet, &final_message));
        }
        pieces.extend(self.final_pieces(outlet, &reply, preview.as_ref()));
        pieces.extend(outlet.map(|outlet| attached.pieces(outlet)).unwrap_or_default());
        let preview = preview.filter(|preview| !preview.is_replaced(&pieces));
        let mut entries = vec![turn::entry(Message::Assistant(final_message), &context.turn.run_id)];
        if let End::Handed { results } = &end {
            let given = results.iter().cloned();
            entries.extend(given.map(|result| turn::entry(result, &context.turn.run_id)));
        }
        let behind = i64::try_from(entries.len()).unwrap_or(1);
        let result = ending.result();
        let last = entries.first().cloned().filter(|_| context.emitter.heard());
        let head = self.end_until_stored(context, entries, pieces, ending).await?;
        if let Some(failover) = &failover {
            failover.worked(&self, context).await;
        }
        if let Some(notice) = marks.notice {
            context.emitter.fallback(notice.event).await;
        }
        match (&end, &failure) {
            (End::Aborted, _) => {
                // What it asked for is not decided any more.
                let asked = Which::AskedBy(context.turn.run_id.clone());
                exec::stop_soon(&context.directory, &context.scope, asked, true);
                context.emitter.aborted(&stop_reason).await;
            }
            (_, Some((class, message))) => context.emitter.failed(message, class.name()).await,
            (_, None) => {
                context
                    .emitter
                    .finished(text.as_deref(), &files, &stop_reason, &self.usage)
                    .await
            }
        }
        if let Some(last) = &last {
            context.emitter.appended(&head, last, head.next_seq - behind).await;
        }
        let ended = RunEnded {
            run_id: context.turn.run_id.clone(),
            status: status.to_owned(),
            started_at,
            ended_at: now_ms(),
            error_class: failure.as_ref().map(|(class, _)| class.name().to_owned()),
            error: failure.map(|(_, message)| message),
            stop_reason: Some(stop_reason),
            result,
        };
        afterwards(context, self.settings.acks.goes, aloud, preview);
        Ok((ended, head))
    }

    /// What an agent that looked by itself has to say, or why nothing.
    async fn concluded(
        &self,
        context: &RunContext,
        answered: bool,
        model: Option<&ResolvedModel>,
    ) -> Result<(Option<String>, Option<String>)> {
        let (Some(beat), Some(last)) = (context.turn.beat(), self.last.as_ref().filter(|_| answered)) else {
            return Ok((None, None));
        };
        match heartbeat::judge(&last.text(), beat.ack_max_chars) {
            Err(nothing) => Ok((None, Some(nothing.name().to_owned()))),
            Ok(Some(text)) if self.media.is_empty() => {
                let text = self.prefixed(&text, model);
                heartbeat::unless_repeated(&self.services, &self.authority, text).await
            }
            Ok(text) => Ok((text.map(|text| self.prefixed(&text, model)), None)),
        }
    }
}
