//! The edge of ClawCentral: everything that opens a socket, the command line, and `boot`, which wires them.

pub mod cli;

pub mod settings;

pub mod telemetry;

pub mod boot;

pub mod http;

pub mod error;

pub mod channels;
pub mod providers;
pub mod tools;

mod clawhub;
pub mod documents;
pub mod egress;
pub mod mcp;
mod multipart;
mod poster;
