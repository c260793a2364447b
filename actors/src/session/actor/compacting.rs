//! A compaction that was asked for: after what runs, and before what waits.

use std::time::Duration;

use actix::Context;
use tokio::sync::oneshot;

use super::{Ahead, SessionActor};
use crate::error::{Error, Result};
use crate::session::compaction::manual::{ByHand, Command, Done, Wish};
use crate::session::item::Item;
use crate::session::run::{Cancel, Outcome};

/// A wish on its way, and who waits for it.
#[derive(Debug)]
pub(crate) struct CompactRequest {
    wish: Wish,
    /// Id of the operation.
    operation: String,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    /// By a command; its row is settled with it.
    Command(Box<Item>),
    Caller(oneshot::Sender<Result<Done>>),
}

impl CompactRequest {
    pub(super) fn command(item: Item, wish: Wish) -> Self {
        Self::new(wish, Asked::Command(Box::new(item)))
    }

    pub(crate) fn called(wish: Wish, reply: oneshot::Sender<Result<Done>>) -> Self {
        Self::new(wish, Asked::Caller(reply))
    }

    fn new(wish: Wish, asked: Asked) -> Self {
        let operation = uuid::Uuid::new_v4().to_string();
        Self { wish, operation, asked }
    }

    fn item(&self) -> Option<&Item> {
        match &self.asked {
            Asked::Command(item) => Some(item),
            Asked::Caller(_) => None,
        }
    }

    /// The id clients know it by.
    pub(super) fn run_id(&self) -> &str {
        let named = self.item().and_then(|item| item.run_id.as_deref());
        named.unwrap_or(&self.operation)
    }

    pub(super) fn requester(&self) -> Option<&String> {
        self.item()?.options.requester.as_ref()
    }

    /// Empty for the user's own.
    pub(super) fn guest(&self) -> &str {
        self.item().map_or("", |item| &item.guest)
    }

    pub(super) fn inbox_ids(&self) -> &[String] {
        self.item().map_or(&[], |item| &item.inbox_ids)
    }
}

impl SessionActor {
    /// Makes way for it: what runs is aborted, what waits has its turn afterwards.
    pub(super) fn compact(&mut self, request: CompactRequest) {
        if self.draining {
            return; // whoever waits sees that no answer comes, and a row is read again
        }
        if let Some(running) = &self.running {
            running.cancel.abort("compact");
        }
        self.put_ahead(Ahead::Compact(request));
    }

    /// Drops those that wait and are `meant`, and tells who asked for them. Gives the ids clients know them by.
    pub(super) fn drop_compactions(
        &mut self,
        context: &mut Context<Self>,
        stop_reason: &'static str,
        meant: impl Fn(&CompactRequest) -> bool,
    ) -> Vec<String> {
        let mut dropped = Vec::new();
        for ahead in self.take_ahead(|ahead| matches!(ahead, Ahead::Compact(request) if meant(request))) {
            let Ahead::Compact(request) = ahead else { continue };
            dropped.push(request.run_id().to_owned());
            match request.asked {
                Asked::Command(item) => {
                    self.settle_dropped(context, *item, "aborted", stop_reason);
                }
                Asked::Caller(reply) => {
                    let _ = reply.send(Ok(Done::Aborted));
                }
            }
        }
        dropped
    }

    pub(super) fn start_compaction(&mut self, context: &mut Context<Self>, request: CompactRequest) {
        let (run_id, requester) = (request.run_id().to_owned(), request.requester().cloned());
        let CompactRequest { wish, operation, asked } = request;
        let (item, reply) = match asked {
            Asked::Command(item) => (Some(*item), None),
            Asked::Caller(reply) if reply.is_closed() => return self.pump(context),
            Asked::Caller(reply) => (None, Some(reply)),
        };
        let cancel = Cancel::default();
        let by_hand = ByHand {
            directory: self.home.directory.clone(),
            lanes: self.home.lanes.clone(),
            cancel: cancel.token().clone(),
            wish,
            told: self.emitter(&operation),
            operation,
        };
        let command = item.clone().map(|item| Command {
            emitter: self.emitter_for(&item),
            item,
        });
        let (life, shutdown) = (self.home.life.clone(), self.home.directory.shutdown().clone());
        self.occupy_until(context, item, cancel, move |authority| async move {
            let done = tokio::select! {
                biased;
                () = life.cancelled() => return Ok(Outcome::Stopped),
                () = shutdown.cancelled() => return Ok(Outcome::Stopped),
                done = by_hand.run(&authority, command) => done,
            };
            let Some(reply) = reply else {
                return done.map(|_| Outcome::Left { again: Duration::MAX });
            };
            let fenced = matches!(done, Err(Error::Fenced));
            // The caller decides what an error means; the session goes on either way.
            let _ = reply.send(done);
            if fenced {
                return Err(Error::Fenced);
            }
            Ok(Outcome::Left { again: Duration::MAX })
        });
        if let Some(running) = &mut self.running {
            running.run_id = run_id;
            running.requesters.extend(requester);
        }
    }
}
