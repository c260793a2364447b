//! Cutting a reply into pieces a platform takes: at a paragraph, else a line, a sentence, a blank, and only then anywhere.
//! Code blocks stay whole when they fit; else they are cut at line ends, closed, and opened again in the next piece.
//! Nothing but whitespace gets lost at a cut. One pass: text is scanned at most a few times.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::markdown::{Dialect, Document, Inside, Span, Style};

/// Bytes looked at behind the limit, to see whether a character goes on there.
const LOOK_AHEAD: usize = 64;

/// One piece of a document.
#[derive(Debug, PartialEq)]
pub(super) struct Slice {
    /// Bytes of the text, without whitespace at its end.
    pub range: Range<usize>,
    /// Spans that start before the piece and reach into it, outer first.
    pub open: Vec<usize>,
    /// Spans that start in the piece.
    pub spans: Range<usize>,
}

/// Pieces of at most `limit`, measured in the dialect. A piece exceeds it only when a single character with the markup
/// around it does.
pub(super) fn cut(document: &Document, limit: usize, dialect: &impl Dialect) -> Vec<Slice> {
    let mut slices = Vec::new();
    let mut cursor = Cursor::default();
    cursor.skip_blank(document);
    while cursor.at < document.text.len() {
        let end = Window::scan(document, &cursor, limit, dialect).end(document, dialect);
        let content = document.text[cursor.at..end].trim_end().len();
        let mut next = cursor.clone();
        next.move_to(document, end);
        next.skip_blank(document);
        if content > 0 {
            let range = cursor.at..cursor.at + content;
            let last = cursor.next_span
                + document.spans[cursor.next_span..next.next_span]
                    .iter()
                    .take_while(|span| span.start < range.end)
                    .count();
            slices.push(Slice {
                spans: cursor.next_span..last,
                open: cursor.open,
                range,
            });
        }
        cursor = next;
    }
    slices
}

/// Where the next piece starts, and what encloses that place.
#[derive(Clone, Debug, Default)]
struct Cursor {
    at: usize,
    /// First span that starts at `at` or later.
    next_span: usize,
    open: Vec<usize>,
}

impl Cursor {
    fn move_to(&mut self, document: &Document, at: usize) {
        self.at = at;
        self.open.retain(|index| document.spans[*index].end > at);
        while let Some(span) = document.spans.get(self.next_span).filter(|span| span.start < at) {
            if span.end > at {
                self.open.push(self.next_span);
            }
            self.next_span += 1;
        }
    }

    /// Goes over whitespace at a cut: one line break inside code, whose indentation matters, else everything before the
    /// next word or code block.
    fn skip_blank(&mut self, document: &Document) {
        let rest = &document.text[self.at..];
        let in_code = self.open.iter().any(|index| is_code_block(&document.spans[*index]));
        let skipped = if in_code {
            rest.strip_prefix(['\n', ' ']).map_or(0, |left| rest.len() - left.len())
        } else {
            let blank = rest.len() - rest.trim_start().len();
            document.spans[self.next_span..]
                .iter()
                .take_while(|span| span.start < self.at + blank)
                .find(|span| is_code_block(span))
                .map_or(blank, |span| span.start - self.at)
        };
        if skipped > 0 {
            self.move_to(document, self.at + skipped);
        }
    }
}

fn is_code_block(span: &Span) -> bool {
    matches!(span.style, Style::CodeBlock(_))
}

/// The text that fits from a cursor on, and the best places to cut it. Each place is the last of its kind.
#[derive(Debug, Default)]
struct Window {
    from: usize,
    /// Where the limit is reached.
    full: usize,
    /// The text ends within the limit.
    whole: bool,
    limit: usize,
    /// A place before this is poor: it would make a tiny piece.
    floor: usize,
    paragraph: usize,
    line: usize,
    sentence: usize,
    blank: usize,
    code_line: usize,
    code_blank: usize,
    /// The code block in which the limit is reached.
    block: Option<usize>,
}

impl Window {
    fn scan(document: &Document, cursor: &Cursor, limit: usize, dialect: &impl Dialect) -> Self {
        let text = &document.text;
        let mut window = Self {
            from: cursor.at,
            full: text.len(),
            whole: true,
            limit,
            floor: cursor.at,
            ..Self::default()
        };
        let mut open = cursor.open.clone();
        let mut next_span = cursor.next_span;
        let mut cost: usize = open
            .iter()
            .map(|index| dialect.span(&document.spans[*index].style))
            .sum();
        let mut inside = enclosing(document, &open);
        let mut before = None;
        for (offset, character) in text[cursor.at..].char_indices() {
            let at = cursor.at + offset;
            if open.last().is_some_and(|index| document.spans[*index].end <= at) {
                open.retain(|index| document.spans[*index].end > at);
                inside = enclosing(document, &open);
            }
            let mut opened = false;
            while document.spans.get(next_span).is_some_and(|span| span.start <= at) {
                cost += dialect.span(&document.spans[next_span].style);
                open.push(next_span);
                next_span += 1;
                opened = true;
            }
            if opened {
                inside = enclosing(document, &open);
            }
            if at > cursor.at {
                window.note(text, at, character, before, inside);
            }
            cost += dialect.character(character, inside);
            if cost > limit {
                window.full = at;
                window.whole = false;
                window.block = open
                    .iter()
                    .copied()
                    .find(|index| is_code_block(&document.spans[*index]));
                break;
            }
            if cost <= limit / 4 {
                window.floor = at;
            }
            before = Some(character);
        }
        window
    }

    /// Remembers `at` when a piece may end in front of it.
    fn note(&mut self, text: &str, at: usize, character: char, before: Option<char>, inside: Inside) {
        let after_sentence = before.is_some_and(|c| ".!?…。！？".contains(c));
        if inside.code_block {
            match character {
                '\n' => self.code_line = at,
                ' ' => self.code_blank = at,
                _ => {}
            }
        } else if character == '\n' {
            if text[at + 1..].starts_with('\n') {
                self.paragraph = at;
            } else if before != Some('\n') {
                self.line = at;
            }
        } else if character.is_whitespace() {
            if after_sentence {
                self.sentence = at;
            }
            self.blank = at;
        } else if before.is_some_and(|c| "。！？".contains(c)) {
            self.sentence = at;
        }
    }

    /// Where the piece ends.
    fn end(&self, document: &Document, dialect: &impl Dialect) -> usize {
        if self.whole {
            return self.full;
        }
        let outside = [self.paragraph, self.line, self.sentence, self.blank];
        let good = |place: &usize| *place > self.floor;
        let any = |place: &usize| *place > self.from;
        if let Some(block) = self.block.map(|index| &document.spans[index])
            && block.start > self.from
            && block_fits(document, block, self.limit, dialect)
            && let Some(place) = outside.into_iter().filter(any).max()
        {
            return place;
        }
        let code = [self.code_line];
        outside
            .into_iter()
            .find(good)
            .or_else(|| code.into_iter().find(any))
            .or_else(|| outside.into_iter().find(any))
            .or_else(|| Some(self.code_blank).filter(any))
            .unwrap_or_else(|| self.between_characters(&document.text))
    }

    /// The last border between two characters as people see them; inside a monstrous one, between code points.
    fn between_characters(&self, text: &str) -> usize {
        let first = text[self.from..].chars().next().map_or(1, char::len_utf8);
        let full = self.full.max(self.from + first);
        let mut seen = full.saturating_add(LOOK_AHEAD).min(text.len());
        while !text.is_char_boundary(seen) {
            seen -= 1;
        }
        text[self.from..seen]
            .grapheme_indices(true)
            .map(|(offset, _)| self.from + offset)
            .take_while(|border| *border <= full)
            .last()
            .filter(|border| *border > self.from)
            .unwrap_or(full)
    }
}

fn enclosing(document: &Document, open: &[usize]) -> Inside {
    let mut inside = Inside::default();
    for index in open {
        match document.spans[*index].style {
            Style::Bold | Style::Italic | Style::Strike | Style::Code => inside.inline += 1,
            Style::Quote => inside.quote = true,
            Style::CodeBlock(_) => inside.code_block = true,
            Style::Link(_) => {}
        }
    }
    inside
}

/// Would the block fit into a piece of its own.
fn block_fits(document: &Document, block: &Span, limit: usize, dialect: &impl Dialect) -> bool {
    let inside = Inside {
        code_block: true,
        ..Inside::default()
    };
    let mut cost = dialect.span(&block.style);
    document.text[block.start..block.end].chars().all(|character| {
        cost += dialect.character(character, inside);
        cost <= limit
    })
}
