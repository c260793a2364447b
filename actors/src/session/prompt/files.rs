//! The bootstrap files in the prompt (`agent-runtime` §8.2): which, in what order, how much of each.

use std::fmt::Write;

use super::{Audience, Mode, PromptFacts};
use crate::config::workspace::WorkspaceFile;

/// The order of the prompt.
const ORDER: [&str; 9] = [
    "AGENTS.md",
    "SOUL.md",
    "TOOLS.md",
    "IDENTITY.md",
    "USER.md",
    "HEARTBEAT.md",
    "BOOTSTRAP.md",
    "MEMORY.md",
    "memory.md",
];
/// Those whose absence is worth a line.
const EXPECTED: [&str; 5] = ["AGENTS.md", "SOUL.md", "TOOLS.md", "IDENTITY.md", "USER.md"];

/// Does the file hold what belongs to the user alone. Guests and groups get instruction files only.
pub fn is_private(path: &str) -> bool {
    !matches!(path, "AGENTS.md" | "SOUL.md" | "TOOLS.md" | "IDENTITY.md")
}

fn is_memory(path: &str) -> bool {
    path.eq_ignore_ascii_case("memory.md")
}

/// May this file be in this prompt.
fn admitted(path: &str, mode: Mode, audience: Audience) -> bool {
    match mode {
        Mode::Bare | Mode::NoFiles => false,
        Mode::Minimal => matches!(path, "AGENTS.md" | "TOOLS.md"),
        Mode::Light => path == "HEARTBEAT.md",
        Mode::Full if is_memory(path) => audience.is_private(),
        Mode::Full => audience.speaks_with_owner() || !is_private(path),
    }
}

pub(super) fn project_context(prompt: &mut String, facts: &PromptFacts<'_>) {
    if facts.mode == Mode::NoFiles {
        return;
    }
    prompt.push_str("\n\n## Project context\nThese files of your workspace are loaded for every conversation.");
    let (most, mut left) = facts.file_chars;
    for (name, file) in chosen(facts.files, facts.mode, facts.audience) {
        match file {
            Some(file) => left = left.saturating_sub(push_file(prompt, file, most.min(left))),
            None if EXPECTED.contains(&name) && facts.mode == Mode::Full => {
                let _ = write!(prompt, "\n\n({name} does not exist.)");
            }
            None => {}
        }
    }
}

/// The names of the prompt in order, with the files that are there.
fn chosen(
    files: &[WorkspaceFile],
    mode: Mode,
    audience: Audience,
) -> impl Iterator<Item = (&'static str, Option<&WorkspaceFile>)> {
    let mut remembered = false;
    ORDER.into_iter().filter_map(move |name| {
        if !admitted(name, mode, audience) || (is_memory(name) && remembered) {
            return None;
        }
        let file = files.iter().find(|file| file.path == name);
        remembered = remembered || (is_memory(name) && file.is_some());
        Some((name, file))
    })
}

/// How much of a file is in the prompt, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileShare {
    pub path: String,
    pub raw: usize,
    pub injected: usize,
}

/// What the prompt holds of each file.
pub fn shares(
    files: &[WorkspaceFile],
    mode: Mode,
    audience: Audience,
    (most, mut left): (usize, usize),
) -> Vec<FileShare> {
    let mut shares = Vec::new();
    for (name, file) in chosen(files, mode, audience) {
        let Some(file) = file else { continue };
        let injected = push_file(&mut String::new(), file, most.min(left));
        left = left.saturating_sub(injected);
        shares.push(FileShare {
            path: name.to_owned(),
            raw: file.content.trim().chars().count(),
            injected,
        });
    }
    shares
}

/// Gives the characters it took. Blank files are left out.
fn push_file(prompt: &mut String, file: &WorkspaceFile, limit: usize) -> usize {
    let content = file.content.trim();
    if content.is_empty() {
        return 0;
    }
    let _ = write!(prompt, "\n\n### {}\n", file.path);
    // Bytes bound characters from above: short files need no counting.
    let total = if content.len() <= limit {
        content.len()
    } else {
        content.chars().count()
    };
    if total <= limit {
        prompt.push_str(content);
        return total;
    }
    let head = limit * 7 / 10;
    let tail = limit * 2 / 10;
    prompt.push_str(&content[..at(content, head)]);
    let _ = write!(
        prompt,
        "\n[… {} of {total} characters of {} left out; read the file for the rest …]\n",
        total - head - tail,
        file.path
    );
    prompt.push_str(&content[at(content, total - tail)..]);
    limit
}

/// Byte position of the character `count`.
fn at(text: &str, count: usize) -> usize {
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}
