//! Aborting what runs, and dropping what waits.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use claw_entities::{Scope, SessionKey};
use tokio::sync::oneshot;

use super::{Ahead, Running, SessionActor};
use crate::error::Result;
use crate::session::commands::{Below, stop_text};
use crate::session::exec::{self, Which};
use crate::session::item::Item;
use crate::session::{admission, closing, subagent};
use crate::supervisor::directory::{AbortRequest, Aborted, Directory};

/// Requesters whose queues were cleared that are remembered.
const MOST_CLEARED: usize = 64;
/// So long the answer to a stop waits for sub-agents to be counted.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

/// An abort that clears the queue, on its way.
#[derive(Debug)]
pub(super) struct Clearing {
    request: AbortRequest,
    reply: oneshot::Sender<Aborted>,
    /// So far.
    aborted: Aborted,
    /// The session's inbox rows that were in the database when somebody asked. Ids do not tell: each machine makes them by its
    /// own clock.
    before: HashSet<String>,
}

impl Clearing {
    fn takes(&self, id: &str, requester: Option<&String>) -> bool {
        self.before.contains(id) && self.request.owns(requester)
    }

    /// A turn that a crash cut off: as one that runs.
    fn takes_cut_off(&self, item: &Item) -> bool {
        let may = self.request.may_stop(item.options.requester.as_ref());
        may && item.inbox_ids.iter().any(|id| self.before.contains(id))
    }

    fn takes_running(&self, running: &Running) -> bool {
        running.is_open_to(&self.request) && running.inbox_ids.iter().any(|id| self.before.contains(id))
    }
}

/// What was in queues that were cleared: by requester, or for everybody. Rows of it that are read later are dropped too.
#[derive(Debug, Default)]
pub(super) struct Cleared {
    rows: HashMap<Option<String>, (HashSet<String>, &'static str)>,
    /// Everything up to this row, which said so: rows are read in the order of their ids.
    up_to: Option<(String, &'static str)>,
}

impl Cleared {
    fn add(&mut self, clearing: &Clearing) {
        if self.rows.len() >= MOST_CLEARED {
            self.rows.clear();
        }
        // What is settled does not come back.
        for (rows, _) in self.rows.values_mut() {
            rows.retain(|id| clearing.before.contains(id));
        }
        let everybody = clearing.request.admin;
        let who = clearing.request.requester.clone().filter(|_| !everybody);
        self.rows
            .insert(who, (clearing.before.clone(), clearing.request.stop_reason));
    }

    /// For everybody, up to the message that says so.
    pub(super) fn up_to(&mut self, ids: &[String], stop_reason: &'static str) {
        let Some(last) = ids.iter().max() else { return };
        if self.up_to.as_ref().is_none_or(|(before, _)| before < last) {
            self.up_to = Some((last.clone(), stop_reason));
        }
    }

    /// Why this message is not to run.
    pub(super) fn why(&self, id: &str, requester: Option<&String>) -> Option<&'static str> {
        if let Some((last, why)) = &self.up_to
            && id <= last.as_str()
        {
            return Some(why);
        }
        let all = self.rows.get(&None);
        let theirs = requester.and_then(|requester| self.rows.get(&Some(requester.clone())));
        let mut both = all.into_iter().chain(theirs);
        both.find_map(|(rows, why)| rows.contains(id).then_some(*why))
    }
}

/// Stops what goes on behind a session's turns: commands on nodes, and sub-agents.
async fn stop_behind(directory: &Directory, scope: &Scope, key: &SessionKey) -> Result<Below> {
    let commands = exec::stop(directory, scope, &Which::Session(key.clone()), true).await?;
    let agents = subagent::stop_below(directory, scope, key).await?;
    Ok(Below::Stopped { agents, commands })
}

/// Stopping a session stops what it began (`agent-runtime` §2.5); its next turn reads of commands if they are `heard`.
pub(crate) fn stop_children(directory: &Directory, scope: &Scope, key: &SessionKey, heard: bool) {
    exec::stop_soon(directory, scope, Which::Session(key.clone()), heard);
    let (directory_in, scope, key) = (directory.clone(), scope.clone(), key.clone());
    directory.services().io.spawn(async move {
        if let Err(error) = subagent::stop_below(&directory_in, &scope, &key).await {
            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "sub-agents were not stopped");
        }
    });
}

impl SessionActor {
    /// Aborts as asked. Who clears the queue hears of it when everything that was accepted before has been read: a
    /// message may be stored already and not be here yet.
    pub(super) fn abort_for(
        &mut self,
        context: &mut Context<Self>,
        request: AbortRequest,
        reply: oneshot::Sender<Aborted>,
    ) {
        let aborted = self.abort(context, &request);
        if !request.clear_queue || self.draining {
            // Who asked may be gone.
            let _ = reply.send(aborted);
            return;
        }
        let services = self.home.directory.services().clone();
        let (scope, key) = (self.home.scope.clone(), self.home.key.clone());
        let io = services.io.clone();
        let open = io.spawn(async move { admission::open(&services, &scope, &key).await });
        context.spawn(open.into_actor(self).map(move |open, this, context| match open {
            Ok(Ok(before)) => {
                let clearing = Clearing {
                    request,
                    reply,
                    aborted,
                    before,
                };
                this.clear(context, clearing);
            }
            // Whoever waits sees that no answer comes, and asks again.
            Ok(Err(error)) => tracing::warn!(error = ?error, "a queue was not cleared"),
            Err(panic) => tracing::error!(panic = %panic, "reading the inbox panicked"),
        }));
    }

    fn clear(&mut self, context: &mut Context<Self>, clearing: Clearing) {
        if self.draining {
            // Who asked may be gone.
            let _ = clearing.reply.send(clearing.aborted);
            return;
        }
        self.clearing.push(clearing);
        self.hurry.cancel();
        self.load(context);
        if !self.reads_on() {
            self.end_clearing(context);
        }
    }

    /// What was accepted before is here, as far as it is looked after: drops it, and what is read later.
    pub(super) fn end_clearing(&mut self, context: &mut Context<Self>) {
        for mut clearing in std::mem::take(&mut self.clearing) {
            self.leave_taken();
            let mut stopped = Vec::new();
            // It was started while the rows were read.
            if let Some(running) = self.running.as_ref().filter(|running| clearing.takes_running(running)) {
                running.cancel.abort(clearing.request.stop_reason);
                stopped.push(running.run_id.clone());
            }
            stopped.extend(self.stop_cut_off(clearing.request.stop_reason, |item| clearing.takes_cut_off(item)));
            let waiting: Vec<String> = self
                .items
                .iter()
                .filter(|(id, item)| clearing.takes(id, item.options.requester.as_ref()))
                .map(|(id, _)| id.clone())
                .collect();
            for id in waiting {
                self.queue.remove(&id);
                stopped.extend(self.drop_item(context, &id, "aborted", Some(clearing.request.stop_reason)));
            }
            self.cleared.add(&clearing);
            let known = &mut clearing.aborted.run_ids;
            for run_id in stopped {
                if !known.contains(&run_id) {
                    known.push(run_id);
                }
            }
            clearing.aborted.aborted |= !known.is_empty();
            clearing.aborted.unauthorized &= !clearing.aborted.aborted;
            let _ = clearing.reply.send(clearing.aborted);
        }
    }

    /// Aborts what runs, drops what waits, and has what the session began stopped.
    pub(super) fn abort_all(&mut self, context: &mut Context<Self>, reason: &'static str) {
        self.abort_here(context, reason);
        self.stop_children(false);
    }

    /// Aborts what runs and drops what waits in this session. Gives how many were stopped.
    pub(super) fn abort_here(&mut self, context: &mut Context<Self>, reason: &'static str) -> usize {
        self.leave_taken();
        // Counted first: what hears the token lets go at once.
        let mut stopped = Arc::strong_count(&std::mem::take(&mut self.calling)) - 1;
        self.commands.cancel();
        self.commands = self.home.life.child_token();
        if let Some(running) = &self.running {
            running.cancel.abort(reason);
            stopped += 1;
        }
        stopped += self.drop_compactions(context, reason, |_| true).len();
        stopped += self.drop_first_turns(context, reason, |_| true).len();
        stopped += self.stop_cut_off(reason, |_| true).len();
        for dropped in self.queue.clear("aborted") {
            stopped += 1;
            self.drop_item(context, &dropped.inbox_id, dropped.reason, Some(reason));
        }
        stopped
    }

    /// Answers a stop that `stopped` so much here, once what the session began is stopped too (`agent-runtime` §2.5).
    pub(super) fn stop_below(&mut self, context: &mut Context<Self>, item: Item, stopped: usize) {
        let directory = self.home.directory.clone();
        let emitter = self.emitter_for(&item);
        self.off_queue(context, item.inbox_ids.clone(), move |authority| async move {
            let (directory_in, scope, key) = (directory.clone(), authority.scope.clone(), authority.key.clone());
            // Goes on when nobody waits for it any more.
            let io = &directory.services().io;
            let below = io.spawn(async move { stop_behind(&directory_in, &scope, &key).await });
            let below = match tokio::time::timeout(COUNTED_WITHIN, below).await {
                Ok(Ok(Ok(stopped))) => stopped,
                Ok(Ok(Err(error))) => {
                    tracing::warn!(tenant.id = %authority.scope.tenant(), error = ?error, "what goes on behind was not stopped");
                    Below::Failed
                }
                Ok(Err(panic)) => {
                    tracing::error!(tenant.id = %authority.scope.tenant(), panic = %panic, "stopping what goes on behind panicked");
                    Below::Failed
                }
                Err(_) => Below::Uncounted,
            };
            let text = stop_text(stopped, below);
            closing::finish_command(&directory, &authority, &item, &text, emitter, None).await
        });
    }

    fn stop_children(&self, heard: bool) {
        stop_children(&self.home.directory, &self.home.scope, &self.home.key, heard);
    }

    /// Drops what comes first in a new conversation and has not begun, as far as `meant` says; the conversation is new all the
    /// same. While it is being made, its end does that. Gives the run of each that has one already.
    pub(super) fn drop_first_turns(
        &mut self,
        context: &mut Context<Self>,
        reason: &'static str,
        meant: impl Fn(&Item) -> bool,
    ) -> Vec<Option<String>> {
        let busy = self.running.as_ref().map(|running| running.inbox_ids.clone());
        let waits = |item: &Item| item.entry_id.is_none() && busy.as_ref() != Some(&item.inbox_ids) && meant(item);
        let mut run_ids = Vec::new();
        for ahead in self.take_ahead(|ahead| matches!(ahead, Ahead::Resume(item) if waits(item))) {
            let Ahead::Resume(item) = ahead else { continue };
            let run_id = item.run_id.clone();
            self.settle_dropped(context, item, "aborted", reason);
            run_ids.push(run_id);
        }
        run_ids
    }

    /// Stops turns that a crash cut off and that have not gone on yet, as far as `meant` says: each is closed in its place.
    /// Gives their runs.
    fn stop_cut_off(&mut self, reason: &'static str, meant: impl Fn(&Item) -> bool) -> Vec<String> {
        let mut run_ids = Vec::new();
        for ahead in &mut self.ahead {
            if let Ahead::Resume(item) = ahead
                && item.entry_id.is_some()
                && meant(item)
            {
                run_ids.extend(item.run_id.clone());
                self.stopped
                    .extend(item.inbox_ids.iter().map(|id| (id.clone(), reason)));
                *ahead = Ahead::Stop(item.clone(), reason);
            }
        }
        run_ids
    }

    /// Aborts what this guest started. Gives how many were stopped.
    pub(super) fn abort_of(&mut self, context: &mut Context<Self>, guest: &str, reason: &'static str) -> usize {
        let mut stopped = 0;
        self.leave_taken();
        if let Some(running) = self.running.as_ref().filter(|running| running.is_of(guest)) {
            running.cancel.abort(reason);
            stopped += 1;
        }
        stopped += self
            .drop_compactions(context, reason, |request| request.guest() == guest)
            .len();
        stopped += self.stop_cut_off(reason, |item| item.guest == guest).len();
        let theirs = self.items.iter().filter(|(_, item)| item.guest == guest);
        for id in theirs.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.queue.remove(&id);
            self.drop_item(context, &id, "aborted", Some(reason));
            stopped += 1;
        }
        stopped
    }

    pub(super) fn abort(&mut self, context: &mut Context<Self>, request: &AbortRequest) -> Aborted {
        let mut run_ids = Vec::new();
        let mut stopped = false;
        // What is meant and belongs to somebody else.
        let foreign = Cell::new(false);
        let may = |named: bool, own: bool| {
            foreign.set(foreign.get() || (named && !own));
            named && own
        };
        self.leave_taken();
        // An edit ends by itself, and is no run.
        if let Some(running) = self.running.as_ref().filter(|running| !running.edits) {
            let named = request.run_id.as_ref().is_none_or(|id| running.answers(id));
            let own = running.is_open_to(request);
            // One that was aborted before only comes to its end.
            if !running.cancel.token().is_cancelled() && may(named, own) {
                running.cancel.abort(request.stop_reason);
                stopped = true;
                run_ids.push(running.run_id.clone());
            }
        }
        let first = self.drop_first_turns(context, request.stop_reason, |item| {
            let named = request
                .run_id
                .as_ref()
                .is_none_or(|id| item.run_id.as_ref() == Some(id));
            may(named, request.may_stop(item.options.requester.as_ref()))
        });
        let cut_off = self.stop_cut_off(request.stop_reason, |item| {
            let named = request
                .run_id
                .as_ref()
                .is_none_or(|id| item.run_ids().any(|run_id| run_id == id));
            may(named, request.may_stop(item.options.requester.as_ref()))
        });
        stopped |= !cut_off.is_empty();
        run_ids.extend(cut_off);
        // One of a chat's own has no run before it begins.
        let nameless = first.contains(&None);
        run_ids.extend(first.into_iter().flatten());
        // It has made way for itself: to who asked for it, it goes on already.
        run_ids.extend(self.drop_compactions(context, request.stop_reason, |waits| {
            let named = request.run_id.as_ref().is_none_or(|id| id == waits.run_id());
            may(named, request.may_stop(waits.requester()))
        }));
        let waiting: Vec<String> = self
            .items
            .iter()
            .filter(|(_, item)| {
                let named = request
                    .run_id
                    .as_ref()
                    .is_some_and(|id| item.run_id.as_ref() == Some(id));
                let requester = item.options.requester.as_ref();
                may(named, request.may_stop(requester)) || (request.clear_queue && request.owns(requester))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            self.queue.remove(&id);
            run_ids.extend(self.drop_item(context, &id, "aborted", Some(request.stop_reason)));
        }
        if stopped || (request.admin && request.run_id.is_none()) {
            self.stop_children(true);
        }
        let aborted = nameless || !run_ids.is_empty();
        Aborted {
            aborted,
            unauthorized: foreign.get() && !aborted,
            run_ids,
        }
    }
}
