//! Patterns of names.

/// `*` stands for anything, wherever it is.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.trim().split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything_wherever_it_stands() {
        for (pattern, name, does) in [
            ("*", "anything", true),
            ("a*", "a", true),
            ("aa*a", "aa", false),
            ("*exec*", "exec", true),
            ("*exec*", "node_exec_now", true),
            ("*exec*", "execut", true),
            ("*exec*", "exe", false),
            ("files__*_write", "files__all_write", true),
            ("files__*_write", "files__write", false),
            ("a*b*c", "a-c-b", false),
            (" exact ", "exact", true),
            ("exact", "exactly", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern, name), does, "{pattern} {name}");
        }
    }
}
