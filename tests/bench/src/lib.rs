//! What the load generator, the mock model, the floor and the runner share.
//!
//! Everything here talks to loopback only, and every loop has an end.

pub mod args;
pub mod gateway;
pub mod http;
pub mod latency;
pub mod marks;
pub mod platform;
pub mod process;
pub mod sign;
