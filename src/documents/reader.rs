//! The process that reads one document: a PDF on stdin, what it says on stdout, as JSON.

use std::io::{Read, Write};
use std::process::ExitCode;

use claw_actors::ports::document::Pages;
use pdf_extract::{Document, PlainTextOutput, output_doc_page};
use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
use serde::{Deserialize, Serialize};

/// The hidden command that starts it.
pub const COMMAND: &str = "read-document";

/// Largest document, bytes; whoever sends it looks at that too.
const LARGEST: u64 = 8 * 1024 * 1024;
/// Pages that are read of one document.
const PAGES: usize = 300;
/// Limits of the process: memory in bytes, processor time in seconds.
const MEMORY: u64 = 768 * 1024 * 1024;
const SECONDS: u64 = 15;

/// What it tells.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "told", rename_all = "camelCase")]
pub enum Told {
    Text { text: String, pages: usize, read: usize },
    Broken,
    Locked,
}

/// Reads the document on stdin, `most` characters of these pages at most.
pub fn run(most: usize, pages: &str) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let Some(pages) = Pages::parse(pages) else {
        return ExitCode::FAILURE;
    };
    if limit().is_err() {
        return ExitCode::FAILURE;
    }
    let mut bytes = Vec::new();
    if std::io::stdin().lock().take(LARGEST).read_to_end(&mut bytes).is_err() {
        return ExitCode::FAILURE;
    }
    let told = std::panic::catch_unwind(|| pdf(&bytes, most, &pages)).unwrap_or(Told::Broken);
    let Ok(told) = serde_json::to_vec(&told) else {
        return ExitCode::FAILURE;
    };
    match std::io::stdout().lock().write_all(&told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A process that reads a document may do so much and no more, and leaves nothing on the disk.
fn limit() -> rustix::io::Result<()> {
    let most = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::As, most(MEMORY))?;
    setrlimit(Resource::Cpu, most(SECONDS))?;
    setrlimit(Resource::Core, most(0))?;
    setrlimit(Resource::Fsize, most(0))?;
    // Those who talk come first.
    setpriority_process(None, 10)
}

fn pdf(bytes: &[u8], most: usize, pages: &Pages) -> Told {
    let Ok(mut document) = Document::load_mem(bytes) else {
        return Told::Broken;
    };
    // Without a password for reading it opens with none.
    if document.is_encrypted() && document.decrypt("").is_err() {
        return Told::Locked;
    }
    let numbers: Vec<u32> = document.get_pages().into_keys().collect();
    let (mut text, mut left, mut read, mut failed) = (String::new(), most, 0, 0);
    let meant = numbers.iter().filter(|number| pages.has(**number));
    for number in meant.take(PAGES) {
        if left == 0 {
            break;
        }
        let mut page = String::new();
        // A page that breaks costs only itself.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut output = PlainTextOutput::new(&mut page);
            output_doc_page(&document, &mut output, *number).is_ok()
        }));
        failed += usize::from(!matches!(done, Ok(true)));
        read += 1;
        let page = tidy(&page);
        if page.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        let end = page.char_indices().nth(left).map_or(page.len(), |(at, _)| at);
        text.push_str(page.get(..end).unwrap_or_default());
        left = left.saturating_sub(page.chars().count());
    }
    if text.is_empty() && failed > 0 {
        return Told::Broken;
    }
    Told::Text {
        text,
        pages: numbers.len(),
        read,
    }
}

/// Without control characters, spaces at the ends of lines, and more than one empty line.
fn tidy(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut empty = 0;
    for line in page.lines() {
        let line: String = line
            .chars()
            .filter(|letter| !letter.is_control() || *letter == '\t')
            .collect();
        let line = line.trim_end();
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty > 1 || (text.is_empty() && line.is_empty()) {
            continue;
        }
        text.push_str(line);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document of pages with these texts.
    fn document(pages: &[&str]) -> Vec<u8> {
        let kids: Vec<String> = (0..pages.len()).map(|at| format!("{} 0 R", 4 + at * 2)).collect();
        let mut objects = vec![
            "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
            format!("<< /Type /Pages /Kids [{}] /Count {} >>", kids.join(" "), pages.len()),
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
        ];
        for (at, page) in pages.iter().enumerate() {
            objects.push(format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {} 0 R \
                 /Resources << /Font << /F1 3 0 R >> >> >>",
                5 + at * 2
            ));
            let content = format!("BT /F1 24 Tf 72 700 Td ({page}) Tj ET");
            objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
        }
        let mut file = "%PDF-1.4\n".to_owned();
        let mut offsets = Vec::new();
        for (number, object) in (1..).zip(&objects) {
            offsets.push(file.len());
            file.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
        }
        let start = file.len();
        file.push_str(&format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1));
        for offset in offsets {
            file.push_str(&format!("{offset:010} 00000 n \n"));
        }
        file.push_str(&format!(
            "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF",
            objects.len() + 1
        ));
        file.into_bytes()
    }

    #[test]
    fn pages_become_text_as_far_as_there_is_room() {
        let two = document(&["Clause seven ends it.", "Signed in Bern."]);
        let Told::Text { text, pages, read } = pdf(&two, 1_000, &Pages::default()) else {
            panic!("it can be read");
        };
        assert_eq!((pages, read), (2, 2));
        assert_eq!(text, "Clause seven ends it.\n\nSigned in Bern.");
        let Told::Text { text, pages, read } = pdf(&two, 6, &Pages::default()) else {
            panic!("it can be read");
        };
        assert_eq!((text.as_str(), pages, read), ("Clause", 2, 1));
        let second = Pages::parse("2,9").expect("can be read");
        let Told::Text { text, pages, read } = pdf(&two, 1_000, &second) else {
            panic!("it can be read");
        };
        assert_eq!((text.as_str(), pages, read), ("Signed in Bern.", 2, 1));
        let Told::Text { text, .. } = pdf(&document(&[""]), 100, &Pages::default()) else {
            panic!("it can be read");
        };
        assert_eq!(text, "");
    }

    #[test]
    fn what_is_no_document_is_broken() {
        for bytes in [
            &b""[..],
            b"%PDF-1.4",
            b"%PDF-1.4\n1 0 obj <</Type /Catalog>> endobj\n%%EOF",
            &[0xff; 300],
        ] {
            assert_eq!(
                std::panic::catch_unwind(|| pdf(bytes, 100, &Pages::default())).unwrap_or(Told::Broken),
                Told::Broken
            );
        }
        // Whatever is cut off or changed, it ends.
        let whole = document(&["Clause seven ends it."]);
        for at in (0..whole.len()).step_by(7) {
            let mut cut = whole.clone();
            cut.truncate(at);
            drop(std::panic::catch_unwind(|| pdf(&cut, 100, &Pages::default())));
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            drop(std::panic::catch_unwind(|| pdf(&changed, 100, &Pages::default())));
        }
    }
}
