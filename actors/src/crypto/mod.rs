//! ring, in one place: sealing, signatures, tokens, passwords. Nothing home-made.

pub mod password;
pub mod seal;
pub mod secret;
pub mod signature;
pub mod token;

pub use secret::Secret;
