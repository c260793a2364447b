//! AWS event streams (`application/vnd.amazon.eventstream`): binary messages with checksums. Each becomes a server-sent
//! event of the same name, so that everything behind it is as with all other providers.

use serde_json::json;

use crate::providers::errors::Failure;
use crate::providers::sse::MAX_EVENT_BYTES;

/// Total length, length of the headers, and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// The decoder.
#[derive(Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// Takes bytes in and gives the complete messages among them as server-sent events.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        self.buffer.extend_from_slice(bytes);
        let mut out = Vec::new();
        let mut used = 0;
        while let Some(length) = self.complete(used)? {
            let frame = self.buffer.get(used..used + length).unwrap_or_default();
            message(frame, &mut out)?;
            used += length;
        }
        self.buffer.drain(..used);
        Ok(out)
    }

    /// Length of the message that begins at `from`, if all of it is there.
    fn complete(&self, from: usize) -> Result<Option<usize>, Failure> {
        let rest = self.buffer.get(from..).unwrap_or_default();
        let Some(prelude) = rest.get(..PRELUDE) else {
            return Ok(None);
        };
        let length = number(prelude, 0)?;
        if !(PRELUDE + CHECKSUM..=MAX_EVENT_BYTES).contains(&length) {
            // An answer that is no event stream looks like a message of absurd length.
            return Err(Failure::garbage("not an event stream of AWS"));
        }
        if checksum(prelude.get(..8).unwrap_or_default()) != number(prelude, 8)? {
            return Err(Failure::garbage("an event's prelude is damaged"));
        }
        Ok((rest.len() >= length).then_some(length))
    }
}

/// Four bytes, big endian.
fn number(bytes: &[u8], at: usize) -> Result<usize, Failure> {
    let four = bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
    let four = four.ok_or_else(|| Failure::garbage("an event is cut"))?;
    usize::try_from(u32::from_be_bytes(four)).map_err(|_| Failure::garbage("an event is too large"))
}

fn message(frame: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let end = frame.len() - CHECKSUM;
    let body = frame.get(..end).unwrap_or_default();
    if checksum(body) != number(frame, end)? {
        return Err(Failure::garbage("an event is damaged"));
    }
    let headers_end = PRELUDE + number(frame, 4)?;
    let headers = body.get(PRELUDE..headers_end);
    let headers = headers.ok_or_else(|| Failure::garbage("an event's headers are longer than it"))?;
    let payload = body.get(headers_end..).unwrap_or_default();
    let about = About::read(headers)?;
    if about.kind == "exception" || about.kind == "error" {
        let text = String::from_utf8_lossy(payload);
        let said = serde_json::from_str::<serde_json::Value>(&text).ok();
        let said = said
            .as_ref()
            .and_then(|said| said["message"].as_str().or(said["Message"].as_str()));
        let failure = json!({"type": about.name, "message": said.unwrap_or(&about.error)});
        event("exception", failure.to_string().as_bytes(), out);
    } else {
        event(&about.name, payload, out);
    }
    Ok(())
}

/// JSON has no line ends that mean anything.
fn event(name: &str, data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend(name.bytes().filter(u8::is_ascii_graphic));
    out.extend_from_slice(b"\ndata: ");
    out.extend(
        data.iter()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
    );
    out.extend_from_slice(b"\n\n");
}

/// What the headers say.
#[derive(Default)]
struct About {
    /// `event`, `exception` or `error`.
    kind: String,
    name: String,
    error: String,
}

impl About {
    fn read(mut rest: &[u8]) -> Result<Self, Failure> {
        let cut = || Failure::garbage("an event's headers are cut");
        let mut about = Self::default();
        while let Some((&name_length, after)) = rest.split_first() {
            let (name, after) = after.split_at_checked(usize::from(name_length)).ok_or_else(cut)?;
            let (&kind, after) = after.split_first().ok_or_else(cut)?;
            let (length, after) = match kind {
                0 | 1 => (0, after),
                2 => (1, after),
                3 => (2, after),
                4 => (4, after),
                5 | 8 => (8, after),
                9 => (16, after),
                6 | 7 => {
                    let (length, after) = after.split_first_chunk::<2>().ok_or_else(cut)?;
                    (usize::from(u16::from_be_bytes(*length)), after)
                }
                _ => return Err(Failure::garbage("an event has a header of an unknown type")),
            };
            let (value, after) = after.split_at_checked(length).ok_or_else(cut)?;
            let text = || String::from_utf8_lossy(value).into_owned();
            match name {
                b":message-type" => about.kind = text(),
                b":event-type" | b":exception-type" | b":error-code" => about.name = text(),
                b":error-message" => about.error = text(),
                _ => {}
            }
            rest = after;
        }
        Ok(about)
    }
}

/// CRC-32 as in zip.
fn checksum(bytes: &[u8]) -> usize {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let mask = (crc & 1).wrapping_neg();
            (crc >> 1) ^ (0xEDB8_8320 & mask)
        })
    });
    usize::try_from(!crc).unwrap_or(usize::MAX)
}

/// A message as the service sends it, for tests.
#[cfg(test)]
pub(super) fn framed(kind: &str, name: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    let named = if kind == "event" {
        ":event-type"
    } else {
        ":exception-type"
    };
    for (header, value) in [
        (":message-type", kind),
        (named, name),
        (":content-type", "application/json"),
    ] {
        headers.push(u8::try_from(header.len()).expect("short"));
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&u16::try_from(value.len()).expect("short").to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let word = |number: usize| u32::try_from(number).expect("short").to_be_bytes();
    let length = PRELUDE + headers.len() + payload.len() + CHECKSUM;
    let mut frame = [word(length), word(headers.len())].concat();
    let prelude = checksum(&frame);
    frame.extend_from_slice(&word(prelude));
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload.as_bytes());
    let whole = checksum(&frame);
    frame.extend_from_slice(&word(whole));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn messages_become_events_and_damage_is_noticed() {
        let frame = framed("event", "messageStop", "{\"a\":\n1}");
        let text = Frames::default().push(&frame).expect("reads");
        assert_eq!(
            String::from_utf8(text).expect("a text"),
            "event: messageStop\ndata: {\"a\": 1}\n\n"
        );
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x10;
            let mut frames = Frames::default();
            let whole = frames.push(&damaged);
            assert!(whole.is_err() || whole.is_ok_and(|text| text.is_empty()), "byte {at}");
        }
        assert!(Frames::default().push(b"{\"message\": \"hello\"}").is_err());
    }
}
