//! The demo's own data set: cartoon cats and dogs, drawn from a seed.
//!
//! In: a folder, counts, a size, a seed. Out: `train|validation|test/cats|dogs/*.png`. Colours, poses,
//! light and backgrounds are drawn alike for both classes, so that pixels and averages say little and
//! shapes say what it is; nothing is downloaded.

mod animal;
pub mod canvas;
mod scene;

use super::Split;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::interrupt;
use crate::random::{Draws, Stream};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;
use std::fs;
use std::path::Path;

/// The classes: their folders, and the animal in a file's name.
const CLASSES: [(&str, &str); 2] = [("cats", "cat"), ("dogs", "dog")];

/// The smallest image on which the animals can be told apart, pixels.
const SMALLEST: usize = 32;
/// The largest: a slip of the keyboard is not to fill the disk.
const LARGEST: usize = 2048;

/// How many images of each class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// In `train`.
    pub train: u32,
    /// In `validation`.
    pub validation: u32,
    /// In `test`.
    pub test: u32,
}

impl Counts {
    /// Images of both classes together.
    pub fn total(&self) -> usize {
        CLASSES.len() * (self.train as usize + self.validation as usize + self.test as usize)
    }
}

impl Default for Counts {
    /// 100, 50 and 50.
    fn default() -> Self {
        Self { train: 100, validation: 50, test: 50 }
    }
}

/// Draws the data set into `dir`: images of `size` (rows, columns) pixels, numbered through the three sets as in the
/// notebook (`train/cats/cat.0.png` …). An image depends on the seed, its class, set and place in
/// the set only: asking for more leaves the first ones as they were.
///
/// # Errors
/// [`Kind::Usage`] when a side is not in 32..=2048 pixels or `dir` holds something already, [`Kind::Io`]
/// with the path that cannot be written.
pub fn draw(dir: &Path, images_per_class: &Counts, size: [usize; 2], seed: u64) -> Result<()> {
    if size.iter().any(|side| !(SMALLEST..=LARGEST).contains(side)) {
        return Err(Error::new(Kind::Usage, "the demo's images cannot have this size")
            .expected_got(
                format!("{SMALLEST} to {LARGEST} pixels a side"),
                format!("{}x{}", size[0], size[1]),
            )
            .help("give another --size; the default is 150"));
    }
    files::create_dir(dir)?;
    let mut entries = fs::read_dir(dir).map_err(|e| Error::io("read", dir, &e))?;
    if entries.next().is_some() {
        return Err(Error::new(Kind::Usage, format!("{} is not empty", dir.display()))
            .help("choose a new folder for the demo's images"));
    }
    let Counts { train, validation, test } = *images_per_class;
    let mut jobs = Vec::new();
    let mut first = 0;
    for (set, (split, count)) in Split::ALL.iter().zip([train, validation, test]).enumerate() {
        for (class, (folder, animal)) in CLASSES.iter().enumerate() {
            let folder = dir.join(split.name()).join(folder);
            files::create_dir(&folder)?;
            jobs.extend((0..count).map(|i| {
                let path = folder.join(format!("{animal}.{}.png", first + u64::from(i)));
                (path, class, counter(set, class, i))
            }));
        }
        first += u64::from(count);
    }
    jobs.into_par_iter().try_for_each(|(path, class, counter)| {
        interrupt::check()?;
        let mut random = Draws::new(seed, Stream::Demo, counter);
        let pixels = scene::image(class, size, &mut random).bytes();
        files::write_bytes(&path, &png(&pixels, size)?)
    })
}

/// Where an image's random numbers begin: 2^24 blocks each, far more than one needs.
fn counter(set: usize, class: usize, i: u32) -> u64 {
    ((set * CLASSES.len() + class) as u64) << 56 | u64::from(i) << 24
}

fn png(pixels: &[u8], [h, w]: [usize; 2]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, w as u32, h as u32, ExtendedColorType::Rgb8)
        .map_err(|e| Error::new(Kind::Data, "a drawn image cannot be encoded").fact("reason", e))?;
    Ok(out)
}

#[cfg(test)]
mod tests;
