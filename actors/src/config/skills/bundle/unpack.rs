//! Archives, zip and tar.gz, and the skill in them. They are read twice: first the names, to see which folder is meant,
//! then that folder's files alone.

use std::cell::Cell;
use std::io::{self, Cursor, Read};

use flate2::read::GzDecoder;
use zip::ZipArchive;

use super::{BundleFile, MAX_FILES, MAX_TEXT, MAX_TOTAL, SKILL, check_path, shown};
use crate::config::workspace::paths;
use crate::error::{Error, Result};

/// Entries of an archive, those that are left out included.
const MAX_ENTRIES: usize = 10_000;
/// Bytes that come of one; small files may shrink to nearly nothing.
const MAX_RATIO: usize = 100;
const RATIO_FROM: usize = 64 * 1024;
/// Bytes of a whole unpacked tar, those of files that are left out included (`agent-runtime` §16.5).
const MAX_UNPACKED: usize = 50 * 1024 * 1024;
const TAR_RATIO_FROM: usize = 1024 * 1024;
/// Folders that a refusal names.
const NAMED: usize = 8;

/// Does it begin like an archive we read.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK") || is_gzip(bytes)
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    /// A link, a device: nothing a skill has.
    Other,
}

/// One entry while it is visited.
struct Entry<'a> {
    name: &'a str,
    kind: Kind,
    /// Bytes it takes in the archive, where each entry is packed by itself.
    packed: Option<usize>,
    content: &'a mut dyn Read,
}

type Visit<'a> = &'a mut dyn FnMut(Entry<'_>) -> Result<()>;

/// The files of the skill in an archive, their paths relative to its folder. What only operating systems leave behind is
/// left out; anything that could leave the folder is refused.
pub(super) fn skill(bytes: &[u8], folder: Option<&str>) -> Result<Vec<BundleFile>> {
    let folder = folder.map(|folder| folder.trim().trim_matches('/'));
    let folder = folder.filter(|folder| !folder.is_empty());
    if let Some(folder) = folder {
        paths::check(folder).map_err(|_| Error::invalid("the folder is no path inside an archive"))?;
    }
    let mut homes = Vec::new();
    let mut entries = 0_usize;
    each(bytes, &mut |entry| {
        entries += 1;
        if entries > MAX_ENTRIES {
            return Err(Error::TooLarge(format!(
                "the archive has more than {MAX_ENTRIES} entries"
            )));
        }
        if escapes(entry.name) {
            return Err(not_allowed(entry.name));
        }
        if entry.kind == Kind::Other && folder.is_none() {
            return Err(no_file(entry.name));
        }
        if entry.kind == Kind::File && !is_litter(entry.name) {
            let home = entry.name.strip_suffix(SKILL);
            homes.extend(
                home.filter(|home| home.is_empty() || home.ends_with('/'))
                    .map(str::to_owned),
            );
        }
        Ok(())
    })?;
    let home = choose(homes, folder)?;
    files(bytes, &home)
}

/// The folder of the skill that is meant, with its slash; empty for the top.
fn choose(mut homes: Vec<String>, folder: Option<&str>) -> Result<String> {
    if let Some(folder) = folder {
        let wanted = format!("{folder}/");
        let below_top = |home: &String| home.split_once('/').is_some_and(|(_, rest)| rest == wanted);
        let found = homes
            .iter()
            .find(|home| **home == wanted)
            .or_else(|| homes.iter().find(|home| below_top(home)));
        return found.cloned().ok_or_else(|| {
            Error::Invalid(format!(
                "the archive has no SKILL.md in the folder {}{}",
                shown(folder),
                named(&homes)
            ))
        });
    }
    if homes.iter().any(String::is_empty) {
        return Ok(String::new());
    }
    match homes.len() {
        0 => Err(Error::invalid("there is no SKILL.md in the archive")),
        1 => Ok(homes.remove(0)),
        _ => Err(Error::Invalid(format!(
            "the archive holds more than one folder with a SKILL.md; say which{}",
            named(&homes)
        ))),
    }
}

fn named(homes: &[String]) -> String {
    if homes.is_empty() {
        return String::new();
    }
    let folders = homes.iter().take(NAMED);
    let folders: Vec<String> = folders.map(|home| shown(home.trim_end_matches('/'))).collect();
    let more = if homes.len() > NAMED { ", …" } else { "" };
    format!(" (it has: {}{more})", folders.join(", "))
}

fn files(bytes: &[u8], home: &str) -> Result<Vec<BundleFile>> {
    let mut files: Vec<BundleFile> = Vec::new();
    let mut left = MAX_TOTAL;
    each(bytes, &mut |entry| {
        let Some(path) = entry.name.strip_prefix(home) else {
            return Ok(());
        };
        if entry.kind == Kind::Other {
            return Err(no_file(entry.name));
        }
        if entry.kind == Kind::Folder || is_litter(path) {
            return Ok(());
        }
        check_path(path)?;
        if files.len() >= MAX_FILES {
            return Err(Error::TooLarge(format!("a skill has at most {MAX_FILES} files")));
        }
        let by_ratio = entry
            .packed
            .map(|packed| packed.saturating_mul(MAX_RATIO).max(RATIO_FROM));
        let limit = left.min(MAX_TEXT).min(by_ratio.unwrap_or(usize::MAX));
        // What the archive says of sizes is not believed.
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut content = Vec::new();
        entry
            .content
            .take(most)
            .read_to_end(&mut content)
            .map_err(|_| Error::Invalid(format!("{} cannot be unpacked", shown(path))))?;
        if content.len() > limit {
            return Err(Error::TooLarge(format!(
                "{} becomes too large when it is unpacked",
                shown(path)
            )));
        }
        left -= content.len();
        files.push(BundleFile {
            path: path.to_owned(),
            content,
        });
        Ok(())
    })?;
    Ok(files)
}

fn escapes(name: &str) -> bool {
    name.starts_with('/') || name.contains(['\\', ':', '\0']) || name.split('/').any(|part| part == "..")
}

fn is_litter(name: &str) -> bool {
    name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX")
}

fn not_allowed(name: &str) -> Error {
    Error::Invalid(format!("the path {} is not allowed in a skill", shown(name)))
}

fn no_file(name: &str) -> Error {
    Error::Invalid(format!("{} is a link; a skill has files only", shown(name)))
}

fn no_utf8() -> Error {
    Error::invalid("the archive has a name that is not UTF-8")
}

fn each(bytes: &[u8], visit: Visit<'_>) -> Result<()> {
    if is_gzip(bytes) {
        each_tarred(bytes, visit)
    } else {
        each_zipped(bytes, visit)
    }
}

fn each_zipped(bytes: &[u8], visit: Visit<'_>) -> Result<()> {
    let broken = |_| Error::invalid("the archive cannot be read: it is no zip, or not a whole one");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|_| {
            Error::invalid("the archive has an entry that cannot be read: encrypted, or packed in a rare way")
        })?;
        let name = std::str::from_utf8(entry.name_raw()).map_err(|_| no_utf8())?.to_owned();
        let kind = if entry.is_symlink() {
            Kind::Other
        } else if name.ends_with('/') {
            Kind::Folder
        } else {
            Kind::File
        };
        let packed = usize::try_from(entry.compressed_size()).unwrap_or(usize::MAX);
        visit(Entry {
            name: &name,
            kind,
            packed: Some(packed),
            content: &mut entry,
        })?;
    }
    Ok(())
}

fn each_tarred(bytes: &[u8], visit: Visit<'_>) -> Result<()> {
    let over = Cell::new(false);
    let limit = bytes.len().saturating_mul(MAX_RATIO).max(TAR_RATIO_FROM);
    let metered = Metered {
        inner: GzDecoder::new(bytes),
        left: limit.min(MAX_UNPACKED),
        over: &over,
    };
    let broken = |_: io::Error| {
        if over.get() {
            Error::TooLarge("the archive becomes too large when it is unpacked".to_owned())
        } else {
            Error::invalid("the archive cannot be read: it is no tar.gz, or not a whole one")
        }
    };
    let mut archive = tar::Archive::new(metered);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        // Says something of the whole archive, e.g. of which commit it was made.
        if kind.is_pax_global_extensions() {
            continue;
        }
        let kind = if kind.is_file() || kind.is_contiguous() {
            Kind::File
        } else if kind.is_dir() {
            Kind::Folder
        } else {
            Kind::Other
        };
        let name = entry.path_bytes().into_owned();
        let name = std::str::from_utf8(&name).map_err(|_| no_utf8())?;
        let name = name.strip_prefix("./").unwrap_or(name);
        if name.is_empty() || name == "." {
            continue;
        }
        let visited = visit(Entry {
            name,
            kind,
            packed: None,
            content: &mut entry,
        });
        if over.get() {
            return Err(broken(io::Error::other("over")));
        }
        visited?;
    }
    Ok(())
}

/// Reads on until a number of bytes is reached, then fails.
struct Metered<'a, R> {
    inner: R,
    left: usize,
    over: &'a Cell<bool>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => {
                self.over.set(true);
                Err(io::Error::other("the limit of bytes is reached"))
            }
        }
    }
}
