//! A skill's files as they come in: a zip, a tar.gz, or a `SKILL.md` alone. Nothing of it is run, and strangers write it,
//! so names, number, sizes and the ratio of compression have limits (`agent-runtime` §16.5; narrower where files are rows).

mod unpack;

use std::collections::HashSet;

use super::frontmatter::Manifest;
use crate::config::workspace::paths;
use crate::crypto::token;
use crate::error::{Error, Result};

/// Largest archive, and all its files together, bytes.
pub const MAX_ARCHIVE: usize = 10 * 1024 * 1024;
const MAX_TOTAL: usize = 10 * 1024 * 1024;
/// Largest `SKILL.md`, largest other text, largest other file, bytes.
const MAX_SKILL: usize = 256_000;
const MAX_TEXT: usize = 1024 * 1024;
const MAX_ASSET: usize = 512 * 1024;
const MAX_FILES: usize = 500;

/// The file every skill has.
pub const SKILL: &str = "SKILL.md";

/// Files that were found to be a skill.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub manifest: Manifest,
    /// Of the bytes it came as, hex.
    pub sha256: String,
    pub files: Vec<BundleFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Relative to the skill's folder.
    pub path: String,
    pub content: Vec<u8>,
}

impl Bundle {
    /// Reads what was uploaded or fetched: an archive with one skill, or the text of a `SKILL.md`.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Self::read_in(bytes, None)
    }

    /// As [`Self::read`], of the skill in `folder` of the archive; what else is in there is left alone. A folder that
    /// holds the whole archive, as those of hosted repositories have, need not be named.
    pub fn read_in(bytes: &[u8], folder: Option<&str>) -> Result<Self> {
        if bytes.len() > MAX_ARCHIVE {
            return Err(Error::TooLarge("a skill has at most 10 MiB".to_owned()));
        }
        let files = if unpack::is_archive(bytes) {
            unpack::skill(bytes, folder)?
        } else {
            vec![BundleFile {
                path: SKILL.to_owned(),
                content: bytes.to_vec(),
            }]
        };
        Self::of(files, token::hash_bytes(bytes))
    }

    /// Of files that are known, with the hash they had when they came in.
    pub fn of(mut files: Vec<BundleFile>, sha256: String) -> Result<Self> {
        if files.len() > MAX_FILES {
            return Err(Error::TooLarge(format!("a skill has at most {MAX_FILES} files")));
        }
        let mut seen = HashSet::new();
        let mut total = 0;
        for file in &files {
            check_path(&file.path)?;
            if !seen.insert(file.path.to_lowercase()) {
                return Err(Error::Invalid(format!(
                    "the skill has {} twice, or once more in other letters",
                    shown(&file.path)
                )));
            }
            check_size(file)?;
            total += file.content.len();
        }
        if total > MAX_TOTAL {
            return Err(Error::TooLarge(
                "a skill's files have at most 10 MiB together".to_owned(),
            ));
        }
        let skill = files.iter().find(|file| file.path == SKILL);
        let skill = skill.ok_or_else(|| Error::invalid("there is no SKILL.md"))?;
        let text = std::str::from_utf8(&skill.content).map_err(|_| Error::invalid("SKILL.md is not UTF-8 text"))?;
        let manifest = Manifest::parse(text)?;
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Self {
            manifest,
            sha256,
            files,
        })
    }

    /// Bytes of all files.
    pub fn size(&self) -> usize {
        self.files.iter().map(|file| file.content.len()).sum()
    }
}

fn check_size(file: &BundleFile) -> Result<()> {
    let limit = if file.path == SKILL {
        MAX_SKILL
    } else if std::str::from_utf8(&file.content).is_ok() {
        MAX_TEXT
    } else {
        MAX_ASSET
    };
    if file.content.len() > limit {
        return Err(Error::TooLarge(format!(
            "{} is larger than {limit} bytes",
            shown(&file.path)
        )));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<()> {
    paths::check(path).map_err(|_| Error::Invalid(format!("the path {} is not allowed in a skill", shown(path))))
}

/// A stranger's name, fit for a message.
fn shown(path: &str) -> String {
    path.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(80)
        .collect()
}

#[cfg(test)]
mod tests;
