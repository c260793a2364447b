use std::io::Write;

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
    assert_eq!(text.sha256, sha256(TEXT.as_bytes()));
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
    }
}
