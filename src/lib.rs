//! The edge of ClawCentral: everything that opens a socket.

pub mod egress;
