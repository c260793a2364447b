//! Edits and injections of a session: what has its turn between runs without being one.

use std::time::Duration;

use actix::{Addr, Context};

use super::{Ahead, Running, SessionActor};
use crate::error::{Error, Result};
use crate::session::branches;
use crate::session::edit::{self, Edit, EditRequest, Edited, Rows};
use crate::session::events::Emitter;
use crate::session::item::Item;
use crate::session::keepsake;
use crate::session::own;
use crate::session::record;
use crate::session::run::Outcome;
use crate::session::steering;
use crate::session::turn::{self, Authority};
use crate::supervisor::directory::AbortRequest;
use crate::supervisor::directory::{Directory, InFlight, SessionObservation};
use crate::supervisor::messages::ToUser;
use crate::supervisor::user::UserActor;

impl Running {
    /// Did this guest start it.
    pub(super) fn is_of(&self, guest: &str) -> bool {
        self.item.as_ref().is_some_and(|item| item.guest == guest)
    }

    /// Is it this run, or one whose message it answers along with its own.
    pub(super) fn answers(&self, run_id: &str) -> bool {
        self.run_id == run_id || self.run_ids.iter().any(|id| id == run_id) || self.steering.run_ids().contains(run_id)
    }

    /// May it be aborted so: it answers a message of who asks, or none of a client's.
    pub(super) fn is_open_to(&self, request: &AbortRequest) -> bool {
        let Some(requester) = request.requester.as_ref().filter(|_| !request.is_for_all()) else {
            return true;
        };
        let nobodys = self.requesters.is_empty() && !self.steering.is_asked();
        nobodys || self.requesters.contains(requester) || self.steering.is_asked_by(requester)
    }

    /// May it take up this message while it goes on.
    pub(super) fn takes(&self, item: &Item) -> bool {
        let turn = self.item.as_ref().filter(|_| self.shown.is_some());
        turn.is_some_and(|turn| steering::takes(turn, item))
    }
}

impl SessionActor {
    /// Makes way for the edit: what runs and what waits belongs to what it ends.
    pub(super) fn edit(&mut self, context: &mut Context<Self>, mut request: EditRequest) {
        if self.draining {
            return; // whoever waits sees that no answer comes
        }
        match request.edit.stop_reason() {
            Some(reason) => {
                request.rows.clone_from(&self.known);
                self.abort_all(context, reason);
            }
            None if self.works() => return refuse(request),
            None => {
                // A message may be stored already and not be here yet, and after a crash a turn may wait to go on.
                self.moving.push(request);
                self.load(context);
                return self.end_moving(context, true);
            }
        }
        if matches!(request.edit, Edit::Delete { .. }) {
            // A turn that was left need not be finished first: its rows are settled with the rest.
            let others = self.take_ahead(|ahead| !matches!(ahead, Ahead::Edit(_)));
            for id in others.iter().flat_map(Ahead::inbox_ids) {
                self.known.remove(id);
            }
            self.held = None;
        }
        self.put_ahead(Ahead::Edit(request));
        self.pump(context);
    }

    /// Everything that was accepted before an edit that aborts nothing is here now, or could not be `read`: it has its
    /// turn when nothing works and nothing waits.
    pub(super) fn end_moving(&mut self, context: &mut Context<Self>, read: bool) {
        if self.reads_on() || self.is_edited() || self.moving.is_empty() {
            return; // the end of the reading goes on from here
        }
        for request in std::mem::take(&mut self.moving) {
            if self.draining {
                continue; // whoever waits sees that no answer comes
            }
            if !read || self.works() || self.held.is_some() || self.more {
                refuse(request);
            } else {
                self.put_ahead(Ahead::Edit(request));
            }
        }
        self.pump(context);
    }

    /// A turn goes on, or waits to. Edits wait for each other.
    fn works(&self) -> bool {
        let edits = |ahead: &Ahead| matches!(ahead, Ahead::Edit(_));
        self.running.as_ref().is_some_and(|running| !running.edits)
            || !self.queue.is_empty()
            || !self.ahead.iter().all(edits)
    }

    /// An edit goes on: rows are read when it is done.
    pub(super) fn is_edited(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.edits)
    }

    /// The session is about to go: its rows are settled with it.
    pub(super) fn goes(&self) -> bool {
        let deletes =
            |ahead: &Ahead| matches!(ahead, Ahead::Edit(request) if matches!(request.edit, Edit::Delete { .. }));
        self.ahead.iter().any(deletes)
    }

    pub(super) fn start_edit(&mut self, context: &mut Context<Self>, request: EditRequest) {
        if request.reply.is_closed() {
            // What waited was given up for it, and what came since was not looked at.
            self.forget_waiting();
            self.load(context);
            return self.pump(context);
        }
        if self.reads_on() {
            // What is being read may be what goes. The end of the reading goes on from here.
            return self.ahead.push_front(Ahead::Edit(request));
        }
        let work = Work {
            directory: self.home.directory.clone(),
            user: self.home.user.clone(),
            rows: Rows {
                known: self.known.clone(),
                lately: request.rows,
            },
            emitter: self.emitter(""),
        };
        self.occupy(context, None, move |authority| async move {
            let done = work.run(&authority, request.edit).await;
            let fenced = matches!(done, Err(Error::Fenced));
            // The caller decides what an error means; the session goes on either way.
            let _ = request.reply.send(done);
            if fenced {
                return Err(Error::Fenced);
            }
            // What came meanwhile is read now.
            Ok(Outcome::Left { again: Duration::ZERO })
        });
        if let Some(running) = &mut self.running {
            running.edits = true;
        }
    }

    pub(super) fn start_injection(&mut self, context: &mut Context<Self>, item: Item) {
        let directory = self.home.directory.clone();
        let emitter = self.emitter(item.run_id.as_deref().unwrap_or_default());
        self.occupy(context, Some(item.clone()), move |authority| async move {
            let ended = edit::inject(directory.services(), &authority, &item, emitter).await;
            ended.map(Outcome::Ended)
        });
    }

    pub(super) fn observed(&self) -> SessionObservation {
        SessionObservation {
            running: self.running.as_ref().map(|running| running.run_id.clone()),
            queued: self.queue.len(),
            in_flight: self.running.as_ref().and_then(|running| {
                Some(InFlight {
                    run_id: running.run_id.clone(),
                    text: running.shown.as_ref()?.text(),
                    started_at: running.since,
                })
            }),
        }
    }
}

fn refuse(request: EditRequest) {
    let busy = Error::Busy {
        message: "not available while the agent is working".to_owned(),
        retry_after: Duration::from_secs(1),
    };
    // Who asked may be gone; nothing was done either way.
    let _ = request.reply.send(Err(busy));
}

/// What an edit needs of its session.
struct Work {
    directory: Directory,
    user: Addr<UserActor>,
    rows: Rows,
    emitter: Emitter,
}

impl Work {
    async fn run(self, authority: &Authority, edit: Edit) -> Result<Edited> {
        let services = self.directory.services();
        match edit {
            Edit::Reset { reason } => {
                if own::is_own(&services.config, &authority.scope, &authority.key).await? {
                    keepsake::keep(services, authority).await?;
                }
                let head = turn::reset(services, authority).await?;
                self.emitter.session_changed(reason, Some(&head), false).await;
                Ok(Edited {
                    head: Some(head),
                    found: true,
                })
            }
            Edit::Turn { leaf } => {
                let head = branches::turn(services, authority, &leaf).await?;
                services.conversation.forget(&authority.scope, &authority.key);
                self.emitter.session_changed(leaf.reason(), Some(&head), false).await;
                Ok(Edited {
                    head: Some(head),
                    found: true,
                })
            }
            Edit::Delete { transcript, expected } => {
                let erased = edit::erase(services, authority, self.rows, (transcript, expected)).await?;
                services.conversation.forget(&authority.scope, &authority.key);
                for run_id in erased.runs {
                    self.emitter.dropped(&run_id, "deleted").await;
                    if let Ok(Some(ended)) = record::ended(services, &authority.scope, &run_id).await {
                        let _ = self.user.try_send(ToUser::RunEnded(ended));
                    }
                }
                if erased.found {
                    self.emitter.session_changed("delete", None, false).await;
                }
                Ok(Edited {
                    head: None,
                    found: erased.found,
                })
            }
        }
    }
}
