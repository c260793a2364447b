//! What is different between two versions of a skill, for the person who decides.

use std::time::{Duration, Instant};

use similar::TextDiff;

use crate::config::skills::BundleFile;

/// Largest text that is compared line by line, bytes.
const MAX_TEXT: usize = 256 * 1024;
/// Characters of all differences together; what is beyond is only named.
const MAX_SHOWN: usize = 200_000;
/// Time for all of them.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

impl ChangeKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// A file that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub kind: ChangeKind,
    /// As `diff -u` writes it; `None` where the file is no text, or there is too much of it.
    pub diff: Option<String>,
}

/// Files that are different, by path.
pub(super) fn between(before: &[BundleFile], after: &[BundleFile]) -> Vec<Change> {
    let until = Instant::now() + PATIENCE;
    let mut left = MAX_SHOWN;
    let mut paths: Vec<&str> = before.iter().chain(after).map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let find = |files: &'_ [BundleFile], path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| file.content.clone())
    };
    let mut changes = Vec::new();
    for path in paths {
        let (old, new) = (find(before, path), find(after, path));
        let kind = match (&old, &new) {
            (Some(old), Some(new)) if old == new => continue,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (Some(_), None) => ChangeKind::Removed,
            (None, _) => ChangeKind::Added,
        };
        let diff = diff(&old.unwrap_or_default(), &new.unwrap_or_default(), until);
        let diff = diff.filter(|diff| diff.len() <= left);
        left -= diff.as_ref().map_or(0, String::len);
        changes.push(Change {
            path: path.to_owned(),
            kind,
            diff,
        });
    }
    changes
}

fn diff(old: &[u8], new: &[u8], until: Instant) -> Option<String> {
    if old.len() > MAX_TEXT || new.len() > MAX_TEXT || Instant::now() >= until {
        return None;
    }
    let (old, new) = (std::str::from_utf8(old).ok()?, std::str::from_utf8(new).ok()?);
    let diff = TextDiff::configure().deadline(until).diff_lines(old, new);
    Some(diff.unified_diff().context_radius(3).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &[u8]) -> BundleFile {
        BundleFile {
            path: path.to_owned(),
            content: content.to_vec(),
        }
    }

    #[test]
    fn what_came_what_went_and_what_is_otherwise() {
        let before = [
            file("SKILL.md", b"one\ntwo\n"),
            file("gone.md", b"x\n"),
            file("same", b"s"),
        ];
        let after = [
            file("SKILL.md", b"one\nthree\n"),
            file("new.bin", &[0, 255]),
            file("same", b"s"),
        ];
        let changes = between(&before, &after);
        let kinds: Vec<(&str, &str)> = changes
            .iter()
            .map(|change| (change.path.as_str(), change.kind.name()))
            .collect();
        assert_eq!(
            kinds,
            [("SKILL.md", "changed"), ("gone.md", "removed"), ("new.bin", "added")]
        );
        let diff = changes[0].diff.as_deref().expect("a text");
        assert!(diff.contains("-two\n+three\n"), "{diff}");
        assert_eq!(changes[2].diff, None);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let old: String = (0..60_000).map(|n| format!("{n}\n")).collect();
        let new: String = (0..60_000).map(|n| format!("{}\n", n * 7 % 60_000)).collect();
        let changes = between(&[file("a", old.as_bytes())], &[file("a", new.as_bytes())]);
        assert_eq!(changes[0].diff, None);
        assert!(between(&[], &[file("b", &vec![b'x'; MAX_TEXT + 1])])[0].diff.is_none());
    }
}
