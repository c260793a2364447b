//! The skill port: a public registry of skills, and archives at addresses that people give.

use claw_entities::Scope;
use futures::future::BoxFuture;

use crate::error::Result;

/// Fetches skills from elsewhere, and runs nothing of them. What it gives is a stranger's.
///
/// Errors are for people: `NotFound`, `Busy` with the time to come back, `Upstream` when nobody answers or the answer
/// makes no sense, `Invalid` for an address that may not be asked.
pub trait SkillSource: Send + Sync {
    /// The registry's address, without a slash at the end; `None` when the operator has switched it off.
    fn registry(&self) -> Option<&str>;

    /// Skills that fit the words, best first.
    fn search<'a>(&'a self, scope: &'a Scope, query: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<Hit>>>;

    /// A skill of the registry.
    fn detail<'a>(&'a self, scope: &'a Scope, slug: &'a str) -> BoxFuture<'a, Result<Detail>>;

    /// Its versions, the newest first, as many as the registry gives at once.
    fn versions<'a>(&'a self, scope: &'a Scope, slug: &'a str) -> BoxFuture<'a, Result<Vec<Version>>>;

    /// A version of it.
    fn version<'a>(&'a self, scope: &'a Scope, slug: &'a str, version: &'a str) -> BoxFuture<'a, Result<VersionFacts>>;

    /// The archive of a version.
    fn download<'a>(&'a self, scope: &'a Scope, slug: &'a str, version: &'a str) -> BoxFuture<'a, Result<Vec<u8>>>;

    /// The archive at an address that a person gave.
    fn archive<'a>(&'a self, scope: &'a Scope, address: &'a str) -> BoxFuture<'a, Result<Vec<u8>>>;
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hit {
    pub score: f64,
    pub slug: String,
    pub publisher: Option<String>,
    pub name: String,
    pub summary: Option<String>,
    pub version: Option<String>,
    /// Epoch milliseconds.
    pub updated_at: Option<i64>,
}

/// A skill as the registry describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// The canonical one: a skill may have been renamed.
    pub slug: String,
    pub name: String,
    pub summary: Option<String>,
    /// Names of versions, e.g. `latest`.
    pub tags: Vec<(String, String)>,
    /// Epoch milliseconds.
    pub created_at: i64,
    pub updated_at: i64,
    pub latest: Option<Version>,
    pub os: Vec<String>,
    pub systems: Vec<String>,
    pub publisher: Option<Publisher>,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub version: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    pub changelog: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publisher {
    pub handle: Option<String>,
    pub name: Option<String>,
    pub image: Option<String>,
}

/// What the registry says of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionFacts {
    /// Paths with their SHA-256, hex, as far as they are listed.
    pub files: Vec<(String, String)>,
    pub verdict: Verdict,
}

/// What the registry's scanners found, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Must not be installed.
    Malicious,
    /// With the registry's own words.
    Suspicious(Option<String>),
    /// Nothing, or not looked at.
    #[default]
    Unremarkable,
}
