//! The gateway's WebSocket: moves text frames between one socket and its `NodeConnection`. Knows no protocol.
//!
//! The only file that names `actix_web_actors`.

use std::cell::Cell;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, StreamHandler, WrapFuture, fut};
use actix_http::ws::{Codec, Item};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONNECTION, UPGRADE};
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use actix_web_actors::ws::{self, CloseReason, Frame, HandshakeError, Message, ProtocolError, WebsocketContext};
use bytes::{Bytes, BytesMut};
use claw_actors::config::identity::{Identity, Tenant};
use claw_actors::gateway::connection::{FRAMES_WAITING, Newcomer, NodeConnection, PREAUTH_FRAME};
use claw_actors::gateway::messages::{FromSocket, Outgoing};
use claw_actors::gateway::{ClientFacts, GatewayState};
use futures::Stream;
use tokio_util::codec::Decoder;

/// Bytes the HTTP layer gathers before it writes. Two pieces of this size fit into the room it starts with.
pub(crate) const WRITE_BUFFER: usize = 4096;
/// How long a closed socket waits for the peer's own close.
const GOODBYE: Duration = Duration::from_secs(1);
/// Marks a text frame that is not UTF-8; nothing else fails this way.
const NOT_TEXT: ErrorKind = ErrorKind::InvalidData;

/// Answers the upgrade and starts the connection on this worker. Tenant, address and cookie were resolved before.
pub(crate) fn upgrade(
    request: &HttpRequest,
    payload: web::Payload,
    state: &GatewayState,
    tenant: Arc<Tenant>,
    client: ClientFacts,
    web_identity: Option<Arc<Identity>>,
) -> HttpResponse {
    let mut response = match ws::handshake(request) {
        Ok(response) => response,
        Err(HandshakeError::NoWebsocketUpgrade) => {
            return HttpResponse::build(StatusCode::UPGRADE_REQUIRED)
                .insert_header((UPGRADE, "websocket"))
                .insert_header((CONNECTION, "upgrade"))
                .finish();
        }
        Err(error) => return error.error_response(),
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
    let max_frame = Rc::new(Cell::new(PREAUTH_FRAME));
    let socket = NodeSocket {
        start: Some(Box::new(Start {
            state: state.clone(),
            newcomer,
            frames: Frames {
                payload,
                codec: Codec::new(),
                max_frame: Rc::clone(&max_frame),
                buffer: BytesMut::new(),
                broken: false,
                ended: false,
            },
        })),
        connection: None,
        max_frame,
        partial: None,
        closing: false,
    };
    // Frames come through a stream of our own, whose limit can change; the built-in one never yields.
    response.streaming(Slices {
        written: WebsocketContext::create(socket, futures::stream::pending()),
        rest: Bytes::new(),
    })
}

/// What is written to the socket, cut into pieces: the HTTP layer keeps the room that its largest piece took for as
/// long as the connection lives, and hello-ok is much longer than what comes after it.
struct Slices<S> {
    written: S,
    rest: Bytes,
}

impl<S> Stream for Slices<S>
where
    S: Stream<Item = Result<Bytes, actix_web::Error>> + Unpin,
{
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.written).poll_next(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(WRITE_BUFFER));
        Poll::Ready(Some(Ok(piece)))
    }
}

/// What a socket starts with; idle ones do not carry it.
struct Start {
    state: GatewayState,
    newcomer: Newcomer,
    frames: Frames,
}

/// One socket.
struct NodeSocket {
    start: Option<Box<Start>>,
    connection: Option<Addr<NodeConnection>>,
    max_frame: Rc<Cell<usize>>,
    /// A fragmented text message so far.
    partial: Option<BytesMut>,
    closing: bool,
}

impl NodeSocket {
    /// Passes a whole text on and reads no further frame until it is accepted.
    fn pass_on(&mut self, text: String, ctx: &mut WebsocketContext<Self>) {
        let Some(connection) = self.connection.as_ref().filter(|_| !self.closing) else {
            return;
        };
        let accepted = connection.send(FromSocket::Text(text)).into_actor(self);
        let accepted = accepted.then(|accepted, this, ctx: &mut WebsocketContext<Self>| {
            if accepted.is_err() && !this.closing {
                ctx.stop();
            }
            fut::ready(())
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "the socket pump: the handler accepts and returns, and until then TCP pushes back"
        )]
        ctx.wait(accepted);
    }

    /// Collects the pieces of a fragmented text.
    fn piece(&mut self, item: Item, ctx: &mut WebsocketContext<Self>) {
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
        if partial.len() + bytes.len() > self.max_frame.get() {
            self.partial = None;
            return self.too_large();
        }
        partial.extend_from_slice(&bytes);
        if let Some(whole) = self.partial.take_if(|_| last) {
            match String::from_utf8(whole.into()) {
                Ok(text) => self.pass_on(text, ctx),
                Err(_) => self.violation(1007, "text is not UTF-8"),
            }
        }
    }

    fn too_large(&mut self) {
        let reason = if self.max_frame.get() == PREAUTH_FRAME {
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

    fn alive(&self) {
        if let Some(connection) = &self.connection {
            // A lost sign of life is harmless: others follow.
            let _ = connection.try_send(FromSocket::Alive);
        }
    }
}

impl Actor for NodeSocket {
    type Context = WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(FRAMES_WAITING);
        if let Some(start) = self.start.take() {
            let socket = ctx.address().recipient();
            self.connection = Some(NodeConnection::new(start.state, start.newcomer, socket).start());
            ctx.add_stream(start.frames);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.tell(FromSocket::Closed);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for NodeSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => self.pass_on(text.into(), ctx),
            Ok(Message::Continuation(item)) => self.piece(item, ctx),
            Ok(Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(Message::Pong(_)) => self.alive(),
            Ok(Message::Close(reason)) => {
                if !self.closing {
                    ctx.close(reason);
                }
                ctx.stop();
            }
            Ok(Message::Nop) => {}
            Ok(Message::Binary(_)) => self.violation(1003, "binary frames are not supported"),
            Err(ProtocolError::Overflow) => self.too_large(),
            Err(ProtocolError::Io(error)) if error.kind() == NOT_TEXT => self.violation(1007, "text is not UTF-8"),
            Err(ProtocolError::Io(_)) => ctx.stop(),
            Err(_) => self.violation(1002, "protocol error"),
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        if !self.closing {
            ctx.stop();
        }
    }
}

impl Handler<Outgoing> for NodeSocket {
    type Result = ();

    fn handle(&mut self, message: Outgoing, ctx: &mut Self::Context) {
        match message {
            Outgoing::Text(frame) => ctx.text(frame.text.as_str()),
            Outgoing::Ping => ctx.ping(b""),
            Outgoing::MaxFrame(bytes) => self.max_frame.set(bytes),
            Outgoing::Close { code, reason } => {
                self.closing = true;
                ctx.close(Some(CloseReason {
                    code: code.into(),
                    description: Some(reason),
                }));
                // The peer reads the reason and closes; then its bytes end here. This is for peers that do not.
                ctx.run_later(GOODBYE, |_, ctx| ctx.stop());
            }
        }
    }
}

/// Frames out of the request's body, with a size limit that grows at hello.
struct Frames {
    payload: web::Payload,
    codec: Codec,
    max_frame: Rc<Cell<usize>>,
    buffer: BytesMut,
    /// The peer broke the framing. What else it sends is thrown away until the socket closes, so that it can read why:
    /// a socket closed with unread bytes is reset.
    broken: bool,
    ended: bool,
}

impl Stream for Frames {
    type Item = Result<Message, ProtocolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            if !this.broken {
                this.codec = this.codec.clone().max_size(this.max_frame.get());
                let frame = match this.codec.decode(&mut this.buffer) {
                    Ok(Some(frame)) => Some(message(frame)),
                    Ok(None) => None,
                    Err(error) => Some(Err(error)),
                };
                this.broken = matches!(frame, Some(Err(_)));
                if this.broken || this.buffer.is_empty() {
                    // Gives the memory back: most connections are idle most of the time.
                    this.buffer = BytesMut::new();
                }
                if frame.is_some() {
                    return Poll::Ready(frame);
                }
            }
            match ready!(Pin::new(&mut this.payload).poll_next(cx)) {
                Some(Ok(_)) if this.broken => {}
                Some(Ok(bytes)) => this.buffer.extend_from_slice(&bytes),
                Some(Err(_)) | None => this.ended = true,
            }
        }
    }
}

fn message(frame: Frame) -> Result<Message, ProtocolError> {
    Ok(match frame {
        Frame::Text(bytes) => Message::Text(text(bytes)?),
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Ping(bytes) => Message::Ping(bytes),
        Frame::Pong(bytes) => Message::Pong(bytes),
        Frame::Close(reason) => Message::Close(reason),
        Frame::Continuation(item) => Message::Continuation(item),
    })
}

fn text<T: TryFrom<Bytes>>(bytes: Bytes) -> Result<T, ProtocolError> {
    T::try_from(bytes).map_err(|_| ProtocolError::Io(NOT_TEXT.into()))
}
