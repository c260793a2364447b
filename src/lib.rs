//! The edge of ClawCentral: everything that opens a socket, wired to the runtime in `boot`.

pub mod settings;

pub mod telemetry;

pub mod boot;

pub mod http;

pub mod error;

pub mod egress;
