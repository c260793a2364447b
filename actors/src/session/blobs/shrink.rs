//! Images that providers refuse for their size are made smaller, once, before they are stored: in a conversation they would
//! be sent, and refused, with each of its turns.

use std::io::Cursor;
use std::sync::LazyLock;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, ImageResult, Limits,
};
use tokio::sync::Semaphore;

use crate::error::{Error, Result};

/// Longest side of an image that is sent to a model, pixels, and its largest size, bytes (`agent-runtime` §7.4).
const SIDE: u32 = 1200;
const LARGEST: usize = 5 * 1024 * 1024;
/// What is decoded at all: a small file may claim to be a very large image.
const MOST_PIXELS: u64 = 50_000_000;
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
const QUALITY: u8 = 85;

/// Images that are worked on at once: each may take [`MOST_MEMORY`] and a processor.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(2));

/// An image as it may be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// As it is.
    Kept(Vec<u8>),
    Shrunk {
        mime_type: &'static str,
        bytes: Vec<u8>,
    },
    /// It is too large and cannot be made smaller.
    Unfit,
}

/// Makes an image fit. What is small enough stays byte for byte as it is.
pub(super) async fn fit(bytes: Vec<u8>) -> Result<Fit> {
    if bytes.len() <= LARGEST && dimensions(&bytes).is_none_or(|(width, height)| width.max(height) <= SIDE) {
        return Ok(Fit::Kept(bytes));
    }
    let place = PLACES.acquire().await.map_err(Error::internal)?;
    let shrinking = tokio::task::spawn_blocking(move || {
        let _place = place;
        match shrunk(&bytes) {
            Ok((mime_type, bytes)) => Fit::Shrunk { mime_type, bytes },
            Err(_) => Fit::Unfit,
        }
    });
    // A decoder that panics on a broken file has not made it smaller.
    Ok(shrinking.await.unwrap_or(Fit::Unfit))
}

/// By the header alone.
fn dimensions(bytes: &[u8]) -> Option<(u32, u32)> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    reader.into_dimensions().ok()
}

fn shrunk(bytes: &[u8]) -> ImageResult<(&'static str, Vec<u8>)> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS || decoder.total_bytes() > MOST_MEMORY {
        let limit = image::error::LimitErrorKind::DimensionError;
        return Err(image::ImageError::Limits(image::error::LimitError::from_kind(limit)));
    }
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if width.max(height) > SIDE {
        // First to twice the size in one quick pass, then well: the result looks the same, and a large photo costs a tenth.
        if width.max(height) > 4 * SIDE {
            picture = picture.thumbnail(2 * SIDE, 2 * SIDE);
        }
        picture = picture.resize(SIDE, SIDE, FilterType::Triangle);
    }
    picture.apply_orientation(orientation);
    if picture.color().has_alpha() {
        let mut png = Vec::new();
        picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png)?;
        if png.len() <= LARGEST {
            return Ok(("image/png", png));
        }
    }
    let mut jpeg = Vec::new();
    let plain = picture.into_rgb8();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).write_image(
        plain.as_raw(),
        plain.width(),
        plain.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(("image/jpeg", jpeg))
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Vec::new();
        picture
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .expect("encodes");
        bytes
    }

    #[tokio::test]
    async fn what_fits_stays_as_it_is() {
        let small = png(&RgbImage::from_pixel(SIDE, 20, Rgb([1, 2, 3])).into());
        assert_eq!(fit(small.clone()).await.expect("looks"), Fit::Kept(small));
        // No image that we know, and small: the provider may know it.
        let odd = b"\x89PNG odd".to_vec();
        assert_eq!(fit(odd.clone()).await.expect("looks"), Fit::Kept(odd));
    }

    #[tokio::test]
    async fn large_images_become_smaller() {
        let opaque = png(&RgbImage::from_pixel(3 * SIDE, SIDE, Rgb([200, 2, 3])).into());
        let clear = png(&RgbaImage::from_pixel(20, 2 * SIDE, Rgba([1, 2, 3, 4])).into());
        for (large, kind, size) in [(opaque, "image/jpeg", (1200, 400)), (clear, "image/png", (10, 1200))] {
            let Fit::Shrunk { mime_type, bytes } = fit(large).await.expect("looks") else {
                panic!("it is too large");
            };
            assert_eq!((mime_type, dimensions(&bytes)), (kind, Some(size)));
        }
        // Noise: its pixels fit, and its bytes do not.
        let mut seed = 1_u32;
        let noise = RgbImage::from_fn(SIDE, SIDE, |_, _| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Rgb([(seed >> 8) as u8, (seed >> 16) as u8, (seed >> 24) as u8])
        });
        let heavy = [png(&noise.into()), vec![0; LARGEST]].concat();
        assert!(matches!(fit(heavy).await, Ok(Fit::Shrunk { bytes, .. }) if bytes.len() <= LARGEST));
    }

    #[tokio::test]
    async fn a_file_that_claims_too_much_is_not_decoded() {
        let mut bomb = png(&RgbImage::new(1, 1).into());
        // Width and height in the header, and their check sum.
        bomb[16..24].copy_from_slice(&[0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff]);
        let sum = crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(dimensions(&bomb), Some((0x7fff, 0x7fff)));
        assert_eq!(fit(bomb).await.expect("looks"), Fit::Unfit);
        let broken = [&[0x89, b'P', b'N', b'G'][..], &vec![7; LARGEST]].concat();
        assert_eq!(fit(broken).await.expect("looks"), Fit::Unfit);
    }

    /// CRC-32 of a chunk.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                if sum & 1 == 1 {
                    (sum >> 1) ^ 0xedb8_8320
                } else {
                    sum >> 1
                }
            })
        })
    }
}
