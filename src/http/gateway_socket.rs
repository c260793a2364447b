//! The gateway's WebSocket: moves text frames between one socket and its `NodeConnection`. Knows no protocol.
//!
//! It owns the socket's bytes (`upgrade.rs` gives them to it), and keeps no buffer while there is nothing in it: most
//! connections are idle most of the time.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::str::from_utf8;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
use std::time::Duration;

use actix::dev::Request;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler};
use actix_http::ws::{self, CloseReason, Codec, Frame, HandshakeError, Item, Message, OpCode, Parser, ProtocolError};
use actix_web::http::header::UPGRADE;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::{Buf, Bytes, BytesMut};
use claw_actors::config::identity::{Identity, Tenant};
use claw_actors::gateway::connection::{FRAMES_WAITING, Newcomer, NodeConnection, PREAUTH_FRAME};
use claw_actors::gateway::messages::{FromSocket, Outgoing};
use claw_actors::gateway::{ClientFacts, GatewayState};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::codec::{Decoder, Encoder};

/// Bytes that may wait for the peer to read. While there are more, frames wait in the mailbox, which is counted.
const BEHIND: usize = 32 * 1024;
/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// Frames of one socket that are read before others have their turn.
const TURN: usize = 32;
/// How long a closed socket waits for the peer's own close.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the last bytes may take to leave.
const LAST_BYTES: Duration = Duration::from_secs(2);

thread_local! {
    /// What is read goes through here, so that no socket keeps room for it.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// What a socket can be on: TCP, with or without TLS.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Wire for T {}

/// What a socket starts with. It goes with the answer to the upgrade.
pub(crate) struct Entry {
    state: GatewayState,
    newcomer: Newcomer,
}

/// Answers the upgrade. Tenant, address and cookie were resolved before.
pub(crate) fn upgrade(
    request: &HttpRequest,
    state: &GatewayState,
    tenant: Arc<Tenant>,
    client: ClientFacts,
    web_identity: Option<Arc<Identity>>,
) -> HttpResponse {
    let mut response = match ws::handshake(request.head()) {
        Ok(mut response) => response.finish(),
        Err(HandshakeError::NoWebsocketUpgrade) => return upgrade_required().finish(),
        Err(error) => return HttpResponse::from(actix_http::Response::from(error)),
    };
    let Some(place) = state.limiter.unproven(&tenant.id, client.address) else {
        return HttpResponse::TooManyRequests()
            .insert_header(("Retry-After", "15"))
            .finish();
    };
    let newcomer = Newcomer {
        tenant,
        client,
        web_identity,
        place,
    };
    response.extensions_mut().insert(Entry {
        state: state.clone(),
        newcomer,
    });
    HttpResponse::from(response.map_into_boxed_body())
}

/// To be answered to who comes without an upgrade.
pub(crate) fn upgrade_required() -> HttpResponseBuilder {
    let mut response = HttpResponse::UpgradeRequired();
    response.insert_header((UPGRADE, "websocket"));
    response
}

/// Runs the socket to its end. `read`: what came after the request.
pub(crate) async fn run<T: Wire>(entry: Entry, io: T, read: BytesMut) {
    let mut input = BytesMut::new();
    input.extend_from_slice(&read);
    drop(read);
    let socket = NodeSocket {
        start: Some(Box::new(entry)),
        connection: None,
        io,
        codec: Codec::new().max_size(PREAUTH_FRAME),
        max_frame: PREAUTH_FRAME,
        input,
        output: BytesMut::new(),
        unflushed: false,
        partial: None,
        passing: None,
        broken: false,
        closing: false,
        ending: false,
    };
    Context::new().into_future(socket).await;
}

/// One socket.
struct NodeSocket<T: Wire> {
    start: Option<Box<Entry>>,
    connection: Option<Addr<NodeConnection>>,
    io: T,
    codec: Codec,
    max_frame: usize,
    /// What was read and is no whole frame yet.
    input: BytesMut,
    /// What is to be written.
    output: BytesMut,
    /// Something was written that may still be on its way out of `io`.
    unflushed: bool,
    /// A fragmented text message so far.
    partial: Option<BytesMut>,
    /// A text that the connection has not accepted yet. Until then no further frame is read, and TCP pushes back.
    passing: Option<Pin<Box<Request<NodeConnection, FromSocket>>>>,
    /// The peer broke the framing. What else it sends is thrown away until the socket closes, so that it can read why:
    /// a socket closed with unread bytes is reset.
    broken: bool,
    /// A close frame was written.
    closing: bool,
    /// Nothing is read any more: what is left leaves.
    ending: bool,
}

impl<T: Wire> NodeSocket<T> {
    /// Collects the pieces of a fragmented text.
    fn piece(&mut self, item: Item) {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.partial = Some(BytesMut::new());
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
            Item::FirstBinary(_) => return self.violation(1003, "binary frames are not supported"),
        };
        let Some(partial) = &mut self.partial else {
            return self.violation(1002, "continuation without a start");
        };
        if partial.len() + bytes.len() > self.max_frame {
            self.partial = None;
            return self.too_large();
        }
        partial.extend_from_slice(&bytes);
        if let Some(whole) = self.partial.take_if(|_| last) {
            self.pass_on(&whole);
        }
    }

    /// Passes a whole text on.
    fn pass_on(&mut self, text: &[u8]) {
        let Ok(text) = from_utf8(text) else {
            return self.violation(1007, "text is not UTF-8");
        };
        if let Some(connection) = self.connection.as_ref().filter(|_| !self.closing) {
            self.passing = Some(Box::pin(connection.send(FromSocket::Text(text.to_owned()))));
        }
    }

    fn too_large(&mut self) {
        let reason = if self.max_frame == PREAUTH_FRAME {
            "preauth payload too large"
        } else {
            "payload too large"
        };
        self.violation(1009, reason);
    }

    /// Tells the connection, which closes.
    fn violation(&mut self, code: u16, reason: &'static str) {
        self.tell(FromSocket::Violation { code, reason });
    }

    fn tell(&self, note: FromSocket) {
        if let Some(connection) = &self.connection {
            #[expect(
                clippy::disallowed_methods,
                reason = "a note that ends the connection: at most two per socket"
            )]
            connection.do_send(note);
        }
    }

    fn frame(&mut self, frame: Frame, ctx: &mut Context<Self>) {
        match frame {
            Frame::Text(bytes) => self.pass_on(&bytes),
            Frame::Continuation(item) => self.piece(item),
            Frame::Ping(bytes) => self.put(Message::Pong(bytes)),
            Frame::Pong(_) => {
                if let Some(connection) = &self.connection {
                    // A lost sign of life is harmless: others follow.
                    let _ = connection.try_send(FromSocket::Alive);
                }
            }
            Frame::Close(reason) => {
                if !self.closing {
                    self.closing = true;
                    self.put(Message::Close(reason));
                }
                self.end(ctx);
            }
            Frame::Binary(_) => self.violation(1003, "binary frames are not supported"),
        }
    }

    fn refused(&mut self, error: &ProtocolError) {
        self.broken = true;
        match error {
            ProtocolError::Overflow => self.too_large(),
            _ => self.violation(1002, "protocol error"),
        }
    }

    /// Adds a frame to what is to be written.
    fn put(&mut self, message: Message) {
        // Only pieces in a wrong order are refused, and none are written here.
        let _ = self.codec.encode(message, &mut self.output);
    }

    /// Lets what is left leave, and stops.
    fn end(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.ending, true) {
            ctx.spawn(LastBytes(Box::pin(tokio::time::sleep(LAST_BYTES))));
        }
    }

    /// Writes until nothing is left.
    fn poll_write(&mut self, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(task, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
            self.unflushed = true;
        }
        if self.unflushed {
            self.output = BytesMut::new();
            ready!(Pin::new(&mut self.io).poll_flush(task))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come, as far as it can be passed on.
    fn poll_read(&mut self, ctx: &mut Context<Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        for _ in 0..TURN {
            if let Some(passing) = &mut self.passing {
                let accepted = ready!(passing.as_mut().poll(task));
                self.passing = None;
                if accepted.is_err() && !self.closing {
                    return Poll::Ready(Ok(()));
                }
            }
            // Whoever pings and does not read the answers is not heard.
            if self.output.len() > BEHIND {
                ready!(self.poll_write(task))?;
            }
            if !self.broken {
                match self.codec.decode(&mut self.input) {
                    Ok(Some(frame)) => {
                        self.frame(frame, ctx);
                        if self.ending {
                            return Poll::Pending;
                        }
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => self.refused(&error),
                }
                if self.broken || self.input.is_empty() {
                    self.input = BytesMut::new();
                }
            }
            if ready!(self.poll_bytes(task))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads what is there now; 0 at the end.
    fn poll_bytes(&mut self, task: &mut Task<'_>) -> Poll<io::Result<usize>> {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.io).poll_read(task, &mut room))?;
            if !self.broken {
                self.input.extend_from_slice(room.filled());
            }
            Poll::Ready(Ok(room.filled().len()))
        })
    }
}

/// Writes and reads, until the peer is gone or the socket ends.
struct Pump;

impl<T: Wire> ActorFuture<NodeSocket<T>> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        socket: &mut NodeSocket<T>,
        ctx: &mut Context<NodeSocket<T>>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        if socket.ending {
            return Poll::Ready(());
        }
        // The connection ended without a word.
        let gone = socket.connection.as_ref().is_some_and(|addr| !addr.connected());
        if gone && !socket.closing {
            socket.end(ctx);
            return Poll::Ready(());
        }
        if matches!(socket.poll_write(task), Poll::Ready(Err(_))) {
            ctx.stop();
            return Poll::Ready(());
        }
        match ready!(socket.poll_read(ctx, task)) {
            Ok(()) => socket.end(ctx),
            Err(_) => ctx.stop(),
        }
        Poll::Ready(())
    }
}

/// Holds the mailbox until the peer has read what was written.
struct Behind;

impl<T: Wire> ActorFuture<NodeSocket<T>> for Behind {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        socket: &mut NodeSocket<T>,
        ctx: &mut Context<NodeSocket<T>>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        if ready!(socket.poll_write(task)).is_err() {
            ctx.stop();
        }
        Poll::Ready(())
    }
}

/// Writes what is left, closes, and stops; when the time is up, as it is.
struct LastBytes(Pin<Box<Sleep>>);

impl<T: Wire> ActorFuture<NodeSocket<T>> for LastBytes {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        socket: &mut NodeSocket<T>,
        ctx: &mut Context<NodeSocket<T>>,
        task: &mut Task<'_>,
    ) -> Poll<()> {
        if self.0.as_mut().poll(task).is_pending() && ready!(socket.poll_write(task)).is_ok() {
            // Nothing follows from its failing.
            let _ = ready!(Pin::new(&mut socket.io).poll_shutdown(task));
        }
        ctx.stop();
        Poll::Ready(())
    }
}

impl<T: Wire> Actor for NodeSocket<T> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(FRAMES_WAITING);
        if let Some(start) = self.start.take() {
            let socket = ctx.address().recipient();
            self.connection = Some(NodeConnection::new(start.state, start.newcomer, socket).start());
            ctx.spawn(Pump);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.tell(FromSocket::Closed);
    }
}

impl<T: Wire> Handler<Outgoing> for NodeSocket<T> {
    type Result = ();

    fn handle(&mut self, message: Outgoing, ctx: &mut Self::Context) {
        match message {
            Outgoing::Text(frame) => {
                if !self.closing {
                    Parser::write_message(&mut self.output, frame.text.as_bytes(), OpCode::Text, true, false);
                }
            }
            Outgoing::Ping => self.put(Message::Ping(Bytes::new())),
            Outgoing::MaxFrame(bytes) => {
                self.max_frame = bytes;
                self.codec = self.codec.clone().max_size(bytes);
            }
            Outgoing::Close { code, reason } => {
                self.closing = true;
                self.put(Message::Close(Some(CloseReason {
                    code: code.into(),
                    description: Some(reason),
                })));
                // The peer reads the reason and closes; then its bytes end here. This is for peers that do not.
                ctx.run_later(GOODBYE, |this, ctx| this.end(ctx));
            }
        }
        if self.output.len() > BEHIND {
            #[expect(
                clippy::disallowed_methods,
                reason = "the socket pump: a peer that does not read holds up its own frames, which are counted"
            )]
            ctx.wait(Behind);
        }
    }
}
