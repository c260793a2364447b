//! The virtual workspace: text files per agent, in the database.

mod files;
pub mod identity;
pub(super) mod paths;
mod templates;

pub use paths::check as check_path;
pub use templates::{is_bootstrap, is_first_contact};

/// A text file of an agent.
#[derive(Clone, Debug)]
pub struct WorkspaceFile {
    pub path: String,
    /// Empty in listings.
    pub content: String,
    /// Bytes of the content.
    pub size: u64,
    /// Raised by every write; 0 for a template that nobody has edited yet.
    pub version: i64,
    /// Epoch milliseconds; 0 for a template.
    pub updated_at: i64,
}
