//! A part of a text, and a sign where the rest was.

/// At most `most` characters of the beginning.
pub(super) fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The same of the end: what was said last.
pub(super) fn end(text: &str, most: usize) -> String {
    let text = text.trim();
    let skipped = text.chars().count().saturating_sub(most);
    match text.char_indices().nth(skipped).filter(|_| skipped > 0) {
        Some((begin, _)) => format!("…{}", &text[begin..]),
        None => text.to_owned(),
    }
}
