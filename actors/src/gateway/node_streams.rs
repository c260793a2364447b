//! What goes back and forth while a call of a node is open: progress from the node, input and cancelling from the caller.
//!
//! Progress is news, not part of the answer: a caller too slow to take it misses pieces and sees that in their numbers.
//! It never gives a call more time (`gateway-protocol` §10.2: the time limit of a call is the caller's).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces of progress that may wait for one caller; each is at most 16 Ki characters.
const PIECES: usize = 64;
/// Pieces of input that may wait for one node.
const INPUTS: usize = 16;
/// Largest piece: of progress in characters (protocol §10.2), of input in bytes.
pub(crate) const LARGEST_PIECE: usize = 16 * 1024;

/// A piece of progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub invoke_id: String,
    /// Of the node's; only grows.
    pub seq: u64,
    pub chunk: String,
}

/// What accompanies a call; both may be missing.
#[derive(Debug, Default)]
pub struct Streams {
    pub progress: Option<mpsc::Sender<Progress>>,
    /// JSON texts for the node.
    pub input: Option<mpsc::Receiver<String>>,
}

/// Where the progress of one call comes out.
pub(crate) type Pieces = mpsc::Receiver<Progress>;

impl Streams {
    /// For a caller who listens.
    pub(crate) fn heard() -> (Self, Pieces) {
        let (progress, pieces) = mpsc::channel(PIECES);
        let streams = Self {
            progress: Some(progress),
            input: None,
        };
        (streams, pieces)
    }
}

/// Waits for the outcome of a call and shows its progress meanwhile: all of it before the outcome is given.
pub(crate) async fn shown<T, F: Future<Output = ()>>(
    outcome: impl Future<Output = T>,
    mut pieces: Pieces,
    show: impl Fn(Progress) -> F,
) -> T {
    let mut outcome = pin!(outcome);
    let outcome = loop {
        tokio::select! {
            outcome = &mut outcome => break outcome,
            Some(piece) = pieces.recv() => show(piece).await,
        }
    };
    while let Ok(piece) = pieces.try_recv() {
        show(piece).await;
    }
    outcome
}

/// The event a caller hears. `key` is the caller's own for the call.
pub(crate) fn event(node_id: &str, key: &str, piece: &Progress) -> Value {
    json!({
        "invokeId": piece.invoke_id, "nodeId": node_id, "seq": piece.seq, "chunk": piece.chunk, "idempotencyKey": key,
    })
}

/// Calls of nodes that one connection has open, by node and the caller's key. At most as many as it may have in flight,
/// and usually none: a map in shards would weigh more than the rest of an idle connection.
#[derive(Clone, Default)]
pub(crate) struct OpenCalls(Arc<Mutex<HashMap<(String, String), Handle>>>);

struct Handle {
    cancel: CancellationToken,
    input: mpsc::Sender<String>,
}

/// The place of one call among the open ones; given back when it is dropped.
pub(crate) struct OpenCall {
    calls: OpenCalls,
    name: (String, String),
    /// Cancelled by the caller, or with their connection.
    pub(crate) gone: CancellationToken,
    input: Option<mpsc::Receiver<String>>,
    /// A second call under the same key is the first one's business.
    first: bool,
}

/// What became of a piece of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Taken,
    /// The node is behind.
    Full,
    /// No such call is open.
    NoCall,
}

impl OpenCalls {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Handle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call that begins; `ended` is cancelled when the connection ends.
    pub(crate) fn open(&self, node_id: &str, key: &str, ended: &CancellationToken) -> OpenCall {
        let name = (node_id.to_owned(), key.to_owned());
        let (to_node, input) = mpsc::channel(INPUTS);
        let gone = ended.child_token();
        let first = match self.lock().entry(name.clone()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(Handle {
                    cancel: gone.clone(),
                    input: to_node,
                });
                true
            }
        };
        OpenCall {
            calls: self.clone(),
            name,
            gone,
            input: Some(input).filter(|_| first),
            first,
        }
    }

    /// Ends an open call; its node is told to stop. False: there is none.
    pub(crate) fn cancel(&self, node_id: &str, key: &str) -> bool {
        let calls = self.lock();
        let handle = calls.get(&(node_id.to_owned(), key.to_owned()));
        handle.map(|handle| handle.cancel.cancel()).is_some()
    }

    /// Hands a piece of input to the node of an open call.
    pub(crate) fn give(&self, node_id: &str, key: &str, payload_json: String) -> Given {
        let calls = self.lock();
        let Some(handle) = calls.get(&(node_id.to_owned(), key.to_owned())) else {
            return Given::NoCall;
        };
        match handle.input.try_send(payload_json) {
            Ok(()) => Given::Taken,
            Err(mpsc::error::TrySendError::Full(_)) => Given::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Given::NoCall,
        }
    }
}

impl OpenCall {
    /// The streams of the call, and where its progress comes out.
    pub(crate) fn streams(&mut self) -> (Streams, Pieces) {
        let (mut streams, pieces) = Streams::heard();
        streams.input = self.input.take();
        (streams, pieces)
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.first {
            self.calls.lock().remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(seq: u64) -> Progress {
        Progress {
            invoke_id: "i".to_owned(),
            seq,
            chunk: format!("chunk {seq}"),
        }
    }

    #[tokio::test]
    async fn progress_is_shown_before_the_outcome_and_what_is_too_much_is_missed() {
        let (streams, pieces) = Streams::heard();
        let to = streams.progress.expect("is heard");
        let seen = Mutex::new(Vec::new());
        let outcome = async {
            to.send(piece(0)).await.expect("is open");
            tokio::task::yield_now().await;
            let sent = (1..1000).filter(|seq| to.try_send(piece(*seq)).is_ok()).count();
            assert!(sent <= PIECES, "bounded");
            sent
        };
        let show = |piece: Progress| {
            seen.lock().expect("not poisoned").push(piece.seq);
            std::future::ready(())
        };
        let sent = shown(outcome, pieces, show).await;
        let seen = seen.into_inner().expect("not poisoned");
        assert_eq!(seen.len(), sent + 1);
        assert!(seen.is_sorted() && seen.first() == Some(&0));
    }

    #[test]
    fn only_open_calls_are_cancelled_and_fed() {
        let (calls, ended) = (OpenCalls::default(), CancellationToken::new());
        let mut call = calls.open("n", "k", &ended);
        let (streams, _pieces) = call.streams();
        let mut input = streams.input.expect("takes input");
        // The same key again: not another call.
        let again = calls.open("n", "k", &ended);
        drop(again);
        for (node, key) in [("n", "other"), ("other", "k")] {
            assert!(!calls.cancel(node, key));
            assert_eq!(calls.give(node, key, "1".to_owned()), Given::NoCall);
        }
        for number in 0..INPUTS {
            assert_eq!(calls.give("n", "k", number.to_string()), Given::Taken);
        }
        assert_eq!(calls.give("n", "k", "more".to_owned()), Given::Full);
        assert_eq!(input.try_recv().as_deref(), Ok("0"));
        assert!(!call.gone.is_cancelled() && calls.cancel("n", "k") && call.gone.is_cancelled());
        assert!(!ended.is_cancelled(), "the connection goes on");
        drop(call);
        assert!(!calls.cancel("n", "k") && calls.lock().is_empty());
        let last = calls.open("n", "k", &ended);
        ended.cancel();
        assert!(last.gone.is_cancelled(), "the connection took the call with it");
    }
}
