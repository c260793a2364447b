//! What spans and metrics have in common: how ids that others chose are shown, and gauges with several owners.
//!
//! Spans of a turn are `info`; those of a socket, a frame and a webhook are `debug`: there are very many of them. A span
//! that the filter leaves out formats and keeps nothing.

use std::fmt;

use metrics::Gauge;

use crate::crypto::token;

/// Longest part of an id that is shown as it is, bytes.
const LONGEST: usize = 128;

/// Can this stand in a log as it is: letters, digits, `-`, `_`, `.` and `:`, 128 at most.
pub fn is_id(text: &str) -> bool {
    text.len() <= LONGEST && text.split(':').all(is_plain)
}

fn is_plain(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !part.is_empty() && part.bytes().all(plain)
}

/// An id that somebody else chose, as it may stand in a log. Parts between colons that look like no id (an e-mail
/// address, a telephone number, words) are shown as `#` and the beginning of their hash. Nothing is made before it is
/// printed.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.split(':').enumerate() {
            if at > 0 {
                formatter.write_str(":")?;
            }
            if part.len() <= LONGEST && is_plain(part) {
                formatter.write_str(part)?;
            } else if !part.is_empty() {
                let hash = token::hash(part);
                write!(formatter, "#{}", hash.get(..8).unwrap_or_default())?;
            }
        }
        Ok(())
    }
}

/// One owner's part of a gauge that adds up over all of them; gone with the owner.
pub(crate) struct Share {
    gauge: Gauge,
    counted: u32,
}

impl Share {
    /// Nothing yet.
    pub(crate) fn of(gauge: Gauge) -> Self {
        Self { gauge, counted: 0 }
    }

    /// So many are this owner's now.
    pub(crate) fn set(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count != self.counted {
            self.gauge.increment(f64::from(count) - f64::from(self.counted));
            self.counted = count;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, shown: &str) {
        assert_eq!(Shown(id).to_string(), shown, "{id}");
        assert_eq!(is_id(id), id == shown, "{id}");
    }

    #[test]
    fn ids_are_shown_and_what_else_they_hold_is_not() {
        check(
            "agent:main:telegram:group:-1001:topic:42",
            "agent:main:telegram:group:-1001:topic:42",
        );
        check("1763800000.000100", "1763800000.000100");
        let mail = format!("agent:main:#{}", &token::hash("jane@example.com")[..8]);
        check("agent:main:jane@example.com", &mail);
        let phone = format!("sms:#{}", &token::hash("+4915112345678")[..8]);
        check("sms:+4915112345678", &phone);
        let words = format!("#{}", &token::hash("what is my balance")[..8]);
        check("what is my balance", &words);
        let long = "x".repeat(200);
        check(&long, &format!("#{}", &token::hash(&long)[..8]));
    }

    #[test]
    fn nothing_is_no_id() {
        assert!(!is_id("") && !is_id("a::b"));
    }

    #[test]
    fn a_gauge_adds_up_over_its_owners() {
        let sum = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let value = || f64::from_bits(sum.load(std::sync::atomic::Ordering::Relaxed));
        let mut one = Share::of(Gauge::from_arc(sum.clone()));
        let mut other = Share::of(Gauge::from_arc(sum.clone()));
        one.set(3);
        other.set(2);
        one.set(1);
        assert!((value() - 3.0).abs() < f64::EPSILON);
        drop(one);
        assert!((value() - 2.0).abs() < f64::EPSILON);
        drop(other);
        assert!(value().abs() < f64::EPSILON);
    }
}
