//! Telegram's HTML: few tags, and only `& < > "` to escape. The platform counts UTF-16 units after parsing, so tags are
//! free.

use super::walk::{Step, walk};
use super::{Dialect, Document, Inside, Style};
use crate::channels::chunk::Slice;

/// `parse_mode=HTML`.
pub(in crate::channels) struct Html;

impl Dialect for Html {
    fn character(&self, character: char, _inside: Inside) -> usize {
        character.len_utf16()
    }

    fn span(&self, _style: &Style) -> usize {
        0
    }

    fn write(&self, document: &Document, slice: &Slice) -> String {
        let mut html = String::with_capacity(slice.range.len() + 16);
        walk(document, slice, |step| match step {
            Step::Text(text) => escape(text, &mut html),
            Step::Open(span) => open(&span.style, &mut html),
            Step::Close(span) => html.push_str(close(&span.style)),
        });
        html
    }
}

fn open(style: &Style, html: &mut String) {
    match style {
        Style::Bold => html.push_str("<b>"),
        Style::Italic => html.push_str("<i>"),
        Style::Strike => html.push_str("<s>"),
        Style::Code => html.push_str("<code>"),
        Style::CodeBlock(info) => {
            html.push_str("<pre><code");
            let language = language(info);
            if !language.is_empty() {
                html.push_str(" class=\"language-");
                html.push_str(&language);
                html.push('"');
            }
            html.push('>');
        }
        Style::Quote => html.push_str("<blockquote>"),
        Style::Link(url) => {
            html.push_str("<a href=\"");
            escape(url, html);
            html.push_str("\">");
        }
    }
}

fn close(style: &Style) -> &'static str {
    match style {
        Style::Bold => "</b>",
        Style::Italic => "</i>",
        Style::Strike => "</s>",
        Style::Code => "</code>",
        Style::CodeBlock(_) => "</code></pre>",
        Style::Quote => "</blockquote>",
        Style::Link(_) => "</a>",
    }
}

/// First word of an info string, as far as it looks like the name of a language.
fn language(info: &str) -> String {
    info.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || "+#-_.".contains(*c))
        .take(32)
        .collect()
}

/// Also good inside a double-quoted attribute.
fn escape(text: &str, html: &mut String) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
}
