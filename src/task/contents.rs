//! Which samples a split holds: a run that goes on learns from what it began with, or says that it cannot, and why.
//!
//! In: files with labels, sizes and sums of pixels, in the order of the samples ([`Listing`]). Out: their number and a
//! fingerprint, a few bytes that every checkpoint has ([`Contents`]); and what differs between two listings.

use crate::data::{Folder, Images, Recipe};
use crate::error::{Error, Kind, Result};
use crate::files;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// A split's samples, in a few bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// How many.
    pub samples: usize,
    /// SHA-256 over path, label and size in bytes of each.
    pub digest: String,
    /// SHA-256 over the sums of their pixels, where those were read: files of one size may have changed places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<String>,
}

impl Contents {
    /// Whether these are the same samples, as far as both tell.
    pub fn are(&self, others: &Self) -> bool {
        let pixels = self.pixels.as_ref().zip(others.pixels.as_ref());
        (self.samples, &self.digest) == (others.samples, &others.digest)
            && pixels.is_none_or(|(own, other)| own == other)
    }
}

/// A sample: path, label, size in bytes, and the sum of its pixels if they were read.
type Line = (OsString, u32, u64, Option<u64>);

/// A split's samples one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing(Vec<Line>);

impl Listing {
    /// Of the images of the folder `root`.
    ///
    /// # Errors
    /// [`Kind::Io`] when one is gone.
    pub fn of_images(root: &Path, images: &Images) -> Result<Self> {
        let labelled = images.files.iter().map(PathBuf::as_path).zip(images.labels.iter().copied());
        let mut listing = Self::of_files(root, labelled)?;
        for ((.., pixels), sum) in listing.0.iter_mut().zip(&images.sums) {
            *pixels = Some(*sum);
        }
        Ok(listing)
    }

    /// Of all images of a folder, as if each could be read.
    ///
    /// # Errors
    /// As [`Self::of_images`].
    pub fn of_folder(folder: &Folder) -> Result<Self> {
        Self::of_files(&folder.root, folder.files.iter().map(|sample| (sample.path.as_path(), sample.label)))
    }

    /// Of `all` below `root`: path and label.
    ///
    /// # Errors
    /// As [`Self::of_images`].
    pub fn of_files<'a>(root: &Path, all: impl Iterator<Item = (&'a Path, u32)>) -> Result<Self> {
        let mut files = Vec::new();
        for (file, label) in all {
            let path = root.join(file);
            let found = std::fs::metadata(&path).map_err(|e| Error::io("read", &path, &e))?;
            files.push((file.as_os_str().to_owned(), label, found.len(), None));
        }
        Ok(Self(files))
    }

    /// Of what was extracted.
    pub fn of_features(recipe: &Recipe) -> Self {
        let files = recipe.files.iter().zip(&recipe.labels);
        Self(files.map(|(file, &label)| ((&file.name).into(), label, file.bytes, Some(file.sum))).collect())
    }

    /// The same by the names that features have of images, in which what is no UTF-8 is replaced.
    pub fn named_in_features(self) -> Self {
        let lines = self.0.into_iter();
        Self(
            lines
                .map(|(name, label, bytes, sum)| {
                    (name.to_string_lossy().into_owned().into(), label, bytes, sum)
                })
                .collect(),
        )
    }

    /// Whether it tells these images from others of the same names: uncompressed ones are all of one size.
    pub fn tells(&self) -> bool {
        let sizes: HashSet<u64> = self.0.iter().map(|(_, _, bytes, _)| *bytes).collect();
        4 * sizes.len() >= self.0.len()
    }

    /// In a few bytes.
    pub fn contents(&self) -> Contents {
        let mut all = Vec::new();
        for (path, label, bytes, _) in &self.0 {
            let path = path.as_encoded_bytes();
            // The length first: no other files give the same bytes.
            all.extend((path.len() as u64).to_le_bytes());
            all.extend_from_slice(path);
            all.extend(label.to_le_bytes());
            all.extend(bytes.to_le_bytes());
        }
        let sums: Option<Vec<[u8; 8]>> =
            self.0.iter().map(|(.., pixels)| pixels.map(u64::to_le_bytes)).collect();
        Contents {
            samples: self.0.len(),
            digest: files::sha256_hex(&all),
            pixels: sums.map(|sums| files::sha256_hex(sums.as_flattened())),
        }
    }

    /// A line of JSON per sample. A name that is no UTF-8 is readable there, and no more.
    ///
    /// # Errors
    /// [`Kind::Io`] in theory: such lines can be written.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        for (name, label, bytes, pixels) in &self.0 {
            text += &serde_json::to_string(&(name.to_string_lossy(), label, bytes, pixels))
                .map_err(|e| Error::new(Kind::Io, "a sample cannot be written down").fact("reason", e))?;
            text.push('\n');
        }
        Ok(text)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        files::write_bytes(path, self.text()?.as_bytes())
    }

    /// What was written down, if it can be read: it makes an error clearer, and is no reason for another.
    pub fn load(path: &Path) -> Option<Self> {
        let text = files::read_text(path).ok()?;
        let line = |line: &str| {
            let (name, label, bytes, pixels) = serde_json::from_str::<(String, _, _, _)>(line).ok()?;
            Some((name.into(), label, bytes, pixels))
        };
        Some(Self(text.lines().map(line).collect::<Option<_>>()?))
    }

    /// The paths, inside the folder, and their sizes in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&OsStr, u64)> {
        self.0.iter().map(|(name, _, bytes, _)| (name.as_os_str(), *bytes))
    }

    /// The sums of their pixels, if each is known.
    pub fn sums(&self) -> Option<HashSet<u64>> {
        self.0.iter().map(|(.., pixels)| *pixels).collect()
    }

    /// Adds those of `others` that are not here, by name and size.
    pub fn add_missing(&mut self, others: Self) {
        let here: HashSet<(OsString, u64)> =
            self.0.iter().map(|(name, _, bytes, _)| (name.clone(), *bytes)).collect();
        self.0.extend(
            others.0.into_iter().filter(|(name, _, bytes, _)| !here.contains(&(name.clone(), *bytes))),
        );
    }

    /// Adds those that have another size `now`, as they are now, beside what they were: of the pixels no more is known than
    /// what was seen. A name that several have tells of none of them.
    pub fn add_changed(&mut self, now: &Self) {
        let mut sizes: HashMap<&OsStr, Vec<u64>> = HashMap::new();
        now.files().for_each(|(name, bytes)| sizes.entry(name).or_default().push(bytes));
        let changed =
            self.0.iter().filter_map(|(name, label, bytes, pixels)| match sizes.get(name.as_os_str())?[..] {
                [now] if now != *bytes => Some((name.clone(), *label, now, *pixels)),
                _ => None,
            });
        let changed = Self(changed.collect());
        self.add_missing(changed);
    }

    /// How `now` differs, by kind of difference: the first of each, and how many more there are. Where one folder is
    /// parted anew each time, a file that is gone moves others between its parts, of which the other was the second: so
    /// files that are still there are told from those that are lost.
    pub fn differences(&self, now: &Self, parted: Option<(&Path, &Self)>) -> Vec<(&'static str, String)> {
        let by_name = |listing: &'_ Self| -> HashMap<OsString, Line> {
            listing.0.iter().map(|line| (line.0.clone(), line.clone())).collect()
        };
        let (before, after) = (by_name(self), by_name(now));
        let all = |listing: &Self, say: &dyn Fn(&Line) -> Option<String>| -> Vec<String> {
            listing.0.iter().filter_map(say).collect()
        };
        let missing = |there: &HashMap<OsString, Line>, name: &OsStr| {
            (!there.contains_key(name)).then(|| Path::new(name).display().to_string())
        };
        let changed = |(name, label, bytes, pixels): &Line| {
            let (_, new_label, new_bytes, new_pixels) = after.get(name)?;
            let name = Path::new(name).display();
            let others = pixels.zip(*new_pixels).is_some_and(|(then, now)| then != now);
            match () {
                () if bytes != new_bytes => Some(format!("{name}, {bytes} bytes then and {new_bytes} now")),
                () if label != new_label => Some(format!("{name}, class {label} then and {new_label} now")),
                () if others => Some(format!("{name}, another image of as many bytes")),
                () => None,
            }
        };
        let mut lost = all(self, &|(name, ..)| missing(&after, name));
        let mut added = all(now, &|(name, ..)| missing(&before, name));
        let mut moved = Vec::new();
        if let Some((root, other)) = parted {
            let others = by_name(other);
            let is_there = |name: &OsStr| root.join(name).exists();
            lost = all(self, &|(name, ..)| missing(&after, name).filter(|_| !is_there(name)));
            lost.extend(all(other, &|(name, ..)| missing(&after, name).filter(|_| !is_there(name))));
            added = all(now, &|(name, ..)| missing(&before, name).filter(|_| !others.contains_key(name)));
            moved = all(self, &|(name, ..)| missing(&after, name).filter(|_| is_there(name)));
            moved
                .extend(all(now, &|(name, ..)| missing(&before, name).filter(|_| others.contains_key(name))));
        }
        let kinds = [
            ("lost", lost),
            ("added", added),
            ("in the other part, or unreadable", moved),
            ("changed", all(self, &changed)),
        ];
        let first = |names: &[String]| match names {
            [] => None,
            [one] => Some(one.clone()),
            [first, ..] => Some(format!("{first}; and {} more", names.len() - 1)),
        };
        kinds.iter().filter_map(|(kind, names)| Some((*kind, first(names)?))).collect()
    }
}

impl fmt::Display for Contents {
    /// "10, sha256 of their names, labels and sizes 5f2c9a01b3d4…"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.samples {
            0 => f.write_str("none"),
            n => write!(
                f,
                "{n}, sha256 of their names, labels and sizes {}…",
                self.digest.get(..12).unwrap_or(&self.digest)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, u32, u64)]) -> Listing {
        Listing(files.iter().map(|(name, label, size)| (name.into(), *label, *size, None)).collect())
    }

    #[test]
    fn name_label_size_and_order_count() {
        let files = [("a/1.png", 0, 10), ("b/2.png", 1, 20)];
        assert_eq!(of(&files).contents(), of(&files).contents());
        for other in [
            [("a/1.png", 0, 10), ("b/3.png", 1, 20)],
            [("a/1.png", 1, 10), ("b/2.png", 1, 20)],
            [("a/1.png", 0, 11), ("b/2.png", 1, 20)],
            [("b/2.png", 1, 20), ("a/1.png", 0, 10)],
        ] {
            assert_ne!(of(&files).contents(), of(&other).contents(), "{other:?}");
        }
    }

    #[test]
    fn the_first_that_differs_is_named() {
        let was = of(&[("a/1", 0, 10), ("a/2", 0, 20), ("b/3", 1, 30), ("b/4", 1, 40)]);
        let differences = |now: &[(&str, u32, u64)]| -> Vec<String> {
            was.differences(&of(now), None).into_iter().map(|(kind, what)| format!("{kind} {what}")).collect()
        };
        assert_eq!(differences(&[("a/1", 0, 10), ("b/3", 1, 30), ("b/4", 1, 40)]), ["lost a/2"]);
        assert_eq!(
            differences(&[("a/0", 0, 10), ("a/1", 0, 10), ("b/3", 1, 31), ("b/4", 2, 40)]),
            ["lost a/2", "added a/0", "changed b/3, 30 bytes then and 31 now; and 1 more"]
        );
        assert_eq!(
            differences(&[("a/1", 0, 10), ("a/2", 0, 20), ("b/3", 1, 30), ("b/4", 0, 40)]),
            ["changed b/4, class 1 then and 0 now"]
        );
        // Another order alone names nobody.
        assert!(differences(&[("a/2", 0, 20), ("a/1", 0, 10), ("b/3", 1, 30), ("b/4", 1, 40)]).is_empty());
        assert_eq!(differences(&[]), ["lost a/1; and 3 more"]);
    }

    /// `b/2`, held out, is gone; the split holds `b/3` out in its place. And one that came, `a/0`.
    #[test]
    fn a_file_that_changed_parts_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        for (class, files) in [("a", &["0", "1"][..]), ("b", &["3", "4"])] {
            std::fs::create_dir(dir.path().join(class)).unwrap();
            files.iter().for_each(|file| std::fs::write(dir.path().join(class).join(file), "").unwrap());
        }
        let was = of(&[("a/1", 0, 0), ("b/3", 1, 0), ("b/4", 1, 0)]);
        let (held_out, now) = (of(&[("b/2", 1, 0)]), of(&[("a/0", 0, 0), ("a/1", 0, 0), ("b/4", 1, 0)]));
        let differences = was.differences(&now, Some((dir.path(), &held_out)));
        let moved = "in the other part, or unreadable";
        let want =
            [("lost", "b/2"), ("added", "a/0"), (moved, "b/3")].map(|(kind, name)| (kind, name.to_owned()));
        assert_eq!(differences, want);
        // Parts in folders of their own exchange nothing.
        let want = [("lost", "b/3"), ("added", "a/0")].map(|(kind, name)| (kind, name.to_owned()));
        assert_eq!(was.differences(&now, None), want);
    }

    /// Where pixels were read they count, and a run that does not tell of them is no other.
    #[test]
    fn images_of_one_name_and_size_may_be_others() {
        let seen = |sums: [Option<u64>; 2]| {
            let mut listing = of(&[("a/1", 0, 10), ("b/2", 1, 10)]);
            listing.0.iter_mut().zip(sums).for_each(|((.., pixels), sum)| *pixels = sum);
            listing
        };
        let [was, now, older] = [[Some(7), Some(8)], [Some(8), Some(7)], [None, None]].map(seen);
        assert_eq!(was.contents().digest, now.contents().digest, "run.toml tells of names, labels and sizes");
        assert!(was.contents().are(&was.contents()) && !was.contents().are(&now.contents()));
        assert!(older.contents().are(&now.contents()) && now.contents().are(&older.contents()));
        let changed = ("changed", "a/1, another image of as many bytes; and 1 more".to_owned());
        assert_eq!(was.differences(&now, None), [changed]);
        assert!(older.differences(&now, None).is_empty());
        let dir = tempfile::tempdir().unwrap();
        was.save(&dir.path().join("x.jsonl")).unwrap();
        assert_eq!(Listing::load(&dir.path().join("x.jsonl")), Some(was));
    }

    #[test]
    fn what_was_changed_is_listed_as_it_was_and_as_it_is() {
        let mut listing = of(&[("a/1", 0, 10), ("a/2", 0, 20), ("a/3", 0, 30), ("a/\u{fffd}", 0, 5)]);
        let now =
            of(&[("a/1", 0, 10), ("a/2", 0, 21), ("a/4", 0, 40), ("a/\u{fffd}", 0, 6), ("a/\u{fffd}", 0, 7)]);
        let before = listing.clone();
        listing.add_changed(&now);
        assert_eq!(listing.0[..4], before.0);
        assert_eq!(
            listing.0[4..],
            [("a/2".into(), 0, 21, None)],
            "which of two files of one name it was nobody knows"
        );
        let grown = listing.clone();
        listing.add_changed(&now);
        listing.add_missing(of(&[("a/2", 0, 21), ("a/1", 0, 10)]));
        assert_eq!(listing, grown);
        listing.add_missing(of(&[("a/2", 0, 22)]));
        assert_eq!(listing.0[5..], [("a/2".into(), 0, 22, None)]);
    }

    #[test]
    fn a_listing_comes_back_or_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        let listing = of(&[("a\n/\"1\".png", 0, 10), ("b/ä.png", 1, u64::MAX)]);
        listing.save(&path).unwrap();
        assert_eq!(Listing::load(&path), Some(listing));
        std::fs::write(&path, "[\"a\",0,1]\n[\"b\",").unwrap();
        assert_eq!(Listing::load(&path), None);
        assert_eq!(Listing::load(&dir.path().join("none")), None);
    }
}
