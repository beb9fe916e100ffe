//! What lies among images and is not read, counted by what the names end in.

use crate::files::open_regular;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::iter::Sum;
use std::path::Path;

/// Endings of images that neither Keras nor we read: phones', the web's, cameras' raw files, medicine's and science's.
const IMAGES: [&str; 31] = [
    "heic", "heif", "avif", "jxl", "jp2", "j2k", "dib", "svg", "psd", "tga", "ico", "exr", "hdr", "dng",
    "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2", "dcm", "dicom", "nii", "svs", "ndpi", "mrxs", "czi",
    "fits", "npy", "npz",
];

/// What files of the formats that are read begin with; BMP's two letters may begin any text, and WebP's four any sound or
/// film (its name stands behind them, and four bytes of length).
const BEGINNINGS: [&[u8]; 5] = [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"];

/// Files by their ending, in lower case and without the dot; empty for a name that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    files: BTreeMap<String, usize>,
    /// Those without an ending that begin as images do.
    unnamed: usize,
}

impl Endings {
    /// Counts the file `name` in `folder`. Hidden files are not counted: systems leave them everywhere.
    pub fn count(&mut self, folder: &Path, name: &OsStr) {
        if !name.as_encoded_bytes().starts_with(b".") {
            let ending = Path::new(name).extension().unwrap_or_default().to_string_lossy().to_lowercase();
            self.unnamed += usize::from(ending.is_empty() && begins_as_image(&folder.join(name)));
            *self.files.entry(ending).or_default() += 1;
        }
    }

    /// Counts those of `other`, too.
    pub fn add(&mut self, other: &Self) {
        self.unnamed += other.unnamed;
        for (ending, count) in &other.files {
            *self.files.entry(ending.clone()).or_default() += count;
        }
    }

    /// How many images have a name without an ending.
    pub fn unnamed(&self) -> usize {
        self.unnamed
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
            self.files.iter().filter(|(ending, _)| wanted(ending)).map(|(ending, count)| match &ending[..] {
                "" => format!("{count} without an ending"),
                ending => format!("{count} .{ending}"),
            });
        Some(listed.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty())
    }
}

/// Whether the file `path` begins as an image does that would be read under another name.
fn begins_as_image(path: &Path) -> bool {
    // To open a pipe may take for ever.
    if !fs::metadata(path).is_ok_and(|there| there.is_file()) {
        return false;
    }
    let mut bytes = [0; 12];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    let is_webp = bytes.starts_with(b"RIFF") && bytes.ends_with(b"WEBP");
    read.is_ok() && (is_webp || BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning)))
}

/// Whether this is what macOS keeps beside a file of which a disk or an archive cannot hold all: `._cat.jpg`, an AppleDouble
/// file (RFC 1740) of the same ending and no image, or the folder of them, `__MACOSX`.
pub(super) fn is_of_macos(path: &Path, name: &OsStr) -> bool {
    let is_double = || {
        let mut magic = [0; 4];
        // To open a pipe may take for ever.
        open_regular(path).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
            && magic == [0, 5, 0x16, 7]
    };
    name == "__MACOSX" || name.as_encoded_bytes().starts_with(b"._") && is_double()
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
        for name in
            ["IMG_1.HEIC", "img_2.heic", "notes.txt", "LICENSE", ".DS_Store", ".hidden.heic", "scan.dcm"]
        {
            endings.count(Path::new("nowhere"), OsStr::new(name));
        }
        let mut both = endings.clone();
        both.add(&endings);
        assert_eq!(endings.all().as_deref(), Some("1 without an ending, 1 .dcm, 2 .heic, 1 .txt"));
        assert_eq!(both.images().as_deref(), Some("2 .dcm, 4 .heic"));
    }

    #[test]
    fn images_without_an_ending_are_known_by_how_they_begin() {
        let dir = tempfile::tempdir().unwrap();
        let mut endings = Endings::default();
        for (name, bytes) in [
            ("photo", &b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01"[..]),
            ("drawing", b"\x89PNG\r\n\x1a\n\0\0\0\r"),
            ("web", b"RIFF\x10\0\0\0WEBPVP8 "),
            ("sound", b"RIFF\x10\0\0\0WAVEfmt "),
            ("LICENSE", b"MIT License"),
            ("x", b""),
        ] {
            fs::write(dir.path().join(name), bytes).unwrap();
            endings.count(dir.path(), OsStr::new(name));
        }
        fs::create_dir(dir.path().join("folder")).unwrap();
        endings.count(dir.path(), OsStr::new("folder"));
        let both: Endings = [&endings, &endings].into_iter().sum();
        assert_eq!([endings.unnamed(), both.unnamed()], [3, 6]);
    }
}
