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
    /// By their paths, with `/` and composed as most systems do it.
    paths: HashMap<String, usize>,
    /// By their paths without an ending.
    stems: HashMap<String, Vec<usize>>,
    /// By their names, with and without an ending.
    names: HashMap<String, Vec<usize>>,
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

impl Finder {
    /// Of images by their paths relative to a folder.
    pub fn new(files: Vec<PathBuf>) -> Self {
        let (mut paths, mut stems, mut names) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (i, file) in files.iter().enumerate() {
            let path = key(&file.to_string_lossy());
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let of =
                |list: &mut HashMap<String, Vec<usize>>, key: String| list.entry(key).or_default().push(i);
            if let Some(stem) = stem(&path) {
                of(&mut stems, stem.to_owned());
            }
            if let Some(stem) = stem(&name) {
                of(&mut names, stem.to_owned());
            }
            of(&mut names, name);
            paths.insert(path, i);
        }
        Self { files, paths, stems, names }
    }

    /// The images, by their numbers.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether `name` leads to an image, if a part of its path may be left out.
    pub fn knows(&self, name: &str) -> bool {
        !name.is_empty() && (self.find(name) != Found::None || self.prefix(name).is_some())
    }

    /// The image called `name`.
    pub fn find(&self, name: &str) -> Found {
        let name = key(name);
        match self.at(&name) {
            // The name alone tells where it is, unless there are two.
            Found::None if !name.contains('/') => found(self.names.get(&name)),
            found => found,
        }
    }

    /// What `name`, which leads to nothing, begins with where the rest of it is the path of an image; the shortest such.
    pub fn prefix(&self, name: &str) -> Option<String> {
        let name = key(name);
        let mut slashes = name.match_indices('/').map(|(at, _)| at + 1);
        slashes.find(|&at| self.at(&name[at..]) != Found::None).map(|at| name[..at].to_owned())
    }

    /// What follows `prefix` in `name`.
    pub fn behind(name: &str, prefix: &str) -> Option<String> {
        key(name).strip_prefix(prefix).map(str::to_owned)
    }

    fn at(&self, path: &str) -> Found {
        match self.paths.get(path) {
            Some(&i) => Found::One(i),
            None => found(self.stems.get(path)),
        }
    }
}

fn found(list: Option<&Vec<usize>>) -> Found {
    match list.map(Vec::as_slice) {
        None | Some([]) => Found::None,
        Some([one]) => Found::One(*one),
        Some(several) => Found::Several(several.to_vec()),
    }
}

/// A path as it is compared: `/` between its parts (of a list from Windows, too), none of them `.`, accents composed.
fn key(path: &str) -> String {
    let path: String = path.trim().nfc().collect();
    let path = if path.contains('/') { path } else { path.replace('\\', "/") };
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
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
        let files = ["1.jpg", "a/1.jpg", "a/2.JPG", "b/2.png", "b/3.tar.png", "b/e\u{301}.png", "b/.png"];
        let finder = Finder::new(files.map(PathBuf::from).to_vec());
        for (name, found) in [
            ("1.jpg", Found::One(0)),
            ("1", Found::One(0)),
            ("a/1", Found::One(1)),
            ("./a//1.jpg", Found::One(1)),
            ("a\\1.jpg", Found::One(1)),
            ("2.JPG", Found::One(2)),
            // Another ending is another image.
            ("2.jpg", Found::None),
            ("2", Found::Several(vec![2, 3])),
            ("3.tar", Found::One(4)),
            ("3", Found::None),
            ("\u{e9}", Found::One(5)),
            ("b/\u{e9}.png", Found::One(5)),
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
        assert_eq!(Finder::behind("/mnt//x/1.jpg", "/mnt/x/").as_deref(), Some("1.jpg"));
    }
}
