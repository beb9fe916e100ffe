//! What lies among images and is not read, counted by what the names end in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::iter::Sum;
use std::path::Path;

/// Endings of images that neither Keras nor we read: phones', the web's, cameras' raw files.
const IMAGES: [&str; 21] = [
    "heic", "heif", "avif", "jxl", "jp2", "j2k", "dib", "svg", "psd", "tga", "ico", "exr", "hdr", "dng",
    "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2",
];

/// Files by their ending, in lower case and without the dot; empty for a name that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endings(BTreeMap<String, usize>);

impl Endings {
    /// Counts a file. Hidden files are not counted: systems leave them everywhere.
    pub fn count(&mut self, name: &OsStr) {
        if !name.as_encoded_bytes().starts_with(b".") {
            let ending = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_lowercase();
            *self.0.entry(ending).or_default() += 1;
        }
    }

    /// Counts those of `other`, too.
    pub fn add(&mut self, other: &Self) {
        for (ending, count) in &other.0 {
            *self.0.entry(ending.clone()).or_default() += count;
        }
    }

    /// "3 .heic, 1 .txt"; `None` where there is nothing.
    pub fn all(&self) -> Option<String> {
        self.listed(|_| true)
    }

    /// "3 .heic": of these the images in formats that are not read.
    pub fn images(&self) -> Option<String> {
        self.listed(|ending| IMAGES.contains(&ending))
    }

    fn listed(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let listed =
            self.0.iter().filter(|(ending, _)| wanted(ending)).map(|(ending, count)| match &ending[..] {
                "" => format!("{count} without an ending"),
                ending => format!("{count} .{ending}"),
            });
        Some(listed.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
    }
}

impl<'a> Sum<&'a Self> for Endings {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum.add(one);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_counted_and_images_among_them_known() {
        let mut endings = Endings::default();
        assert_eq!((endings.all(), endings.images()), (None, None));
        for name in ["IMG_1.HEIC", "img_2.heic", "notes.txt", "LICENSE", ".DS_Store", ".hidden.heic"] {
            endings.count(OsStr::new(name));
        }
        let mut both = endings.clone();
        both.add(&endings);
        assert_eq!(endings.all().as_deref(), Some("1 without an ending, 2 .heic, 1 .txt"));
        assert_eq!(both.images().as_deref(), Some("4 .heic"));
    }
}
