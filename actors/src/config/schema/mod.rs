//! What an OpenClaw configuration may say here: one table of keys. `config.schema`, the checks of `config.set` and its
//! siblings, and what `import` takes are all read from it.

mod check;
mod keys;
mod render;

pub use check::{Issue, Weight, check, prune};
pub use keys::{BUILT_IN_TOOLS, PLATFORMS, Platform, ROOT};
pub use render::{Lookup, document, hints, lookup};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    Text,
    /// A text that is sealed when it is stored and shown as a marker.
    Secret,
    /// A whole number, not negative.
    Whole,
    Number,
    /// An id of a platform: a text or a number.
    Id,
    Choice(&'static [&'static str]),
    Formed(&'static Form),
    /// A text that should look like something: else the person is told.
    Hinted(&'static Hint),
    List(&'static Kind),
    /// Known keys, in groups that other objects may share.
    Object(&'static [&'static [Key]]),
    /// Any key.
    Map(&'static Kind),
    Either(&'static [Kind]),
    Any,
}

/// A text that must look like something.
#[derive(Debug)]
pub struct Form {
    /// Ends the sentence "must be …".
    pub what: &'static str,
    pub fits: fn(&str) -> bool,
}

/// A text that may be anything and is of use only if it fits.
#[derive(Debug)]
pub struct Hint {
    /// What is said of one that does not.
    pub otherwise: &'static str,
    pub fits: fn(&str) -> bool,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// The product does what it says.
    Live,
    /// Kept as it is; the note says why nothing comes of it yet.
    Kept(&'static str),
    /// Means something on a machine of one's own only, or not yet here; the note says why.
    Elsewhere(&'static str),
    /// What programs write about the file itself: left out, nobody misses it.
    Bookkeeping,
}

/// One key of an object.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub state: State,
    /// A sentence for people; may be empty.
    pub help: &'static str,
}

impl Key {
    /// The key of this name below, if this is an object that knows it.
    pub fn child(&self, name: &str) -> Option<&'static Self> {
        self.kind.child(name)
    }

    /// Is the key part of the configuration here, live or kept.
    pub const fn taken(&self) -> bool {
        matches!(self.state, State::Live | State::Kept(_))
    }

    /// Why nothing comes of it; empty when something does.
    pub const fn note(&self) -> &'static str {
        match self.state {
            State::Kept(note) | State::Elsewhere(note) => note,
            State::Live | State::Bookkeeping => "",
        }
    }
}

impl Kind {
    /// The key of this name, in an object of known keys.
    pub fn child(&self, name: &str) -> Option<&'static Key> {
        if let Self::Object(groups) = self {
            groups.iter().flat_map(|keys| keys.iter()).find(|key| key.name == name)
        } else {
            None
        }
    }

    /// What each entry of a list, or of an object with any key, is.
    pub const fn entry(&self) -> Option<&'static Self> {
        if let Self::List(of) | Self::Map(of) = self {
            Some(of)
        } else {
            None
        }
    }
}

/// The key at this dotted path of known keys, e.g. `agents.defaults`.
pub fn at(path: &str) -> Option<&'static Key> {
    let mut names = path.split('.');
    let first = ROOT.child(names.next()?)?;
    names.try_fold(first, |key, name| key.child(name))
}

const fn live(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        name,
        kind,
        state: State::Live,
        help,
    }
}

/// Stored, but nothing reads it yet.
const fn kept(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        state: State::Kept("stored, has no effect yet"),
        help: "",
    }
}

const fn elsewhere(name: &'static str, why: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Any,
        state: State::Elsewhere(why),
        help: "",
    }
}

const fn bookkeeping(name: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Any,
        state: State::Bookkeeping,
        help: "",
    }
}

#[cfg(test)]
mod tests;
