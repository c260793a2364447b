//! Slack's mrkdwn: `*b* _i_ ~s~`, links as `<url|label>`, and `& < >` escaped, so no text can become a mention. Markers
//! only work at word borders and within a line: where they would not, the text stands without them.

use super::walk::{Step, walk};
use super::{Dialect, Document, Inside, Span, Style};
use crate::channels::chunk::Slice;

/// `chat.postMessage` with `mrkdwn`.
pub(in crate::channels) struct Mrkdwn;

impl Dialect for Mrkdwn {
    fn character(&self, character: char, inside: Inside) -> usize {
        match character {
            '&' => 5,
            '<' | '>' => 4,
            // A zero-width space keeps runs of them from closing the block.
            '`' if inside.code_block => 2,
            // Markers are closed before a line break and opened behind it; a quote starts each line.
            '\n' if !inside.code_block => 1 + 2 * inside.inline + if inside.quote { 2 } else { 0 },
            _ => 1,
        }
    }

    fn span(&self, style: &Style) -> usize {
        match style {
            Style::Bold | Style::Italic | Style::Strike | Style::Code | Style::Quote => 2,
            // Fences with their line breaks, and one more at each side to stand alone.
            Style::CodeBlock(_) => 10,
            Style::Link(url) => 3 + address(url).chars().count(),
        }
    }

    fn write(&self, document: &Document, slice: &Slice) -> String {
        let mut writer = Writer::default();
        walk(document, slice, |step| match step {
            Step::Text(text) => writer.text(text),
            Step::Open(span) => {
                let inside = &document.text[span.start..span.end.min(slice.range.end)];
                let next = document.text[span.end..].chars().next();
                writer.open(span, inside, next);
            }
            Step::Close(span) => writer.close(&span.style),
        });
        writer.out
    }
}

/// A marker that is wanted, and whether it stands in the text already.
struct Marker {
    sign: char,
    written: bool,
    /// Would not work here.
    dropped: bool,
}

#[derive(Default)]
struct Writer {
    out: String,
    markers: Vec<Marker>,
    /// Blanks not written yet: they go in front of an opening and behind a closing marker.
    blanks: String,
    quote: bool,
    code_block: bool,
    link: bool,
}

impl Writer {
    fn open(&mut self, span: &Span, inside: &str, next: Option<char>) {
        let breaks = |c: char| c.is_alphanumeric();
        let glued =
            self.blanks.is_empty() && self.out.chars().next_back().is_some_and(breaks) || next.is_some_and(breaks);
        match &span.style {
            Style::Bold => self.marker('*', glued),
            Style::Italic => self.marker('_', glued),
            Style::Strike => self.marker('~', glued),
            Style::Code => self.marker('`', glued || inside.contains(['`', '\n'])),
            Style::CodeBlock(_) => {
                self.settle();
                if !self.out.is_empty() && !self.out.ends_with('\n') {
                    self.out.push('\n');
                }
                self.out.push_str("```\n");
                self.code_block = true;
            }
            Style::Quote => {
                self.quote = true;
                self.settle();
                if self.out.is_empty() || self.out.ends_with('\n') {
                    self.out.push_str("> ");
                }
            }
            Style::Link(url) => {
                self.settle();
                self.out.push('<');
                self.out.push_str(&address(url));
                self.out.push('|');
                self.link = true;
            }
        }
    }

    fn close(&mut self, style: &Style) {
        match style {
            Style::Bold | Style::Italic | Style::Strike | Style::Code => {
                if let Some(marker) = self.markers.pop()
                    && marker.written
                {
                    self.out.push(marker.sign);
                }
            }
            Style::CodeBlock(_) => {
                self.code_block = false;
                self.out.push_str("\n```");
            }
            Style::Quote => self.quote = false,
            Style::Link(_) => {
                self.out.push('>');
                self.link = false;
            }
        }
    }

    fn marker(&mut self, sign: char, unfit: bool) {
        self.markers.push(Marker {
            sign,
            written: false,
            // Inside a label a marker would be shown as it is.
            dropped: unfit || self.link,
        });
    }

    fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                character if self.code_block => self.code(character),
                '\n' if self.link => self.blanks.push(' '),
                '\n' => self.line_break(),
                ' ' | '\t' => self.blanks.push(character),
                other => {
                    self.settle();
                    escape(other, &mut self.out);
                }
            }
        }
    }

    fn code(&mut self, character: char) {
        if character == '`' && self.out.ends_with("``") {
            self.out.push('\u{200b}');
        }
        escape(character, &mut self.out);
    }

    fn line_break(&mut self) {
        for marker in self.markers.iter_mut().rev() {
            if std::mem::take(&mut marker.written) {
                self.out.push(marker.sign);
            }
        }
        self.blanks.clear();
        self.out.push('\n');
        if self.quote {
            self.out.push_str("> ");
        }
    }

    /// Something visible follows: blanks first, then the markers that wait.
    fn settle(&mut self) {
        self.out.push_str(&self.blanks);
        self.blanks.clear();
        for marker in &mut self.markers {
            if !marker.written && !marker.dropped {
                marker.written = true;
                self.out.push(marker.sign);
            }
        }
    }
}

fn escape(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        other => out.push(other),
    }
}

/// An address that cannot end the link early.
fn address(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for character in url.chars() {
        match character {
            '|' => out.push_str("%7C"),
            '<' => out.push_str("%3C"),
            '>' => out.push_str("%3E"),
            '&' => out.push_str("&amp;"),
            ' ' | '\n' => out.push_str("%20"),
            other => out.push(other),
        }
    }
    out
}
