//! The only door into the tree, for HTTP, sockets, webhooks and recovery.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix::{Addr, Recipient};
use claw_entities::{Scope, SessionKey, TenantId};
use dashmap::DashMap;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lanes::Lanes;
use super::lease::Leases;
use super::messages::{ToAll, ToSession, ToTenant, ToUser, Waking, Whom};
use super::placement::Placement;
use super::places::Asker;
use super::tenant::TenantActor;
use crate::Services;
use crate::error::{Error, Result};
use crate::gateway::approvals::Waiters;
use crate::gateway::beacon::Beacon;
use crate::gateway::idempotency::Idempotency;
use crate::gateway::listening::Listening;
use crate::gateway::messages::{ConnectionInfo, Event, InvokeResult, ToConnection};
use crate::gateway::node_streams::Streams;
use crate::gateway::skills::Programs;
use crate::ports::tool::SessionSnapshot;
use crate::session::actor::CompactRequest;
use crate::session::asking::Ear;
use crate::session::compaction::manual::{Done, Wish};
use crate::session::delivery::Delivery;
use crate::session::edit::{Edit, EditRequest, Edited};

/// Handle on the tree. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    services: Services,
    placement: Placement,
    lanes: Lanes,
    leases: Leases,
    delivery: Delivery,
    /// Those who wait for a person's word.
    approvals: Waiters,
    /// What calls of nodes gave, by key.
    node_results: Idempotency,
    /// Which programs nodes have.
    programs: Programs,
    /// A scheduled job was added or changed here.
    cron_changed: tokio::sync::Notify,
    /// Places for looks at users' configuration after a change: a change of a tenant's is one for each of its users.
    config_looks: tokio::sync::Semaphore,
    tenants: DashMap<TenantId, Entry>,
    /// Cancelled when running turns must stop because the process does.
    shutdown: CancellationToken,
    draining: AtomicBool,
}

struct Entry {
    addr: Addr<TenantActor>,
    forwarded: u64,
}

/// What a connection gets when it joins its user.
#[derive(Clone, Debug)]
pub struct Attached {
    pub presence: Vec<Value>,
    pub state_version: crate::gateway::messages::StateVersion,
    pub listening: Arc<Listening>,
    /// Counts events that the connection was too far behind to get.
    pub missed: Arc<AtomicU64>,
}

/// Which runs to abort, and on whose authority.
#[derive(Clone, Debug)]
pub struct AbortRequest {
    pub session_key: SessionKey,
    /// `None`: every run of the session that the requester may abort.
    pub run_id: Option<String>,
    /// Connection or device that asks; it may abort what it started, and what no client asked
    /// for. `None` or `admin`: any run.
    pub requester: Option<String>,
    pub admin: bool,
    /// `rpc`, `stop`, `timeout`, …
    pub stop_reason: &'static str,
    /// Also drop what waits in the queue (`/stop`).
    pub clear_queue: bool,
}

impl AbortRequest {
    /// May it stop whatever it likes of the session.
    pub(crate) fn is_for_all(&self) -> bool {
        self.admin || self.requester.is_none()
    }

    /// Did who asks for it ask for that themselves.
    pub(crate) fn owns(&self, requester: Option<&String>) -> bool {
        self.is_for_all() || self.requester.as_ref() == requester
    }

    /// May it stop what this client asked for. What none asked for (a platform's message, a job) is any client's of the user's.
    pub(crate) fn may_stop(&self, requester: Option<&String>) -> bool {
        requester.is_none() || self.owns(requester)
    }
}

#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Aborted {
    pub aborted: bool,
    /// Nothing was, because what was meant is somebody else's.
    #[serde(skip)]
    pub unauthorized: bool,
    pub run_ids: Vec<String>,
}

/// A live session, for tests, `/status` and lists.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionObservation {
    pub running: Option<String>,
    pub queued: usize,
    /// The turn that calls the model, if one does.
    pub in_flight: Option<InFlight>,
}

/// A turn in the middle of its answer.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InFlight {
    pub run_id: String,
    /// What was shown so far.
    pub text: String,
    /// Epoch milliseconds.
    pub started_at: i64,
}

/// How a run ended, for `agent.wait` and the second answer of `agent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnded {
    pub run_id: String,
    /// `ok`, `error`, `aborted` or `interrupted`.
    pub status: String,
    pub started_at: i64,
    pub ended_at: i64,
    pub error: Option<String>,
    /// Of the failure: a name of [`crate::ports::model::ErrorClass`], or another.
    pub error_class: Option<String>,
    pub stop_reason: Option<String>,
    /// `{payloads:[{text, mediaUrl}], meta:{…}}`.
    pub result: Value,
}

/// A call of a node by an operator or the agent.
#[derive(Clone, Debug)]
pub struct InvokeNode {
    pub node_id: String,
    pub command: String,
    pub params: Value,
    pub timeout: Duration,
    pub idempotency_key: String,
}

/// Between two looks for the record of a run that is waited for, at first and at most; and the longest wait.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(30);
const LONGEST_WATCH: Duration = Duration::from_secs(30 * 24 * 3600);
/// Looks at users' configuration at the same time.
const CONFIG_LOOKS: usize = 4;
/// How long a question to the tree may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a compaction may take, its wait for a place included: more than any setting allows it.
const COMPACTED: Duration = Duration::from_secs(2 * 3600);
/// How long an edit may wait for its turn: a run that is aborted for it still ends its tools.
const EDITED: Duration = Duration::from_secs(60);

impl Directory {
    /// The tree of this process. Nothing runs yet: see [`crate::session::recovery`].
    pub fn new(services: Services, placement: Placement, leases: Leases) -> Self {
        let lanes = Lanes::new(&services.limits, services.db.backend());
        let delivery = Delivery::new(services.clone(), leases.clone(), lanes.clone());
        Self(Arc::new(Inner {
            services,
            placement,
            lanes,
            leases,
            delivery,
            approvals: Waiters::default(),
            node_results: Idempotency::default(),
            programs: Programs::default(),
            cron_changed: tokio::sync::Notify::new(),
            config_looks: tokio::sync::Semaphore::new(CONFIG_LOOKS),
            tenants: DashMap::new(),
            shutdown: CancellationToken::new(),
            draining: AtomicBool::new(false),
        }))
    }

    pub fn services(&self) -> &Services {
        &self.0.services
    }
    pub fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }
    /// Wakes the scheduler before its time: a job was added, changed or has ended. A hint.
    pub fn cron_changed(&self) -> &tokio::sync::Notify {
        &self.0.cron_changed
    }
    pub fn leases(&self) -> &Leases {
        &self.0.leases
    }
    pub(crate) fn approvals(&self) -> &Waiters {
        &self.0.approvals
    }
    pub(crate) fn node_results(&self) -> &Idempotency {
        &self.0.node_results
    }
    pub(crate) fn config_looks(&self) -> &tokio::sync::Semaphore {
        &self.0.config_looks
    }
    pub(crate) fn programs(&self) -> &Programs {
        &self.0.programs
    }
    pub(crate) fn placement(&self) -> &Placement {
        &self.0.placement
    }
    pub(crate) fn lanes(&self) -> &Lanes {
        &self.0.lanes
    }
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }
    /// True from the moment the process stops taking work.
    pub fn draining(&self) -> bool {
        self.0.draining.load(Ordering::Relaxed)
    }

    /// Tells the session that inbox rows wait for it. A hint: what is lost here, recovery finds.
    pub fn wake(&self, scope: &Scope, key: &SessionKey) {
        self.wake_with(scope, key, Asker::User, None);
    }

    /// As [`Directory::wake`], for the row that was just put in: its turn is part of the span that goes on.
    pub(crate) fn wake_for(&self, scope: &Scope, key: &SessionKey, asker: Asker, row: &str) {
        self.wake_with(scope, key, asker, Some(row));
    }

    fn wake_with(&self, scope: &Scope, key: &SessionKey, asker: Asker, row: Option<&str>) {
        // What comes while this process stops is the next one's.
        if !self.draining() && !self.services().config.is_locked(scope) {
            self.session(scope, key, ToSession::Wake(Waking::new(asker, row)));
        }
    }

    /// Joins a live connection to its user. An older connection of the same device and role is closed.
    pub async fn attach(
        &self,
        scope: &Scope,
        info: Arc<ConnectionInfo>,
        to: Recipient<ToConnection>,
    ) -> Result<Attached> {
        self.may_attach(scope)?;
        self.ask(scope, |reply| ToUser::Attach { info, to, reply }).await
    }

    /// May a connection of the user's come in now. Somebody who was locked out just now hears why when they try again.
    pub(crate) fn may_attach(&self, scope: &Scope) -> Result<()> {
        if self.draining() || self.services().config.is_locked(scope) {
            return Err(busy());
        }
        Ok(())
    }

    /// The connection went away.
    pub fn detach(&self, scope: &Scope, conn_id: &str) {
        // Nobody is woken up to hear it.
        let message = ToTenant::User {
            user: scope.user().clone(),
            message: ToUser::Detach {
                conn_id: conn_id.to_owned(),
            },
        };
        if let Some(mut entry) = self.0.tenants.get_mut(scope.tenant())
            && entry.addr.try_send(message).is_ok()
        {
            entry.forwarded += 1;
        }
    }

    /// Sends an event to the user's connections that may see it.
    pub fn publish(&self, scope: &Scope, event: Event) {
        self.user(scope, ToUser::Publish(event));
    }

    /// The user's configuration has this hash now: their connections are told, unless they were.
    pub fn config_is(&self, scope: &Scope, hash: String) {
        self.user(scope, ToUser::ConfigIs { hash });
    }

    /// This is how things stand with the user's part of the server now.
    pub(crate) fn health_is(&self, scope: &Scope, payload: Box<RawValue>) {
        self.user(scope, ToUser::HealthIs { payload });
    }

    /// Something of the tenant's configuration changed: everybody whose own is another by it is told.
    pub fn config_changed(&self, tenant: &TenantId) {
        if let Some(mut entry) = self.0.tenants.get_mut(tenant)
            && entry.addr.try_send(ToTenant::All(ToAll::ConfigChanged)).is_ok()
        {
            entry.forwarded += 1;
        }
    }

    /// As [`Directory::publish`]; gives how many connections beside `except` may see the event.
    pub async fn announce(&self, scope: &Scope, event: Event, except: &Arc<str>) -> Result<usize> {
        let except = Arc::clone(except);
        self.ask(scope, |reply| ToUser::Announce { event, except, reply }).await
    }

    /// Presence entries of the user's connections.
    pub async fn presence(&self, scope: &Scope) -> Result<Vec<Value>> {
        self.ask(scope, |reply| ToUser::Presence { reply }).await
    }

    /// Shows in presence what the program on a connection says of itself.
    pub async fn describe(&self, scope: &Scope, conn_id: Arc<str>, beacon: Beacon) -> Result<()> {
        let beacon = Box::new(beacon);
        self.ask(scope, |reply| ToUser::Describe { conn_id, beacon, reply })
            .await
    }

    /// The connections of the user's nodes.
    pub async fn connected_nodes(&self, scope: &Scope) -> Result<Vec<Arc<ConnectionInfo>>> {
        self.ask(scope, |reply| ToUser::Nodes { reply }).await
    }

    /// Closes the live sockets of a device (`role: None` = both roles), but for the connection `except`.
    pub async fn close_device(
        &self,
        scope: &Scope,
        device_id: &str,
        role: Option<&str>,
        except: Option<Arc<str>>,
        (code, reason): (u16, &str),
    ) -> Result<()> {
        let (device_id, role, reason) = (device_id.to_owned(), role.map(str::to_owned), reason.to_owned());
        self.ask(scope, |reply| ToUser::CloseDevice {
            device_id,
            role,
            except,
            code,
            reason,
            reply,
        })
        .await
    }

    /// Aborts runs of a session. A sleeping session has none; what it began is stopped where an admin aborts all.
    pub async fn abort(&self, scope: &Scope, request: AbortRequest) -> Result<Aborted> {
        let key = request.session_key.clone();
        self.ask(scope, |reply| ToUser::Session {
            key,
            message: ToSession::Abort { request, reply },
        })
        .await
    }

    /// Changes the session between turns, after aborting what runs and what waits. Nothing is changed for a caller who
    /// gave up waiting before its turn came.
    pub(crate) async fn edit(&self, scope: &Scope, key: &SessionKey, edit: Edit) -> Result<Edited> {
        if self.draining() {
            return Err(busy());
        }
        let (reply, answer) = oneshot::channel();
        self.session(scope, key, ToSession::Edit(EditRequest::new(edit, reply)));
        match tokio::time::timeout(EDITED, answer).await {
            Ok(Ok(edited)) => edited,
            Ok(Err(_)) => Err(busy()),
            Err(_) => Err(Error::Timeout("the session is still busy; try again".to_owned())),
        }
    }

    /// Compacts the session between turns, after aborting what runs. What waits has its turn afterwards.
    pub(crate) async fn compact(&self, scope: &Scope, key: &SessionKey, wish: Wish) -> Result<Done> {
        if self.draining() {
            return Err(busy());
        }
        let (reply, answer) = oneshot::channel();
        self.session(scope, key, ToSession::Compact(CompactRequest::called(wish, reply)));
        match tokio::time::timeout(COMPACTED, answer).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(busy()),
            Err(_) => Err(Error::Timeout("the session is still busy; try again".to_owned())),
        }
    }

    /// What the session does right now; the default when it sleeps.
    pub async fn observe_session(&self, scope: &Scope, key: &SessionKey) -> Result<SessionObservation> {
        let key = key.clone();
        self.ask(scope, |reply| ToUser::Session {
            key,
            message: ToSession::Observe { reply },
        })
        .await
    }

    /// Facts of a session for `/status`, `session_status` and `sessions.list`.
    pub async fn snapshot(&self, scope: &Scope, key: &SessionKey) -> Result<SessionSnapshot> {
        let key = key.clone();
        self.ask(scope, |reply| ToUser::Session {
            key,
            message: ToSession::Snapshot { reply },
        })
        .await
    }

    /// Waits until the run ends; `None` when the time is up first (an unknown run may still start).
    pub async fn wait_run(&self, scope: &Scope, run_id: &str, timeout: Duration) -> Result<Option<RunEnded>> {
        let (reply, ended) = oneshot::channel();
        self.user(
            scope,
            ToUser::Watch {
                run_id: run_id.to_owned(),
                reply,
            },
        );
        // Looked up after the watch is on its way: an end in between reaches one of the two.
        if let Some(ended) = crate::session::record::ended(self.services(), scope, run_id).await? {
            return Ok(Some(ended));
        }
        let give_up = Instant::now() + timeout.min(LONGEST_WATCH);
        let mut pause = FIRST_LOOK;
        tokio::pin!(ended);
        loop {
            let due = (Instant::now() + pause).min(give_up);
            match tokio::time::timeout_at(due, &mut ended).await {
                Ok(Ok(ended)) => return Ok(Some(ended)),
                // The user's actor went away: the record may have been written since.
                Ok(Err(_)) => return crate::session::record::ended(self.services(), scope, run_id).await,
                Err(_) => {}
            }
            // Where all is busy the end may overtake the watch, which has further to go.
            match crate::session::record::ended(self.services(), scope, run_id).await {
                Ok(None) if Instant::now() < give_up => {}
                Ok(found) => return Ok(found),
                // It is heard of as long as the database is away, too.
                Err(error) if Instant::now() < give_up => {
                    tracing::warn!(error = ?error, "a run that is waited for was not looked up");
                }
                Err(error) => return Err(error),
            }
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// Lets `ear` hear what a run of the user's says from now on.
    pub(crate) fn listen(&self, scope: &Scope, run_id: &str, ear: &Arc<Ear>) {
        self.user(
            scope,
            ToUser::Listen {
                run_id: run_id.to_owned(),
                ear: Arc::downgrade(ear),
            },
        );
    }

    /// Calls a node. Approval of the surface is checked by the caller; offline nodes give `NotConnected`.
    pub async fn invoke_node(&self, scope: &Scope, call: InvokeNode, streams: Streams) -> Result<InvokeResult> {
        let timeout = call.timeout + Duration::from_secs(5);
        let (reply, answer) = oneshot::channel();
        self.user(scope, ToUser::Invoke { call, streams, reply });
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(busy()),
            Err(_) => Err(Error::Timeout("the node did not answer in time".to_owned())),
        }
    }

    /// Ends what goes on for these tenants and users: their sockets close and their turns are cut off, as they would be
    /// by a crash.
    pub(crate) async fn lock_out(&self, tenants: Vec<TenantId>, users: Vec<Scope>) {
        for tenant in tenants {
            self.lock(&tenant, Whom::Everybody).await;
        }
        for user in users {
            self.lock(user.tenant(), Whom::One(user.user().clone())).await;
        }
    }

    async fn lock(&self, tenant: &TenantId, whom: Whom) {
        // Counted before it is on its way: an actor that is let go in between had nobody awake.
        let addr = self.0.tenants.get_mut(tenant).map(|mut entry| {
            entry.forwarded += 1;
            entry.addr.clone()
        });
        if let Some(addr) = addr {
            // A tenant without an actor has nothing to end.
            let _ = addr.send(ToTenant::Lock(whom)).await;
        }
    }

    /// Resolves when another process serves under this one's replica id: nothing runs here any more.
    pub async fn displaced(&self) {
        self.leases().displaced().await;
        self.0.draining.store(true, Ordering::Relaxed);
        self.shutdown().cancel();
    }

    /// Stops taking work, gives running turns `grace`, then cancels what is left: it is recovered at the next start.
    pub async fn drain(&self, grace: Duration) {
        self.0.draining.store(true, Ordering::Relaxed);
        for tenant in self.0.tenants.iter() {
            let _ = tenant.addr.try_send(ToTenant::All(ToAll::Drain));
        }
        let finished = async {
            self.lanes().idle().await;
            self.delivery().idle().await;
        };
        if tokio::time::timeout(grace, finished).await.is_err() {
            tracing::warn!(
                running = self.lanes().running(),
                "turns cut off by the stop; they are recovered at the next start"
            );
        }
        self.shutdown().cancel();
        if let Err(error) = self.leases().leave().await {
            tracing::warn!(error = ?error, "heartbeat not given up");
        }
    }

    /// Tenants with an actor.
    #[cfg(test)]
    pub(crate) fn awake(&self) -> usize {
        self.0.tenants.len()
    }

    /// Makes a session's actor panic.
    #[cfg(test)]
    pub(crate) fn crash_session(&self, scope: &Scope, key: &SessionKey) {
        self.session(scope, key, ToSession::Crash);
    }

    /// Lets a tenant's actor go if nothing was sent since it had seen `seen` messages. Under the entry's lock, so
    /// nothing can arrive in between.
    pub(crate) fn release(&self, tenant: &TenantId, seen: u64) -> bool {
        self.0
            .tenants
            .remove_if(tenant, |_, entry| entry.forwarded == seen)
            .inspect(|_| metrics::counter!("claw_passivations_total", "actor" => "tenant").increment(1))
            .is_some()
    }

    fn session(&self, scope: &Scope, key: &SessionKey, message: ToSession) {
        self.user(
            scope,
            ToUser::Session {
                key: key.clone(),
                message,
            },
        );
    }

    /// Sends towards a user. A full mailbox drops the message, and its reply channel with it.
    fn user(&self, scope: &Scope, message: ToUser) {
        let mut entry = self
            .0
            .tenants
            .entry(scope.tenant().clone())
            .or_insert_with(|| self.start(scope.tenant()));
        if !entry.addr.connected() {
            *entry = self.start(scope.tenant());
        }
        let message = ToTenant::User {
            user: scope.user().clone(),
            message,
        };
        if entry.addr.try_send(message).is_ok() {
            entry.forwarded += 1;
        } else {
            metrics::counter!("claw_mailbox_full_total", "actor" => "tenant").increment(1);
        }
    }

    fn start(&self, tenant: &TenantId) -> Entry {
        let (directory, id) = (self.clone(), tenant.clone());
        let mailbox = self.services().limits.mailbox;
        let addr = self
            .placement()
            .spawn(tenant, mailbox, move |_| TenantActor::new(directory, id));
        Entry { addr, forwarded: 0 }
    }

    async fn ask<T>(&self, scope: &Scope, message: impl FnOnce(oneshot::Sender<T>) -> ToUser) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.user(scope, message(reply));
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(busy()),
            Err(_) => Err(Error::Timeout("the service did not answer in time".to_owned())),
        }
    }
}

fn busy() -> Error {
    Error::Busy {
        message: "too much is waiting for this user".to_owned(),
        retry_after: Duration::from_secs(1),
    }
}
