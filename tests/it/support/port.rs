//! A port for a server that starts later. The bench tools include this file too.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// A port of 127.0.0.1 that nobody listens on, below the range from which the system takes the ports of outgoing
/// connections: one of those, even long closed, would keep a server from starting on it (`TIME_WAIT`).
pub(crate) fn free_port() -> u16 {
    let (first, random) = (10_000, RandomState::new());
    let count = u64::from(outgoing() - first);
    (0..1000)
        .map(|n: u64| first + u16::try_from(random.hash_one(n) % count).expect("less than a count of ports"))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one port in a thousand is free")
}

/// Where the ports of outgoing connections begin.
fn outgoing() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range
        .split_ascii_whitespace()
        .next()
        .and_then(|first| first.parse().ok());
    first.unwrap_or(32_768_u16).max(20_000)
}
