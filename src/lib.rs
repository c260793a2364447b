//! The edge.

pub mod channels;
pub mod egress;
