//! The supervisor tree: Directory → TenantActor → UserActor → SessionActor and NodeConnection.
//!
//! A parent is the only holder of a child's address: that one rule gives safe sleep, honest back-pressure and crash
//! recovery on demand.

pub mod directory;
