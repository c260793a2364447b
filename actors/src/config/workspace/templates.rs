//! What a new agent's workspace says until the user edits it.

use super::WorkspaceFile;

/// Stands in a workspace as long as none of these files was written: how an agent and its user get to know each other.
pub(super) const FIRST_CONTACT: &str = "BOOTSTRAP.md";

/// Bootstrap files in the order a prompt has them, with our text where there is one.
const BOOTSTRAP: [(&str, Option<&str>); 9] = [
    ("AGENTS.md", Some(include_str!("../templates/AGENTS.md"))),
    ("SOUL.md", Some(include_str!("../templates/SOUL.md"))),
    ("TOOLS.md", Some(include_str!("../templates/TOOLS.md"))),
    ("IDENTITY.md", Some(include_str!("../templates/IDENTITY.md"))),
    ("USER.md", Some(include_str!("../templates/USER.md"))),
    ("HEARTBEAT.md", Some(include_str!("../templates/HEARTBEAT.md"))),
    (FIRST_CONTACT, Some(include_str!("../templates/BOOTSTRAP.md"))),
    ("MEMORY.md", None),
    ("memory.md", None),
];

/// Names of the bootstrap files, in order.
pub(in crate::config) fn names() -> impl Iterator<Item = &'static str> {
    BOOTSTRAP.iter().map(|(name, _)| *name)
}

/// Is it one of the files an agent starts its turns from.
pub fn is_bootstrap(path: &str) -> bool {
    names().any(|name| name == path)
}

/// Is it how an agent and its user get to know each other.
pub fn is_first_contact(path: &str) -> bool {
    path == FIRST_CONTACT
}

/// Our text for a file that nobody has edited. `fresh`: no bootstrap file of the workspace was written yet.
pub(super) fn template(path: &str, fresh: bool) -> Option<WorkspaceFile> {
    let (name, text) = BOOTSTRAP.iter().find(|(name, _)| *name == path)?;
    let text = (*text).filter(|_| fresh || *name != FIRST_CONTACT)?;
    Some(WorkspaceFile {
        path: (*name).to_owned(),
        content: text.to_owned(),
        size: u64::try_from(text.len()).unwrap_or(u64::MAX),
        version: 0,
        updated_at: 0,
    })
}
