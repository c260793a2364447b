//! A `multipart/form-data` body: texts, and one file last.

use claw_actors::ports::channel::OutFile;

/// Bytes around a file: two boundaries and the names of headers.
const AROUND: usize = 256;

/// A form being written.
pub(crate) struct Form {
    boundary: String,
    body: Vec<u8>,
}

impl Form {
    pub(crate) fn new() -> Self {
        Self {
            boundary: format!("claw-{}", uuid::Uuid::new_v4().simple()),
            body: Vec::new(),
        }
    }

    /// A field. Names are our own.
    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), None, value.as_bytes());
        self
    }

    /// The file, and the end of the form: its content type and its bytes.
    pub(crate) fn file(self, name: &str, file: &OutFile) -> (String, Vec<u8>) {
        self.end(name, (&file.about.name, &file.about.mime_type), &file.bytes)
    }

    /// As [`Self::file`], of a file with this name and kind.
    pub(crate) fn end(mut self, name: &str, (called, kind): (&str, &str), bytes: &[u8]) -> (String, Vec<u8>) {
        // Nothing that ends the quotes or the line.
        let shown: String = called
            .chars()
            .map(|letter| {
                if letter.is_control() || letter == '"' || letter == '\\' {
                    '_'
                } else {
                    letter
                }
            })
            .collect();
        let kind: String = kind.chars().filter(|letter| letter.is_ascii_graphic()).collect();
        let head = format!("name=\"{name}\"; filename=\"{shown}\"");
        // At once, or a large file would be copied while the form grows.
        self.body.reserve_exact(bytes.len() + head.len() + kind.len() + AROUND);
        self.part(&head, Some(&kind), bytes);
        self.body
            .extend_from_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body)
    }

    fn part(&mut self, head: &str, kind: Option<&str>, value: &[u8]) {
        let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; {head}\r\n{kind}\r\n",
            self.boundary
        );
        self.body.extend_from_slice(head.as_bytes());
        self.body.extend_from_slice(value);
        self.body.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use claw_actors::ports::channel::{FileAbout, FileKind};

    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        let file = OutFile {
            about: FileAbout {
                blob: "b".to_owned(),
                kind: FileKind::Document,
                name: "a\"\r\nX: y\\.txt".to_owned(),
                mime_type: "text/plain\r\nX: z".to_owned(),
            },
            bytes: b"hello".to_vec(),
        };
        let (kind, body) = Form::new().text("chat_id", "7").file("document", &file);
        let boundary = kind.split_once("boundary=").expect("a boundary").1.to_owned();
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n7\r\n--{boundary}\r\n\
             Content-Disposition: form-data; name=\"document\"; filename=\"a___X: y_.txt\"\r\n\
             Content-Type: text/plainX:z\r\n\r\nhello\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).expect("a text"), expected);
    }
}
