//! What tests of whole networks share: images, and how far two results are apart.

use super::golden;
use std::path::{Path, PathBuf};
use vgg_ft::data::{Batch, Resize, Size, load};

/// The root of the squares of the differences, over that of what is expected.
pub fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let squares = |f: &dyn Fn(usize) -> f64| (0..got.len()).map(|i| f(i).powi(2)).sum::<f64>();
    (squares(&|i| f64::from(got[i]) - f64::from(want[i])) / squares(&|i| f64::from(want[i]))).sqrt()
}

/// The first images of a folder.
fn first(folder: &Path, count: usize) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found.truncate(count);
    found
}

/// Images that are in the repository.
pub fn drawings(count: usize) -> Vec<PathBuf> {
    first(&golden().join("inputs"), count)
}

/// Photographs where there are some, else drawings.
pub fn photographs(count: usize) -> Vec<PathBuf> {
    let data = std::env::var_os("VGG_FT_TEST_DATA").map(PathBuf::from);
    let folder = data.map(|data| data.join("cats_and_dogs_small/validation/dogs"));
    match folder.filter(|folder| folder.is_dir()) {
        Some(folder) => first(&folder, count),
        None => {
            skipped!("no photographs, as VGG_FT_TEST_DATA is not set; drawings stand in for them");
            drawings(count)
        }
    }
}

/// All of them as one batch, without labels.
pub fn batch(paths: &[PathBuf], size: Size) -> Batch {
    let pixels: Vec<u8> = paths.iter().flat_map(|p| load(p, size, Resize::NEAREST).unwrap().pixels).collect();
    Batch { indices: (0..paths.len() as u32).collect(), pixels, labels: Vec::new() }
}
