//! Messages that travel down the tree. Answers come back through a `oneshot` inside the message, so that a forwarded
//! message can never be cancelled half-way.

use std::sync::{Arc, Weak};
use std::time::Instant;

use actix::{Message, Recipient};
use claw_entities::{SessionKey, UserId};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tracing::Span;

use super::directory::{AbortRequest, Aborted, Attached, InvokeNode, RunEnded, SessionObservation};
use super::places::Asker;
use crate::error::Result;
use crate::gateway::beacon::Beacon;
use crate::gateway::messages::{ConnectionInfo, Event, InvokeResult, ToConnection};
use crate::gateway::node_streams::Streams;
use crate::ports::tool::SessionSnapshot;
use crate::session::actor::CompactRequest;
use crate::session::asking::Ear;
use crate::session::edit::EditRequest;

/// Directory → TenantActor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum ToTenant {
    /// For one of its users.
    User { user: UserId, message: ToUser },
    /// For every user that is awake.
    All(ToAll),
    /// What goes on for them ends: they are locked out.
    Lock(Whom),
    /// A user reports that nothing happens in it.
    UserIdle { user: UserId, seen: u64 },
    /// A user's actor is gone.
    UserGone { user: UserId, panicked: bool },
}

/// Who is locked out.
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    Everybody,
    One(UserId),
}

/// What every actor below hears.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ToAll {
    /// Start no more runs; tell sockets that the service restarts.
    Drain,
    /// What belongs to the tenant of the configuration may be another.
    ConfigChanged,
}

/// TenantActor → UserActor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum ToUser {
    Session {
        key: SessionKey,
        message: ToSession,
    },
    Attach {
        info: Arc<ConnectionInfo>,
        to: Recipient<ToConnection>,
        reply: oneshot::Sender<Attached>,
    },
    Detach {
        conn_id: String,
    },
    Publish(Event),
    /// Publishes `config.changed`, unless this is the hash that was told last.
    ConfigIs {
        hash: String,
    },
    /// Publishes `health`.
    HealthIs {
        payload: Box<RawValue>,
    },
    /// Publishes, and says how many connections beside `except` may see it.
    Announce {
        event: Event,
        except: Arc<str>,
        reply: oneshot::Sender<usize>,
    },
    Presence {
        reply: oneshot::Sender<Vec<Value>>,
    },
    /// A program says something of itself.
    Describe {
        conn_id: Arc<str>,
        beacon: Box<Beacon>,
        reply: oneshot::Sender<()>,
    },
    Nodes {
        reply: oneshot::Sender<Vec<Arc<ConnectionInfo>>>,
    },
    CloseDevice {
        device_id: String,
        role: Option<String>,
        /// This connection stays.
        except: Option<Arc<str>>,
        code: u16,
        reason: String,
        reply: oneshot::Sender<()>,
    },
    Invoke {
        call: InvokeNode,
        streams: Streams,
        reply: oneshot::Sender<Result<InvokeResult>>,
    },
    /// Wants to hear how this run ends.
    Watch {
        run_id: String,
        reply: oneshot::Sender<RunEnded>,
    },
    /// Wants to hear what this run says.
    Listen {
        run_id: String,
        ear: Weak<Ear>,
    },
    /// A run ended; those who wait for it are told.
    RunEnded(RunEnded),
    SessionIdle {
        key: SessionKey,
        seen: u64,
    },
    SessionGone {
        key: SessionKey,
        panicked: bool,
    },
    All(ToAll),
    /// Closes the sockets, cuts the turns off, and goes.
    Lock,
    Passivate,
}

/// UserActor → SessionActor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum ToSession {
    /// Inbox rows wait. A hint: the rows are the truth.
    Wake(Waking),
    Abort {
        request: AbortRequest,
        reply: oneshot::Sender<Aborted>,
    },
    /// A change that has its turn between runs.
    Edit(EditRequest),
    /// A compaction that was asked for.
    Compact(CompactRequest),
    Observe {
        reply: oneshot::Sender<SessionObservation>,
    },
    Snapshot {
        reply: oneshot::Sender<SessionSnapshot>,
    },
    Drain,
    Passivate,
    /// Panics, for the tests of what happens then.
    #[cfg(test)]
    Crash,
}

/// That inbox rows wait, and what their turn is part of.
#[derive(Debug)]
pub(crate) struct Waking {
    /// A user's own or a guest's.
    pub(crate) asker: Asker,
    /// The row, where whoever wakes knows it and a span goes with it.
    pub(crate) row: Option<String>,
    /// What the turn was begun by.
    pub(crate) trace: Span,
    /// When it was put into the mailbox it is in.
    sent: Instant,
}

impl Waking {
    /// For the row, as part of the span that goes on.
    pub(crate) fn new(asker: Asker, row: Option<&str>) -> Self {
        let trace = Span::current();
        Self {
            asker,
            row: row.filter(|_| !trace.is_disabled()).map(str::to_owned),
            trace,
            sent: Instant::now(),
        }
    }

    /// An actor of this kind took it out of its mailbox. From here it goes into the next one.
    pub(crate) fn heard_by(&mut self, actor: &'static str) {
        let now = Instant::now();
        let waited = now.duration_since(self.sent).as_secs_f64();
        metrics::histogram!("claw_mailbox_wait_seconds", "actor" => actor).record(waited);
        self.sent = now;
    }
}
