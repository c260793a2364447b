//! Paired devices, their tokens, pending requests, node surfaces and exec approvals: the stored half of pairing.
