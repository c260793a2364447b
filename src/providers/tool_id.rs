//! Tool-call ids in the form a strict provider takes. The same id always becomes the same, so calls and results match.

use std::borrow::Cow;

use claw_actors::crypto::token;

/// Letters, digits, `_` and `-`, at most `longest` characters (at least 24).
pub(super) fn portable(id: &str, longest: usize) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= longest && id.bytes().all(plain) {
        return Cow::Borrowed(id);
    }
    let mut kept: String = id
        .bytes()
        .take(longest - 13)
        .map(|byte| if plain(byte) { char::from(byte) } else { '_' })
        .collect();
    kept.push('_');
    kept.push_str(&token::hash(id)[..12]);
    Cow::Owned(kept)
}

/// Exactly nine letters and digits, which is what Mistral takes.
pub(super) fn nine(id: &str) -> Cow<'_, str> {
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(token::hash(id)[..9].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(portable("toolu_01-a", 64), "toolu_01-a");
        let foreign = portable("call_1|fc_é", 40);
        assert!(foreign.starts_with("call_1_fc_"), "{foreign}");
        assert!(foreign.len() <= 40);
        let long = portable("x".repeat(100).leak(), 40);
        assert_eq!(long.len(), 40);
        assert_ne!(long, portable("x".repeat(101).leak(), 40));
        assert!(!portable("", 40).is_empty());
        assert_eq!(nine("abcDEF123"), "abcDEF123");
        assert_eq!(nine("call_1").len(), 9);
        assert_eq!(nine("call_1"), nine("call_1"));
        assert_ne!(nine("call_1"), nine("call_2"));
    }
}
