//! The agent's workspace in a run: its text files and notes, read and written by tools.
//!
//! Only a conversation that nobody but the user reads has it: what a tool gives stays in the transcript, and in a group or a
//! guest's session the next turn of somebody else would be sent it.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use claw_entities::Scope;

use super::budget::{Charge, Payer};
use super::recall::{self, Question, Recalled};
use crate::Services;
use crate::clock::now_ms;
use crate::config::memory;
use crate::config::workspace::{WorkspaceFile, check_path};
use crate::error::{Error, Result};

/// What the model is told when something cannot be done.
type Told<T> = std::result::Result<T, String>;

/// The files of one agent. Cheap to clone.
#[derive(Clone)]
pub struct Workspace {
    services: Services,
    scope: Scope,
    agent_id: String,
    zone: Tz,
    rights: Rights,
    charge: Charge,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    All,
    /// The notes of today may be added to, and that is all.
    Diary,
}

/// What became of words to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    pub path: String,
    /// False when the file ended with them already.
    pub added: bool,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Workspace").finish_non_exhaustive()
    }
}

impl Workspace {
    pub fn new(services: &Services, scope: &Scope, agent_id: &str, zone: Tz) -> Self {
        Self {
            services: services.clone(),
            scope: scope.clone(),
            agent_id: agent_id.to_owned(),
            zone,
            rights: Rights::All,
            charge: Charge::default(),
        }
    }

    /// The same, with vectors that whoever pays for the run pays for.
    #[must_use]
    pub(crate) fn charged(self, charge: &Charge) -> Self {
        Self {
            charge: charge.clone(),
            ..self
        }
    }

    fn payer(&self) -> Payer<'_> {
        Payer {
            scope: &self.scope,
            agent_id: &self.agent_id,
            charge: &self.charge,
        }
    }

    /// The same, to read and to add to the notes of today only.
    #[must_use]
    pub(crate) fn diary(self) -> Self {
        Self {
            rights: Rights::Diary,
            ..self
        }
    }

    /// The text of a file; `None` when it is not there.
    pub async fn read(&self, path: &str) -> Told<Option<String>> {
        check_path(path).map_err(told)?;
        let file = self
            .services
            .config
            .workspace_file(&self.scope, &self.agent_id, path)
            .await;
        Ok(file.map_err(told)?.map(|file| file.content))
    }

    /// All files by path, without their content.
    pub async fn list(&self) -> Told<Vec<WorkspaceFile>> {
        let files = self.services.config.list_workspace(&self.scope, &self.agent_id).await;
        files.map_err(told)
    }

    /// Writes a whole file.
    pub async fn write(&self, path: &str, content: &str) -> Told<()> {
        self.check(path)?;
        let written = self
            .services
            .config
            .put_workspace_file(&self.scope, &self.agent_id, path, content, None)
            .await;
        written.map_err(told)?;
        self.remind(path);
        Ok(())
    }

    /// Puts `new` in the one place where `old` stands. Gives false when it was so already.
    pub async fn edit(&self, path: &str, old: &str, new: &str) -> Told<bool> {
        self.check(path)?;
        let edit = |before: Option<&WorkspaceFile>| match before {
            Some(file) => edited(&file.content, old, new),
            None => Err(Error::Invalid(format!("There is no file {path}; write makes one"))),
        };
        self.changed(path, edit).await
    }

    /// Adds words to a file of the notes, by default to those of today; makes it where it is not there.
    pub async fn note(&self, path: Option<&str>, text: &str) -> Told<Noted> {
        let today = memory::of_day(&self.date());
        let path = path.unwrap_or(&today);
        if !memory::is_note(path) {
            return Err(format!(
                "Notes are {} and memory/*.md; {path} is neither.",
                memory::LONG_LIVED
            ));
        }
        self.check(path)?;
        if text.trim().is_empty() {
            return Err("There is nothing to write down.".to_owned());
        }
        let add = |before: Option<&WorkspaceFile>| Ok(added(before.map_or("", |file| &file.content), text));
        Ok(Noted {
            added: self.changed(path, add).await?,
            path: path.to_owned(),
        })
    }

    /// The pieces of the notes that fit, best first.
    pub async fn search(&self, question: &Question) -> Told<Recalled> {
        let recalled = recall::recall_for(&self.services, self.payer(), question);
        recalled.await.map_err(told)
    }

    async fn changed(
        &self,
        path: &str,
        change: impl Fn(Option<&WorkspaceFile>) -> Result<Option<String>> + Send,
    ) -> Told<bool> {
        let changed = self
            .services
            .config
            .change_workspace_file(&self.scope, &self.agent_id, path, change)
            .await;
        let changed = changed.map_err(told)?.is_some();
        if changed {
            self.remind(path);
        }
        Ok(changed)
    }

    /// A note changed: what it means is looked at soon.
    fn remind(&self, path: &str) {
        if memory::is_note(path) {
            recall::remind(&self.services, self.payer());
        }
    }

    fn check(&self, path: &str) -> Told<()> {
        match self.rights {
            Rights::All => Ok(()),
            Rights::Diary if path == memory::of_day(&self.date()) => Ok(()),
            Rights::Diary => Err("Now only the notes of today may be written; leave path out.".to_owned()),
        }
    }

    /// Today where the user is, `YYYY-MM-DD`.
    fn date(&self) -> String {
        let now = DateTime::<Utc>::from_timestamp_millis(now_ms()).unwrap_or_default();
        now.with_timezone(&self.zone).format("%Y-%m-%d").to_string()
    }
}

/// What is the model's to mend is said; the rest is ours.
fn told(error: Error) -> String {
    match error {
        Error::Invalid(why) | Error::TooLarge(why) | Error::Conflict(why) => format!("{why}."),
        Error::Unauthenticated(_)
        | Error::Forbidden(_)
        | Error::Budget(_)
        | Error::NotFound { .. }
        | Error::Busy { .. }
        | Error::NotConnected(_)
        | Error::PairingChanged
        | Error::Timeout(_)
        | Error::Upstream(_)
        | Error::Storage(_)
        | Error::Fenced
        | Error::Internal(_) => {
            tracing::warn!(error = ?error, "workspace out of reach");
            "The workspace cannot be reached right now.".to_owned()
        }
    }
}

/// `content` with `new` in the one place of `old`; `None` when `new` stands around that place already, so that an edit made
/// twice is made once.
fn edited(content: &str, old: &str, new: &str) -> Result<Option<String>> {
    if old.is_empty() {
        return Err(Error::invalid("oldText is empty"));
    }
    let mut places = content.match_indices(old);
    let Some((at, _)) = places.next() else {
        return Err(Error::invalid(
            "oldText is not in the file: read it again, spaces and line ends count",
        ));
    };
    let more = places.count();
    if more > 0 {
        let times = more + 1;
        return Err(Error::Invalid(format!(
            "oldText is in the file {times} times: take enough around it that it is there once"
        )));
    }
    let done = new.match_indices(old).any(|(inside, _)| {
        at.checked_sub(inside)
            .and_then(|start| content.get(start..))
            .is_some_and(|rest| rest.starts_with(new))
    });
    Ok((!done).then(|| content.replacen(old, new, 1)))
}

/// `content` with `text` on lines of its own at the end; `None` when those lines stand there already, wherever, so that a
/// note made twice, as after a crash, is there once.
fn added(content: &str, text: &str) -> Option<String> {
    let (before, text) = (content.trim_end(), text.trim());
    let there = before.match_indices(text).any(|(at, found)| {
        let (above, below) = (before.get(..at), before.get(at + found.len()..));
        above.is_some_and(|above| above.is_empty() || above.ends_with('\n'))
            && below.is_some_and(|below| below.is_empty() || below.starts_with('\n'))
    });
    if there {
        return None;
    }
    let gap = if before.is_empty() { "" } else { "\n" };
    Some(format!("{before}{gap}{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Limits;
    use crate::testing::{ScriptedModel, Step, start};

    #[test]
    fn words_are_added_once() {
        assert_eq!(added("", " a \n").as_deref(), Some("a\n"));
        assert_eq!(added("a\n\n", "b").as_deref(), Some("a\nb\n"));
        assert_eq!(added("a\nb\n", "b"), None);
        assert_eq!(added("a\nb\nc\n", "b\nc"), None);
        assert_eq!(
            added("ab\n", "b").as_deref(),
            Some("ab\nb\n"),
            "a part of a line is none"
        );
        assert_eq!(added("b\na\n", "b"), None, "two notes of one batch, made again");
        assert_eq!(added("b a\n", "b").as_deref(), Some("b a\nb\n"));
    }

    #[test]
    fn an_edit_has_one_place_and_is_made_once() {
        let edit = |content, old, new| edited(content, old, new).map_err(|error| error.to_string());
        assert_eq!(edit("a b c", "b", "x").unwrap().as_deref(), Some("a x c"));
        assert_eq!(edit("a b c", "b c", "").unwrap().as_deref(), Some("a "));
        assert_eq!(
            edit("list:\n", "list:", "list:\n- one").unwrap().as_deref(),
            Some("list:\n- one\n")
        );
        assert_eq!(edit("list:\n- one\n", "list:", "list:\n- one").unwrap(), None);
        assert_eq!(edit("b", "b", "b").unwrap(), None);
        assert!(edit("a a", "a", "b").unwrap_err().contains("2 times"));
        assert!(edit("a", "x", "b").unwrap_err().contains("not in the file"));
        assert!(edit("a", "", "b").unwrap_err().contains("empty"));
    }

    #[actix::test]
    async fn notes_go_to_the_users_day_and_are_found() {
        let silent = ScriptedModel::new(|_| Step::Hang);
        let runtime = start(silent, Limits::default(), 1).await;
        let owner = runtime.owner("acme").await;
        // Zones that are never in the same day.
        let (east, west) = (Tz::Pacific__Kiritimati, Tz::Pacific__Pago_Pago);
        let at = |zone| Workspace::new(&runtime.services, &owner, "main", zone);
        let eastern = at(east).note(None, "the door code is 4711").await.expect("notes");
        let western = at(west).note(None, "the other code").await.expect("notes");
        assert!(eastern.added && eastern.path > western.path, "{eastern:?} {western:?}");
        let again = at(east).note(None, "the door code is 4711").await.expect("notes");
        assert_eq!((again.added, &again.path), (false, &eastern.path));
        let door = Question {
            text: "door".to_owned(),
            ..Question::default()
        };
        let found = at(east).search(&door).await.expect("searches").found;
        assert_eq!((found.len(), &found[0].path), (1, &eastern.path));
        assert_eq!(
            (found[0].start_line, found[0].snippet.as_str()),
            (1, "the door code is 4711")
        );

        let diary = at(east).diary();
        assert!(diary.note(Some("MEMORY.md"), "x").await.is_err());
        assert!(diary.write("SOUL.md", "x").await.is_err() && diary.edit(&western.path, "o", "x").await.is_err());
        assert!(diary.note(Some(&eastern.path), "more").await.expect("notes").added);
        for path in [
            "SOUL.md",
            "memory/../x.md",
            "memory/.md",
            "memory",
            "notes/a.md",
            "/MEMORY.md",
        ] {
            assert!(at(east).note(Some(path), "x").await.is_err(), "{path}");
        }
        assert!(
            at(east)
                .edit("none.md", "a", "b")
                .await
                .unwrap_err()
                .contains("no file")
        );
        assert!(
            at(east).edit("SOUL.md", "never in it", "b").await.is_err(),
            "a template can be edited"
        );
        at(east).write("a/b.md", "one").await.expect("writes");
        at(east).write("a/b.md", "two").await.expect("writes");
        assert!(at(east).edit("a/b.md", "two", "three").await.expect("edits"));
        assert_eq!(at(east).read("a/b.md").await.expect("reads").as_deref(), Some("three"));
    }
}
