//! The session-key grammar of `agent-runtime` §6.1.
