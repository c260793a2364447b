//! A connection after hello: events out, calls in, node calls out, heartbeat.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{AsyncContext, Context};
use futures::FutureExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::invokes::Pending;
use super::validity::Look;
use super::{Answer, NodeConnection, Phase, Place};
use crate::clock::now_ms;
use crate::config::identity::Identity;
use crate::gateway::events::{self, Subscription};
use crate::gateway::hello::{Membership, Welcome, direct};
use crate::gateway::messages::{ConnectionInfo, Event, Outgoing, ToConnection};
use crate::gateway::node_streams::OpenCalls;
use crate::gateway::outbox::Sent;
use crate::gateway::protocol::frames::{Parsed, event_frame, parse};
use crate::gateway::protocol::{Request, WireError, response_error, response_ok};
use crate::gateway::rpc::{Call, Denied, Handler, Local, parse_params};
use crate::gateway::seats::{Held, Seat};
use crate::gateway::standing::Standing;
use crate::session::key;
use crate::trace::Shown;

/// Calls worked on at the same time.
const IN_FLIGHT: usize = 32;
/// Calls in line behind them; clients open with a burst of about forty.
const WAITING: usize = 128;
/// Open calls that only wait for something else. They have places of their own: `chat.abort` passes them.
const OPEN_WAITS: usize = 256;
/// Wrong-role calls in a row that a connection survives.
const WRONG_ROLE: u8 = 10;
/// Session keys one connection may follow.
const FOLLOWED: usize = 256;
const TICK_S: u32 = 30;
const PING_S: u32 = 25;

/// State of a live connection.
pub(super) struct Live {
    pub(super) identity: Arc<Identity>,
    pub(super) info: Arc<ConnectionInfo>,
    default_agent: String,
    /// Of the last numbered event.
    seq: u64,
    /// Events that were left out since, because the connection was behind.
    missed: Arc<AtomicU64>,
    all_sessions: bool,
    followed: HashSet<String>,
    in_flight: usize,
    open_waits: usize,
    /// In line for a working place.
    waiting: VecDeque<(Request, Held)>,
    seat: Seat,
    wrong_role: u8,
    pub(super) invokes: HashMap<String, Pending>,
    /// Calls of nodes that this connection made.
    pub(super) open_calls: OpenCalls,
    /// Cancelled when the connection ends: calls that only wait are given up.
    ended: CancellationToken,
    /// Seconds since hello.
    age: u32,
    ping_unanswered: bool,
    pub(super) look: Look,
    pub(super) standing: Option<Arc<Standing>>,
    membership: Membership,
}

impl Live {
    pub(super) fn new(welcome: Welcome) -> Self {
        Self {
            identity: welcome.identity,
            info: welcome.info,
            default_agent: welcome.default_agent,
            seq: 0,
            missed: welcome.missed,
            all_sessions: false,
            followed: HashSet::new(),
            in_flight: 0,
            open_waits: 0,
            waiting: VecDeque::new(),
            seat: welcome.seat,
            wrong_role: 0,
            invokes: HashMap::new(),
            open_calls: OpenCalls::default(),
            ended: CancellationToken::new(),
            age: 0,
            ping_unanswered: false,
            look: Look::default(),
            standing: welcome.generation.map(|generation| Arc::new(Standing::new(generation))),
            membership: welcome.membership,
        }
    }

    pub(super) fn alive(&mut self) {
        self.ping_unanswered = false;
    }

    /// Does the connection want this event: scope, capability and subscription.
    fn wants(&self, event: &Event) -> bool {
        let Some(row) = events::find(event.name) else {
            return false;
        };
        if !events::allowed(&self.info, event) {
            return false;
        }
        if self.info.node {
            return true;
        }
        let key = event.session_key.as_deref();
        let follows = key.is_some_and(|key| self.followed.contains(key));
        let strict = events::has_cap(&self.info, "session-scoped-events");
        match row.subscription {
            Subscription::None => key.is_none() || !strict || follows,
            Subscription::Sessions => self.all_sessions,
            Subscription::SessionOrKey => follows || (self.all_sessions && !strict),
            Subscription::Key => follows,
        }
    }

    /// Answers the methods that concern the connection itself.
    fn local(&mut self, method: &str, local: Local, params: Option<&RawValue>) -> Result<Value, WireError> {
        let answer = self.answer(method, local, params);
        let follows = self.all_sessions || !self.followed.is_empty();
        self.membership.follower.set(follows);
        answer
    }

    fn answer(&mut self, method: &str, local: Local, params: Option<&RawValue>) -> Result<Value, WireError> {
        match local {
            Local::InvokeResult => self.invoke_result(method, params),
            Local::InvokeProgress => self.invoke_progress(method, params),
            Local::CancelInvoke => self.cancel_own(method, params),
            Local::FeedInvoke => self.feed_own(method, params),
            Local::SubscribeSessions => {
                self.all_sessions = true;
                Ok(json!({"subscribed": true}))
            }
            Local::UnsubscribeSessions => {
                self.all_sessions = false;
                Ok(json!({"subscribed": false}))
            }
            Local::SubscribeMessages => {
                let key = self.key(method, params)?;
                if self.followed.len() >= FOLLOWED && !self.followed.contains(&key) {
                    return Err(WireError::invalid(format!(
                        "a connection follows at most {FOLLOWED} sessions"
                    )));
                }
                self.followed.insert(key.clone());
                Ok(json!({"subscribed": true, "key": key}))
            }
            Local::UnsubscribeMessages => {
                let key = self.key(method, params)?;
                self.followed.remove(&key);
                Ok(json!({"subscribed": false, "key": key}))
            }
        }
    }

    fn key(&self, method: &str, params: Option<&RawValue>) -> Result<String, WireError> {
        let params: KeyParams = parse_params(method, params)?;
        Ok(key::resolve(&params.key, &self.default_agent)?.into())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

#[derive(Deserialize)]
struct KeyParams {
    key: String,
}

/// The span of one call on this connection.
fn rpc(connection: &Span, method: &str, id: &str) -> Span {
    tracing::debug_span!(
        parent: connection.id(),
        "gateway.rpc",
        rpc.method = method,
        rpc.id = %Shown(id),
        code = Empty,
    )
}

impl NodeConnection {
    pub(super) fn live(&mut self) -> Option<&mut Live> {
        match &mut self.phase {
            Phase::Live(live) => Some(live),
            Phase::Awaiting(_) | Phase::Checking { .. } | Phase::Closing => None,
        }
    }

    /// Once a second: ticks, pings, and whether the credential still stands.
    pub(super) fn heartbeat(&mut self, ctx: &mut Context<Self>) {
        let Some(live) = self.live() else {
            return;
        };
        live.age += 1;
        let age = live.age;
        if age.is_multiple_of(PING_S) {
            if live.ping_unanswered {
                return self.close(1008, "ping unanswered", ctx);
            }
            live.ping_unanswered = true;
            self.put(Outgoing::Ping, ctx);
        }
        if age.is_multiple_of(TICK_S) {
            self.event(&Event::new("tick", &json!({"ts": now_ms()})).droppable(), ctx);
        }
        self.recheck(ctx);
    }

    pub(super) fn told_by_user(&mut self, message: ToConnection, ctx: &mut Context<Self>) {
        match message {
            ToConnection::Event(event) => self.event(&event, ctx),
            ToConnection::Progress(payload) => {
                let sent = self.outbox.droppable(direct("node.invoke.progress", &payload));
                if sent == Sent::Full {
                    // The caller sees the gap in the numbers.
                    metrics::counter!("claw_node_progress_dropped_total").increment(1);
                } else {
                    self.settle(sent, ctx);
                }
            }
            ToConnection::Invoke(invoke) => self.invoke(invoke, ctx),
            ToConnection::Close { code, reason } => self.close(code, &reason, ctx),
        }
    }

    fn event(&mut self, event: &Event, ctx: &mut Context<Self>) {
        let Some(live) = self.live().filter(|live| live.wants(event)) else {
            return;
        };
        let seq = (!events::direct(&live.info, event)).then(|| {
            // What did not come this far has its numbers too.
            live.seq += 1 + live.missed.swap(0, Ordering::Relaxed);
            live.seq
        });
        let text = event_frame(event.name, &event.payload, seq, event.state_version);
        let droppable = events::droppable(event);
        let sent = if droppable {
            self.outbox.droppable(text)
        } else {
            self.outbox.text(text)
        };
        if sent == Sent::Full && droppable {
            // The number is used up: the client sees the gap and refetches.
            metrics::counter!("claw_gateway_events_dropped_total").increment(1);
            return;
        }
        self.settle(sent, ctx);
    }

    pub(super) fn live_frame(&mut self, text: &str, ctx: &mut Context<Self>) {
        match parse(text) {
            Parsed::Request(request) => self.dispatch(request, ctx),
            Parsed::Malformed { id, complaint } => {
                self.write(response_error(&id, &WireError::invalid(complaint)), ctx);
            }
            Parsed::Noise => {}
        }
    }

    fn dispatch(&mut self, request: Request, ctx: &mut Context<Self>) {
        let (state, trace) = (self.state.clone(), self.trace.clone());
        let Some(live) = self.live() else {
            return;
        };
        if request.method == "connect" {
            let error = WireError::invalid("connect is only valid as the first request");
            return self.write(response_error(&request.id, &error), ctx);
        }
        let (name, method) = match state.methods.find(&request.method, &live.info) {
            Ok(found) => found,
            Err(Denied::Refused(error)) => return self.write(response_error(&request.id, &error), ctx),
            Err(Denied::WrongRole(error)) => {
                live.wrong_role += 1;
                let enough = live.wrong_role > WRONG_ROLE;
                self.write(response_error(&request.id, &error), ctx);
                if enough {
                    self.close(1008, "repeated unauthorized calls", ctx);
                }
                return;
            }
        };
        live.wrong_role = 0;
        match &method.handler {
            Handler::Local(local) => {
                let span = rpc(&trace, name, &request.id);
                let answer = span.in_scope(|| live.local(name, *local, request.params.as_deref()));
                span.record("code", answer.as_ref().err().map_or("ok", |error| error.code));
                let text = match answer {
                    Ok(payload) => response_ok(&request.id, &payload),
                    Err(error) => response_error(&request.id, &error),
                };
                self.write(text, ctx);
            }
            Handler::Task(_) => {
                // Without a device all connections of the user count together: a new socket is no new budget.
                let device = live.info.device_id.as_deref().unwrap_or_default();
                if let Err(error) = state.methods.throttle(&state, name, &live.identity.user.scope, device) {
                    return self.write(response_error(&request.id, &error), ctx);
                }
                let full = match method.place {
                    Place::Working => live.waiting.len() >= WAITING,
                    Place::Waiting => live.open_waits >= OPEN_WAITS,
                };
                let Some(held) = live.seat.hold(request.size()).filter(|_| !full) else {
                    let error = WireError::unavailable("too many calls in flight").retry_after(Duration::from_secs(1));
                    return self.write(response_error(&request.id, &error), ctx);
                };
                match method.place {
                    Place::Working if live.in_flight >= IN_FLIGHT => live.waiting.push_back((request, held)),
                    place @ (Place::Working | Place::Waiting) => self.start(request, held, place, ctx),
                }
            }
        }
    }

    /// Runs a call as a task on the I/O runtime; its answer comes back as a message.
    fn start(&mut self, request: Request, held: Held, place: Place, ctx: &mut Context<Self>) {
        let (state, trace) = (self.state.clone(), self.trace.clone());
        let answers = ctx.address().recipient();
        let Some(live) = self.live() else {
            return;
        };
        match place {
            Place::Working => live.in_flight += 1,
            Place::Waiting => live.open_waits += 1,
        }
        let held = Arc::new(held);
        let call = Call {
            state: state.clone(),
            identity: Arc::clone(&live.identity),
            connection: Arc::clone(&live.info),
            ended: live.ended.clone(),
            open_calls: live.open_calls.clone(),
            standing: live.standing.clone(),
            id: request.id.clone(),
            held: Arc::clone(&held),
            answers: answers.clone(),
            news: ctx.address().recipient(),
        };
        let (info, ended) = (Arc::clone(&live.info), live.ended.clone());
        let io = state.services.io.clone();
        // Only what is in the table comes here: the name is one of ours.
        let span = rpc(&trace, &request.method, &request.id);
        let work = async move {
            let (outcome, waits) = match state.methods.find(&request.method, &info) {
                Ok((_, method)) => match &method.handler {
                    Handler::Task(task) => (task(call, request.params), method.waits),
                    Handler::Local(_) => return,
                },
                Err(_) => return,
            };
            let outcome = AssertUnwindSafe(outcome).catch_unwind();
            let outcome = tokio::select! {
                outcome = outcome => outcome,
                () = ended.cancelled(), if waits => return,
            };
            let outcome = outcome.unwrap_or_else(|_| {
                tracing::error!(rpc.method = request.method, "a gateway method panicked");
                Err(WireError::unavailable("internal error"))
            });
            drop(held);
            let code = outcome.as_ref().err().map_or("ok", |error| error.code);
            Span::current().record("code", code);
            metrics::counter!("claw_gateway_calls_total", "method" => request.method, "code" => code).increment(1);
            // A connection that is gone needs no answer.
            let _ = answers
                .send(Answer {
                    id: request.id,
                    outcome,
                    ends: Some(place),
                })
                .await;
        };
        io.spawn(work.instrument(span));
    }

    pub(super) fn answered(&mut self, answer: &Answer, ctx: &mut Context<Self>) {
        let Some(live) = self.live() else {
            return;
        };
        let next = match answer.ends {
            Some(Place::Working) => {
                live.in_flight = live.in_flight.saturating_sub(1);
                live.waiting.pop_front()
            }
            Some(Place::Waiting) => {
                live.open_waits = live.open_waits.saturating_sub(1);
                None
            }
            None => None,
        };
        let text = match &answer.outcome {
            Ok(payload) => response_ok(&answer.id, payload),
            Err(error) => response_error(&answer.id, error),
        };
        self.write(text, ctx);
        if let Some((request, held)) = next {
            self.start(request, held, Place::Working, ctx);
        }
    }
}
