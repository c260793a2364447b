//! Aborting what runs, and dropping what waits.

use std::sync::Arc;

use actix::Context;

use super::SessionActor;
use crate::session::subagent;
use crate::supervisor::directory::{AbortRequest, Aborted};

impl SessionActor {
    /// Aborts what runs and drops what waits. Gives how many were stopped.
    pub(super) fn abort_all(&mut self, context: &mut Context<Self>, reason: &'static str) -> usize {
        let mut stopped = 0;
        self.leave_taken();
        self.commands.cancel();
        self.commands = self.home.life.child_token();
        stopped += Arc::strong_count(&std::mem::take(&mut self.calling)) - 1;
        if let Some(running) = &self.running {
            running.cancel.abort(reason);
            stopped += 1;
        }
        stopped += self.drop_compactions(context, reason, |_| true).len();
        for dropped in self.queue.clear("aborted") {
            stopped += 1;
            self.drop_item(context, &dropped.inbox_id, dropped.reason, Some(reason));
        }
        self.stop_children();
        stopped
    }

    /// Stopping a session stops what it began (`agent-runtime` §2.5).
    fn stop_children(&self) {
        let (directory, scope, key) = (
            self.home.directory.clone(),
            self.home.scope.clone(),
            self.home.key.clone(),
        );
        self.home.directory.services().io.spawn(async move {
            if let Err(error) = subagent::stop_below(&directory, &scope, &key).await {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "sub-agents were not stopped");
            }
        });
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
        self.leave_taken();
        if let Some(running) = &self.running {
            let named = request.run_id.as_ref().is_none_or(|id| running.answers(id));
            let own = request.admin || request.requester.as_ref().is_none_or(|own| running.is_asked_by(own));
            if named && own {
                running.cancel.abort(request.stop_reason);
                stopped = true;
                run_ids.push(running.run_id.clone());
            }
        }
        // It has made way for itself: to who asked for it, it goes on already.
        run_ids.extend(self.drop_compactions(context, request.stop_reason, |waits| {
            let named = request.run_id.as_ref().is_none_or(|id| id == waits.run_id());
            let own = request.admin
                || request
                    .requester
                    .as_deref()
                    .is_none_or(|own| waits.requester() == Some(own));
            named && own
        }));
        let waiting: Vec<String> = self
            .items
            .iter()
            .filter(|(_, item)| {
                let named = request
                    .run_id
                    .as_ref()
                    .is_some_and(|id| item.run_id.as_ref() == Some(id));
                let own = request.admin || request.requester.is_none() || item.options.requester == request.requester;
                own && (named || request.clear_queue)
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            self.queue.remove(&id);
            run_ids.extend(self.drop_item(context, &id, "aborted", Some(request.stop_reason)));
        }
        if stopped || (request.admin && request.run_id.is_none()) {
            self.stop_children();
        }
        Aborted {
            aborted: !run_ids.is_empty(),
            run_ids,
        }
    }
}
