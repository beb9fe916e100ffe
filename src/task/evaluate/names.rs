//! Files by the names that features have of them.
//!
//! In: names that are UTF-8, as JSON has it. Out: paths, which need not be.

use crate::data::{Folder, Recipe};
use crate::files;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The files of a folder by their names in features, where what is no UTF-8 is replaced: several may have one.
pub(super) struct Names<'a> {
    root: &'a Path,
    files: HashMap<String, Vec<&'a Path>>,
}

impl<'a> Names<'a> {
    pub fn of(folder: &'a Folder) -> Self {
        let mut files: HashMap<String, Vec<&Path>> = HashMap::new();
        for file in &folder.files {
            files.entry(files::shown(&file.path)).or_default().push(&file.path);
        }
        Self { root: &folder.root, files }
    }

    /// The file of that name; of several, and where bytes were replaced, the first of that size which is left. One that is
    /// gone keeps its name: reading it will say so.
    pub fn take(&mut self, name: &str, bytes: u64) -> PathBuf {
        let Some(files) = self.files.get_mut(name).filter(|files| !files.is_empty()) else {
            return name.into();
        };
        let is_so = |file: &&Path| self.root.join(file).metadata().is_ok_and(|found| found.len() == bytes);
        // Of what was replaced any file may be meant.
        let doubtful = files.len() > 1 || name.contains(char::REPLACEMENT_CHARACTER);
        match if doubtful { files.iter().position(is_so) } else { Some(0) } {
            Some(at) => files.remove(at).to_owned(),
            None => name.into(),
        }
    }
}

/// Where the images of features are, relative to their root.
pub(in crate::task) fn files_of(recipe: &Recipe) -> Vec<PathBuf> {
    let names = recipe.files.iter().map(|file| (&file.name[..], file.bytes));
    // Of most nothing was replaced.
    let replaced = recipe.files.iter().any(|file| file.name.contains(char::REPLACEMENT_CHARACTER));
    let folder = replaced.then(|| Folder::scan(Path::new(&recipe.root)).ok()).flatten();
    match folder {
        None => names.map(|(name, _)| name.into()).collect(),
        Some(folder) => {
            let mut there = Names::of(&folder);
            names.map(|(name, bytes)| there.take(name, bytes)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn files_are_found_by_names_that_were_replaced() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let odd = |bytes: &[u8]| dir.path().join("a").join(OsStr::from_bytes(bytes));
        for (name, size) in [(&b"1.png"[..], 1), (b"\xe4.png", 2), (b"\xff.png", 3)] {
            std::fs::create_dir_all(dir.path().join("a")).unwrap();
            std::fs::write(odd(name), vec![0; size]).unwrap();
        }
        let folder = Folder::scan(dir.path()).unwrap();
        let mut names = Names::of(&folder);
        let mut take = |name: &str, bytes| dir.path().join(names.take(name, bytes));
        assert_eq!(take("a/\u{fffd}.png", 3), odd(b"\xff.png"), "of two the one of that size");
        assert_eq!(take("a/1.png", 7), odd(b"1.png"), "that it was changed is seen later");
        assert_eq!(take("a/\u{fffd}.png", 2), odd(b"\xe4.png"));
        assert_eq!(take("a/2.png", 1), odd(b"2.png"), "and that it is gone");
    }
}
