//! `SessionActor`: one per active session key. A queue, and at most one run.
//!
//! Handlers return at once; the run is a task on the I/O runtime. Serialisation is `running: Option<_>` plus the
//! queue, so that abort and status are heard while a model streams. Truth is in the inbox rows: what is in memory here
//! can be lost at any time.

mod aborting;
mod ahead;
mod commanding;
mod compacting;
mod edits;
mod hearing;
mod traces;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use claw_entities::{Scope, SessionKey};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub(crate) use self::aborting::stop_children;
use self::aborting::{Cleared, Clearing};
use self::ahead::Ahead;
pub(crate) use self::compacting::CompactRequest;
use self::hearing::Hearing;
use self::traces::Traces;
use super::admission::{self, Admitted};
use super::closing::{self, Why};
use super::edit::EditRequest;
use super::events::{Emitter, Shown};
use super::item::Item;
use super::key;
use super::overheard::Overheard;
use super::policy::BotGuard;
use super::queue::{self, Next, Outcome as Pushed, Queue};
use super::run::{self, Cancel, Outcome, RunContext};
use super::signs::Signs;
use super::steering::Steering;
use super::turn::{Authority, Turn};
use crate::clock::now_ms;
use crate::config::document::QueueMode;
use crate::error::Result;
use crate::gateway::listening::Listening;
use crate::ports::tool::SessionSnapshot;
use crate::session::budget::Charge;
use crate::supervisor::directory::Directory;
use crate::supervisor::lanes::UserLanes;
use crate::supervisor::messages::{ToSession, ToUser};
use crate::supervisor::places::Asker;
use crate::supervisor::user::UserActor;
use crate::trace::Share;

/// Rows looked after at a time.
const MOST_KNOWN: usize = 128;

/// Where a session lives and what it is given by its parent.
pub(crate) struct Home {
    pub(crate) directory: Directory,
    pub(crate) scope: Scope,
    pub(crate) key: SessionKey,
    pub(crate) user: Addr<UserActor>,
    pub(crate) lanes: UserLanes,
    pub(crate) listening: Arc<Listening>,
    /// Cancelled when the parent is gone, and by this actor when it goes itself: a run must not outlive it.
    pub(crate) life: CancellationToken,
}

/// The one thing that goes on.
struct Running {
    run_id: String,
    /// Of every client message it answers.
    run_ids: Vec<String>,
    requesters: Vec<String>,
    inbox_ids: Vec<String>,
    cancel: Cancel,
    /// Messages it may take up while it goes on.
    steering: Steering,
    /// `None` for an edit: nobody's message.
    item: Option<Item>,
    /// What a turn has shown so far; `None` for what calls no model.
    shown: Option<Shown>,
    /// Epoch milliseconds.
    since: i64,
    /// Rows are read again when it is done: it may be about to delete them.
    edits: bool,
}

pub(crate) struct SessionActor {
    home: Home,
    agent_id: String,
    queue: Queue,
    pushes: u64,
    /// Queued messages by inbox id.
    items: HashMap<String, Item>,
    /// Inbox rows somebody here looks after.
    known: HashSet<String>,
    ahead: VecDeque<Ahead>,
    running: Option<Running>,
    /// Stops commands that call tools; a new one after each stop.
    commands: CancellationToken,
    /// One clone for each of those that goes on.
    calling: Arc<()>,
    /// Who clears the queue, and waits until what was accepted before is read.
    clearing: Vec<Clearing>,
    cleared: Cleared,
    hearing: Hearing,
    /// Edits that abort nothing, and wait until what was accepted before is read.
    moving: Vec<EditRequest>,
    loading: bool,
    /// Whose messages wait to be read, as far as was said.
    asker: Asker,
    /// Cancelled by an abort: reading the inbox waits for no slot then.
    hurry: CancellationToken,
    load_again: bool,
    /// Readings of the inbox that were started.
    readings: u64,
    /// A turn was left: nothing runs before the rows were read by a later reading than this, or the next question
    /// would stand before its answer.
    held: Option<u64>,
    /// The last page was full: there is more than what is known.
    more: bool,
    draining: bool,
    timer: Option<SpawnHandle>,
    /// Keeps two bots from talking to each other for ever.
    bots: BotGuard,
    /// What the rows that wait were put in by.
    traces: Traces,
    /// Rows whose cut-off turn was stopped, and why: read again, they do not go on.
    stopped: HashMap<String, &'static str>,
    /// What who waits behind a turn sees.
    signs: Signs,
    /// Messages that wait for their turn, as part of the process's.
    waiting: Share,
    /// Messages handled; what the parent compares before it lets go.
    seen: u64,
}

impl SessionActor {
    pub(crate) fn new(home: Home) -> Self {
        let agent_id = key::agent_of(&home.key).to_owned();
        let commands = home.life.child_token();
        let draining = home.directory.draining();
        Self {
            home,
            agent_id,
            queue: Queue::new(queue::Settings::default()),
            pushes: 0,
            items: HashMap::new(),
            known: HashSet::new(),
            ahead: VecDeque::new(),
            running: None,
            commands,
            calling: Arc::default(),
            clearing: Vec::new(),
            cleared: Cleared::default(),
            hearing: Hearing::default(),
            moving: Vec::new(),
            loading: false,
            asker: Asker::User,
            hurry: CancellationToken::new(),
            load_again: false,
            readings: 0,
            held: None,
            more: false,
            draining,
            timer: None,
            bots: BotGuard::default(),
            traces: Traces::default(),
            stopped: HashMap::new(),
            signs: Signs::default(),
            waiting: Share::of(metrics::gauge!("claw_messages_waiting")),
            seen: 0,
        }
    }

    /// Reads rows that are not known yet.
    fn load(&mut self, context: &mut Context<Self>) {
        if self.is_edited() {
            return;
        }
        // Enough is known for now; the rest is read when that has been worked off.
        if self.draining || (self.known.len() >= MOST_KNOWN && self.held.is_none()) {
            self.more = true;
            if !self.draining {
                self.hear(context);
            }
            return;
        }
        if self.loading || self.hearing.is_busy() {
            self.load_again = true;
            return;
        }
        self.loading = true;
        self.readings += 1;
        let reading = self.readings;
        let directory = self.home.directory.clone();
        let services = directory.services().clone();
        if self.hurry.is_cancelled() && self.clearing.is_empty() {
            self.hurry = CancellationToken::new();
        }
        let hurry = self.hurry.clone();
        // What is said to a turn that goes on, `/stop` among it, is not behind what the tenant has not begun.
        let (goes_on, asker, live) = (self.running.is_some(), self.asker, self.live_snapshot());
        let (scope, session, known) = (self.home.scope.clone(), self.home.key.clone(), self.known.clone());
        let task = services.io.clone().spawn(async move {
            let slot = directory.lanes().slot(scope.tenant(), &hurry);
            if goes_on {
                slot.go_on().await;
            } else {
                slot.begin(asker).await;
            }
            let loaded = admission::load(&directory, &scope, &session, &known, &live, &slot).await?;
            drop(slot);
            let own = loaded
                .head
                .as_ref()
                .map_or(&serde_json::Value::Null, |head| &head.entry);
            let queue = queue::Settings::resolve(&loaded.settings.queue, loaded.channel(), own);
            Ok::<_, crate::Error>((loaded, queue))
        });
        context.spawn(task.into_actor(self).map(move |loaded, this, context| {
            this.loading = false;
            let read = matches!(loaded, Ok(Ok(_)));
            match loaded {
                Ok(Ok((loaded, queue))) => {
                    this.queue.set_settings(queue);
                    this.more = loaded.more;
                    this.held = this.held.filter(|since| reading <= *since);
                    if !this.goes() {
                        for one in loaded.admitted {
                            this.admit(context, one);
                        }
                        if loaded.more {
                            this.hear(context);
                        }
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = ?error, "session waits for the database");
                    this.load_later(context, Duration::from_secs(1));
                }
                Err(panic) => {
                    tracing::error!(tenant.id = %this.home.scope.tenant(), panic = %panic, "reading the inbox panicked");
                    this.load_later(context, Duration::from_secs(5));
                }
            }
            if std::mem::take(&mut this.load_again) {
                this.load(context);
            }
            if !this.reads_on() {
                this.end_clearing(context);
                this.end_moving(context, read);
            }
            this.pump(context);
        }));
    }

    /// Rows are being read, or will be when what waits was looked through.
    fn reads_on(&self) -> bool {
        self.loading || (self.hearing.is_busy() && self.load_again)
    }

    fn load_later(&mut self, context: &mut Context<Self>, wait: Duration) {
        context.run_later(wait, |this, context| this.load(context));
    }

    fn admit(&mut self, context: &mut Context<Self>, admitted: Admitted) {
        match admitted {
            Admitted::Turn(item) => self.enqueue(context, item),
            Admitted::Resume(item) => {
                let reason = item.inbox_ids.iter().find_map(|id| self.stopped.get(id).copied());
                self.put_ahead(match reason {
                    Some(reason) => Ahead::Stop(item, reason),
                    None => Ahead::Resume(item),
                });
            }
            Admitted::Interrupted(item) => self.put_ahead(Ahead::Close(item, Why::Interrupted)),
            Admitted::Dead(item) => self.put_ahead(Ahead::Close(item, Why::Dead)),
            Admitted::Inject(item) => self.put_ahead(Ahead::Inject(item)),
            Admitted::Command { item, command } => self.command(context, item, command),
            Admitted::Settle {
                inbox_id,
                state,
                reason,
            } => {
                if self.known.insert(inbox_id.clone()) {
                    let directory = self.home.directory.clone();
                    self.off_queue(context, vec![inbox_id.clone()], move |authority| async move {
                        closing::settle(&directory, &authority, inbox_id, state, reason).await
                    });
                }
            }
            Admitted::Settled => {}
            Admitted::Answered { told, rest } => {
                let mut emitter = self.emitter(&told.run_id);
                let io = &self.home.directory.services().io;
                io.spawn(async move { emitter.answered(&told.text).await });
                self.admit(context, *rest);
            }
        }
    }

    fn put_ahead(&mut self, ahead: Ahead) {
        if ahead.inbox_ids().iter().any(|id| self.known.contains(id)) {
            return;
        }
        self.known.extend(ahead.inbox_ids().iter().cloned());
        // A turn that was begun before somebody asked for a new transcript belongs to the old one, and nothing is put
        // between a question and its answer.
        let at = if ahead.between_turns() {
            self.ahead.len()
        } else {
            let first = self.ahead.iter().position(Ahead::between_turns);
            first.unwrap_or(self.ahead.len())
        };
        self.ahead.insert(at, ahead);
    }

    /// What waits is read again, in the order in which it came: a turn that was left may have been before it.
    fn forget_waiting(&mut self) {
        for (id, _) in self.items.drain() {
            self.known.remove(&id);
        }
        self.queue = Queue::new(*self.queue.settings());
    }

    fn enqueue(&mut self, context: &mut Context<Self>, item: Item) {
        let Some(id) = item.inbox_ids.first().cloned() else {
            return;
        };
        if !self.known.insert(id.clone()) {
            return;
        }
        if let Some(bot) = &item.bot
            && !self.bots.admit(bot, now_ms())
        {
            self.settle_dropped(context, item, "too many messages of a bot", "dropped");
            return;
        }
        // Who has a dead letter tried again wants it after any stop.
        let cleared = self.cleared.why(&id, item.options.requester.as_ref());
        if let Some(stop_reason) = cleared.filter(|_| item.again.is_none()) {
            self.settle_dropped(context, item, "aborted", stop_reason);
            return;
        }
        // Inline directive of the client, else what the queue's settings say.
        let mode = item.options.queue_mode.as_deref().and_then(queue::parse_mode);
        let meant = mode.unwrap_or(self.queue.settings().mode);
        let interrupts = meant == QueueMode::Interrupt;
        let steers = matches!(meant, QueueMode::Steer | QueueMode::SteerBacklog)
            && self.running.as_ref().is_some_and(|running| running.takes(&item));
        let offered = steers.then(|| item.clone());
        self.pushes += 1;
        let queued = item.queued(mode, self.pushes);
        if self.running.is_some() || !self.ahead.is_empty() {
            let (home, runs) = (
                &self.home,
                self.running.as_ref().and_then(|running| running.item.as_ref()),
            );
            self.signs
                .begin(&home.directory, (&home.scope, &home.key), (&id, &item), runs);
        }
        self.items.insert(id.clone(), item);
        self.leave_taken();
        let pushed = self.queue.push(queued, now_ms());
        if let Some(running) = &self.running {
            running.steering.keep(|id| self.queue.waits(id));
            if let Some(item) = offered.filter(|_| self.queue.waits(&id)) {
                running.steering.offer(item, meant == QueueMode::SteerBacklog);
            }
        }
        if (pushed.outcome == Pushed::Interrupt || interrupts)
            && let Some(running) = &self.running
        {
            running.cancel.abort("interrupt");
        }
        for dropped in pushed.dropped {
            self.drop_item(context, &dropped.inbox_id, dropped.reason, None);
        }
    }

    /// Settles the row of a message that will not run, and tells the client that sent it. Gives its run id.
    fn drop_item(
        &mut self,
        context: &mut Context<Self>,
        id: &str,
        reason: &'static str,
        stop_reason: Option<&'static str>,
    ) -> Option<String> {
        let item = self.items.remove(id)?;
        self.signs.keep(|id| self.items.contains_key(id));
        // The run has it already, and answers for its row.
        if self
            .running
            .as_ref()
            .is_some_and(|running| !running.steering.withdraw(id))
        {
            return None;
        }
        self.settle_dropped(context, item, reason, stop_reason.unwrap_or("dropped"))
    }

    fn settle_dropped(
        &mut self,
        context: &mut Context<Self>,
        item: Item,
        reason: &'static str,
        stop_reason: &'static str,
    ) -> Option<String> {
        let emitter = self.emitter_for(&item);
        let directory = self.home.directory.clone();
        let (ids, runs) = (item.inbox_ids, item.run_id.iter().chain(&item.also).cloned().collect());
        self.off_queue(context, ids.clone(), move |authority| async move {
            let services = directory.services();
            let ended = closing::dropped(services, &authority, ids, reason, runs, stop_reason).await?;
            if let Some((mut emitter, user)) = emitter {
                emitter.aborted(stop_reason).await;
                for ended in ended {
                    let _ = user.try_send(ToUser::RunEnded(ended));
                }
            }
            Ok(())
        });
        item.run_id
    }

    fn answer(&mut self, context: &mut Context<Self>, item: Item, text: String) {
        let directory = self.home.directory.clone();
        let emitter = self.emitter_for(&item);
        self.off_queue(context, item.inbox_ids.clone(), move |authority| async move {
            closing::finish_command(&directory, &authority, &item, &text, emitter, None).await
        });
    }

    /// An emitter for a gateway client's message.
    fn emitter_for(&self, item: &Item) -> Option<(Emitter, Addr<UserActor>)> {
        item.run_id
            .as_ref()
            .map(|run_id| (self.emitter(run_id), self.home.user.clone()))
    }

    fn emitter(&self, run_id: &str) -> Emitter {
        let to = self.home.user.clone().recipient();
        Emitter::new(
            to,
            Arc::clone(&self.home.listening),
            run_id,
            &self.home.key,
            &self.agent_id,
        )
    }

    /// `work` with the right to write for this session.
    fn under_authority<T, F, W>(&self, work: W) -> impl Future<Output = Result<T>> + Send + use<T, F, W>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
        W: FnOnce(Authority) -> F + Send,
    {
        let leases = self.home.directory.leases().clone();
        let (scope, key, agent_id) = (self.home.scope.clone(), self.home.key.clone(), self.agent_id.clone());
        async move {
            let authority = |epoch| Authority {
                scope: scope.clone(),
                key,
                agent_id,
                epoch,
                charge: Charge::default(),
            };
            leases.under(&scope, |epoch| work(authority(epoch))).await
        }
    }

    /// A write beside the queue. When it fails the rows are looked at again later.
    fn off_queue<F>(
        &mut self,
        context: &mut Context<Self>,
        ids: Vec<String>,
        work: impl FnOnce(Authority) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let work = self.under_authority(work);
        let task = self.home.directory.services().io.spawn(work);
        context.spawn(task.into_actor(self).map(move |done, this, context| {
            for id in &ids {
                this.known.remove(id);
            }
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = ?error, "a message was not settled yet");
                    this.load_later(context, Duration::from_secs(2));
                }
                Err(panic) => {
                    tracing::error!(tenant.id = %this.home.scope.tenant(), panic = %panic, "settling a message panicked");
                    this.load_later(context, Duration::from_secs(5));
                }
            }
            this.rest(context);
        }));
    }

    /// Starts the next turn if none is running.
    fn pump(&mut self, context: &mut Context<Self>) {
        self.start_next(context);
        self.waiting.set(self.queue.len());
        self.signs.keep(|id| self.items.contains_key(id));
    }

    fn start_next(&mut self, context: &mut Context<Self>) {
        if self.running.is_some() || self.draining || self.held.is_some() {
            return;
        }
        if let Some(ahead) = self.ahead.pop_front() {
            return self.start_ahead(context, ahead);
        }
        match self.queue.next(now_ms()) {
            Next::Run(batch) => {
                let items: Vec<Item> = batch.inbox_ids().filter_map(|id| self.items.remove(id)).collect();
                let Some(last) = items.last() else {
                    self.queue.ended();
                    return self.start_next(context);
                };
                let run_id = last.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
                self.start(
                    context,
                    Turn {
                        run_id,
                        items,
                        prompt: batch.prompt(),
                        overheard: Overheard::default(),
                        steered: Vec::new(),
                    },
                );
            }
            Next::WaitUntil(at) => {
                let wait = Duration::from_millis(u64::try_from(at - now_ms()).unwrap_or(0));
                self.set_timer(context, wait, Self::pump);
            }
            Next::Empty | Next::Running => self.rest(context),
        }
    }

    fn set_timer(&mut self, context: &mut Context<Self>, wait: Duration, then: fn(&mut Self, &mut Context<Self>)) {
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.run_later(wait, move |this, context| {
            this.timer = None;
            then(this, context);
        }));
    }

    /// Nothing to do: asks to sleep after the idle time.
    fn rest(&mut self, context: &mut Context<Self>) {
        if self.is_quiet() {
            self.traces.forget();
            let idle = self.home.directory.services().limits.session_idle;
            self.set_timer(context, idle, |this, _| {
                if this.is_quiet() {
                    let idle = ToUser::SessionIdle {
                        key: this.home.key.clone(),
                        seen: this.seen,
                    };
                    let _ = this.home.user.try_send(idle);
                }
            });
        }
    }

    fn is_quiet(&self) -> bool {
        self.running.is_none()
            && !self.loading
            && self.held.is_none()
            && self.known.is_empty()
            && self.moving.is_empty()
            && self.ahead.is_empty()
            && self.queue.is_empty()
    }

    /// Runs something that keeps the session busy and soon ends by itself.
    fn occupy<F>(
        &mut self,
        context: &mut Context<Self>,
        item: Option<Item>,
        work: impl FnOnce(Authority) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.occupy_until(context, item, Cancel::default(), work);
    }

    /// Runs something that keeps the session busy, and ends when `cancel` says so.
    fn occupy_until<F>(
        &mut self,
        context: &mut Context<Self>,
        item: Option<Item>,
        cancel: Cancel,
        work: impl FnOnce(Authority) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.running = Some(Running {
            run_id: item.as_ref().and_then(|item| item.run_id.clone()).unwrap_or_default(),
            run_ids: Vec::new(),
            requesters: item.iter().filter_map(|item| item.options.requester.clone()).collect(),
            inbox_ids: item.as_ref().map(|item| item.inbox_ids.clone()).unwrap_or_default(),
            cancel,
            steering: Steering::default(),
            item,
            shown: None,
            since: now_ms(),
            edits: false,
        });
        let work = self.under_authority(work);
        let io = &self.home.directory.services().io;
        let task = io.spawn(async move { work.await.unwrap_or_else(|error| run::left(&error)) });
        self.follow(context, task);
    }

    fn start(&mut self, context: &mut Context<Self>, turn: Turn) {
        let cancel = Cancel::default();
        let mut item = turn.last().clone();
        item.inbox_ids = turn.inbox_ids();
        item.run_id = Some(turn.run_id.clone());
        item.again = turn.items.first().and_then(|first| first.again.clone());
        let emitter = self.emitter(&turn.run_id);
        let span = self.traces.turn(&self.home.scope, &self.home.key, &turn);
        let steering = Steering::default();
        self.running = Some(Running {
            run_id: turn.run_id.clone(),
            run_ids: turn.items.iter().flat_map(Item::run_ids).cloned().collect(),
            requesters: turn
                .items
                .iter()
                .filter_map(|item| item.options.requester.clone())
                .collect(),
            inbox_ids: turn.inbox_ids(),
            cancel: cancel.clone(),
            steering: steering.clone(),
            item: Some(item),
            shown: Some(emitter.so_far()),
            since: now_ms(),
            edits: false,
        });
        let run = run::run(RunContext {
            directory: self.home.directory.clone(),
            scope: self.home.scope.clone(),
            key: self.home.key.clone(),
            agent_id: self.agent_id.clone(),
            emitter,
            turn,
            lanes: self.home.lanes.clone(),
            slot: self
                .home
                .directory
                .lanes()
                .slot(self.home.scope.tenant(), cancel.token()),
            cancel,
            steering,
            queued: self.queue.len(),
        });
        let life = self.home.life.clone();
        let task = async move {
            tokio::select! {
                biased;
                () = life.cancelled() => Outcome::Stopped,
                outcome = run => outcome,
            }
        };
        let task = self.home.directory.services().io.spawn(task.instrument(span));
        self.follow(context, task);
    }

    /// Hears how the running thing ended, and goes on.
    fn follow(&mut self, context: &mut Context<Self>, task: tokio::task::JoinHandle<Outcome>) {
        context.spawn(task.into_actor(self).map(|ended, this, context| {
            this.leave_taken();
            let Some(mut running) = this.running.take() else { return };
            this.queue.ended();
            let unread = Self::take_in(&mut running);
            for id in &running.inbox_ids {
                this.known.remove(id);
            }
            // What failed did not come to what was to follow it: its rows are read again, and begin at the beginning.
            if matches!(&ended, Ok(Outcome::Left { again }) if *again < Duration::MAX) || ended.is_err() {
                this.ahead
                    .retain(|ahead| !ahead.inbox_ids().iter().any(|id| running.inbox_ids.contains(id)));
            }
            // What still waits ahead (`/new` with a text) stays looked after.
            this.known
                .extend(this.ahead.iter().flat_map(|ahead| ahead.inbox_ids().iter().cloned()));
            // A new conversation was stopped while it was made: there it is, and nothing is said in it by itself.
            if running.cancel.token().is_cancelled() && matches!(&ended, Ok(Outcome::Left { again: Duration::MAX })) {
                this.drop_first_turns(context, running.cancel.reason(), |item| {
                    item.inbox_ids == running.inbox_ids
                });
            }
            match ended {
                Ok(Outcome::Ended(ended)) => this.tell_ended(&running, ended),
                Ok(Outcome::Left { again }) => {
                    if again < Duration::MAX {
                        this.held = Some(this.readings);
                        this.forget_waiting();
                        this.load_later(context, again);
                    }
                }
                Ok(Outcome::Stopped) => this.draining = true,
                Err(panic) => {
                    tracing::error!(
                        tenant.id = %this.home.scope.tenant(), run.id = %running.run_id, panic = %panic,
                        "run panicked"
                    );
                    metrics::counter!("claw_run_panics_total").increment(1);
                    if let Some(mut item) = running.item {
                        item.entry_id = item.own_entry().map(str::to_owned);
                        this.put_ahead(Ahead::Close(item, Why::Crashed));
                    }
                }
            }
            if unread || !this.moving.is_empty() || (this.more && this.known.len() < MOST_KNOWN / 2) {
                this.load(context);
            }
            this.pump(context);
        }));
    }

    /// What the run took up while it went on does not wait any more.
    fn leave_taken(&mut self) {
        let Some(running) = &self.running else { return };
        for id in running.steering.taken() {
            self.queue.remove(&id);
            self.items.remove(&id);
        }
    }

    /// The run is over: what it took up ends with it. Says whether something of it was not stored and is to be read again.
    fn take_in(running: &mut Running) -> bool {
        running.run_ids.extend(running.steering.run_ids());
        let answered = running.steering.answered();
        if let Some(item) = &mut running.item {
            item.inbox_ids.extend(answered.iter().cloned());
            item.also.extend(running.steering.run_ids());
        }
        let taken = running.steering.taken();
        let left = taken.len() > answered.len();
        running.inbox_ids.extend(taken);
        left
    }

    fn tell_ended(&self, running: &Running, ended: crate::supervisor::directory::RunEnded) {
        for run_id in running.run_ids.iter().filter(|run_id| **run_id != ended.run_id) {
            let merged = crate::supervisor::directory::RunEnded {
                run_id: run_id.clone(),
                ..ended.clone()
            };
            let _ = self.home.user.try_send(ToUser::RunEnded(merged));
        }
        let _ = self.home.user.try_send(ToUser::RunEnded(ended));
    }

    fn live_snapshot(&self) -> SessionSnapshot {
        SessionSnapshot {
            queued: self.queue.len(),
            queue_mode: queue::mode_name(self.queue.settings().mode).to_owned(),
            ..SessionSnapshot::default()
        }
    }
}

impl Actor for SessionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // When the parent is gone, so is this: nobody could reach it, and its run may no longer write.
        let life = self.home.life.clone();
        context.spawn(
            async move { life.cancelled().await }
                .into_actor(self)
                .map(|(), _, context| context.stop()),
        );
        self.rest(context);
    }
}

impl Drop for SessionActor {
    fn drop(&mut self) {
        self.home.life.cancel();
        let conversation = &self.home.directory.services().conversation;
        conversation.forget(&self.home.scope, &self.home.key);
        let gone = ToUser::SessionGone {
            key: self.home.key.clone(),
            panicked: std::thread::panicking(),
        };
        let _ = self.home.user.try_send(gone);
    }
}

impl Handler<ToSession> for SessionActor {
    type Result = ();

    fn handle(&mut self, message: ToSession, context: &mut Self::Context) {
        match message {
            ToSession::Passivate => return context.stop(),
            #[cfg(test)]
            ToSession::Crash => panic!("a test asked for it"),
            ToSession::Drain => {
                self.draining = true;
                return;
            }
            ToSession::Wake(_)
            | ToSession::Abort { .. }
            | ToSession::Edit(_)
            | ToSession::Compact(_)
            | ToSession::Observe { .. }
            | ToSession::Snapshot { .. } => {
                self.seen += 1;
            }
        }
        match message {
            ToSession::Wake(mut waking) => {
                waking.heard_by("session");
                self.asker = waking.asker;
                self.traces.take_in(waking);
                self.load(context);
            }
            ToSession::Abort { request, reply } => self.abort_for(context, request, reply),
            ToSession::Edit(request) => self.edit(context, request),
            ToSession::Compact(request) => {
                self.compact(request);
                self.pump(context);
            }
            ToSession::Observe { reply } => {
                let _ = reply.send(self.observed());
            }
            ToSession::Snapshot { reply } => {
                let (directory, live) = (self.home.directory.clone(), self.live_snapshot());
                // Reading needs no epoch.
                let authority = Authority {
                    scope: self.home.scope.clone(),
                    key: self.home.key.clone(),
                    agent_id: self.agent_id.clone(),
                    epoch: 0,
                    charge: Charge::default(),
                };
                self.home.directory.services().io.spawn(async move {
                    if let Ok(snapshot) = closing::full_snapshot(&directory, &authority, live).await {
                        let _ = reply.send(snapshot);
                    }
                });
                self.rest(context);
            }
            ToSession::Passivate | ToSession::Drain => {}
            #[cfg(test)]
            ToSession::Crash => {}
        }
    }
}
