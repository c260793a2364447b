//! Markdown, parsed once into text with spans and written out in a platform's dialect, cut to its limit.

mod html;
mod mrkdwn;
mod parse;
mod table;
mod walk;

#[cfg(test)]
mod tests;

pub(super) use html::Html;
pub(super) use mrkdwn::Mrkdwn;

use claw_actors::ports::channel::Rendered;

use super::chunk::{self, Slice};

/// What a reply says, without any dialect: visible text, and who is bold in it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Document {
    pub text: String,
    /// By start, outer before inner, properly nested; a style never lies in itself. Never empty ranges.
    pub spans: Vec<Span>,
}

/// A styled part of [`Document::text`], in bytes.
#[derive(Debug, PartialEq)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
    pub style: Style,
}

/// What can be said about a part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Bold,
    Italic,
    Strike,
    Code,
    /// The fence's info string.
    CodeBlock(String),
    Quote,
    /// An address that starts with one of [`parse::LINKABLE`].
    Link(String),
}

/// What encloses a character, as far as its cost depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Inside {
    /// Open bold, italic and strike spans.
    pub inline: usize,
    pub quote: bool,
    pub code_block: bool,
}

/// How a platform writes a [`Document`] down, and how long it finds the result. Costs are in the platform's unit and
/// never less than what [`Dialect::write`] makes of it.
pub(super) trait Dialect {
    fn character(&self, character: char, inside: Inside) -> usize;
    /// Both ends of a span.
    fn span(&self, style: &Style) -> usize;
    fn write(&self, document: &Document, slice: &Slice) -> String;
}

/// A whole reply in pieces of at most `limit`. Empty only when `markdown` is blank.
pub(super) fn render(markdown: &str, limit: usize, dialect: &impl Dialect) -> Vec<Rendered> {
    let mut document = Document::parse(markdown);
    if document.text.trim().is_empty() {
        // Markup that shows nothing, such as a link definition: the person sees it as it was written.
        document = Document {
            text: markdown.trim().to_owned(),
            spans: Vec::new(),
        };
    }
    chunk::cut(&document, limit, dialect)
        .iter()
        .map(|slice| Rendered {
            text: dialect.write(&document, slice),
            plain: plain(&document, slice, limit, dialect),
        })
        .collect()
}

/// The piece without any markup; addresses of links stand behind their labels when there is room.
fn plain(document: &Document, slice: &Slice, limit: usize, dialect: &impl Dialect) -> String {
    let mut text = String::new();
    walk::walk(document, slice, |step| match step {
        walk::Step::Text(part) => text.push_str(part),
        walk::Step::Open(_) => {}
        walk::Step::Close(span) => {
            if let Style::Link(url) = &span.style {
                text.push_str(" (");
                text.push_str(url);
                text.push(')');
            }
        }
    });
    let cost: usize = text
        .chars()
        .map(|character| dialect.character(character, Inside::default()))
        .sum();
    if cost <= limit {
        text
    } else {
        document.text[slice.range.clone()].to_owned()
    }
}
