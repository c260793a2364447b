use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

const TEXT: &str = "---\nname: tea\ndescription: Makes tea.\n---\nBoil water.\n";

/// A zip of these files.
fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in files {
        writer.start_file(*name, options).expect("starts");
        writer.write_all(content).expect("writes");
    }
    writer.finish().expect("ends").into_inner()
}

fn paths_of(bundle: &Bundle) -> Vec<&str> {
    bundle.files.iter().map(|file| file.path.as_str()).collect()
}

fn refused(files: &[(&str, &[u8])]) -> String {
    Bundle::read(&zipped(files)).expect_err("is refused").to_string()
}

#[test]
fn a_text_a_flat_zip_and_a_folder_are_the_same_skill() {
    let text = Bundle::read(TEXT.as_bytes()).expect("reads");
    let flat = Bundle::read(&zipped(&[("SKILL.md", TEXT.as_bytes())])).expect("reads");
    let folder = Bundle::read(&zipped(&[
        ("tea/", b""),
        ("tea/SKILL.md", TEXT.as_bytes()),
        ("tea/notes/green.md", b"70 degrees"),
        ("__MACOSX/tea/._SKILL.md", b"x"),
        ("tea/.DS_Store", b"x"),
    ]))
    .expect("reads");
    assert_eq!((text.manifest.key(), &text.files), ("tea".to_owned(), &flat.files));
    assert_eq!(paths_of(&folder), ["SKILL.md", "notes/green.md"]);
    assert_eq!(text.sha256, token::hash_bytes(TEXT.as_bytes()));
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in [
        "../evil.md",
        "tea/../../evil.md",
        "/etc/passwd",
        "C:\\evil.md",
        "a\\..\\b.md",
        "a//b.md",
        "a/ b.md",
        "\u{7}bell.md",
        "./x.md/../y.md",
    ] {
        let why = refused(&[("SKILL.md", TEXT.as_bytes()), (name, b"x")]);
        assert!(why.contains("not allowed"), "{name}: {why}");
    }
    let long = "x".repeat(201);
    assert!(refused(&[("SKILL.md", TEXT.as_bytes()), (&long, b"x")]).contains("not allowed"));
}

#[test]
fn links_and_names_alike_are_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    writer.start_file("SKILL.md", options).expect("starts");
    writer.write_all(TEXT.as_bytes()).expect("writes");
    writer.add_symlink("passwd", "/etc/passwd", options).expect("adds");
    let archive = writer.finish().expect("ends").into_inner();
    assert!(
        Bundle::read(&archive)
            .expect_err("is refused")
            .to_string()
            .contains("link")
    );
    assert!(refused(&[("SKILL.md", TEXT.as_bytes()), ("a.md", b"1"), ("A.md", b"2")]).contains("twice"));
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = vec![0_u8; 9 * 1024 * 1024];
    assert!(refused(&[("SKILL.md", TEXT.as_bytes()), ("zeros", &zeros)]).contains("too large"));
    // Many files that are each within the limits, and together are not.
    let part: Vec<u8> = (0..900_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(500 * 1024)
        .collect();
    let names: Vec<String> = (0..25).map(|at| format!("f{at}.bin")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("SKILL.md", TEXT.as_bytes())];
    files.extend(names.iter().map(|name| (name.as_str(), part.as_slice())));
    let archive = zipped(&files);
    assert!(Bundle::read(&archive).is_err());
    // Small files in large numbers.
    let names: Vec<String> = (0..501).map(|at| format!("f{at}.md")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("SKILL.md", TEXT.as_bytes())];
    files.extend(names.iter().map(|name| (name.as_str(), b"x".as_slice())));
    assert!(refused(&files).contains("at most 500 files"));
    // One file that claims to be small.
    let honest = zipped(&[("SKILL.md", TEXT.as_bytes()), ("zeros", &zeros)]);
    let mut lying = honest.clone();
    let size = u32::try_from(zeros.len()).expect("fits").to_le_bytes();
    for at in 0..lying.len() - 4 {
        if lying[at..at + 4] == size {
            lying[at..at + 4].copy_from_slice(&10_u32.to_le_bytes());
        }
    }
    assert_ne!(honest, lying);
    assert!(Bundle::read(&lying).is_err());
}

#[test]
fn what_is_no_skill_is_refused() {
    assert!(refused(&[("README.md", b"hello")]).contains("no SKILL.md"));
    assert!(
        refused(&[("a/SKILL.md", TEXT.as_bytes()), ("b/SKILL.md", TEXT.as_bytes())]).contains("more than one folder")
    );
    assert!(Bundle::read(b"PK\x03\x04 and then nothing").is_err());
    assert!(Bundle::read(b"\xff\xfe").is_err());
    assert!(matches!(
        Bundle::read(&vec![b'x'; MAX_ARCHIVE + 1]),
        Err(Error::TooLarge(_))
    ));
    let large = format!("{TEXT}{}", "x".repeat(MAX_SKILL));
    assert!(matches!(Bundle::read(large.as_bytes()), Err(Error::TooLarge(_))));
}

/// A tar.gz of these files, each with its kind.
fn tarred(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Builders refuse what a hostile archive has, so the name is written past them.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").expect("fits");
        }
        header.set_cksum();
        builder.append(&header, *content).expect("appends");
    }
    builder.into_inner().expect("ends").finish().expect("packs")
}

#[test]
fn a_tar_of_a_repository_is_read_like_a_zip() {
    use tar::EntryType;
    let archive = tarred(&[
        (
            "pax_global_header",
            EntryType::XGlobalHeader,
            b"52 comment=0123456789012345678901234567890123456789\n",
        ),
        ("repo-main/", EntryType::Directory, b""),
        ("repo-main/README.md", EntryType::Regular, b"hello"),
        ("repo-main/skills/tea/SKILL.md", EntryType::Regular, TEXT.as_bytes()),
        ("repo-main/skills/tea/notes/green.md", EntryType::Regular, b"70 degrees"),
    ]);
    let whole = Bundle::read(&archive).expect("reads");
    assert_eq!(paths_of(&whole), ["SKILL.md", "notes/green.md"]);
    let named = Bundle::read_in(&archive, Some("/skills/tea/")).expect("reads");
    assert_eq!(named.files, whole.files);
    assert!(Bundle::read_in(&archive, Some("skills/coffee")).is_err());
    assert!(Bundle::read_in(&archive, Some("../tea")).is_err());
}

#[test]
fn one_of_several_skills_is_said_by_its_folder() {
    let coffee = TEXT.replace("tea", "coffee");
    let archive = zipped(&[
        ("repo/skills/tea/SKILL.md", TEXT.as_bytes()),
        ("repo/skills/coffee/SKILL.md", coffee.as_bytes()),
        ("repo/skills/coffee/beans.md", b"dark"),
    ]);
    let why = Bundle::read(&archive).expect_err("is refused").to_string();
    assert!(why.contains("repo/skills/tea, repo/skills/coffee"), "{why}");
    for folder in ["skills/coffee", "repo/skills/coffee"] {
        let found = Bundle::read_in(&archive, Some(folder)).expect("reads");
        assert_eq!(
            (found.manifest.key().as_str(), paths_of(&found)),
            ("coffee", vec!["SKILL.md", "beans.md"])
        );
    }
}

#[test]
fn hostile_tars_are_refused() {
    use tar::EntryType;
    let skill = ("SKILL.md", EntryType::Regular, TEXT.as_bytes());
    for (name, kind) in [
        ("../evil.md", EntryType::Regular),
        ("a/../../evil.md", EntryType::Regular),
        ("/etc/passwd", EntryType::Regular),
        ("link", EntryType::Symlink),
        ("link", EntryType::Link),
        ("dev", EntryType::Char),
        ("dev", EntryType::Block),
        ("pipe", EntryType::Fifo),
        ("sparse", EntryType::GNUSparse),
    ] {
        let refused = Bundle::read(&tarred(&[skill, (name, kind, b"")]));
        assert!(matches!(refused, Err(Error::Invalid(_))), "{name}: {refused:?}");
    }
    // Beside the folder that is meant, a repository may have links; in it, a skill may not.
    let inside = tarred(&[
        ("a/SKILL.md", EntryType::Regular, TEXT.as_bytes()),
        ("a/x", EntryType::Symlink, b""),
    ]);
    assert!(Bundle::read_in(&inside, Some("a")).is_err());
    let beside = tarred(&[
        ("a/SKILL.md", EntryType::Regular, TEXT.as_bytes()),
        ("b/x", EntryType::Symlink, b""),
    ]);
    assert_eq!(
        paths_of(&Bundle::read_in(&beside, Some("a")).expect("reads")),
        ["SKILL.md"]
    );
    let zeros = vec![0_u8; 60 * 1024 * 1024];
    for archive in [
        tarred(&[skill, ("zeros", EntryType::Regular, &zeros)]),
        tarred(&[("zeros", EntryType::Regular, &zeros), skill]),
    ] {
        assert!(archive.len() < MAX_ARCHIVE);
        assert!(matches!(Bundle::read(&archive), Err(Error::TooLarge(_))));
    }
    assert!(Bundle::read(&[0x1f, 0x8b, 8, 0, 1, 2, 3]).is_err());
    let whole = tarred(&[skill]);
    assert!(Bundle::read(&whole[..whole.len() / 2]).is_err());
}

proptest! {
    #[test]
    fn anything_at_all_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..300) {
        let _ = Bundle::read(&bytes);
        let mut damaged = zipped(&[("tea/SKILL.md", TEXT.as_bytes()), ("tea/a.md", b"x")]);
        for (offset, byte) in bytes.iter().take(8).enumerate() {
            if let Some(slot) = damaged.get_mut(at + offset) {
                *slot = *byte;
            }
        }
        let _ = Bundle::read(&damaged);
        let mut damaged = tarred(&[("tea/SKILL.md", tar::EntryType::Regular, TEXT.as_bytes())]);
        for (offset, byte) in bytes.iter().take(8).enumerate() {
            if let Some(slot) = damaged.get_mut(at + offset) {
                *slot = *byte;
            }
        }
        let _ = Bundle::read(&damaged);
    }
}
