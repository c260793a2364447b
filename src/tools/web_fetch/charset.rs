//! Bytes to text, by the charset a page declares.

use encoding_rs::{Encoding, UTF_8};

/// How far into a page browsers look for a declaration.
const PRESCAN_BYTES: usize = 1_024;

/// Decodes a body: byte order mark, then the header's charset, then the page's own, then UTF-8.
pub(super) fn decode(body: &[u8], content_type: &str) -> String {
    let encoding = named(content_type).or_else(|| declared(body)).unwrap_or(UTF_8);
    encoding.decode(body).0.into_owned()
}

fn named(text: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let at = lower.find("charset")?;
    let value = lower[at + "charset".len()..].trim_start().strip_prefix('=')?;
    let value = value.trim_start().trim_start_matches(['"', '\'']);
    let end = value
        .find(|char: char| char.is_whitespace() || "\"';/>,".contains(char))
        .unwrap_or(value.len());
    Encoding::for_label(&value.as_bytes()[..end])
}

fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let start: String = body.iter().take(PRESCAN_BYTES).map(|byte| char::from(*byte)).collect();
    let start = start.to_ascii_lowercase();
    let meta = start.find("<meta")?;
    named(&start[meta..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets() {
        for (body, content_type, expected) in [
            ("grün".as_bytes(), "text/html", "grün"),
            (b"gr\xfcn", "text/html; charset=ISO-8859-1", "grün"),
            (b"gr\xfcn", "text/plain; Charset=\"windows-1252\"; x=y", "grün"),
            (
                b"<meta charset='latin1'>gr\xfcn",
                "text/html",
                "<meta charset='latin1'>grün",
            ),
            (
                b"<meta http-equiv=x content=\"text/html; charset=latin1\">\xfc",
                "text/html",
                "<meta http-equiv=x content=\"text/html; charset=latin1\">ü",
            ),
            (b"\xef\xbb\xbfgr\xc3\xbcn", "text/html; charset=latin1", "grün"),
            (b"\xff\xfeg\0", "text/html", "g"),
            (b"a\xffb", "text/html; charset=nonsense", "a\u{fffd}b"),
            (b"\x93\xfa\x96\x7b", "text/html; charset=shift_jis", "日本"),
        ] {
            assert_eq!(decode(body, content_type), expected, "{content_type}");
        }
    }
}
