//! Small files that are texts: what they say goes to the model as it stands.

/// Longest text file that is shown, bytes.
pub(crate) const LONGEST: usize = 200 * 1024;

/// Endings of names that say text where a client or a platform says nothing better.
const ENDINGS: [&str; 19] = [
    "txt", "text", "md", "markdown", "csv", "tsv", "json", "jsonl", "yaml", "yml", "toml", "ini", "xml", "html", "htm",
    "log", "srt", "ics", "vcf",
];

/// Does it claim to be a text: by its kind, or by its name where the kind says nothing.
pub(crate) fn is_text(mime_type: &str, name: &str) -> bool {
    let kind = mime_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match kind.as_str() {
        "" | "application/octet-stream" => {
            let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
            ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
        }
        kind => {
            kind.starts_with("text/")
                || [
                    "application/json",
                    "application/xml",
                    "application/yaml",
                    "application/x-yaml",
                    "application/toml",
                ]
                .contains(&kind)
        }
    }
}

/// What the file says. `None`: it is no text, or too long.
pub(crate) fn read(mime_type: &str, name: &str, bytes: Vec<u8>) -> Option<String> {
    if bytes.len() > LONGEST || !is_text(mime_type, name) {
        return None;
    }
    let mut text = String::from_utf8(bytes).ok()?;
    crate::ports::nul::strip(&mut text);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_known_by_their_kind_or_their_name() {
        for (mime_type, name, yes) in [
            ("text/plain", "a.bin", true),
            ("text/markdown; charset=utf-8", "", true),
            ("application/json", "", true),
            ("application/octet-stream", "notes.MD", true),
            ("", "table.csv", true),
            ("", "csv", false),
            ("application/zip", "a.txt", false),
            ("application/octet-stream", "a.exe", false),
        ] {
            assert_eq!(is_text(mime_type, name), yes, "{mime_type} {name}");
        }
        assert_eq!(read("text/plain", "a", b"hello".to_vec()).as_deref(), Some("hello"));
        assert_eq!(read("text/plain", "a", vec![0xff]), None);
        assert_eq!(read("text/plain", "a", vec![b'a'; LONGEST + 1]), None);
    }
}
