//! Small images inside the page: JPEG in base64, and a map laid over them.

use crate::data::Rgb8;
use crate::error::{Error, Kind, Result};
use crate::train::Cam;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

/// The images of one mistake, each as the text of a `data:` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// `[h, w]`.
    pub size: [usize; 2],
    /// As it is.
    pub plain: String,
    /// With its map.
    pub overlay: Option<String>,
}

/// A small file that still looks well.
const QUALITY: u8 = 82;

/// `image` alone and under its map.
///
/// # Errors
/// [`Kind::Io`] for an image that is too large for a JPEG.
pub fn thumbnails(image: &Rgb8, cam: Option<&Cam>) -> Result<Thumbnail> {
    let size = [image.size.h, image.size.w];
    let overlay = cam.map(|cam| jpeg(&overlay(image, cam), size)).transpose()?;
    Ok(Thumbnail { size, plain: jpeg(&image.pixels, size)?, overlay })
}

fn jpeg(pixels: &[u8], [h, w]: [usize; 2]) -> Result<String> {
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, QUALITY)
        .write_image(pixels, w as u32, h as u32, ExtendedColorType::Rgb8)
        .map_err(|e| Error::new(Kind::Io, "a thumbnail cannot be written as JPEG").fact("reason", e))?;
    Ok(format!("data:image/jpeg;base64,{}", base64(&out)))
}

/// The image, darker where the map is 0 and in the colours of heat where it is high.
fn overlay(image: &Rgb8, cam: &Cam) -> Vec<u8> {
    let (h, w) = (image.size.h, image.size.w);
    let map = enlarge(cam, [h, w]);
    let most = map.iter().fold(0.0f32, |most, v| most.max(*v));
    let scale = if most > 0.0 { 1.0 / most } else { 0.0 };
    let (pixels, _) = image.pixels.as_chunks::<3>();
    let blend = |(pixel, value): (&[u8; 3], &f32)| {
        let heat = value * scale;
        let colour = warmth(heat);
        let share = 0.15 + 0.5 * heat;
        [0, 1, 2].map(|i| (f32::from(pixel[i]) * (1.0 - share) + 255.0 * colour[i] * share).round() as u8)
    };
    pixels.iter().zip(&map).flat_map(blend).collect()
}

/// Black, purple, red, yellow: brighter is more, with every colour vision. Corners are those of matplotlib's
/// `inferno` (S. van der Walt, N. Smith; CC0).
fn warmth(heat: f32) -> [f32; 3] {
    const CORNERS: [[f32; 3]; 5] =
        [[0.0, 0.0, 0.02], [0.34, 0.06, 0.43], [0.74, 0.22, 0.33], [0.98, 0.55, 0.04], [0.99, 1.0, 0.64]];
    let at = heat.clamp(0.0, 1.0) * 4.0;
    let low = (at as usize).min(3);
    let share = at - low as f32;
    [0, 1, 2].map(|i| CORNERS[low][i] + (CORNERS[low + 1][i] - CORNERS[low][i]) * share)
}

/// Bilinear, pixel centres on pixel centres; what is outside counts as the nearest inside.
fn enlarge(cam: &Cam, [h, w]: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = cam.size;
    let taps = |n: usize, of: usize| -> Vec<(usize, usize, f32)> {
        (0..n)
            .map(|i| {
                let at = ((i as f32 + 0.5) * of as f32 / n as f32 - 0.5).clamp(0.0, (of - 1) as f32);
                let low = at as usize;
                (low, (low + 1).min(of - 1), at - low as f32)
            })
            .collect()
    };
    let (down, across) = (taps(h, rows), taps(w, columns));
    let of = |row: usize, column: usize| cam.values[row * columns + column];
    let mut out = Vec::with_capacity(h * w);
    for (top, bottom, v) in &down {
        for (left, right, u) in &across {
            let upper = of(*top, *left) * (1.0 - u) + of(*top, *right) * u;
            let lower = of(*bottom, *left) * (1.0 - u) + of(*bottom, *right) * u;
            out.push(upper * (1.0 - v) + lower * v);
        }
    }
    out
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or_default());
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Size;

    /// RFC 4648, section 10.
    #[test]
    fn base64_as_documented() {
        let words = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|word| base64(word.as_bytes()));
        assert_eq!(words, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    /// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` of [[0, 1], [2, 3]] to 4 x 4.
    #[test]
    fn maps_are_enlarged_between_centres() {
        let cam = Cam { size: [2, 2], values: vec![0.0, 1.0, 2.0, 3.0] };
        let got = enlarge(&cam, [4, 4]);
        let row = |start: f32| [start, start + 0.25, start + 0.75, start + 1.0];
        assert_eq!(got, [row(0.0), row(0.5), row(1.5), row(2.0)].concat());
        assert_eq!(enlarge(&Cam { size: [1, 1], values: vec![7.0] }, [2, 3]), [7.0; 6]);
    }

    #[test]
    fn what_counts_is_brighter() {
        let image = Rgb8 { size: Size { h: 1, w: 2 }, pixels: vec![100; 6] };
        let cam = Cam { size: [1, 2], values: vec![0.0, 5.0] };
        let out = overlay(&image, &cam);
        assert!(out[..3].iter().all(|v| *v < 100) && out[3] > 150, "{out:?}");
        // A map of nothing leaves the image in its own colours, darker.
        let nothing = overlay(&image, &Cam { size: [1, 2], values: vec![0.0; 2] });
        assert_eq!(nothing[..3], nothing[3..]);
        assert!(thumbnails(&image, Some(&cam)).unwrap().plain.starts_with("data:image/jpeg;base64,/9j/"));
    }
}
