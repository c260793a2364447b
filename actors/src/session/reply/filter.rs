//! Takes tags, media lines and thinking out of a text that may still be growing. Code is left alone: blocks, and spans
//! within a line.

use super::ReplyTo;

/// Longest tag, brackets included; what is longer is ordinary text.
const MAX_TAG: usize = 200;
/// Longest rest of a span of code behind something like a tag, bytes; what is longer is no code. A line waits no longer
/// for the end of one.
const MAX_CODE: usize = 500;

/// Tags that hide what is between them, as some open models write their thinking.
const THINKING: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<antthinking>", "</antthinking>"),
];

const FENCE: &str = "```";
const MEDIA: &str = "MEDIA:";

/// The state between two pieces of text.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Not decided yet.
    pending: String,
    text: String,
    /// Inside a line of ordinary text.
    mid_line: bool,
    fence: bool,
    /// Backticks that open the span of code we may be in; 0 = in none.
    ticks: usize,
    /// What ends the hidden part we are in.
    hidden_until: Option<&'static str>,
    /// That part so far, with the tag that opens it, where it began within a line: it may be a word about the tag.
    hidden: Option<String>,
    /// A tag was taken out: one blank after it goes too.
    after_tag: bool,
    pub(super) reply_to: Option<ReplyTo>,
    pub(super) voice: bool,
    pub(super) media: Vec<String>,
}

/// What was found at a place in the text.
enum Found {
    /// So many bytes are done with.
    Consumed(usize),
    /// More text is needed to tell.
    Undecided,
}

impl Filter {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn in_fence(&self) -> bool {
        self.fence
    }

    pub(super) fn push(&mut self, piece: &str) {
        self.pending.push_str(piece);
        self.advance(false);
    }

    /// No more text comes. What began within a line and nothing ends was no thinking, but a word about the tag.
    pub(super) fn end(&mut self) {
        self.advance(true);
        while let Some(hidden) = self.hidden.take() {
            self.hidden_until = None;
            let (open, rest) = hidden.split_at(1);
            self.emit(open);
            rest.clone_into(&mut self.pending);
            self.advance(true);
        }
    }

    fn advance(&mut self, last: bool) {
        let pending = std::mem::take(&mut self.pending);
        let mut at = 0;
        while at < pending.len() {
            match self.step(&pending[at..], last) {
                Found::Consumed(bytes) => at += bytes,
                Found::Undecided => break,
            }
        }
        if at == 0 {
            self.pending = pending;
        } else {
            pending[at..].clone_into(&mut self.pending);
        }
    }

    fn step(&mut self, rest: &str, last: bool) -> Found {
        if let Some(close) = self.hidden_until {
            return self.skip_hidden(rest, close, last);
        }
        if !self.mid_line
            && let Some(found) = self.line_start(rest, last)
        {
            return found;
        }
        self.mid_line = true;
        if self.fence {
            let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
            self.mid_line = !rest[..end].ends_with('\n');
            self.emit(&rest[..end]);
            return Found::Consumed(end);
        }
        match rest.find(['\n', '[', '<', '`']) {
            None => {
                self.emit(rest);
                Found::Consumed(rest.len())
            }
            Some(0) if rest.starts_with('\n') => {
                self.emit("\n");
                self.mid_line = false;
                self.ticks = 0;
                Found::Consumed(1)
            }
            Some(0) if rest.starts_with('`') => self.backticks(rest, last),
            Some(0) => match self.is_code(rest, last) {
                None => Found::Undecided,
                Some(true) => {
                    self.emit(&rest[..1]);
                    Found::Consumed(1)
                }
                Some(false) if rest.starts_with('[') => self.bracket(rest, last),
                Some(false) => self.angle(rest, last),
            },
            Some(end) => {
                self.emit(&rest[..end]);
                Found::Consumed(end)
            }
        }
    }

    /// Fences and media lines, which only stand at the start of a line.
    fn line_start(&mut self, rest: &str, last: bool) -> Option<Found> {
        if rest.starts_with(FENCE) {
            self.fence = !self.fence;
            self.mid_line = true;
            self.emit(FENCE);
            return Some(Found::Consumed(FENCE.len()));
        }
        if !last && FENCE.starts_with(rest) {
            return Some(Found::Undecided);
        }
        if self.fence {
            return None;
        }
        if rest.starts_with(MEDIA) {
            return match rest.find('\n') {
                None if !last => Some(Found::Undecided),
                end => {
                    let line = &rest[MEDIA.len()..end.unwrap_or(rest.len())];
                    let address = line.trim().trim_matches('`');
                    if !address.is_empty() {
                        self.media.push(address.to_owned());
                    }
                    Some(Found::Consumed(end.map_or(rest.len(), |at| at + 1)))
                }
            };
        }
        (!last && MEDIA.starts_with(rest)).then_some(Found::Undecided)
    }

    /// As many as open a span of code end it; others in it are part of it.
    fn backticks(&mut self, rest: &str, last: bool) -> Found {
        let run = ticks(rest.as_bytes());
        if run == rest.len() && !last {
            return Found::Undecided;
        }
        match self.ticks {
            0 => self.ticks = run,
            open if open == run => self.ticks = 0,
            _ => {}
        }
        self.emit(&rest[..run]);
        Found::Consumed(run)
    }

    /// Is this place in a span of code: one that ends on its line. `None`: more text is needed to tell.
    fn is_code(&mut self, rest: &str, last: bool) -> Option<bool> {
        if self.ticks == 0 {
            return Some(false);
        }
        let bytes = rest.as_bytes();
        let mut at = 0;
        while at < bytes.len().min(MAX_CODE) && bytes[at] != b'\n' {
            let run = ticks(&bytes[at..]);
            if at + run == bytes.len() && !last {
                return None;
            }
            if run == self.ticks {
                return Some(true);
            }
            at += run.max(1);
        }
        if at == bytes.len() && at < MAX_CODE && !last {
            return None;
        }
        self.ticks = 0;
        Some(false)
    }

    fn bracket(&mut self, rest: &str, last: bool) -> Found {
        let Some(inside) = rest.strip_prefix("[[") else {
            if rest == "[" && !last {
                return Found::Undecided;
            }
            self.emit("[");
            return Found::Consumed(1);
        };
        match inside.find("]]") {
            Some(end) if end < MAX_TAG && self.tag(inside[..end].trim()) => {
                self.after_tag = true;
                Found::Consumed(2 + end + 2)
            }
            None if !last && inside.len() < MAX_TAG && may_become_tag(inside) => Found::Undecided,
            Some(_) | None => {
                self.emit("[[");
                Found::Consumed(2)
            }
        }
    }

    /// Notes a tag. `false` when it is none of ours.
    fn tag(&mut self, inside: &str) -> bool {
        match inside {
            "reply_to_current" => self.reply_to = Some(ReplyTo::Current),
            "audio_as_voice" | "tts" | "/tts:text" => self.voice = true,
            _ if inside.starts_with("tts:") => self.voice = true,
            _ => match inside
                .strip_prefix("reply_to")
                .map(|rest| rest.trim_start().strip_prefix(':'))
            {
                Some(Some(id)) if !id.trim().is_empty() => {
                    self.reply_to = Some(ReplyTo::Message(id.trim().to_owned()));
                }
                Some(_) | None => return false,
            },
        }
        true
    }

    fn angle(&mut self, rest: &str, last: bool) -> Found {
        for (open, close) in THINKING {
            if starts_with_no_case(rest, open) {
                self.hidden_until = Some(close);
                let line = self.text.rsplit('\n').next().unwrap_or_default();
                self.hidden = (!line.trim().is_empty()).then(|| rest[..open.len()].to_owned());
                return Found::Consumed(open.len());
            }
            if starts_with_no_case(rest, close) {
                // Its beginning went the way of the provider's own thinking channel.
                self.after_tag = true;
                return Found::Consumed(close.len());
            }
            if !last && (starts_with_no_case(open, rest) || starts_with_no_case(close, rest)) {
                return Found::Undecided;
            }
        }
        self.emit("<");
        Found::Consumed(1)
    }

    fn skip_hidden(&mut self, rest: &str, close: &'static str, last: bool) -> Found {
        let mut from = 0;
        while let Some(at) = rest[from..].find('<') {
            let here = &rest[from + at..];
            if starts_with_no_case(here, close) {
                self.hidden_until = None;
                self.hidden = None;
                self.after_tag = true;
                return Found::Consumed(from + at + close.len());
            }
            if !last && starts_with_no_case(close, here) {
                return match from + at {
                    0 => Found::Undecided,
                    bytes => self.hide(&rest[..bytes]),
                };
            }
            from += at + 1;
        }
        self.hide(rest)
    }

    fn hide(&mut self, piece: &str) -> Found {
        if let Some(hidden) = &mut self.hidden {
            hidden.push_str(piece);
        }
        Found::Consumed(piece.len())
    }

    fn emit(&mut self, piece: &str) {
        let mut piece = piece;
        if self.after_tag {
            self.after_tag = false;
            if self.text.is_empty() || self.text.ends_with(char::is_whitespace) {
                piece = piece.strip_prefix(' ').unwrap_or(piece);
            }
        }
        if self.text.is_empty() {
            piece = piece.trim_start();
        }
        self.text.push_str(piece);
    }
}

/// Can more text make this (after `[[`) one of our tags.
fn may_become_tag(inside: &str) -> bool {
    let inside = inside.trim_start();
    let inside = inside.strip_suffix(']').unwrap_or(inside).trim_end();
    !inside.contains('\n')
        && (inside.starts_with("reply_to:")
            || inside.starts_with("reply_to :")
            || inside.starts_with("tts:")
            || ["reply_to_current", "reply_to:", "audio_as_voice", "tts:", "/tts:text"]
                .iter()
                .any(|tag| tag.starts_with(inside)))
}

/// Backticks that it begins with.
fn ticks(text: &[u8]) -> usize {
    text.iter().take_while(|sign| **sign == b'`').count()
}

fn starts_with_no_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}
