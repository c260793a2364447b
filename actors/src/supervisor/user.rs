//! `UserActor`: one per active user. Owns the sessions, the connections and their fan-out, and the run lanes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use claw_entities::{Scope, SessionKey};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use super::children::Children;
use super::directory::{Directory, InvokeNode, RunEnded};
use super::lanes::UserLanes;
use super::messages::{ToAll, ToSession, ToTenant, ToUser};
use super::tenant::TenantActor;
use crate::config::cron::job::firing_of;
use crate::error::{Error, Result};
use crate::gateway::events;
use crate::gateway::messages::{Event, GATEWAY_AUTH_CHANGED, Invoke, InvokeAnswer, InvokeResult, ToConnection};
use crate::gateway::methods::health;
use crate::gateway::node_streams::Streams;
use crate::gateway::registry::Connections;
use crate::session::actor::{Home, SessionActor, stop_children};
use crate::session::asking::{Ears, Said};
use crate::session::{cron, exchange, heartbeat, hook, maintenance, subagent};

/// Where the look at the configuration stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Idle,
    Running,
    /// It changed while the look ran: what that finds may be old.
    RunningAndAgain,
}

pub(crate) struct UserActor {
    directory: Directory,
    scope: Scope,
    parent: Addr<TenantActor>,
    sessions: Children<SessionKey, SessionActor>,
    connections: Connections,
    lanes: UserLanes,
    watchers: HashMap<String, Vec<oneshot::Sender<RunEnded>>>,
    /// Programs that hear single runs over HTTP.
    ears: Ears,
    /// Of the configuration, as the connections were told last.
    config_hash: Option<String>,
    config_look: Look,
    /// Cancelled when this actor is gone for whatever reason: its sessions stop with it.
    life: CancellationToken,
    draining: bool,
    /// When sessions were looked after last.
    tended: Instant,
    seen: u64,
    seen_at_check: u64,
}

impl UserActor {
    pub(crate) fn new(directory: Directory, scope: Scope, parent: Addr<TenantActor>) -> Self {
        let lanes = directory.lanes().user(scope.tenant());
        let draining = directory.draining();
        Self {
            directory,
            scope,
            parent,
            sessions: Children::default(),
            connections: Connections::default(),
            lanes,
            watchers: HashMap::new(),
            ears: Ears::default(),
            config_hash: None,
            config_look: Look::Idle,
            life: CancellationToken::new(),
            draining,
            // Waking up is no reason to look.
            tended: Instant::now(),
            seen: 0,
            seen_at_check: 0,
        }
    }

    /// Looks after sessions that nobody uses, once in a while.
    fn tend(&mut self) {
        if self.tended.elapsed() < maintenance::EVERY {
            return;
        }
        self.tended = Instant::now();
        let (directory, scope) = (self.directory.clone(), self.scope.clone());
        self.directory.services().io.spawn(async move {
            if let Err(error) = maintenance::tend(&directory, &scope).await {
                tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "sessions were not looked after");
            }
        });
    }

    fn forward(&mut self, context: &mut Context<Self>, key: SessionKey, mut message: ToSession) {
        if let ToSession::Wake(waking) = &mut message {
            waking.heard_by("user");
        }
        let start = || {
            let home = Home {
                directory: self.directory.clone(),
                scope: self.scope.clone(),
                key: key.clone(),
                user: context.address(),
                lanes: self.lanes.clone(),
                listening: Arc::clone(self.connections.listening()),
                life: self.life.child_token(),
            };
            let mailbox = self.directory.services().limits.mailbox;
            SessionActor::create(move |context| {
                context.set_mailbox_capacity(mailbox);
                SessionActor::new(home)
            })
        };
        if self.sessions.forward(&key, start, message).is_err() {
            metrics::counter!("claw_mailbox_full_total", "actor" => "session").increment(1);
        }
    }

    /// Messages only an awake session needs; a sleeping one has nothing running, and the default answers. What it began may
    /// still go on, and is stopped with it.
    fn tell_session(&mut self, key: &SessionKey, message: ToSession) {
        match self.sessions.tell(key, message) {
            Ok(()) => {}
            Err(ToSession::Abort { request, reply }) => {
                // What it began goes on while it sleeps.
                if request.admin && request.run_id.is_none() {
                    stop_children(&self.directory, &self.scope, key, true);
                }
                let _ = reply.send(super::directory::Aborted::default());
            }
            Err(ToSession::Observe { reply }) => {
                let _ = reply.send(super::directory::SessionObservation::default());
            }
            Err(
                ToSession::Wake(_)
                | ToSession::Snapshot { .. }
                | ToSession::Edit(_)
                | ToSession::Compact(_)
                | ToSession::Drain
                | ToSession::Passivate,
            ) => {}
            #[cfg(test)]
            Err(ToSession::Crash) => {}
        }
    }

    fn invoke(
        &mut self,
        context: &mut Context<Self>,
        call: InvokeNode,
        streams: Streams,
        reply: oneshot::Sender<Result<InvokeResult>>,
    ) {
        let Some(node) = self.connections.node(&call.node_id) else {
            let _ = reply.send(Err(Error::NotConnected("node is not connected".to_owned())));
            return;
        };
        let (answer, waits) = oneshot::channel();
        let abandoned = CancellationToken::new();
        let request = Invoke {
            id: uuid::Uuid::new_v4().to_string(),
            node_id: call.node_id.clone(),
            command: call.command.clone(),
            params_json: (!call.params.is_null()).then(|| call.params.to_string()),
            timeout: call.timeout,
            idempotency_key: call.idempotency_key,
            streams,
            reply: answer,
            abandoned: abandoned.clone(),
        };
        if node.try_send(ToConnection::Invoke(request)).is_err() {
            let _ = reply.send(Err(Error::NotConnected("node is not connected".to_owned())));
            return;
        }
        let (node_id, command) = (call.node_id, call.command);
        context.spawn(
            async move {
                let mut reply = reply;
                // However this ends, with this actor too: the node does not work for nobody.
                let _guard = abandoned.drop_guard();
                tokio::select! {
                    answer = waits => {
                        let _ = reply.send(answered(node_id, command, answer));
                    }
                    () = reply.closed() => {}
                }
            }
            .into_actor(self)
            .map(|(), _, _| ()),
        );
    }

    /// What the user's clients see of the configuration may be another. One look at a time, and few in the process.
    fn look_at_config(&mut self, context: &mut Context<Self>) {
        if self.connections.is_empty() {
            // Whoever comes reads it anew.
            self.config_hash = None;
            return;
        }
        if self.config_look != Look::Idle {
            self.config_look = Look::RunningAndAgain;
            return;
        }
        self.config_look = Look::Running;
        let (directory, scope) = (self.directory.clone(), self.scope.clone());
        let look = self.directory.services().io.spawn(async move {
            let _place = directory.config_looks().acquire().await;
            let config = &directory.services().config;
            let whole = async {
                config
                    .whole(&*config.user(scope.tenant_scope(), scope.user()).await?)
                    .await
            };
            match whole.await {
                Ok(whole) => directory.config_is(&scope, whole.hash),
                Err(error) => tracing::debug!(error = ?error, "a change of configuration was not told"),
            }
        });
        context.spawn(look.into_actor(self).map(|_, this, context| {
            if std::mem::replace(&mut this.config_look, Look::Idle) == Look::RunningAndAgain {
                this.look_at_config(context);
            }
        }));
    }

    /// What health says follows from the configuration.
    fn look_at_health(&self) {
        if self.connections.is_empty() {
            return;
        }
        let (directory, scope) = (self.directory.clone(), self.scope.clone());
        self.directory.services().io.spawn(async move {
            match health::told(directory.services(), &scope).await {
                Ok(payload) => directory.health_is(&scope, payload),
                Err(error) => tracing::debug!(error = ?error, "a change of health was not told"),
            }
        });
    }

    /// Who waits for a run may have given up.
    fn forget_gone_watchers(&mut self) {
        self.watchers.retain(|_, waiting| {
            waiting.retain(|watcher| !watcher.is_closed());
            !waiting.is_empty()
        });
    }

    fn count_listeners(&self) {
        let count = self.connections.len() + self.ears.len();
        self.connections.listening().set_heard(count);
    }

    /// Comes back for what the connections are to be told of each other, unless that was done.
    fn tell_presence(&mut self, context: &mut Context<Self>) {
        if let Some(wait) = self.connections.plan_to_tell() {
            context.run_later(wait, |this, context| {
                this.connections.tell();
                // Somebody may have been found gone by that.
                this.tell_presence(context);
            });
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        for session in self.sessions.addresses() {
            let _ = session.try_send(ToSession::Drain);
        }
        self.connections.fan_out(&Event::new(
            "shutdown",
            &serde_json::json!({"reason": "service restart"}),
        ));
        self.connections.close_all(1012, "service restart");
    }
}

/// What a node's answer means to the one who called it.
fn answered(
    node_id: String,
    command: String,
    answer: std::result::Result<InvokeAnswer, oneshot::error::RecvError>,
) -> Result<InvokeResult> {
    match answer {
        Ok(InvokeAnswer::Ok { payload_json }) => {
            let payload = payload_json.as_deref().map_or(Value::Null, |text| {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
            });
            Ok(InvokeResult {
                ok: true,
                node_id,
                command,
                payload,
                payload_json,
            })
        }
        Ok(InvokeAnswer::Failed { code, message }) => Err(Error::Upstream(
            code.map_or_else(|| message.clone(), |code| format!("{code}: {message}")),
        )),
        Ok(InvokeAnswer::TimedOut) => Err(Error::Timeout("the node did not answer in time".to_owned())),
        Ok(InvokeAnswer::PairingChanged) => Err(Error::PairingChanged),
        Err(_) => Err(Error::NotConnected("node disconnected".to_owned())),
    }
}

impl Actor for UserActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(self.directory.services().limits.user_idle, |this, _| {
            this.forget_gone_watchers();
            let quiet = this.sessions.len() == 0 && this.connections.is_empty() && this.watchers.is_empty();
            if quiet && this.seen == this.seen_at_check {
                let idle = ToTenant::UserIdle {
                    user: this.scope.user().clone(),
                    seen: this.seen,
                };
                let _ = this.parent.try_send(idle);
            }
            this.seen_at_check = this.seen;
        });
    }
}

impl Drop for UserActor {
    fn drop(&mut self) {
        self.life.cancel();
        let gone = ToTenant::UserGone {
            user: self.scope.user().clone(),
            panicked: std::thread::panicking(),
        };
        let _ = self.parent.try_send(gone);
    }
}

impl Handler<ToUser> for UserActor {
    type Result = ();

    fn handle(&mut self, message: ToUser, context: &mut Self::Context) {
        match message {
            ToUser::SessionIdle { key, seen } => {
                if let Some(address) = self.sessions.release(&key, seen) {
                    metrics::counter!("claw_passivations_total", "actor" => "session").increment(1);
                    let _ = address.try_send(ToSession::Passivate);
                }
                return;
            }
            ToUser::SessionGone { key, panicked } => {
                if panicked {
                    tracing::error!(tenant.id = %self.scope.tenant(), "session actor panicked");
                    metrics::counter!("claw_actor_crashes_total", "actor" => "session").increment(1);
                }
                self.sessions.forget_dead(&key);
                return;
            }
            // Sent by the runs below, not forwarded by the parent: they do not count.
            ToUser::RunEnded(ended) => {
                self.tend();
                if let Some(id) = subagent::of_run(&ended.run_id).map(str::to_owned) {
                    // A hint too.
                    let (directory, scope) = (self.directory.clone(), self.scope.clone());
                    self.directory.services().io.spawn(async move {
                        if let Err(error) = subagent::settle(&directory, &scope, &id).await {
                            tracing::warn!(tenant.id = %scope.tenant(), error = ?error, "the end of a sub-agent waits");
                        }
                    });
                }
                let beat = heartbeat::beat_of(&ended.run_id).is_some();
                let hooked = hook::is_run(&ended.run_id);
                let exchanged = exchange::is_run(&ended.run_id);
                if beat || hooked || exchanged || firing_of(&ended.run_id).is_some() {
                    // A hint: what is lost here, the scheduler finds among the open runs.
                    let (directory, scope, run_id) = (self.directory.clone(), self.scope.clone(), ended.run_id.clone());
                    self.directory.services().io.spawn(async move {
                        let settled = if hooked {
                            hook::settle(&directory, &scope, &run_id).await
                        } else if exchanged {
                            exchange::settle(&directory, &scope, &run_id).await
                        } else if beat {
                            heartbeat::settle(&directory, &scope, &run_id).await
                        } else {
                            cron::settle(&directory, &scope, &run_id).await
                        };
                        if let Err(error) = settled {
                            tracing::warn!(tenant.id = %scope.tenant(), run.id = %run_id, error = ?error, "the end of a job waits");
                        }
                    });
                }
                self.ears.ended(&ended.run_id);
                self.count_listeners();
                for watcher in self.watchers.remove(&ended.run_id).unwrap_or_default() {
                    let _ = watcher.send(ended.clone());
                }
                return;
            }
            ToUser::All(ToAll::Drain) => return self.drain(),
            ToUser::All(ToAll::ConfigChanged) => return self.look_at_config(context),
            ToUser::Lock => {
                self.connections
                    .close_all(GATEWAY_AUTH_CHANGED.0, GATEWAY_AUTH_CHANGED.1);
                // The sessions and their runs go with this actor.
                return context.stop();
            }
            ToUser::Passivate => return context.stop(),
            ToUser::Session { .. }
            | ToUser::Attach { .. }
            | ToUser::Detach { .. }
            | ToUser::Publish(_)
            | ToUser::ConfigIs { .. }
            | ToUser::HealthIs { .. }
            | ToUser::Announce { .. }
            | ToUser::Presence { .. }
            | ToUser::Describe { .. }
            | ToUser::Nodes { .. }
            | ToUser::CloseDevice { .. }
            | ToUser::Invoke { .. }
            | ToUser::Watch { .. }
            | ToUser::Listen { .. } => {}
        }
        self.seen += 1;
        match message {
            ToUser::Session { key, message } => match message {
                // A drained user starts nothing: whoever waits hears that no answer will come.
                ToSession::Wake(_) | ToSession::Edit(_) | ToSession::Compact(_) => {
                    if !self.draining {
                        self.forward(context, key, message);
                    }
                }
                ToSession::Snapshot { .. } => self.forward(context, key, message),
                ToSession::Abort { .. } | ToSession::Observe { .. } | ToSession::Drain | ToSession::Passivate => {
                    self.tell_session(&key, message);
                }
                #[cfg(test)]
                ToSession::Crash => self.tell_session(&key, message),
            },
            ToUser::Attach { info, to, reply } => {
                let attached = self.connections.attach(info, to);
                self.count_listeners();
                let _ = reply.send(attached);
            }
            ToUser::Detach { conn_id } => {
                let _ = self.connections.detach(&conn_id);
                self.count_listeners();
            }
            ToUser::Publish(event) => self.connections.fan_out(&event),
            ToUser::ConfigIs { hash } => {
                if self.config_hash.as_ref() != Some(&hash) {
                    self.connections.fan_out(&events::config_changed(&hash));
                    self.config_hash = Some(hash);
                    self.look_at_health();
                }
            }
            ToUser::HealthIs { payload } => {
                let mut event = Event::new("health", &payload);
                event.state_version = Some(self.connections.health_changed());
                self.connections.fan_out(&event);
            }
            ToUser::Announce { event, except, reply } => {
                let audience = self.connections.audience(&event, &except);
                self.connections.fan_out(&event);
                let _ = reply.send(audience);
            }
            ToUser::Presence { reply } => {
                let _ = reply.send(self.connections.presence());
            }
            ToUser::Describe { conn_id, beacon, reply } => {
                self.connections.describe(&conn_id, *beacon);
                let _ = reply.send(());
            }
            ToUser::Nodes { reply } => {
                let _ = reply.send(self.connections.nodes());
            }
            ToUser::CloseDevice {
                device_id,
                role,
                except,
                code,
                reason,
                reply,
            } => {
                let (role, except) = (role.as_deref(), except.as_deref());
                let _ = self.connections.close_device(&device_id, role, except, code, &reason);
                let _ = reply.send(());
            }
            ToUser::Invoke { call, streams, reply } => self.invoke(context, call, streams, reply),
            ToUser::Watch { run_id, reply } => {
                self.forget_gone_watchers();
                self.watchers.entry(run_id).or_default().push(reply);
            }
            ToUser::Listen { run_id, ear } => {
                self.ears.add(run_id, ear);
                self.count_listeners();
            }
            ToUser::RunEnded(_)
            | ToUser::SessionIdle { .. }
            | ToUser::SessionGone { .. }
            | ToUser::All(_)
            | ToUser::Lock
            | ToUser::Passivate => {}
        }
        // Whoever came, went, or was found gone by what was sent.
        self.tell_presence(context);
    }
}

/// An event from a run. A run has only so many of them under way, so that a slow user slows its own run instead of
/// filling memory.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct FromRun {
    pub(crate) event: Arc<Event>,
    /// The text it adds, for those who hear nothing else.
    pub(crate) said: Option<Said>,
    /// Given back when the event was handed to the connections.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Handler<FromRun> for UserActor {
    type Result = ();

    fn handle(&mut self, message: FromRun, context: &mut Self::Context) {
        if let Some(said) = &message.said {
            self.ears.hear(said);
        }
        self.connections.fan_out(&message.event);
        drop(message.place);
        self.tell_presence(context);
    }
}
