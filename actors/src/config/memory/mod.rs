//! What an agent remembers: the notes of its workspace (`MEMORY.md`, `memory/*.md`), in pieces that can be searched
//! (`agent-runtime` §9). The pieces are written with the file they are of, in one transaction.

mod chunk;
pub(crate) mod rank;
mod search;
mod store;
pub(crate) mod terms;
mod vectors;

pub(crate) use search::{Meant, snippet};
pub(super) use store::{forget, index};
pub(crate) use store::{mark, marked, unmarked};

/// Is the file one of the notes: long-lived ones, or those of a day.
pub fn is_note(path: &str) -> bool {
    is_long_lived(path) || (path.starts_with(FOLDER) && path.ends_with(".md") && path.len() > FOLDER.len() + 3)
}

/// Is it the file of what stays true.
pub fn is_long_lived(path: &str) -> bool {
    path == LONG_LIVED || path == "memory.md"
}

/// The notes of a day, `YYYY-MM-DD`.
pub fn of_day(date: &str) -> String {
    format!("{FOLDER}{date}.md")
}

/// What stays true.
pub const LONG_LIVED: &str = "MEMORY.md";
const FOLDER: &str = "memory/";

/// A piece of the notes that fits a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub path: String,
    /// Counted from 1.
    pub start_line: i64,
    /// The last line of the piece.
    pub end_line: i64,
    /// How well it fits, above 0 to 1.
    pub score: f64,
    /// At most 700 characters of the piece.
    pub snippet: String,
}

#[cfg(test)]
mod tests;
