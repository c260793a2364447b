//! Session service: what is accepted, the queue, the run loop, context, delivery.

pub mod intake;
pub mod key;
