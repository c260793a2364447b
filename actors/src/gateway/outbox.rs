//! The way out of a connection: one kept recipient, bytes counted, and the answer when the reader is too slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Recipient;
use actix::dev::SendError;
use tokio::sync::Notify;

use super::messages::{Frame, Outgoing};

/// Frames that may wait in the socket's mailbox: as many small ones as come within seconds. Of large ones bytes decide.
pub(super) const FRAMES: usize = 2048;

/// The kept recipient of a socket.
pub(super) struct Outbox {
    to: Recipient<Outgoing>,
    buffered: Arc<Buffered>,
    limit: usize,
}

/// What waits for a socket to take it.
#[derive(Debug, Default)]
pub(super) struct Buffered {
    bytes: AtomicUsize,
    frames: AtomicUsize,
    less: Notify,
}

impl Buffered {
    fn put(&self, size: usize) {
        self.bytes.fetch_add(size, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// The socket took a frame, or it was dropped.
    pub(super) fn took(&self, size: usize) {
        self.bytes.fetch_sub(size, Ordering::Relaxed);
        self.frames.fetch_sub(1, Ordering::Relaxed);
        self.less.notify_waiters();
    }

    /// Is at most half of the room taken.
    fn half_is_free(&self, limit: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) <= limit / 2 && self.frames.load(Ordering::Relaxed) <= FRAMES / 2
    }
}

/// Says when there is room for what can wait.
pub(super) struct Room {
    buffered: Arc<Buffered>,
    limit: usize,
}

impl Room {
    /// Resolves when at most half of the room is taken.
    pub(super) async fn free(&self) {
        loop {
            let less = self.buffered.less.notified();
            if self.buffered.half_is_free(self.limit) {
                return;
            }
            less.await;
        }
    }
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
        if self.buffered.bytes.load(Ordering::Relaxed) + size > self.limit {
            return Sent::Full;
        }
        self.buffered.put(size);
        self.send(Outgoing::Text(Frame {
            text,
            buffered: Arc::clone(&self.buffered),
        }))
    }

    /// As [`Outbox::text`] for a frame that may be left out: the second half of the room is for those that may not.
    pub(super) fn droppable(&self, text: String) -> Sent {
        if self.buffered.half_is_free(self.limit) {
            self.text(text)
        } else {
            Sent::Full
        }
    }

    /// For those who can wait until there is some.
    pub(super) fn room(&self) -> Room {
        Room {
            buffered: Arc::clone(&self.buffered),
            limit: self.limit,
        }
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
        fn started(&mut self, ctx: &mut Self::Context) {
            ctx.set_mailbox_capacity(FRAMES);
        }
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
    async fn who_can_wait_goes_on_when_half_of_the_room_is_free() {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let outbox = Outbox::new(Socket(tx).start().recipient(), 10);
        for _ in 0..2 {
            assert_eq!(outbox.text("12345".to_owned()), Sent::Queued);
        }
        let room = outbox.room();
        let mut free = std::pin::pin!(room.free());
        assert!(futures::poll!(free.as_mut()).is_pending());
        drop(rx.recv().await);
        assert!(futures::poll!(free.as_mut()).is_ready());
    }

    #[actix::test]
    async fn what_may_be_left_out_takes_no_place_of_what_may_not() {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let outbox = Outbox::new(Socket(tx).start().recipient(), 1_000_000);
        assert_eq!(outbox.text("first".to_owned()), Sent::Queued);
        // The socket runs; from here on it takes nothing, as during a stall.
        drop(rx.recv().await);
        let queued = |sent: &dyn Fn() -> Sent| (0..2 * FRAMES).take_while(|_| sent() == Sent::Queued).count();
        let words = queued(&|| outbox.droppable("word".to_owned()));
        assert_eq!(words, FRAMES / 2 + 1);
        let kept = queued(&|| outbox.text("kept".to_owned()));
        assert!((FRAMES / 2 - 2..FRAMES).contains(&kept), "{kept}");
        assert_eq!(outbox.droppable("word".to_owned()), Sent::Full);
        // It goes on: nothing of what was taken is lost, and then there is room again.
        for _ in 0..words + kept {
            assert!(matches!(rx.recv().await, Some(Outgoing::Text(_))));
        }
        assert_eq!(outbox.droppable("word".to_owned()), Sent::Queued);
    }

    #[actix::test]
    async fn large_frames_that_may_be_left_out_leave_half_of_the_bytes() {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let outbox = Outbox::new(Socket(tx).start().recipient(), 10);
        assert_eq!(outbox.droppable("123456".to_owned()), Sent::Queued);
        assert_eq!(outbox.droppable("1".to_owned()), Sent::Full);
        assert_eq!(outbox.text("1234".to_owned()), Sent::Queued);
        assert_eq!(
            outbox.text("1".to_owned()),
            Sent::Full,
            "bytes have their bound all the same"
        );
        drop(rx.recv().await);
        assert_eq!(outbox.droppable("1".to_owned()), Sent::Queued);
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
