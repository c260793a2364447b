//! The supervisor tree: Directory → TenantActor → UserActor → SessionActor and NodeConnection.
//!
//! A parent is the only holder of a child's address: that one rule gives safe sleep, honest back-pressure and crash
//! recovery on demand. `actix::Supervisor` does none of the three.

pub mod directory;

mod tenant;
pub(crate) mod user;

pub(crate) mod messages;

mod children;
pub mod lanes;
pub mod lease;
pub mod lockout;
pub mod placement;
pub(crate) mod places;
pub mod rooms;
pub mod slot;
