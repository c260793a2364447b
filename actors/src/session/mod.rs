//! Session service: what is accepted, the queue, the run loop, context, delivery.

pub mod intake;
pub mod key;

pub(crate) mod actor;
mod admission;
mod closing;
mod item;
mod preview;
mod run;
mod toolbox;
mod turn;

mod assembly;
mod commands;
mod context;
mod events;
mod policy;
mod prompt;
mod queue;
pub(crate) mod reply;
mod routing;

pub mod blobs;
pub mod delivery;
pub(crate) mod record;
pub mod recovery;

#[cfg(test)]
mod tests;
