//! Which paths a workspace knows.

use crate::error::{Error, Result};

const LONGEST: usize = 200;

/// Relative, no `..`, no hidden parts, at most 200 characters; case counts.
pub fn check(path: &str) -> Result<()> {
    let problem = if path.is_empty() || path.chars().count() > LONGEST {
        Some("has 1 to 200 characters")
    } else if path.starts_with('/') || path.contains('\\') || path.contains(':') {
        Some("is relative and uses / between its parts")
    } else if path.chars().any(char::is_control) {
        Some("has no control characters")
    } else if path.split('/').any(|part| part.is_empty() || part.trim() != part) {
        Some("has no empty parts and no spaces around them")
    } else if path.split('/').any(|part| part.starts_with('.')) {
        Some("has no part that starts with a dot")
    } else {
        None
    };
    match problem {
        Some(problem) => Err(Error::Invalid(format!("a workspace path {problem}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for good in ["AGENTS.md", "memory/2026-11-24.md", "a b.md", "ü/x", &"x".repeat(200)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/./b",
            ".env",
            "a/.git/x",
            "a//b",
            "a/",
            "a\\b",
            "c:x",
            "a\nb",
            "a/ b",
            &"x".repeat(201),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
