//! Files to host batches: which images there are, their pixels, and who goes into which batch.
//!
//! In: a folder with one sub-folder per class, or a list of files. Out: [`Batch`]es of u8 RGB
//! pixels (n, h, w, 3) with labels, prepared one ahead; features of images on disk. No device is known here; scaling and
//! augmentation happen where the pixels go.

pub mod augment;
pub mod batch;
pub mod cache;
pub mod copies;
pub mod draw;
pub mod endings;
pub mod features;
pub mod folder;
pub mod image;
pub mod inputs;
pub mod labels;
mod recipe;
pub mod resize;
pub mod split;
mod store;
pub mod survey;

pub use store::VERSION as PIXELS;

pub use augment::{AngleUnit, Augment, FillMode};
pub use batch::{Batch, Batches, Files, Prefetch, Source, batches, prefetch};
pub use cache::{Images, Want};
pub use copies::{Duplicate, Likeness, copies};
pub use features::{Begin, Features, Writer};
pub use folder::{Folder, Sample};
pub use image::{Lost, Rgb8};
pub use inputs::{Inputs, Loaded, LoadedAhead, Loading, Unreadable};
pub use recipe::{HeldOut, Recipe, RecipeFile};
pub use resize::{Resize, Size};
pub use split::{Split, Splits, Stays, rank};
pub use survey::{Glance, survey};

use crate::error::Result;
use std::path::Path;

/// What a file gives in the size that was asked for.
pub struct DecodedImage {
    /// `size.h * size.w * 3` bytes, row-major RGB.
    pub pixels: Vec<u8>,
    /// What is to be said of it.
    pub caveats: Caveats,
}

/// What is to be said of an image that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caveats {
    /// Whether its EXIF orientation says that it is to be turned or mirrored, and it was not ([`Resize::is_upright`]).
    pub sideways: bool,
    /// Whether it is 16-bit grey with levels above 255 ([`Lost::Clipped`]).
    pub clipped: bool,
}

impl Caveats {
    /// As the cache has them.
    fn byte(self) -> u8 {
        u8::from(self.sideways) | u8::from(self.clipped) << 1
    }

    fn of_byte(byte: u8) -> Self {
        Self { sideways: byte & 1 != 0, clipped: byte & 2 != 0 }
    }
}

/// How many of `labels` are of each of so many `classes`.
pub fn per_class(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

/// Decodes one file and resizes it.
///
/// # Errors
/// As [`image::decode`].
pub fn load(path: &Path, size: Size, how: Resize) -> Result<DecodedImage> {
    image::decode_then(path, how.is_upright(), |decoded| {
        let pixels = sized(decoded.image, path, (size, how))?.pixels;
        let clipped = decoded.lost == Some(Lost::Clipped);
        Ok(DecodedImage { pixels, caveats: Caveats { sideways: decoded.sideways, clipped } })
    })
}

/// Decodes one file and makes two sizes of it, turned as the first is to be.
///
/// # Errors
/// As [`load`].
pub fn load_both(path: &Path, wanted: [(Size, Resize); 2]) -> Result<[Rgb8; 2]> {
    let [first, second] = wanted;
    image::decode_then(path, first.1.is_upright(), |decoded| {
        Ok([sized(decoded.image.clone(), path, first)?, sized(decoded.image, path, second)?])
    })
}

fn sized(image: Rgb8, path: &Path, (size, how): (Size, Resize)) -> Result<Rgb8> {
    image::fits(path, how.between(image.size, size))?;
    Ok(image.resize(size, how))
}
