//! The edge of ClawCentral: everything that opens a socket.

pub mod channels;
pub mod egress;
