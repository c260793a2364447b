//! Server-sent events, decoded from bytes as they arrive. Linear in the input, whatever the pieces.
//!
//! Own code rather than a crate: we need a cap per event, the last event of a stream that ends without a blank line,
//! and no opinion about UTF-8 before a whole event is there.

/// Largest event.
pub(super) const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event is larger than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventTooLarge;

/// One event. `data` is its data lines joined by line feeds, not checked for UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SseEvent<'a> {
    /// Value of the last `event` field, or empty.
    pub(super) name: &'a [u8],
    pub(super) data: &'a [u8],
}

/// The decoder. Push bytes, then take events until there are none; after the last byte call [`Self::end`] and take
/// once more.
#[derive(Default)]
pub(super) struct SseDecoder {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that belong to finished lines.
    consumed: usize,
    /// Bytes of `buffer` known to hold no line end of the current line.
    scanned: usize,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The event in `name` and `data` was handed out: clear both before reading on.
    taken: bool,
    /// A carriage return ended the last line: a line feed right after it belongs to it.
    after_return: bool,
    started: bool,
}

impl SseDecoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.scanned -= self.consumed;
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Ends the input: what is there counts as a complete event.
    pub(super) fn end(&mut self) {
        self.push(b"\n\n");
    }

    /// The next complete event.
    pub(super) fn next(&mut self) -> Result<Option<SseEvent<'_>>, EventTooLarge> {
        if std::mem::take(&mut self.taken) {
            self.name.clear();
            self.data.clear();
            self.has_data = false;
        }
        loop {
            if self.after_return && self.consumed < self.buffer.len() {
                self.after_return = false;
                if self.buffer[self.consumed] == b'\n' {
                    self.consumed += 1;
                }
            }
            self.scanned = self.scanned.max(self.consumed);
            let rest = &self.buffer[self.scanned..];
            let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.scanned = self.buffer.len();
                if self.scanned - self.consumed > MAX_EVENT_BYTES {
                    return Err(EventTooLarge);
                }
                return Ok(None);
            };
            let end = self.scanned + at;
            self.after_return = self.buffer[end] == b'\r';
            let start = self.consumed;
            self.consumed = end + 1;
            self.scanned = self.consumed;
            if self.line(start, end)? {
                self.taken = true;
                return Ok(Some(SseEvent {
                    name: &self.name,
                    data: &self.data,
                }));
            }
        }
    }

    /// Reads one line. True when it completed an event.
    fn line(&mut self, start: usize, end: usize) -> Result<bool, EventTooLarge> {
        let mut line = &self.buffer[start..end];
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            if self.has_data {
                return Ok(true);
            }
            self.name.clear();
            return Ok(false);
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if field == b"data" {
            if self.data.len() + value.len() > MAX_EVENT_BYTES {
                return Err(EventTooLarge);
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        } else if field == b"event" {
            self.name.clear();
            self.name.extend_from_slice(value);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut decoder = SseDecoder::default();
        let mut events = Vec::new();
        let mut take = |decoder: &mut SseDecoder| {
            while let Some(event) = decoder.next().unwrap() {
                events.push((
                    String::from_utf8(event.name.to_vec()).unwrap(),
                    String::from_utf8(event.data.to_vec()).unwrap(),
                ));
            }
        };
        for piece in pieces {
            decoder.push(piece);
            take(&mut decoder);
        }
        decoder.end();
        take(&mut decoder);
        events
    }

    fn check(input: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(n, d)| ((*n).to_owned(), (*d).to_owned()))
            .collect();
        let bytes = input.as_bytes();
        assert_eq!(decode(&[bytes]), expected, "{input:?} whole");
        for at in 0..=bytes.len() {
            assert_eq!(
                decode(&[&bytes[..at], &bytes[at..]]),
                expected,
                "{input:?} split at {at}"
            );
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), expected, "{input:?} byte by byte");
    }

    #[test]
    fn events() {
        check("", &[]);
        check("data: a\n\ndata: b\n\n", &[("", "a"), ("", "b")]);
        check("event: x\ndata: a\n\ndata: b\n\n", &[("x", "a"), ("", "b")]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]);
        check("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
        check("data: a\r\n\ndata: b\n\r\n", &[("", "a"), ("", "b")]);
        check("data: one\ndata: two\ndata\n\n", &[("", "one\ntwo\n")]);
        check("data:a\ndata:  b\n\n", &[("", "a\n b")]);
        check(": keep-alive\n\n: again\ndata: a\n\n", &[("", "a")]);
        check("id: 3\nretry: 5\nunknown: x\ndata: a\n\n", &[("", "a")]);
        check("event: alone\n\ndata: a\n\n", &[("", "a")]);
        check("data:\n\n", &[("", "")]);
        check("\u{feff}data: a\n\n", &[("", "a")]);
        check("data: grüße 👋\n\n", &[("", "grüße 👋")]);
    }

    #[test]
    fn last_event_without_blank_line() {
        check("data: a\n\ndata: b", &[("", "a"), ("", "b")]);
        check("data: a\n\nevent: e\ndata: b\n", &[("", "a"), ("e", "b")]);
        check("data: a\n\n: bye", &[("", "a")]);
    }

    #[test]
    fn large_events_are_linear_and_capped() {
        let mut decoder = SseDecoder::default();
        decoder.push(b"data: ");
        let piece = vec![b'x'; 64 * 1024];
        let mut sent = 0;
        while sent + piece.len() < MAX_EVENT_BYTES {
            decoder.push(&piece);
            assert_eq!(decoder.next(), Ok(None));
            sent += piece.len();
        }
        decoder.push(b"\n\n");
        assert_eq!(decoder.next().unwrap().unwrap().data.len(), sent);
        for line in [&b"data: "[..], b": "] {
            decoder.push(line);
            let mut result = Ok(());
            for _ in 0..=(MAX_EVENT_BYTES / piece.len() + 1) {
                decoder.push(&piece);
                result = decoder.next().map(|_| ());
                if result.is_err() {
                    break;
                }
            }
            assert_eq!(result, Err(EventTooLarge));
            decoder = SseDecoder::default();
        }
        // Many lines of one event count together.
        let mut many = b"data: ".to_vec();
        many.extend_from_slice(&piece);
        many.push(b'\n');
        let mut result = Ok(());
        for _ in 0..=(MAX_EVENT_BYTES / piece.len()) {
            decoder.push(&many);
            result = decoder.next().map(|_| ());
        }
        assert_eq!(result, Err(EventTooLarge));
    }
}
