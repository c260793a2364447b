//! How long a sound is, by its own account where its format has one. Pure.

/// Bytes of a second where nothing says how many there are: 16 kbit/s, which is little, so that the estimate is high.
const SLOWEST: f64 = 2_000.0;
/// Bytes of a second at most: CD sound in two channels. Whoever claims to be shorter than that does not tell the truth.
const FASTEST: f64 = 192_000.0;
/// The last page of an Ogg file is in its last bytes.
const LAST_PAGE: usize = 65_536 + 300;

/// Seconds, estimated. What a file says of itself counts as far as its size allows.
pub(super) fn seconds(bytes: &[u8]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let size = bytes.len() as f64;
    ogg(bytes)
        .or_else(|| wav(bytes))
        .filter(|seconds| seconds.is_finite())
        .unwrap_or(size / SLOWEST)
        .max(size / FASTEST)
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
    let page = tail.windows(4).rposition(|window| window == b"OggS")?;
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
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let size = bytes.len() as f64;
    (rate > 0).then(|| size / f64::from(rate))
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

    #[test]
    fn what_a_file_says_of_itself_counts_as_far_as_it_can_be_true() {
        assert!((seconds(&opus(48_000 * 90, 1_000)) - 90.0).abs() < 0.01);
        // A megabyte is no split second.
        assert!(seconds(&opus(1, 1_000_000)) > 5.0);
        assert!(seconds(&opus(u64::MAX, 20_000)) > 9.0);
        let mut wav = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
        wav.resize(44, 0);
        wav[28..32].copy_from_slice(&32_000_u32.to_le_bytes());
        wav.resize(64_000, 0);
        assert!((seconds(&wav) - 2.0).abs() < 0.01);
        for bytes in [&b""[..], b"OggS", b"RIFF", b"\xff\xfb\x90", b"OggS.......OpusHead"] {
            assert!(seconds(bytes) < 1.0);
        }
    }
}
