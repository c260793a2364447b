//! Small parts that come quickly one after another go out as one.

use tokio::time::Instant;

use crate::config::document::{Break, Joining};

/// Holds parts back for a moment.
#[derive(Debug)]
pub(crate) struct Coalescer {
    joining: Joining,
    joiner: &'static str,
    held: String,
    since: Option<Instant>,
}

impl Coalescer {
    pub(crate) fn new(joining: Joining, preference: Break) -> Self {
        Self {
            joining,
            joiner: match preference {
                Break::Paragraph => "\n\n",
                Break::Newline => "\n",
                Break::Sentence => " ",
            },
            held: String::new(),
            since: None,
        }
    }

    /// Takes a part. Gives what goes out now.
    pub(crate) fn push(&mut self, part: &str, now: Instant) -> Vec<String> {
        let mut out = Vec::new();
        let joined = self.held.chars().count() + self.joiner.len() + part.chars().count();
        if !self.held.is_empty() && joined > self.joining.max {
            out.extend(self.flush());
        }
        if !self.held.is_empty() {
            self.held.push_str(self.joiner);
        }
        self.held.push_str(part);
        self.since = Some(now);
        if self.held.chars().count() >= self.joining.max {
            out.extend(self.flush());
        }
        out
    }

    /// When what is held goes out by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        let long_enough = self.held.chars().count() >= self.joining.min;
        self.since
            .filter(|_| long_enough)
            .map(|since| since + self.joining.idle)
    }

    /// Gives what is held.
    pub(crate) fn flush(&mut self) -> Option<String> {
        self.since = None;
        Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn parts_are_joined_up_to_the_limit_and_wait_for_quiet() {
        let joining = Joining {
            idle: Duration::from_secs(1),
            min: 4,
            max: 12,
        };
        let mut coalescer = Coalescer::new(joining, Break::Newline);
        let now = Instant::now();
        assert!(coalescer.push("abc", now).is_empty());
        assert_eq!(coalescer.due(), None, "too short to go by itself");
        assert!(coalescer.push("de", now).is_empty());
        assert_eq!(coalescer.due(), Some(now + Duration::from_secs(1)));
        assert_eq!(coalescer.push("fghijk", now), ["abc\nde"]);
        assert_eq!(coalescer.push("0123456789abc", now), ["fghijk", "0123456789abc"]);
        assert_eq!((coalescer.flush(), coalescer.due()), (None, None));
    }
}
