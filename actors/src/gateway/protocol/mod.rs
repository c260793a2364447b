//! Wire types of the OpenClaw gateway protocol: serde only, no behaviour beyond shaping JSON.

pub mod connect;
pub mod error;
pub mod frames;
pub mod hello;

#[cfg(test)]
mod tests;

pub use connect::{ConnectParams, DeviceBlock};
pub use error::WireError;
pub use frames::{Request, event_frame, response_error, response_ok};

/// The protocol this server speaks; `hello-ok.protocol` is always this.
pub const PROTOCOL: u32 = 4;
/// The oldest protocol a node or a probe may come with.
pub const OLDEST_NODE_PROTOCOL: u32 = 3;
