//! Gateway service: connections of OpenClaw clients, their handshake, RPC methods and events. No sockets here.

pub mod messages;
pub mod protocol;
pub mod registry;
pub mod scopes;

pub mod device;
pub mod events;
pub mod limiter;
mod outbox;

#[cfg(test)]
pub(crate) mod testing;
