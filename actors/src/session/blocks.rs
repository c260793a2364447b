//! A long reply in parts (`agent-runtime` §4.5): where a growing text is cut, and when small parts become one. Pure: no
//! clock, no channel.

mod coalesce;
mod fence;

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;

pub(crate) use coalesce::Coalescer;

use crate::config::document::{Bounds, Break};

/// Characters looked at behind the longest part.
const LOOK_AHEAD: usize = 256;

/// Cuts the text of a run, which only grows, into parts.
#[derive(Debug)]
pub(crate) struct Chunker {
    bounds: Bounds,
    /// Bytes of the text that were cut off.
    at: usize,
    /// The line that opens the code block in which the last cut was.
    reopen: String,
}

impl Chunker {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            at: 0,
            reopen: String::new(),
        }
    }

    /// Bytes of the text that were cut off.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next part of the text so far, when there is enough for one.
    pub(crate) fn next(&mut self, text: &str) -> Option<String> {
        loop {
            let (open, rest) = self.pending(text);
            let before = open.chars().count();
            if is_shorter(rest, self.bounds.min.saturating_sub(before)) || rest.trim().is_empty() {
                return None;
            }
            let full = !is_shorter(rest, self.bounds.max.saturating_sub(before));
            let part = self.cut(text, full)?;
            if !part.trim().is_empty() {
                return Some(part);
            }
        }
    }

    /// All that is left, in parts.
    pub(crate) fn rest(&mut self, text: &str) -> Vec<String> {
        let mut parts = Vec::new();
        loop {
            let (open, rest) = self.pending(text);
            let most = self.bounds.max.saturating_sub(open.chars().count());
            let last = is_shorter(rest, most.saturating_add(1));
            if last || rest.trim_start().is_empty() {
                if !rest.trim().is_empty() {
                    parts.push(format!("{open}{}", rest.trim_end()));
                }
                self.at = text.len();
                self.reopen.clear();
                return parts;
            }
            match self.cut(text, true) {
                Some(part) if part.trim().is_empty() => {}
                Some(part) => parts.push(part),
                None => return parts,
            }
        }
    }

    /// What goes before the rest, and the rest.
    fn pending<'a>(&self, text: &'a str) -> (String, &'a str) {
        let rest = text.get(self.at..).unwrap_or_default();
        let rest = if self.reopen.is_empty() {
            // Indentation of the first line stays.
            rest.trim_start_matches(['\n', '\r'])
        } else {
            rest
        };
        (self.reopen.clone(), rest)
    }

    fn cut(&mut self, text: &str, full: bool) -> Option<String> {
        let (open, rest) = self.pending(text);
        let skipped = text.len() - self.at - rest.len();
        // What stands far behind the limit decides nothing.
        let seen = self.bounds.max.saturating_add(LOOK_AHEAD);
        let buffer = format!(
            "{open}{}",
            rest.char_indices().nth(seen).map_or(rest, |(end, _)| &rest[..end])
        );
        let mut place = place(&buffer, open.len(), self.bounds, full)?;
        let mut fence = fence::open_at(&buffer, place);
        // Only the closing line is left of the code block: it does not go on.
        let closing = fence.as_ref().map(|fence| format!("\n{}", fence.mark));
        if let Some(closing) = closing.filter(|closing| buffer[place..].starts_with(closing.as_str())) {
            place += closing.len();
            fence = None;
        }
        let head = buffer.get(..place)?;
        let mut part = head.trim_end().to_owned();
        // What is repeated leaves most of a part to new text.
        let long = |text: &str| !is_shorter(text, (self.bounds.max / 4).saturating_add(1));
        self.reopen = match fence.filter(|fence| !long(&fence.mark)) {
            Some(fence) => {
                part.push('\n');
                part.push_str(&fence.mark);
                format!("{}\n", if long(&fence.line) { fence.mark } else { fence.line })
            }
            None => String::new(),
        };
        self.at += skipped + place - open.len();
        // The blank at the cut; what a line begins with stays.
        let gap = if self.reopen.is_empty() { ' ' } else { '\n' };
        if text.get(self.at..).is_some_and(|rest| rest.starts_with(gap)) {
            self.at += 1;
        }
        Some(part)
    }
}

/// Where code stands in a text, inline code included, in order.
pub(crate) fn code(text: &str) -> Vec<Range<usize>> {
    let blocks = fence::blocks(text);
    let mut code: Vec<Range<usize>> = blocks.iter().map(|block| block.start..block.end).collect();
    let mut open: Option<usize> = None;
    for (at, sign) in text.char_indices() {
        if fence::holds(&blocks, at) {
            open = None;
            continue;
        }
        match (sign, open) {
            ('`', None) => open = Some(at),
            ('`', Some(start)) => {
                code.push(start..at + 1);
                open = None;
            }
            ('\n', _) => open = None,
            _ => {}
        }
    }
    code.sort_by_key(|range| range.start);
    code
}

/// The paragraphs of a text; a code block is never torn.
pub(crate) fn paragraphs(text: &str) -> Vec<&str> {
    let blocks = fence::blocks(text);
    let mut paragraphs = Vec::new();
    let mut start = 0;
    for (at, _) in text.match_indices("\n\n") {
        if at >= start && !fence::holds(&blocks, at) {
            paragraphs.push(&text[start..at]);
            start = at + 2;
        }
    }
    paragraphs.push(&text[start..]);
    paragraphs.retain(|paragraph| !paragraph.trim().is_empty());
    paragraphs
}

/// Where a part ends: behind `from` (the opening line of a code block goes on before it), within the bounds. `full`:
/// there must be one.
fn place(text: &str, from: usize, bounds: Bounds, full: bool) -> Option<usize> {
    let limit = text
        .char_indices()
        .nth(bounds.max)
        .map_or(text.len(), |(at, _)| at)
        .max(next_boundary(text, from));
    let least = text.char_indices().nth(bounds.min).map_or(text.len(), |(at, _)| at);
    let blocks = fence::blocks(text);
    // The beginning of a block is a place, too.
    let outside = |at: usize| !fence::holds(&blocks, at) || !fence::holds(&blocks, at - 1);
    let mut best = Places::default();
    let mut before = None;
    for (at, character) in text.char_indices() {
        if at > limit {
            break;
        }
        if at > from && outside(at) {
            best.note(text, at, character, before, least);
        }
        before = Some(character);
    }
    let soft = match bounds.preference {
        Break::Paragraph => [best.paragraph, best.line, best.sentence],
        Break::Newline => [best.line.max(best.paragraph), best.sentence, None],
        Break::Sentence => [best.sentence.max(best.line).max(best.paragraph), None, None],
    };
    if let Some(place) = soft.into_iter().flatten().next() {
        return Some(place);
    }
    if !full {
        return None;
    }
    // A code block that reaches beyond the limit goes whole into the next part, as far as it fits there.
    if let Some(block) = blocks.iter().find(|block| block.start < limit && limit < block.end) {
        if block.start > from && !text[from..block.start].trim().is_empty() {
            return Some(block.start);
        }
        let line = text[..limit]
            .rfind('\n')
            .filter(|line| *line > from.max(block.start + block.opening));
        return Some(line.unwrap_or_else(|| between(text, limit, from)));
    }
    Some(best.blank.unwrap_or_else(|| between(text, limit, from)))
}

/// The last place of each kind that makes the part long enough; a blank may stand anywhere.
#[derive(Debug, Default)]
struct Places {
    paragraph: Option<usize>,
    line: Option<usize>,
    sentence: Option<usize>,
    blank: Option<usize>,
}

impl Places {
    fn note(&mut self, text: &str, at: usize, character: char, before: Option<char>, least: usize) {
        let ended = before.is_some_and(|c| ".!?…。！？".contains(c));
        if character.is_whitespace() {
            self.blank = Some(at);
        }
        if at < least {
            return;
        }
        if character == '\n' {
            if text[at + 1..].starts_with('\n') {
                self.paragraph = Some(at);
            } else if before != Some('\n') {
                self.line = Some(at);
            }
        }
        if ended && (character.is_whitespace() || before.is_some_and(|c| "。！？".contains(c))) {
            self.sentence = Some(at);
        }
    }
}

/// Has it fewer characters than this.
fn is_shorter(text: &str, count: usize) -> bool {
    count > 0 && text.char_indices().nth(count - 1).is_none()
}

fn next_boundary(text: &str, from: usize) -> usize {
    text[from..].chars().next().map_or(from, |c| from + c.len_utf8())
}

/// A place at or before `limit` that does not tear what people see as one character, behind `from`.
fn between(text: &str, limit: usize, from: usize) -> usize {
    let joins = |at: usize| {
        let after = text[at..].chars().next();
        let before = text[..at].chars().next_back();
        before == Some('\u{200d}')
            || after.is_some_and(|c| {
                is_combining_mark(c) || matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
            })
    };
    let places = text[..limit].char_indices().rev().map(|(at, _)| at);
    std::iter::once(limit)
        .chain(places.take(32))
        .find(|at| *at > from && !joins(*at))
        .unwrap_or(limit)
}

#[cfg(test)]
mod tests;
