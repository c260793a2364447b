//! A text as a QR code: a PNG of black and white in a data URL.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use qrcode::{Color, EcLevel, QrCode};

use crate::error::{Error, Result};

/// Pixels of a module's side.
const SCALE: usize = 6;
/// White modules around the code, as its standard wants them.
const QUIET: usize = 4;

/// The picture.
///
/// # Errors
/// `Invalid` for a text that is too long for a QR code.
pub(super) fn data_url(text: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|_| Error::invalid("this is too long for a QR code"))?;
    let picture = png(&code).map_err(Error::internal)?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(picture)))
}

fn png(code: &QrCode) -> std::io::Result<Vec<u8>> {
    let (modules, width) = (code.to_colors(), code.width());
    let side = (width + 2 * QUIET) * SCALE;
    // One bit for each pixel, white is 1; each line begins with its filter, which is none.
    let mut lines = ZlibEncoder::new(Vec::new(), Compression::default());
    for y in 0..side {
        let mut line = vec![0xff_u8; side.div_ceil(8)];
        for x in 0..side {
            let module = (x / SCALE).checked_sub(QUIET).zip((y / SCALE).checked_sub(QUIET));
            let inside = module.filter(|(x, y)| *x < width && *y < width);
            if inside.is_some_and(|(x, y)| modules[y * width + x] == Color::Dark) {
                line[x / 8] &= !(0x80 >> (x % 8));
            }
        }
        lines.write_all(&[0])?;
        lines.write_all(&line)?;
    }
    let side = u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes();
    // Depth 1, grey; the usual compression and filters, not interlaced.
    let header = [&side[..], &side[..], &[1, 0, 0, 0, 0]].concat();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, *b"IHDR", &header);
    chunk(&mut png, *b"IDAT", &lines.finish()?);
    chunk(&mut png, *b"IEND", &[]);
    Ok(png)
}

fn chunk(png: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut sum = Crc::new();
    sum.update(&kind);
    sum.update(data);
    png.extend(kind);
    png.extend(data);
    png.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    #[test]
    fn each_module_is_a_square_of_its_colour() {
        let text = "x".repeat(300);
        let url = data_url(&text).expect("fits");
        let png = STANDARD
            .decode(url.strip_prefix("data:image/png;base64,").expect("a PNG"))
            .expect("base64");
        let code = QrCode::with_error_correction_level(&text, EcLevel::M).expect("fits");
        let (modules, width) = (code.to_colors(), code.width());
        let side = (width + 2 * QUIET) * SCALE;
        assert_eq!(png[16..20], u32::try_from(side).expect("small").to_be_bytes());
        let length = usize::try_from(u32::from_be_bytes(png[33..37].try_into().expect("four bytes"))).expect("small");
        let mut lines = Vec::new();
        ZlibDecoder::new(&png[41..41 + length])
            .read_to_end(&mut lines)
            .expect("inflates");
        let stride = 1 + side.div_ceil(8);
        assert_eq!(lines.len(), side * stride);
        let dark = |x: usize, y: usize| lines[y * stride + 1 + x / 8] & (0x80 >> (x % 8)) == 0;
        for y in 0..side {
            for x in 0..side {
                let module = (x / SCALE).checked_sub(QUIET).zip((y / SCALE).checked_sub(QUIET));
                let module = module.filter(|(x, y)| *x < width && *y < width);
                let expected = module.is_some_and(|(x, y)| modules[y * width + x] == Color::Dark);
                assert_eq!(dark(x, y), expected, "{x} {y}");
            }
        }
        assert!(data_url(&"x".repeat(4000)).is_err());
    }
}
