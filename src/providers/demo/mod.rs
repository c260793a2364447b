//! What answers before anybody has configured a provider.

pub(super) mod echo;
