//! The way out of a connection: one kept recipient, bytes counted, and the answer when the reader is too slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Recipient;
use actix::dev::SendError;

use super::messages::{Frame, Outgoing};

/// Frames that may wait in the socket's mailbox.
pub(super) const FRAMES: usize = 512;

/// The kept recipient of a socket.
pub(super) struct Outbox {
    to: Recipient<Outgoing>,
    buffered: Arc<AtomicUsize>,
    limit: usize,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Queued,
    /// Too much waits already.
    Full,
    /// The socket is gone.
    Gone,
}

impl Outbox {
    /// `limit`: bytes that may wait.
    pub(super) fn new(to: Recipient<Outgoing>, limit: usize) -> Self {
        Self {
            to,
            buffered: Arc::default(),
            limit,
        }
    }

    /// Hands a text frame to the socket, if there is room.
    pub(super) fn text(&self, text: String) -> Sent {
        let size = text.len();
        if self.buffered.load(Ordering::Relaxed) + size > self.limit {
            return Sent::Full;
        }
        self.buffered.fetch_add(size, Ordering::Relaxed);
        self.send(Outgoing::Text(Frame {
            text,
            buffered: Arc::clone(&self.buffered),
        }))
    }

    pub(super) fn send(&self, message: Outgoing) -> Sent {
        match self.to.try_send(message) {
            Ok(()) => Sent::Queued,
            Err(SendError::Full(_)) => Sent::Full,
            Err(SendError::Closed(_)) => Sent::Gone,
        }
    }

    /// The last message. It is not bounded by the mailbox, so that a slow reader learns why.
    pub(super) fn close(&self, code: u16, reason: &str) {
        // A close frame has room for 123 bytes of reason.
        let reason = reason[..reason.floor_char_boundary(123)].to_owned();
        #[expect(clippy::disallowed_methods, reason = "one note per connection, its last")]
        self.to.do_send(Outgoing::Close { code, reason });
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler};
    use tokio::sync::mpsc;

    use super::*;

    struct Socket(mpsc::UnboundedSender<Outgoing>);

    impl Actor for Socket {
        type Context = Context<Self>;
    }

    impl Handler<Outgoing> for Socket {
        type Result = ();
        fn handle(&mut self, message: Outgoing, _: &mut Self::Context) {
            self.0.send(message).expect("the test listens");
        }
    }

    #[actix::test]
    async fn bytes_count_until_the_socket_took_them() {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let outbox = Outbox::new(Socket(tx).start().recipient(), 10);
        assert_eq!(outbox.text("12345678".to_owned()), Sent::Queued);
        assert_eq!(outbox.text("123".to_owned()), Sent::Full);
        drop(rx.recv().await);
        assert_eq!(outbox.text("123".to_owned()), Sent::Queued);
    }

    #[actix::test]
    async fn a_full_mailbox_is_full_but_still_takes_the_close() {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let outbox = Outbox::new(Socket(tx).start().recipient(), 1_000_000);
        let queued = (0..100)
            .take_while(|_| outbox.text("x".to_owned()) == Sent::Queued)
            .count();
        assert!(queued < 100, "the mailbox has a limit");
        outbox.close(1008, &"é".repeat(100));
        let mut last = None;
        for _ in 0..=queued {
            last = rx.recv().await;
        }
        let Some(Outgoing::Close { code: 1008, reason }) = last else {
            panic!("the close comes last");
        };
        assert_eq!(reason.len(), 122);
    }
}
