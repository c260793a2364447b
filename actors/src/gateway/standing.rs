//! The device token that a connection stands on, and how a call of the connection itself may put a newer in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// Which generation of its device's token a connection came with.
#[derive(Debug)]
pub(super) struct Standing {
    generation: AtomicI32,
    /// Calls of the connection that rotate the token just now.
    rotating: AtomicUsize,
}

/// A rotation by the connection itself: until this is dropped, the connection is not held against the stored token.
#[derive(Debug)]
pub(super) struct Rotating(Arc<Standing>);

impl Standing {
    pub(super) fn new(generation: i32) -> Self {
        Self {
            generation: AtomicI32::new(generation),
            rotating: AtomicUsize::new(0),
        }
    }

    /// `None` while the connection itself rotates the token.
    pub(super) fn generation(&self) -> Option<i32> {
        (self.rotating.load(Ordering::SeqCst) == 0).then(|| self.generation.load(Ordering::SeqCst))
    }

    pub(super) fn rotate(self: &Arc<Self>) -> Rotating {
        self.rotating.fetch_add(1, Ordering::SeqCst);
        Rotating(Arc::clone(self))
    }
}

impl Rotating {
    /// The token is of this generation now, and the connection was told it.
    pub(super) fn done(self, generation: i32) {
        self.0.generation.fetch_max(generation, Ordering::SeqCst);
    }
}

impl Drop for Rotating {
    fn drop(&mut self) {
        self.0.rotating.fetch_sub(1, Ordering::SeqCst);
    }
}
