//! Gateway service: connections of OpenClaw clients, their handshake, RPC methods and events. No sockets here.

pub mod messages;
pub mod registry;
