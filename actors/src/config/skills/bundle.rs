//! A skill's files as they come in: a zip, or a `SKILL.md` alone. Nothing of it is run, and strangers write it, so
//! names, number, sizes and the ratio of compression have limits (`agent-runtime` §16.5; narrower where files are rows).

use std::collections::HashSet;
use std::io::{Cursor, Read};

use ring::digest;
use zip::ZipArchive;

use super::frontmatter::Manifest;
use crate::config::workspace::paths;
use crate::crypto::token::hex;
use crate::error::{Error, Result};

/// Largest archive, and all its files together, bytes.
pub const MAX_ARCHIVE: usize = 10 * 1024 * 1024;
const MAX_TOTAL: usize = 10 * 1024 * 1024;
/// Largest `SKILL.md`, largest other text, largest other file, bytes.
const MAX_SKILL: usize = 256_000;
const MAX_TEXT: usize = 1024 * 1024;
const MAX_ASSET: usize = 512 * 1024;
const MAX_FILES: usize = 500;
/// Entries of an archive, those that are left out included.
const MAX_ENTRIES: usize = 2_000;
/// Bytes that come of one; small files may shrink to nearly nothing.
const MAX_RATIO: usize = 100;
const RATIO_FROM: usize = 64 * 1024;

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
    /// Reads an upload: a zip with `SKILL.md` at its top or in its only folder, or the text of a `SKILL.md`.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_ARCHIVE {
            return Err(Error::TooLarge("a skill has at most 10 MiB".to_owned()));
        }
        let files = if bytes.starts_with(b"PK") {
            unfolded(unzip(bytes)?)?
        } else {
            vec![BundleFile {
                path: SKILL.to_owned(),
                content: bytes.to_vec(),
            }]
        };
        Self::of(files, sha256(bytes))
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

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
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

/// All files of an archive. What only operating systems leave behind is left out; anything that could leave the folder
/// is refused.
fn unzip(bytes: &[u8]) -> Result<Vec<BundleFile>> {
    let broken = |_| Error::invalid("the archive cannot be read: it is no zip, or not a whole one");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > MAX_ENTRIES {
        return Err(Error::TooLarge(format!(
            "the archive has more than {MAX_ENTRIES} entries"
        )));
    }
    let mut files = Vec::new();
    let mut left = MAX_TOTAL;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|_| {
            Error::invalid("the archive has an entry that cannot be read: encrypted, or packed in a rare way")
        })?;
        let name = std::str::from_utf8(entry.name_raw())
            .map_err(|_| Error::invalid("the archive has a name that is not UTF-8"))?
            .to_owned();
        let escapes =
            name.starts_with('/') || name.contains(['\\', ':', '\0']) || name.split('/').any(|part| part == "..");
        if escapes {
            return Err(Error::Invalid(format!(
                "the path {} is not allowed in a skill",
                shown(&name)
            )));
        }
        if entry.is_symlink() {
            return Err(Error::Invalid(format!(
                "{} is a link; a skill has files only",
                shown(&name)
            )));
        }
        let litter = name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
        if name.ends_with('/') || litter {
            continue;
        }
        check_path(&name)?;
        if files.len() >= MAX_FILES {
            return Err(Error::TooLarge(format!("a skill has at most {MAX_FILES} files")));
        }
        let packed = usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX);
        let limit = left.min(MAX_TEXT).min(packed.saturating_mul(MAX_RATIO).max(RATIO_FROM));
        let mut content = Vec::new();
        // What the archive says of sizes is not believed.
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        entry
            .by_ref()
            .take(most)
            .read_to_end(&mut content)
            .map_err(|_| Error::Invalid(format!("{} cannot be unpacked", shown(&name))))?;
        if content.len() > limit {
            return Err(Error::TooLarge(format!(
                "{} becomes too large when it is unpacked",
                shown(&name)
            )));
        }
        left -= content.len();
        files.push(BundleFile { path: name, content });
    }
    Ok(files)
}

/// Takes away the one folder that all files are in, if there is one.
fn unfolded(mut files: Vec<BundleFile>) -> Result<Vec<BundleFile>> {
    if files.iter().any(|file| file.path == SKILL) {
        return Ok(files);
    }
    let folder = files.iter().find_map(|file| {
        let (folder, rest) = file.path.split_once('/')?;
        (rest == SKILL).then(|| format!("{folder}/"))
    });
    let folder = folder.ok_or_else(|| Error::invalid("the archive has no SKILL.md at its top or in its one folder"))?;
    for file in &mut files {
        let inside = file.path.strip_prefix(&folder).map(str::to_owned);
        file.path = inside.ok_or_else(|| Error::invalid("the archive holds more than one folder"))?;
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
