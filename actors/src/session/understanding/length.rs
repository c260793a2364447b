//! How long a sound is, by its own account where its format has one. Pure.

/// Bytes of a second where nothing says how many there are: 64 kbit/s.
const USUAL: f64 = 8_000.0;
/// Bytes of a second at most: CD sound in two channels, and 320 kbit/s in MP3. Whoever claims to be shorter than that does not
/// tell the truth.
const FASTEST: f64 = 192_000.0;
const FASTEST_MP3: f64 = 40_000.0;
/// The last page of an Ogg file is in its last bytes.
const LAST_PAGE: usize = 65_536 + 300;
/// How far into an MP3 its first frame is looked for.
const FIRST_FRAME: usize = 4_096;

/// Seconds that the file states, as far as its size allows.
pub(super) fn stated(bytes: &[u8]) -> Option<f64> {
    ogg(bytes)
        .or_else(|| wav(bytes))
        .or_else(|| mp4(bytes))
        .or_else(|| mp3(bytes))
        .filter(|seconds| seconds.is_finite())
        .map(|seconds| seconds.max(size(bytes) / FASTEST))
}

/// Seconds of what states nothing. Good enough to put money aside, not to refuse it.
pub(super) fn guessed(bytes: &[u8]) -> f64 {
    size(bytes) / USUAL
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn size(bytes: &[u8]) -> f64 {
    bytes.len() as f64
}

/// The last page counts the samples.
fn ogg(bytes: &[u8]) -> Option<f64> {
    let head = bytes
        .get(..bytes.len().min(512))
        .filter(|head| head.starts_with(b"OggS"))?;
    let find = |mark: &[u8]| head.windows(mark.len()).position(|window| window == mark);
    let rate = match (find(b"OpusHead"), find(b"\x01vorbis")) {
        (Some(_), _) => 48_000.0,
        (None, Some(at)) => f64::from(u32::from_le_bytes(*head.get(at + 12..)?.first_chunk()?)),
        (None, None) => return None,
    };
    let tail = bytes.get(bytes.len().saturating_sub(LAST_PAGE)..)?;
    // With the one version there is.
    let page = tail.windows(5).rposition(|window| window == b"OggS\0")?;
    let samples = u64::from_le_bytes(*tail.get(page + 6..)?.first_chunk()?);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = samples as f64 / rate;
    // No page ends there: the count is missing.
    (samples != u64::MAX).then_some(seconds)
}

/// The header counts the bytes of a second.
fn wav(bytes: &[u8]) -> Option<f64> {
    let head = bytes.get(..44).filter(|head| head.starts_with(b"RIFF"))?;
    let rate = u32::from_le_bytes(*head.get(28..)?.first_chunk()?);
    (rate > 0).then(|| size(bytes) / f64::from(rate))
}

/// The header of the film counts.
fn mp4(bytes: &[u8]) -> Option<f64> {
    if bytes.get(4..8)? != b"ftyp" {
        return None;
    }
    let head = inside(inside(bytes, *b"moov")?, *b"mvhd")?;
    let number = |at: usize| Some(u32::from_be_bytes(*head.get(at..)?.first_chunk()?));
    let (scale, units) = match head.first()? {
        0 => (number(12)?, u64::from(number(16)?)),
        1 => (number(20)?, u64::from_be_bytes(*head.get(24..)?.first_chunk()?)),
        _ => return None,
    };
    // Neither is known of a film that is written while it is sent.
    let known = scale > 0 && units > 0 && units != u64::from(u32::MAX) && units != u64::MAX;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = units as f64 / f64::from(scale);
    known.then_some(seconds)
}

/// What is in the first box of this kind.
fn inside(mut boxes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    loop {
        let size = u32::from_be_bytes(*boxes.first_chunk()?);
        let name = boxes.get(4..8)?;
        let end = match size {
            // As far as there is anything.
            0 => boxes.len(),
            // No sound that we take needs sizes of 64 bits.
            1 => return None,
            size => usize::try_from(size).ok()?.max(8),
        };
        if name == kind {
            return boxes.get(8..end.min(boxes.len()));
        }
        boxes = boxes.get(end..)?;
    }
}

/// Kilobits of a second by the index in a frame's header, of MPEG 1 and of its successors, layer III.
const RATES: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const LATER_RATES: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
const SAMPLES: [u32; 3] = [44_100, 48_000, 32_000];

/// The first frame says how many frames there are, else how many bits each second has.
fn mp3(bytes: &[u8]) -> Option<f64> {
    let sound = after_tag(bytes)?;
    // Zeros may follow a tag. Without one, only the first bytes say that it is an MP3 at all.
    let far = if bytes.starts_with(b"ID3") { FIRST_FRAME } else { 4 };
    let first = sound.get(..sound.len().min(far))?;
    let (at, frame) = (0_usize..)
        .zip(first.windows(4))
        .find_map(|(at, head)| Some((at, Frame::of(head)?)))?;
    let sound = sound.get(at..)?;
    let start = sound.get(..sound.len().min(200))?;
    let table = start.windows(4).position(|mark| mark == b"Xing" || mark == b"Info");
    let frames = table.and_then(|table| {
        let flags = start.get(table + 7)?;
        let frames = u32::from_be_bytes(*start.get(table + 8..)?.first_chunk()?);
        (flags & 1 == 1 && frames > 0).then_some(frames)
    });
    let seconds = match frames {
        Some(frames) => f64::from(frames) * frame.seconds,
        None => size(sound) / frame.bytes_of_second,
    };
    Some(seconds.max(size(sound) / FASTEST_MP3))
}

/// What is behind the words that stand in front of an MP3.
fn after_tag(bytes: &[u8]) -> Option<&[u8]> {
    if !bytes.starts_with(b"ID3") {
        return Some(bytes);
    }
    // Seven bits of each byte count.
    let size = bytes
        .get(6..10)?
        .iter()
        .fold(0_usize, |size, part| (size << 7) | usize::from(part & 0x7f));
    bytes.get(10 + size..)
}

/// What a frame's header says.
struct Frame {
    /// Its own length.
    seconds: f64,
    bytes_of_second: f64,
}

impl Frame {
    fn of(head: &[u8]) -> Option<Self> {
        let [0xff, kind, rates, _] = *head else {
            return None;
        };
        // Layer III alone.
        if kind & 0xe0 != 0xe0 || (kind >> 1) & 3 != 1 {
            return None;
        }
        let (kilobits, slower, samples) = match (kind >> 3) & 3 {
            3 => (RATES, 1, 1_152.0),
            2 => (LATER_RATES, 2, 576.0),
            0 => (LATER_RATES, 4, 576.0),
            _ => return None,
        };
        let kilobits = *kilobits.get(usize::from(rates >> 4))?;
        let rate = *SAMPLES.get(usize::from((rates >> 2) & 3))? / slower;
        (kilobits > 0).then(|| Self {
            seconds: samples / f64::from(rate),
            bytes_of_second: f64::from(kilobits) * 125.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opus(samples: u64, padding: usize) -> Vec<u8> {
        let mut file = b"OggS\0\x02\0\0\0\0\0\0\0\0".to_vec();
        file.extend_from_slice(&[0; 14]);
        file.extend_from_slice(b"OpusHead\x01\x01");
        file.resize(file.len() + padding, 1);
        file.extend_from_slice(b"OggS\0\x04");
        file.extend_from_slice(&samples.to_le_bytes());
        file.extend_from_slice(&[0; 20]);
        file
    }

    /// An MP3 of 128 kbit/s and 44,100 samples a second.
    fn mp3(seconds: usize) -> Vec<u8> {
        let mut file = b"ID3\x04\0\0\0\0\x02\0".to_vec();
        file.resize(10 + 256, 0);
        file.extend_from_slice(b"\xff\xfb\x90\x00");
        file.resize(266 + seconds * 16_000, 1);
        file
    }

    fn mp4(scale: u32, units: u32) -> Vec<u8> {
        let mut file = b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x0cmdat....".to_vec();
        file.extend_from_slice(b"\0\0\0\x24moov\0\0\0\x1cmvhd\0\0\0\0\0\0\0\0\0\0\0\0");
        file.extend_from_slice(&scale.to_be_bytes());
        file.extend_from_slice(&units.to_be_bytes());
        file
    }

    fn about(bytes: &[u8], seconds: f64) -> bool {
        stated(bytes).is_some_and(|stated| (stated - seconds).abs() < 0.1)
    }

    #[test]
    fn what_a_file_says_of_itself_counts_as_far_as_it_can_be_true() {
        assert!(about(&opus(48_000 * 90, 1_000), 90.0));
        // A megabyte is no split second.
        assert!(stated(&opus(1, 1_000_000)).is_some_and(|seconds| seconds > 5.0));
        let endless = opus(u64::MAX, 20_000);
        assert!(stated(&endless).is_none() && guessed(&endless) > 2.0);
        let mut wav = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
        wav.resize(44, 0);
        wav[28..32].copy_from_slice(&32_000_u32.to_le_bytes());
        wav.resize(64_000, 0);
        assert!(about(&wav, 2.0));
        for bytes in [
            &b""[..],
            b"OggS",
            b"RIFF",
            b"\xff\xfb\x90",
            b"OggS.......OpusHead",
            b"ID3",
            b"\0\0\0\x08ftyp",
        ] {
            let (stated, guessed) = (stated(bytes), guessed(bytes));
            assert!(stated.is_none() && guessed < 1.0, "{bytes:?}: {stated:?}, {guessed}");
        }
    }

    #[test]
    fn a_long_mp3_and_an_mp4_are_as_long_as_they_say() {
        assert!(about(&mp3(600), 600.0));
        // One of many rates counts its frames: 1,152 samples each.
        let mut varying = mp3(10);
        varying[302..314].copy_from_slice(b"Xing\0\0\0\x01\0\0\x03\xe8");
        assert!(about(&varying, 26.12));
        // As fast as none is.
        varying[310..314].copy_from_slice(&[0, 0, 0, 1]);
        assert!(about(&varying, 4.0));
        assert!(about(&mp4(1_000, 75_000), 75.0));
        assert!(stated(&mp4(1_000, 0)).is_none() && stated(&mp4(0, 9)).is_none());
    }
}
