//! What an import says, a line per setting.

use std::fmt;

use serde::Serialize;

/// What became of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Taken,
    /// Meaningful on a machine of one's own only.
    NoMeaning,
    Unknown,
    /// Known, but as it stands it cannot be taken.
    NotTaken,
    /// Worth knowing about something that was taken.
    Note,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) outcome: Outcome,
    /// Dotted, as in the file.
    pub(super) setting: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) note: String,
}

/// The lines so far, in the order of the file.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn add(&mut self, outcome: Outcome, setting: impl Into<String>, note: impl Into<String>) {
        self.lines.push(Line {
            outcome,
            setting: setting.into(),
            note: note.into(),
        });
    }

    /// What was going to be taken was refused after all.
    pub(super) fn refuse(&mut self, setting: String, why: String) {
        match self
            .lines
            .iter_mut()
            .rfind(|line| line.setting == setting && line.outcome == Outcome::Taken)
        {
            Some(line) => {
                line.outcome = Outcome::NotTaken;
                line.note = why;
            }
            None => self.add(Outcome::NotTaken, setting, why),
        }
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// One line that counts the others.
    pub(super) fn summary(&self) -> String {
        let count = |outcome| self.lines.iter().filter(|line| line.outcome == outcome).count();
        format!(
            "{} taken, {} not taken, {} without meaning in the cloud, {} unknown",
            count(Outcome::Taken),
            count(Outcome::NotTaken),
            count(Outcome::NoMeaning),
            count(Outcome::Unknown),
        )
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match self.outcome {
            Outcome::Taken => "taken",
            Outcome::NoMeaning => "no meaning in the cloud",
            Outcome::Unknown => "unknown",
            Outcome::NotTaken => "not taken",
            Outcome::Note => "note",
        };
        write!(formatter, "{outcome:<24}{}", self.setting)?;
        if !self.note.is_empty() {
            write!(formatter, ": {}", self.note)?;
        }
        Ok(())
    }
}
