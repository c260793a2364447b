//! `NodeConnection`: one client from its first frame to its last. Awaiting connect → checking → live → closing.
//!
//! It answers at once: calls run as tasks and come back as [`Answer`]s. It holds no socket, only a kept recipient.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle, WrapFuture,
};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::handshake::{self, Entrance, Refusal};
use super::hello::{self, Welcome};
use super::limiter::Unproven;
use super::messages::{DEVICE_REMOVED, Event, FromSocket, Outgoing, ToConnection};
use super::outbox::{Outbox, Sent};
use super::protocol::connect::ConnectParams;
use super::protocol::frames::{Parsed, parse};
use super::protocol::hello::{MAX_BUFFERED, MAX_PAYLOAD};
use super::protocol::{Request, WireError, response_error};
use super::{ClientFacts, GatewayState};
use crate::config::identity::{Identity, Tenant};

mod invokes;
mod live;
#[cfg(test)]
mod tests;
mod validity;

use live::Live;

/// Frames that may wait in the socket's mailbox.
pub const FRAMES_WAITING: usize = super::outbox::FRAMES;
/// Largest frame before hello, bytes.
pub const PREAUTH_FRAME: usize = 64 * 1024;
/// Frames that may wait while the connect is checked.
const PREAUTH_QUEUE: usize = 15;
/// From the challenge to hello.
const HANDSHAKE: Duration = Duration::from_secs(15);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Messages waiting for a connection.
const MAILBOX: usize = 512;

/// A client's connection.
pub struct NodeConnection {
    state: GatewayState,
    conn_id: Arc<str>,
    nonce: String,
    outbox: Outbox,
    phase: Phase,
    /// Runs until hello.
    handshake: Option<SpawnHandle>,
    /// From the first frame to the last: what calls are part of.
    trace: Span,
}

/// Where the connection stands.
enum Phase {
    /// The challenge is out; nothing came yet.
    Awaiting(Box<Newcomer>),
    /// The connect is being checked.
    Checking(Box<Early>),
    Live(Box<Live>),
    Closing,
}

/// What came before its time: while the connect is checked.
#[derive(Default)]
struct Early {
    frames: VecDeque<String>,
    events: VecDeque<ToConnection>,
}

/// What is known of a client before it speaks.
pub struct Newcomer {
    pub tenant: Arc<Tenant>,
    pub client: ClientFacts,
    pub web_identity: Option<Arc<Identity>>,
    /// Its place among the unauthenticated sockets of its address.
    pub place: Unproven,
}

/// A finished call on its way back to the connection.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answer {
    pub(super) id: String,
    pub(super) outcome: std::result::Result<Box<RawValue>, WireError>,
    /// The call is over, and its place free again. `None`: the first of two answers.
    pub(super) ends: Option<Place>,
}

/// What a call takes while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Working,
    /// It waits for something else: a run, a person, a node. No work stands behind it in line.
    Waiting,
}

/// What checking a connect gave.
type Checked = std::result::Result<Welcome, Refusal>;

impl NodeConnection {
    pub fn new(state: GatewayState, newcomer: Newcomer, socket: Recipient<Outgoing>) -> Self {
        let conn_id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        // The request that became this socket is answered: the connection stands by itself.
        let trace = tracing::debug_span!(
            parent: None,
            "gateway.connection",
            conn.id = %conn_id,
            tenant.id = %newcomer.tenant.id,
            user.id = Empty,
            device.id = Empty,
            role = Empty,
        );
        Self {
            state,
            conn_id,
            trace,
            nonce: uuid::Uuid::new_v4().to_string(),
            outbox: Outbox::new(socket, MAX_BUFFERED),
            phase: Phase::Awaiting(Box::new(newcomer)),
            handshake: None,
        }
    }

    fn text(&mut self, text: &str, ctx: &mut Context<Self>) {
        match &mut self.phase {
            Phase::Awaiting(_) => self.first_frame(text, ctx),
            Phase::Checking(early) => {
                if early.frames.len() >= PREAUTH_QUEUE {
                    self.close(1008, "too many frames before hello", ctx);
                } else {
                    early.frames.push_back(text.to_owned());
                }
            }
            Phase::Live(_) => self.live_frame(text, ctx),
            Phase::Closing => {}
        }
    }

    fn first_frame(&mut self, text: &str, ctx: &mut Context<Self>) {
        let request = match parse(text) {
            Parsed::Request(request) if request.method == "connect" => request,
            Parsed::Request(Request { id, .. }) | Parsed::Malformed { id, .. } => {
                return self.refuse(&id, &handshake::not_a_connect(), ctx);
            }
            Parsed::Noise => {
                let refusal = handshake::not_a_connect();
                return self.close(refusal.close_code, &refusal.close_reason, ctx);
            }
        };
        let params = request.params.as_deref().map_or("{}", RawValue::get);
        let params = match ConnectParams::parse(params) {
            Ok(params) => params,
            Err(complaint) => return self.refuse(&request.id, &handshake::bad_params(&complaint), ctx),
        };
        let checking = Phase::Checking(Box::default());
        let Phase::Awaiting(newcomer) = std::mem::replace(&mut self.phase, checking) else {
            return;
        };
        let checked = self.check(newcomer, request.id.clone(), params, ctx.address().recipient());
        ctx.spawn(checked.into_actor(self).map(move |checked, this, ctx| match checked {
            Ok(Ok(welcome)) => this.enter(welcome, ctx),
            Ok(Err(refusal)) => this.refuse(&request.id, &refusal, ctx),
            // The task panicked.
            Err(_) => this.close(1011, "internal error", ctx),
        }));
    }

    /// Checks a connect on the I/O runtime. When nobody waits for the result any more, dropping it leaves the user again.
    fn check(
        &mut self,
        newcomer: Box<Newcomer>,
        request_id: String,
        params: ConnectParams,
        to: Recipient<ToConnection>,
    ) -> oneshot::Receiver<Checked> {
        let (tx, rx) = oneshot::channel();
        let (state, conn_id) = (self.state.clone(), self.conn_id.clone());
        // Good for one connect.
        let nonce = std::mem::take(&mut self.nonce);
        let checking = async move {
            let entrance = Entrance {
                state: &state,
                tenant: &newcomer.tenant,
                client: &newcomer.client,
                web_identity: newcomer.web_identity.as_ref(),
                conn_id: &conn_id,
                nonce: &nonce,
            };
            let checked = match handshake::admit(&entrance, &params).await {
                Ok(admitted) => hello::welcome(&state, &request_id, admitted, &params, to)
                    .await
                    .map_err(Refusal::from),
                Err(refusal) => Err(refusal),
            };
            drop(newcomer.place);
            let _ = tx.send(checked);
        };
        self.state.services.io.spawn(checking.instrument(self.trace.clone()));
        rx
    }

    fn enter(&mut self, mut welcome: Welcome, ctx: &mut Context<Self>) {
        let waiting = std::mem::replace(&mut self.phase, Phase::Closing);
        let Phase::Checking(early) = waiting else {
            return;
        };
        if let Some(handshake) = self.handshake.take() {
            ctx.cancel_future(handshake);
        }
        self.trace
            .record("user.id", tracing::field::display(welcome.identity.user.scope.user()));
        self.trace.record("device.id", welcome.info.device_id.as_deref());
        self.trace.record("role", welcome.info.role());
        tracing::debug!(parent: &self.trace, "connected");
        metrics::gauge!("claw_gateway_connections").increment(1.0);
        let greeting = std::mem::take(&mut welcome.frames);
        let setup = welcome
            .setup
            .take()
            .map(|setup| (welcome.identity.user.scope.clone(), setup));
        self.phase = Phase::Live(Box::new(Live::new(welcome)));
        self.watch(self.state.services.config.changes(), ctx);
        self.put(Outgoing::MaxFrame(MAX_PAYLOAD), ctx);
        for text in greeting {
            self.write(text, ctx);
        }
        if let Some((scope, setup)) = setup {
            let completed = Event::new("device.pair.setup.completed", &setup);
            self.state.directory.publish(&scope, completed);
        }
        for event in early.events {
            self.told_by_user(event, ctx);
        }
        for text in early.frames {
            self.text(&text, ctx);
        }
    }

    fn refuse(&mut self, id: &str, refusal: &Refusal, ctx: &mut Context<Self>) {
        let code = refusal
            .error
            .details
            .as_ref()
            .and_then(|details| details["code"].as_str());
        tracing::debug!(parent: &self.trace, code = code.unwrap_or(refusal.error.code), "connect refused");
        self.write(response_error(id, &refusal.error), ctx);
        self.close(refusal.close_code, &refusal.close_reason, ctx);
    }

    /// Writes a frame that must not be lost: a reader with no room for it is let go.
    fn write(&mut self, text: String, ctx: &mut Context<Self>) {
        let sent = self.outbox.text(text);
        self.settle(sent, ctx);
    }

    fn put(&mut self, message: Outgoing, ctx: &mut Context<Self>) {
        let sent = self.outbox.send(message);
        self.settle(sent, ctx);
    }

    fn settle(&mut self, sent: Sent, ctx: &mut Context<Self>) {
        match sent {
            Sent::Queued => {}
            Sent::Full => {
                metrics::counter!("claw_gateway_slow_consumers_total").increment(1);
                self.close(1008, "slow consumer", ctx);
            }
            Sent::Gone => self.stop(ctx),
        }
    }

    fn close(&mut self, code: u16, reason: &str, ctx: &mut Context<Self>) {
        if matches!(self.phase, Phase::Closing) {
            return;
        }
        if let Phase::Live(live) = &mut self.phase
            && code == DEVICE_REMOVED.0
        {
            // Its own look at the credential may be faster than whoever removed it.
            live.pairing_changed();
        }
        self.outbox.close(code, reason);
        self.stop(ctx);
    }

    /// Ends without a word to the socket.
    fn stop(&mut self, ctx: &mut Context<Self>) {
        if let Phase::Live(_) = std::mem::replace(&mut self.phase, Phase::Closing) {
            metrics::gauge!("claw_gateway_connections").decrement(1.0);
        }
        ctx.stop();
    }
}

impl Actor for NodeConnection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let challenge = json!({"nonce": self.nonce, "ts": crate::clock::now_ms()});
        self.write(hello::direct("connect.challenge", &challenge), ctx);
        self.handshake = Some(ctx.run_later(HANDSHAKE, |this, ctx| {
            if matches!(this.phase, Phase::Awaiting(_) | Phase::Checking(_)) {
                this.close(1008, "handshake timeout", ctx);
            }
        }));
        ctx.run_interval(HEARTBEAT, |this, ctx| this.heartbeat(ctx));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.phase = Phase::Closing;
    }
}

impl Handler<FromSocket> for NodeConnection {
    type Result = ();

    fn handle(&mut self, message: FromSocket, ctx: &mut Self::Context) {
        if let Phase::Live(live) = &mut self.phase {
            live.alive();
        }
        match message {
            FromSocket::Text(text) => self.text(&text, ctx),
            FromSocket::Alive => {}
            FromSocket::Violation { code, reason } => self.close(code, reason, ctx),
            FromSocket::Closed => self.stop(ctx),
        }
    }
}

impl Handler<ToConnection> for NodeConnection {
    type Result = ();

    fn handle(&mut self, message: ToConnection, ctx: &mut Self::Context) {
        if let Phase::Checking(early) = &mut self.phase {
            match message {
                ToConnection::Close { code, reason } => self.close(code, &reason, ctx),
                message @ (ToConnection::Event(_) | ToConnection::Invoke(_) | ToConnection::Progress(_)) => {
                    // Joined already, hello not yet written: these come right after it.
                    if early.events.len() < MAILBOX {
                        early.events.push_back(message);
                    }
                }
            }
            return;
        }
        self.told_by_user(message, ctx);
    }
}

impl Handler<Answer> for NodeConnection {
    type Result = ();

    fn handle(&mut self, answer: Answer, ctx: &mut Self::Context) {
        self.answered(&answer, ctx);
    }
}
