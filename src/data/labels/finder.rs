//! Images by what a list calls them.
//!
//! In: the images that are there, and a name from a list: a path, with or without its ending, or below another folder; or
//! the mere name of a file, wherever it lies. Out: the image, or that there is none, or that there are several.

use crate::data::folder::ENDINGS;
use std::collections::HashMap;
use std::path::PathBuf;
use unicode_normalization::UnicodeNormalization;

/// The images below a folder, by their names.
#[derive(Debug)]
pub struct Finder {
    /// Paths relative to the folder.
    files: Vec<PathBuf>,
    paths: Index,
    /// Paths without an ending.
    path_stems: Index,
    names: Index,
    /// Names without an ending.
    name_stems: Index,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The image of this number.
    One(usize),
    /// Nothing.
    None,
    /// More than one image.
    Several(Vec<usize>),
}

impl Found {
    /// This, or else another.
    fn or(self, other: impl FnOnce() -> Self) -> Self {
        if self == Self::None { other() } else { self }
    }
}

/// Images by one kind of name.
#[derive(Debug, Default)]
struct Index {
    exact: HashMap<String, Vec<usize>>,
    /// Without regard to case.
    folded: HashMap<String, Vec<usize>>,
}

impl Index {
    fn add(&mut self, name: &str, image: usize) {
        self.exact.entry(name.to_owned()).or_default().push(image);
        self.folded.entry(name.to_lowercase()).or_default().push(image);
    }

    fn exact(&self, name: &str) -> Found {
        found(self.exact.get(name))
    }

    fn folded(&self, name: &str) -> Found {
        found(self.folded.get(&name.to_lowercase()))
    }
}

fn found(list: Option<&Vec<usize>>) -> Found {
    match list.map(Vec::as_slice) {
        None | Some([]) => Found::None,
        Some([one]) => Found::One(*one),
        Some(several) => Found::Several(several.to_vec()),
    }
}

impl Finder {
    /// Of images by their paths relative to a folder.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let [mut paths, mut path_stems, mut names, mut name_stems] = [(); 4].map(|()| Index::default());
        for (i, file) in files.iter().enumerate() {
            let path = key(&file.to_string_lossy());
            let name = path.rsplit('/').next().unwrap_or_default();
            paths.add(&path, i);
            names.add(name, i);
            if let Some((path, name)) = stem(&path).zip(stem(name)) {
                path_stems.add(path, i);
                name_stems.add(name, i);
            }
        }
        Self { files, paths, path_stems, names, name_stems }
    }

    /// The images, by their numbers.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// An image that `name` may be, if the beginning of its path may be left out.
    pub fn guess(&self, name: &str) -> Option<usize> {
        let behind = || self.prefix(name).map_or(Found::None, |prefix| self.behind(name, &prefix));
        match self.find(name).or(behind) {
            Found::One(image) => Some(image),
            Found::Several(which) => which.first().copied(),
            Found::None => None,
        }
    }

    /// Whether `name` is the whole path of `image`, but for its ending.
    pub fn is_path(&self, name: &str, image: usize) -> bool {
        let (name, path) = (key(name), key(&self.files[image].to_string_lossy()));
        name == path || stem(&path) == Some(&name)
    }

    /// Whether `name` has folders in it.
    pub fn has_folder(name: &str) -> bool {
        key(name).contains('/')
    }

    /// The image called `name`: by its path, or by its name alone if there is one image of it. Upper and lower case are
    /// told apart as long as that finds one.
    pub fn find(&self, name: &str) -> Found {
        let name = key(name);
        let alone = !name.contains('/');
        let by_name = || {
            let exact = self.names.exact(&name).or(|| self.name_stems.exact(&name));
            exact.or(|| self.names.folded(&name)).or(|| self.name_stems.folded(&name))
        };
        let found = self.at(&name);
        if alone { found.or(by_name) } else { found }
    }

    /// What `name`, which leads to nothing, begins with where the rest of it is the path of an image; the shortest such.
    pub fn prefix(&self, name: &str) -> Option<String> {
        let name = key(name);
        let mut slashes = name.match_indices('/').map(|(at, _)| at + 1);
        slashes.find(|&at| self.at(&name[at..]) != Found::None).map(|at| name[..at].to_owned())
    }

    /// The image whose path follows `prefix` in `name`.
    pub fn behind(&self, name: &str, prefix: &str) -> Found {
        key(name).strip_prefix(prefix).map_or(Found::None, |path| self.at(path))
    }

    fn at(&self, path: &str) -> Found {
        let exact = self.paths.exact(path).or(|| self.path_stems.exact(path));
        exact.or(|| self.paths.folded(path)).or(|| self.path_stems.folded(path))
    }
}

/// Whether `name` ends as an image's does, with the dot.
pub fn has_ending(name: &str) -> bool {
    stem(name).is_some()
}

/// A path as it is compared: `/` between its parts (of a list from Windows, too), no `.` and no `a/..`, accents composed.
fn key(path: &str) -> String {
    let path: String = path.trim().nfc().collect();
    let path = path.replace('\\', "/");
    let root = if path.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match parts.last() {
            Some(last) if part == ".." && *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("{root}{}", parts.join("/"))
}

/// `path` without the ending that makes it an image; none if nothing is left.
fn stem(path: &str) -> Option<&str> {
    let (stem, ending) = path.rsplit_once('.')?;
    let is_ending = ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known));
    (is_ending && !stem.is_empty() && !stem.ends_with('/')).then_some(stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_its_path_and_by_its_name_if_there_is_one_of_it() {
        let files = [
            "1.jpg",
            "a/1.jpg",
            "a/2.JPG",
            "b/2.png",
            "b/3.tar.png",
            "b/e\u{301}.png",
            "b/.png",
            "b/X.jpg",
            "b/x.png",
            "c/o\u{308}.jpg",
            "c/\u{f6}.jpg",
        ];
        let finder = Finder::new(files.map(PathBuf::from).to_vec());
        for (name, found) in [
            ("1.jpg", Found::One(0)),
            ("1", Found::One(0)),
            ("a/1", Found::One(1)),
            ("./a//1.jpg", Found::One(1)),
            ("a\\1.jpg", Found::One(1)),
            ("b/x/..\\../a/1.jpg", Found::One(1)),
            ("2.JPG", Found::One(2)),
            ("2.jpg", Found::One(2)),
            ("A/2.jpg", Found::One(2)),
            // Another ending is another image.
            ("2.jpeg", Found::None),
            ("2", Found::Several(vec![2, 3])),
            ("3.tar", Found::One(4)),
            ("3", Found::None),
            ("\u{e9}", Found::One(5)),
            ("b/\u{e9}.png", Found::One(5)),
            ("X", Found::One(7)),
            ("x", Found::One(8)),
            // Two ways to write one name.
            ("c/\u{f6}.jpg", Found::Several(vec![9, 10])),
            ("c/1.jpg", Found::None),
            ("", Found::None),
            ("b", Found::None),
        ] {
            assert_eq!(finder.find(name), found, "{name}");
        }
        for (name, prefix) in [
            ("data/train/a/1.jpg", Some("data/train/")),
            ("/mnt/x/1.jpg", Some("/mnt/x/")),
            // That it is the one beside is not known.
            ("c/2.JPG", None),
            ("nothing", None),
        ] {
            assert_eq!(finder.prefix(name).as_deref(), prefix, "{name}");
        }
        assert_eq!(finder.behind("/mnt//x/1.jpg", "/mnt/x/"), Found::One(0));
        // Not by the name alone.
        assert_eq!(finder.behind("/mnt/x/3.tar.png", "/mnt/x/"), Found::None);
    }
}
