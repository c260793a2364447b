//! Credentials in what was said, blotted out before another session's model reads it.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

const BLOT: &str = "[redacted]";

/// What keys and tokens look like. One linear pattern.
static LOOKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let shapes = [
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
        r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}",
        r"\bxox[a-z]-[A-Za-z0-9-]{10,}",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        r"\btvly-[A-Za-z0-9-]{10,}",
        r"\bAIza[0-9A-Za-z_-]{30,}",
        r"\bAKIA[0-9A-Z]{16}\b",
        r"\b[0-9]{6,12}:[A-Za-z0-9_-]{30,}",
        r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        r"(?i:\bbearer\s+[A-Za-z0-9._~+/=-]{16,})",
        r#"(?i:\b(?:api[_-]?key|access[_-]?token|token|secret|password|passwd)["']?\s*[:=]\s*["']?[^\s"',;]{8,})"#,
    ];
    Regex::new(&shapes.join("|")).ok()
});

/// The text without them.
pub(super) fn credentials(text: &str) -> Cow<'_, str> {
    match &*LOOKS {
        Some(looks) => looks.replace_all(text, BLOT),
        // Nothing is shown rather than too much; a test keeps the pattern valid.
        None => Cow::Borrowed(BLOT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_go_and_words_stay() {
        for secret in [
            "sk-abcdefghijklmnop1234",
            "xoxb-1234567890-abcdef",
            "ghp_abcdefghijklmnopqrstuvwx",
            "AKIAABCDEFGHIJKLMNOP",
            "4242424242:AAabcdefghijklmnopqrstuvwxyz0123456789",
            "Bearer abcdefghijklmnopqrstuvwxyz",
            "api_key = \"hunter2hunter2\"",
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
        ] {
            let shown = credentials(secret);
            assert!(
                shown.contains(BLOT) && shown.len() <= BLOT.len() + 1,
                "{secret} became {shown}"
            );
        }
        for text in [
            "the token of my esteem",
            "task-list",
            "at 12:30",
            "password: ask me",
            "sk-1",
        ] {
            assert_eq!(credentials(text), text);
        }
    }
}
