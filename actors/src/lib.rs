//! The runtime: the supervisor tree and the Gateway, Session, Config and Conversation services.
//!
//! Nothing here opens a connection to the outside: channels, model providers and tools come in through [`ports`].

pub mod ports;

pub mod config;
pub mod conversation;
pub mod gateway;
pub mod session;
pub mod supervisor;

pub mod clock;
pub mod crypto;
pub mod db;
pub mod error;
pub mod services;
#[cfg(test)]
mod testing;
pub mod trace;

pub use error::{Code, Error, Result};
pub use services::Services;
