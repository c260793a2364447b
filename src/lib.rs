//! The edge of ClawCentral: everything that opens a socket, wired to the runtime in `boot`; and the command line.

pub mod settings;

pub mod telemetry;

pub mod boot;

pub mod http;

pub mod channels;
pub mod providers;
pub mod tools;

pub mod egress;

pub mod cli;

pub mod error;
