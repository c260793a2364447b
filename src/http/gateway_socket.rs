//! The gateway's WebSocket: moves text frames between one socket and its `NodeConnection`. Knows no protocol.
//!
//! The only file that names `actix_web_actors`. Its actor runs on bytes of its own, which `upgrade.rs` gives it, instead
//! of inside a response body, and keeps no buffer while nothing is under way: most connections are idle most of the time.

use std::cell::{Cell, OnceCell, RefCell};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, StreamHandler, WrapFuture, fut};
use actix_http::ws::{Codec, Item, OpCode};
use actix_web::http::header::UPGRADE;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use actix_web_actors::ws::{self, CloseReason, Frame, HandshakeError, Message, ProtocolError, WebsocketContext};
use bytes::{Bytes, BytesMut};
use claw_actors::config::identity::{Identity, Tenant};
use claw_actors::gateway::connection::{FRAMES_WAITING, Newcomer, NodeConnection, PREAUTH_FRAME};
use claw_actors::gateway::messages::{FromSocket, Outgoing};
use claw_actors::gateway::{ClientFacts, GatewayState};
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::codec::Decoder;

/// Bytes that are read at once.
const READ: usize = 16 * 1024;
/// How long a closed socket waits for the peer's own close.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long the last bytes may take to leave, and how often it is looked whether they are the last.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// Marks a text frame that is not UTF-8; nothing else fails this way.
const NOT_TEXT: ErrorKind = ErrorKind::InvalidData;

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
    let mut response = match ws::handshake(request) {
        Ok(mut response) => response.finish(),
        Err(HandshakeError::NoWebsocketUpgrade) => return upgrade_required().finish(),
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
    response.extensions_mut().insert(Entry {
        state: state.clone(),
        newcomer,
    });
    response
}

/// To be answered to who comes without an upgrade.
pub(crate) fn upgrade_required() -> HttpResponseBuilder {
    let mut response = HttpResponse::UpgradeRequired();
    response.insert_header((UPGRADE, "websocket"));
    response
}

/// Runs the socket to its end. `read`: what came after the request.
pub(crate) async fn run<T: Wire>(entry: Entry, io: T, read: BytesMut) {
    let (reader, mut writer) = tokio::io::split(io);
    let max_frame = Rc::new(Cell::new(PREAUTH_FRAME));
    let connection = Rc::new(OnceCell::new());
    let socket = NodeSocket {
        start: Some(Box::new(Start {
            entry,
            frames: Frames {
                bytes: Box::new(reader),
                codec: Codec::new(),
                max_frame: Rc::clone(&max_frame),
                // The HTTP layer's own room is not kept.
                buffer: BytesMut::from(&*read),
                broken: false,
                ended: false,
            },
        })),
        connection: Rc::clone(&connection),
        max_frame,
        partial: None,
        violated: false,
        closing: false,
    };
    drop(read);
    // Frames come through a stream of our own, whose limit can change; the built-in one never yields.
    let mut written = WebsocketContext::create(socket, futures::stream::pending());
    while let Some(Ok(bytes)) = written.next().await {
        if write(&mut writer, &bytes, &connection).await.is_err() {
            return;
        }
    }
    // Nothing follows from its failing.
    let _ = tokio::time::timeout(LAST_BYTES, writer.shutdown()).await;
}

/// Writes the bytes. Meanwhile the socket's actor rests and its mailbox fills, which its connection counts: it ends when the
/// peer reads too slowly. From when that is first seen, the bytes have `LAST_BYTES` to leave.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    connection: &OnceCell<Addr<NodeConnection>>,
) -> io::Result<()> {
    let written = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    tokio::pin!(written);
    let mut last = false;
    loop {
        tokio::select! {
            biased;
            written = &mut written => return written,
            () = tokio::time::sleep(LAST_BYTES) => {
                if last {
                    return Err(ErrorKind::TimedOut.into());
                }
                last = connection.get().is_some_and(|connection| !connection.connected());
            }
        }
    }
}

/// What the actor starts with; idle ones do not carry it.
struct Start {
    entry: Entry,
    frames: Frames,
}

/// One socket.
struct NodeSocket {
    start: Option<Box<Start>>,
    connection: Rc<OnceCell<Addr<NodeConnection>>>,
    max_frame: Rc<Cell<usize>>,
    /// A fragmented text message so far.
    partial: Option<BytesMut>,
    /// The peer broke a rule and the connection was told: what else comes is not looked at.
    violated: bool,
    closing: bool,
}

impl NodeSocket {
    /// Passes a whole text on and reads no further frame until it is accepted.
    fn pass_on(&mut self, text: String, ctx: &mut WebsocketContext<Self>) {
        let Some(connection) = self.connection.get().filter(|_| !self.closing) else {
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

    /// Tells the connection, once, which closes.
    fn violation(&mut self, code: u16, reason: &'static str) {
        if !std::mem::replace(&mut self.violated, true) {
            self.partial = None;
            self.tell(FromSocket::Violation { code, reason });
        }
    }

    fn tell(&self, note: FromSocket) {
        if let Some(connection) = self.connection.get() {
            #[expect(
                clippy::disallowed_methods,
                reason = "a note that ends the connection: at most two per socket, a violation and the end"
            )]
            connection.do_send(note);
        }
    }

    fn alive(&self) {
        if let Some(connection) = self.connection.get() {
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
            let Entry { state, newcomer } = start.entry;
            // Set once: an actor starts once.
            let _ = self
                .connection
                .set(NodeConnection::new(state, newcomer, socket).start());
            ctx.add_stream(start.frames);
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.tell(FromSocket::Closed);
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for NodeSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        if self.violated && !matches!(message, Ok(Message::Close(_))) {
            return;
        }
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

/// Frames out of what the peer sends, with a size limit that grows at hello.
struct Frames {
    bytes: Box<dyn AsyncRead + Unpin>,
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
                let max_frame = this.max_frame.get();
                this.codec = this.codec.clone().max_size(max_frame);
                // The codec would say so at the frame's end only, and all that comes until then would be kept.
                let frame = match refused(&this.buffer, max_frame) {
                    Some(error) => Some(Err(error)),
                    None => match this.codec.decode(&mut this.buffer) {
                        Ok(Some(frame)) => Some(message(frame)),
                        Ok(None) => None,
                        Err(error) => Some(Err(error)),
                    },
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
            match ready!(this.poll_bytes(cx)) {
                Ok(read) if read > 0 => {}
                Ok(_) | Err(_) => this.ended = true,
            }
        }
    }
}

impl Frames {
    /// Reads what is there now; 0 at the end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.bytes).poll_read(cx, &mut room))?;
            if !self.broken {
                self.buffer.extend_from_slice(room.filled());
            }
            Poll::Ready(Ok(room.filled().len()))
        })
    }
}

/// Why the frame that begins here is not read, as far as its header has come: 14 bytes at most.
fn refused(frame: &[u8], max_frame: usize) -> Option<ProtocolError> {
    let (&[first, second], rest) = frame.split_first_chunk::<2>()?;
    let (last, reserved, opcode) = (first & 0x80 != 0, first & 0x70, OpCode::from(first & 0x0f));
    let (masked, short) = (second & 0x80 != 0, second & 0x7f);
    // No extension was agreed on that gives reserved bits a meaning.
    if reserved != 0 || opcode == OpCode::Bad {
        return Some(ProtocolError::BadOpCode);
    }
    if !masked {
        return Some(ProtocolError::UnmaskedFrame);
    }
    if matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong) {
        return match (last, short) {
            (false, _) => Some(ProtocolError::ContinuationFragment(opcode)),
            (true, 126..) => Some(ProtocolError::InvalidLength(short.into())),
            (true, _) => None,
        };
    }
    let length = match short {
        126 => u16::from_be_bytes(*rest.first_chunk::<2>()?).into(),
        127 => u64::from_be_bytes(*rest.first_chunk::<8>()?),
        length => length.into(),
    };
    if length >> 63 == 1 {
        return Some(ProtocolError::InvalidLength(usize::MAX));
    }
    (length > max_frame as u64).then_some(ProtocolError::Overflow)
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
