//! The outside world, clients by role, and the server under test.

pub(crate) mod app;
pub(crate) mod binary;
pub(crate) mod database;
pub(crate) mod faulty;
pub(crate) mod mcp;
pub(crate) mod model;
pub(crate) mod node;
pub(crate) mod original;
pub(crate) mod pattern;
pub(crate) mod pdf;
pub(crate) mod platform;
pub(crate) mod port;
pub(crate) mod postgres;
pub(crate) mod raw;
pub(crate) mod registry;
pub(crate) mod scenario;
pub(crate) mod serving;
pub(crate) mod strict;
pub(crate) mod tls;
pub(crate) mod tool;
pub(crate) mod wait;
pub(crate) mod webhook;
pub(crate) mod wire;
