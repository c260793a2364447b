//! pulldown-cmark events into a [`Document`]. One pass, no recursion, so nesting depth is harmless.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::table::Table;
use super::{Document, Span, Style};

/// Addresses that may become a link; any other is shown as text.
pub(super) const LINKABLE: [&str; 5] = ["https://", "http://", "mailto:", "tel:", "tg://"];

/// Longest address behind a label, in characters; a longer one is text, so that it can be cut.
const LONGEST_LINK: usize = 1500;

/// Deeper lists are not indented further.
const DEEPEST_INDENT: usize = 8;

impl Document {
    /// Reads CommonMark with tables, strike-through and task lists. HTML in it is text.
    pub(super) fn parse(markdown: &str) -> Self {
        let cleaned: String = markdown
            .replace("\r\n", "\n")
            .chars()
            .filter(|character| !character.is_control() || matches!(character, '\n' | '\t'))
            .collect();
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        let mut builder = Builder::default();
        for event in Parser::new_ext(&cleaned, options) {
            builder.event(event);
        }
        builder.finish()
    }
}

/// An open tag: the span it made, if it made one.
struct Open {
    span: Option<usize>,
    /// Where its content starts.
    start: usize,
    /// Address of a link or image.
    url: Option<String>,
}

#[derive(Default)]
struct Builder {
    text: String,
    spans: Vec<Span>,
    inline: Vec<Open>,
    quotes: Vec<Option<usize>>,
    code_block: Option<usize>,
    /// One per open list: the next number, or none for bullets.
    lists: Vec<Option<u64>>,
    /// Newlines wanted before the next text.
    gap: usize,
    /// A list marker was just written: its first paragraph follows on the same line.
    after_marker: bool,
    table: Option<Table>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text)
            | Event::Html(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text)
            | Event::FootnoteReference(text) => self.push(&text),
            Event::InlineHtml(html) => match html.as_ref() {
                "<br>" | "<br/>" | "<br />" => self.push("\n"),
                _ => self.push(&html),
            },
            Event::Code(code) => {
                let open = self.open(Style::Code);
                self.push(&code);
                self.close(open);
            }
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            Event::Rule => {
                self.block();
                self.push("———");
                self.gap = 2;
            }
            Event::TaskListMarker(done) => self.push(if done { "☑ " } else { "☐ " }),
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } => {
                self.block();
                let open = self.open(Style::Bold);
                self.inline.push(open);
            }
            Tag::BlockQuote(_) => {
                self.block();
                self.after_marker = false;
                let open = self.open(Style::Quote);
                self.quotes.push(open.span);
            }
            Tag::CodeBlock(kind) => {
                self.block();
                let info = match kind {
                    CodeBlockKind::Indented => String::new(),
                    CodeBlockKind::Fenced(info) => info.trim().to_owned(),
                };
                self.code_block = self.open(Style::CodeBlock(info)).span;
            }
            Tag::List(first) => {
                self.gap = self.gap.max(if self.lists.is_empty() { 2 } else { 1 });
                self.after_marker = false;
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Table(_) => {
                self.block();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.row();
                }
            }
            Tag::TableCell => {
                if let Some(table) = &mut self.table {
                    table.cell();
                }
            }
            Tag::Emphasis => self.open_inline(Style::Italic),
            Tag::Strong => self.open_inline(Style::Bold),
            Tag::Strikethrough => self.open_inline(Style::Strike),
            Tag::Link { dest_url, .. } => self.open_link(&dest_url),
            Tag::Image { dest_url, .. } => self.open_link(&dest_url),
            Tag::Paragraph | Tag::HtmlBlock | Tag::FootnoteDefinition(_) | Tag::DefinitionListDefinition => {
                self.block();
            }
            Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.close_inline();
                self.gap = 2;
            }
            TagEnd::BlockQuote(_) => {
                self.trim();
                if let Some(Some(span)) = self.quotes.pop() {
                    self.spans[span].end = self.text.len();
                }
                self.gap = 2;
            }
            TagEnd::CodeBlock => {
                if self.text.ends_with('\n') {
                    self.text.pop();
                }
                if let Some(span) = self.code_block.take() {
                    self.spans[span].end = self.text.len().max(self.spans[span].start);
                }
                self.gap = 2;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.gap = if self.lists.is_empty() { 2 } else { 1 };
            }
            TagEnd::Item => {
                self.after_marker = false;
                self.gap = 1;
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.table_done(&table);
                }
                self.gap = 2;
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.close_inline(),
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::Paragraph
            | TagEnd::HtmlBlock
            | TagEnd::FootnoteDefinition
            | TagEnd::DefinitionList
            | TagEnd::DefinitionListTitle
            | TagEnd::DefinitionListDefinition => self.gap = 2,
            TagEnd::TableHead
            | TagEnd::TableRow
            | TagEnd::TableCell
            | TagEnd::Superscript
            | TagEnd::Subscript
            | TagEnd::MetadataBlock(_) => {}
        }
    }

    fn item(&mut self) {
        self.flush();
        let depth = self.lists.len().saturating_sub(1).min(DEEPEST_INDENT);
        let mut marker = "  ".repeat(depth);
        match self.lists.last_mut() {
            Some(Some(number)) => {
                marker.push_str(&format!("{number}. "));
                *number = number.saturating_add(1);
            }
            Some(None) | None => marker.push_str("• "),
        }
        self.text.push_str(&marker);
        self.after_marker = true;
    }

    /// A block begins: a blank line before it, except right behind a list marker.
    fn block(&mut self) {
        if !std::mem::take(&mut self.after_marker) {
            self.gap = self.gap.max(if self.lists.is_empty() { 2 } else { 1 });
        }
    }

    fn push(&mut self, text: &str) {
        if let Some(table) = &mut self.table {
            table.push(text);
            return;
        }
        if text.is_empty() {
            return;
        }
        self.flush();
        self.text.push_str(text);
    }

    /// Writes the newlines that are due.
    fn flush(&mut self) {
        let due = std::mem::take(&mut self.gap);
        if self.text.is_empty() {
            return;
        }
        let there = self
            .text
            .bytes()
            .rev()
            .take(due)
            .take_while(|byte| *byte == b'\n')
            .count();
        for _ in there..due {
            self.text.push('\n');
        }
    }

    /// Takes away trailing newlines that a block left, so that its span ends with its text.
    fn trim(&mut self) {
        let floor = self
            .quotes
            .last()
            .copied()
            .flatten()
            .map_or(0, |span| self.spans[span].start);
        while self.text.len() > floor && self.text.ends_with('\n') {
            self.text.pop();
        }
    }

    fn open(&mut self, style: Style) -> Open {
        if self.table.is_none() {
            self.flush();
        }
        let start = self.text.len();
        let same = |span: &Span| {
            span.end == usize::MAX && std::mem::discriminant(&span.style) == std::mem::discriminant(&style)
        };
        let span = if self.table.is_some() || self.open_spans().any(same) {
            None
        } else {
            self.spans.push(Span {
                start,
                end: usize::MAX,
                style,
            });
            Some(self.spans.len() - 1)
        };
        Open { span, start, url: None }
    }

    /// Spans that are open now: at most one of each style.
    fn open_spans(&self) -> impl Iterator<Item = &Span> {
        self.inline
            .iter()
            .rev()
            .filter_map(|open| open.span)
            .chain(self.quotes.iter().take(1).copied().flatten())
            .map(|index| &self.spans[index])
    }

    fn open_inline(&mut self, style: Style) {
        let open = self.open(style);
        self.inline.push(open);
    }

    fn close_inline(&mut self) {
        if let Some(open) = self.inline.pop() {
            self.close(open);
        }
    }

    fn close(&mut self, open: Open) {
        if let Some(span) = open.span {
            self.spans[span].end = self.text.len();
        }
    }

    fn open_link(&mut self, url: &str) {
        if let Some(table) = &mut self.table {
            table.open_link(url);
            return;
        }
        let mut open = self.open(Style::Link(url.trim().to_owned()));
        open.url = Some(url.trim().to_owned());
        self.inline.push(open);
    }

    fn close_link(&mut self) {
        if let Some(table) = &mut self.table {
            table.close_link();
            return;
        }
        let Some(open) = self.inline.pop() else { return };
        let url = open.url.as_deref().unwrap_or_default();
        if self.text.len() <= open.start && open.span.is_some() {
            self.text.push_str("link");
        }
        let label = &self.text[open.start.min(self.text.len())..];
        let shown = shows(label, url);
        let keep = !shown && short(url) && LINKABLE.iter().any(|scheme| starts_with(url, scheme));
        if let Some(span) = open.span {
            self.spans[span].end = if keep { self.text.len() } else { open.start };
            if !keep && !shown && !url.is_empty() && !url.starts_with('#') {
                self.text.push_str(&format!(" ({url})"));
            }
        }
    }

    fn table_done(&mut self, table: &Table) {
        self.flush();
        let start = self.text.len();
        if let Some(grid) = table.grid() {
            self.text.push_str(&grid);
            self.spans.push(Span {
                start,
                end: self.text.len(),
                style: Style::CodeBlock(String::new()),
            });
        } else {
            self.text.push_str(&table.bullets());
        }
    }

    fn finish(mut self) -> Document {
        let end = self.text.trim_end().len();
        self.text.truncate(end);
        for span in &mut self.spans {
            span.end = span.end.min(end);
        }
        self.spans.retain(|span| span.start < span.end);
        Document {
            text: self.text,
            spans: self.spans,
        }
    }
}

/// Does the label already say the address.
pub(super) fn shows(label: &str, url: &str) -> bool {
    label == url || url.strip_prefix("mailto:") == Some(label) || url.strip_prefix("tel:") == Some(label)
}

/// An escaped `&` takes five characters.
fn short(url: &str) -> bool {
    url.len() + 4 * url.bytes().filter(|byte| *byte == b'&').count() <= LONGEST_LINK
}

fn starts_with(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}
