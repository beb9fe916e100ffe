//! What images are like before they are brought to size.
//!
//! In: a [`Folder`]. Out: a [`Glance`] of each image, or why it cannot be read. Pixels are not kept, but for a thumbnail
//! by which [`copies`](super::copies()) finds what is there twice.

use super::folder::Folder;
use super::image::{self, Decoded, Lost};
use super::resize::{Resize, Size};
use super::store::checksum;
use crate::error::{Error, Kind, Result};
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Sides of a thumbnail.
pub(super) const THUMB: Size = Size { h: 16, w: 16 };
/// Rows above which an image is not smoothed on its way to a thumbnail.
const HIGH: usize = 1 << 20;
/// What both kinds of thumbnails are made from.
const SMALL: Size = Size { h: 64, w: 64 };
/// Sides of a finer one.
pub(super) const FINE: Size = Size { h: 32, w: 32 };

/// What an image is like, as it is stored, or turned as its EXIF orientation says.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Rows and columns.
    pub size: Size,
    /// "JPEG", "PNG".
    pub format: &'static str,
    /// Whether no pixel has a colour.
    pub grey: bool,
    /// Whether it is of one colour nearly all over.
    pub blank: bool,
    /// Whether its EXIF orientation says that it is to be turned or mirrored, and it was not.
    pub sideways: bool,
    /// What its pixels have that RGB has not.
    pub lost: Option<Lost>,
    /// Whether all pixels are the same.
    pub(super) flat: bool,
    /// 64 bits of the pixels.
    pub(super) sum: u64,
    /// The image in the size [`THUMB`], `[16, 16, 3]`.
    pub(super) thumb: Vec<u8>,
    /// The mean of its channels in the size [`FINE`], `[32, 32]`.
    pub(super) fine: Vec<u8>,
}

impl Glance {
    fn of(Decoded { image, sideways, format, lost }: Decoded) -> Self {
        let (pixels, _) = image.pixels.as_chunks::<3>();
        let (size, grey) = (image.size, pixels.iter().all(|[r, g, b]| r == g && g == b));
        let (flat, blank) = (pixels.iter().all(|pixel| *pixel == pixels[0]), is_blank(pixels));
        let sum = checksum(&image.pixels);
        // By a size between: a copy of all pixels may be as large as is allowed. What is very high would become larger
        // on its way to fewer columns.
        let way = if size.h > HIGH { Resize::NEAREST } else { Resize::BILINEAR };
        let small = image.resize(SMALL, way);
        let fine = small.clone().resize(FINE, Resize::BILINEAR);
        let mean = |[r, g, b]: &[u8; 3]| ((u16::from(*r) + u16::from(*g) + u16::from(*b)) / 3) as u8;
        let fine = fine.pixels.as_chunks::<3>().0.iter().map(mean).collect();
        let thumb = small.resize(THUMB, Resize::BILINEAR).pixels;
        Self { size, format, grey, blank, sideways, lost, flat, sum, thumb, fine }
    }
}

/// Whether fewer than a hundredth of the levels are farther than 4 from their channel's mean.
fn is_blank(pixels: &[[u8; 3]]) -> bool {
    /// What a JPEG makes of one colour.
    const NEAR: f64 = 4.0;
    let mut sums = [0u64; 3];
    for pixel in pixels {
        sums.iter_mut().zip(pixel).for_each(|(sum, &level)| *sum += u64::from(level));
    }
    let means = sums.map(|sum| sum as f64 / pixels.len() as f64);
    let levels = pixels.iter().flat_map(|pixel| pixel.iter().zip(means));
    levels
        .filter(|&(&level, mean)| (f64::from(level) - mean).abs() > NEAR)
        .nth(pixels.len() * 3 / 100)
        .is_none()
}

/// Looks at every image of `folder`, in its order, as it will be brought to the size `to` in the way `how`: turned first,
/// or refused as too large on its way. `progress(done)` is called
/// on this thread, every few images.
///
/// # Errors
/// [`Kind::Interrupted`] soon after `stop` turns true; [`Kind::Device`] where there is no memory to decode one;
/// [`Kind::Io`] where too many files are open. That an image cannot be read is an answer.
pub fn survey(
    folder: &Folder,
    (to, how): (Size, Resize),
    progress: &dyn Fn(usize),
    stop: &AtomicBool,
) -> Result<Vec<Result<Glance>>> {
    let mut seen = Vec::with_capacity(folder.len());
    let piece = 8 * rayon::current_num_threads();
    while seen.len() < folder.len() {
        let next = seen.len()..folder.len().min(seen.len() + piece);
        let found: Vec<Option<Result<Glance>>> = next
            .into_par_iter()
            .map(|i| {
                let go_on = !stop.load(Ordering::Relaxed);
                let path = folder.path(i);
                let look = |decoded: Decoded| {
                    image::fits(&path, how.between(decoded.image.size, to))?;
                    Ok(Glance::of(decoded))
                };
                go_on.then(|| image::decode_then(&path, how.is_upright(), look))
            })
            .collect();
        seen.extend(found.into_iter().flatten());
        if stop.load(Ordering::Relaxed) {
            let done = format!("{} of {}", seen.len(), folder.len());
            return Err(Error::new(Kind::Interrupted, "stopped by the user").fact("seen", done));
        }
        // That there is no memory says nothing of the image.
        if let Some(at) = seen.iter().position(|one| matches!(one, Err(e) if e.kind() != Kind::Data)) {
            return seen.swap_remove(at).map(|_| Vec::new());
        }
        progress(seen.len());
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Rgb8;

    fn glance(size: Size, pixels: Vec<u8>) -> Glance {
        Glance::of(Decoded { image: Rgb8 { size, pixels }, sideways: false, format: "PNG", lost: None })
    }

    #[test]
    fn grey_and_blank_are_told_by_every_pixel_and_by_nearly_all() {
        let size = Size { h: 20, w: 30 };
        let flat = vec![77; size.bytes()];
        let one = glance(size, flat.clone());
        assert!(one.grey && one.blank && one.flat && one.thumb == vec![77; THUMB.bytes()]);
        let mut dot = flat.clone();
        dot[0] = 200;
        let one = glance(size, dot);
        assert!(!one.grey && one.blank && !one.flat);
        // A twentieth of it is something else.
        let mut square = flat.clone();
        square[..size.bytes() / 20].fill(200);
        let one = glance(size, square);
        assert!(one.grey && !one.blank);
    }
}
