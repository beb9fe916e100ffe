//! Where results go, asked before any work is done.
//!
//! In: the path that was typed. Out: the path itself, once nothing is lost by writing there: a file that is new (or
//! may be written over), whose name ends as its format does, and a folder that is apart from the data.

use super::run;
use crate::data::folder::is_run;
use crate::error::{Error, Kind, Result};
use crate::files;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A file for results.
#[derive(Clone, Debug)]
pub struct Output {
    /// Where.
    pub path: PathBuf,
    /// Write over a file that is there.
    pub force: bool,
}

impl Output {
    /// Whether it can be written.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what is there already and is not to be written over, and when its folder is missing;
    /// [`Kind::Io`] for a folder in which nothing can be written.
    pub fn check(&self) -> Result<()> {
        let (path, name) = (&self.path, self.path.display());
        if path.as_os_str() == "-" {
            return Err(Error::new(Kind::Usage, "`-` is not a file")
                .help("leave -o out for stdout; a file of that name is ./-"));
        }
        if path.is_dir() || path.as_os_str().is_empty() {
            return Err(Error::new(Kind::Usage, format!("`{name}` is a folder")).help("name a file in it"));
        }
        if path.exists() && !path.is_file() {
            return Err(Error::new(Kind::Usage, format!("{name} is no file that can be replaced"))
                .help("name a plain file"));
        }
        // A link is written through, so what it leads to counts.
        let there = files::real(path)?;
        let folder = there.parent().unwrap_or(Path::new(""));
        let is = |own: &str| there.file_name() == Some(OsStr::new(own));
        if is_run(folder) && run::FILES.iter().any(|own| is(own)) && !run::DRAWN.iter().any(|own| is(own)) {
            return Err(Error::new(Kind::Usage, format!("{name} belongs to the run in that folder"))
                .help("choose another file"));
        }
        if path.exists() && !self.force {
            return Err(Error::new(Kind::Usage, format!("{name} is there already"))
                .help("choose another file, or write over it with --force"));
        }
        let place = if path.is_symlink() { &there } else { path };
        // It was typed.
        files::require_folder(place).map_err(|error| error.of_kind(Kind::Usage))?;
        files::require_room(folder)
    }

    /// Whether it is not one of the files that are read for it.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it is: with `force` that one would be lost.
    pub fn is_none_of<'a>(&self, inputs: impl Iterator<Item = &'a Path>) -> Result<()> {
        let Ok(own) = std::fs::canonicalize(&self.path) else { return Ok(()) };
        let is_own = |input: &&Path| std::fs::canonicalize(input).is_ok_and(|input| input == own);
        // A link may have another name; of many files few have the same.
        let may_be = |input: &&Path| input.file_name() == own.file_name() || input.is_symlink();
        let Some(input) = inputs.into_iter().filter(may_be).find(is_own) else { return Ok(()) };
        Err(Error::new(Kind::Usage, format!("{} would be written over itself", input.display()))
            .help("choose another file with -o"))
    }

    /// What the file's name says of its format, by a list of endings without their dots.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the list when it says nothing that is known.
    pub fn format<T: Copy>(&self, known: &[(&str, T)]) -> Result<T> {
        // What is no file is not missing an ending.
        if self.path.as_os_str() == "-" || self.path.is_dir() {
            self.check()?;
        }
        named(&self.path, known).ok_or_else(|| {
            let ending = ending(&self.path);
            let got = if ending.is_empty() { "no ending".into() } else { format!(".{ending}") };
            let name = self.path.display();
            Error::new(Kind::Usage, format!("the name {name} does not show which format to write"))
                .expected_got(list(known), got)
                .help("give the file's name one of these endings")
        })
    }
}

/// The format whose ending `path` has, in whatever case.
pub fn named<T: Copy>(path: &Path, known: &[(&str, T)]) -> Option<T> {
    let ending = ending(path);
    known.iter().find(|(name, _)| *name == ending).map(|&(_, format)| format)
}

/// What stands after the last dot of a name, in lower case; empty where there is none.
pub fn ending(path: &Path) -> String {
    path.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// ".svg or .png".
pub fn list<T>(known: &[(&str, T)]) -> String {
    let names: Vec<String> = known.iter().map(|(name, _)| format!(".{name}")).collect();
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => names.concat(),
    }
}

/// Whether `output` is a folder or can become one.
///
/// # Errors
/// [`Kind::Usage`] for a file, what lies under one, and `-`.
pub fn folder(output: &Path) -> Result<()> {
    let name = output.display();
    if output.as_os_str().is_empty() || output.as_os_str() == "-" {
        return Err(Error::new(Kind::Usage, format!("`{name}` is not a folder"))
            .help("name a folder with -o; one that is called so is ./-"));
    }
    match files::in_the_way(&files::real(output)?) {
        Some(what) => Err(Error::new(Kind::Usage, format!("{name} cannot be a folder"))
            .fact("in the way", what)
            .help("choose another folder with -o")),
        None => Ok(()),
    }
}

/// Whether `output` is a folder, or can become one, and no run's: what is to be written there is none.
///
/// # Errors
/// [`Kind::Usage`].
pub fn folder_of_no_run(output: &Path) -> Result<()> {
    folder(output)?;
    if is_run(output) {
        return Err(Error::new(Kind::Usage, format!("{} is a run", output.display()))
            .help("choose another folder with -o"));
    }
    Ok(())
}

/// Whether `output` lies apart from the folder `data`: neither is inside the other. A folder inside the data would be
/// read as a class next time, and a file as an image.
///
/// # Errors
/// [`Kind::Usage`].
pub fn apart(data: &Path, output: &Path) -> Result<()> {
    let help = "choose a place outside the data with -o, such as runs/NAME beside it";
    outside(data, output).map_err(|error| error.help(help))?;
    let there = files::real(output)?;
    for (folder, place) in roots(data)? {
        if place.starts_with(&there) {
            let message = format!("the data lie inside {}", output.display());
            return Err(refused(message, data, &folder, output).help(help));
        }
    }
    Ok(())
}

/// Whether `place` is neither the folder `data` nor inside it.
///
/// # Errors
/// [`Kind::Usage`], without help.
pub fn outside(data: &Path, place: &Path) -> Result<()> {
    let there = files::real(place)?;
    for (folder, root) in roots(data)? {
        if there == root {
            return Err(refused(format!("{} is the data itself", place.display()), data, &folder, place));
        }
        if there.starts_with(&root) {
            return Err(refused(format!("{} lies inside the data", place.display()), data, &folder, place));
        }
    }
    Ok(())
}

fn refused(message: String, data: &Path, folder: &Path, output: &Path) -> Error {
    let error = Error::new(Kind::Usage, message).fact("data", data.display());
    let error = if folder == data { error } else { error.fact("folder", folder.display()) };
    error.fact("output", output.display())
}

/// The data folder and the folders that links in it lead to: splits and classes may be links.
fn roots(data: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut roots = vec![(data.to_owned(), files::real(data)?)];
    let mut level = vec![data.to_owned()];
    for _ in 0..2 {
        let mut below = Vec::new();
        // A folder that cannot be listed is refused by those who read it.
        for entry in level.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() {
                below.push(path);
            } else if kind.is_symlink() && path.is_dir() {
                roots.push((path.clone(), files::real(&path)?));
                below.push(path);
            }
        }
        level = below;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(path: PathBuf, force: bool) -> Output {
        Output { path, force }
    }

    #[test]
    fn a_file_is_new_or_meant_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        fs::write(here.join("old.csv"), b"mine").unwrap();
        fs::create_dir(here.join("run")).unwrap();
        fs::write(here.join("run/run.toml"), b"").unwrap();
        file(here.join("run/report.html"), true).check().unwrap();
        file("-".into(), true).check().unwrap_err();
        for (path, force, kind, words) in [
            ("old.csv", false, Kind::Usage, "old.csv is there already"),
            (".", true, Kind::Usage, "is a folder"),
            ("no/x.csv", true, Kind::Usage, "the folder"),
            ("old.csv/x.csv", false, Kind::Usage, "which is a file"),
            ("run/run.toml", true, Kind::Usage, "belongs to the run"),
        ] {
            let error = file(here.join(path), force).check().unwrap_err();
            assert_eq!(error.kind(), kind, "{path}");
            assert!(error.to_string().contains(words) && error.to_string().contains("help:"), "{error}");
        }
        if cfg!(unix) {
            // To rename over it would leave the machine without.
            let error = file("/dev/null".into(), true).check().unwrap_err();
            assert!(error.to_string().contains("no file that can be replaced"), "{error}");
        }
    }

    #[test]
    fn a_folder_is_one_or_can_become_one() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        fs::write(here.join("file"), b"").unwrap();
        fs::create_dir(here.join("run")).unwrap();
        fs::write(here.join("run/job.toml"), b"").unwrap();
        for path in ["", "new", "new/deep", "run", "run/new"] {
            folder(&here.join(path)).unwrap();
        }
        for path in [Path::new("-"), Path::new(""), &here.join("file"), &here.join("file/deep/er")] {
            let error = folder(path).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{error}");
        }
        folder_of_no_run(&here.join("run/new")).unwrap();
        assert_eq!(folder_of_no_run(&here.join("run")).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_name_says_the_format_or_is_refused_with_those_that_do() {
        let known = [("svg", 1), ("png", 2)];
        assert_eq!(file("a.PNG".into(), false).format(&known).unwrap(), 2);
        for (name, got) in [("a.jpg", ".jpg"), ("a", "no ending"), (".svg", "no ending")] {
            let error = file(name.into(), false).format(&known).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(".svg or .png"), "{error}");
            assert!(error.to_string().contains(got), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_written_lies_apart_from_the_data_by_whatever_name() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        for folder in ["top/data/train/cats", "top/data/empty", "elsewhere/dogs", "classes/foxes"] {
            fs::create_dir_all(here.join(folder)).unwrap();
        }
        symlink(here.join("elsewhere/dogs"), here.join("top/data/train/dogs")).unwrap();
        symlink(here.join("classes"), here.join("top/data/test")).unwrap();
        symlink(here.join("top/data"), here.join("again")).unwrap();
        let data = here.join("top/data");
        for output in [
            "top/data",
            "again",
            "top/./data/",
            "top/new/../data",
            "top/data/empty",
            "top/data/run",
            "top/data/train/run/deep",
            "again/train/cats/sheet.png",
            "elsewhere/dogs/run",
            "classes/run",
            "top",
            "",
            "elsewhere",
        ] {
            for data in [&data, &here.join("again")] {
                let error = apart(data, &here.join(output)).expect_err(output);
                assert_eq!(error.kind(), Kind::Usage, "{output}");
            }
        }
        for output in
            ["top/database", "top/data.run", "run", "elsewhere/run", "top/data/../run", "again/../run"]
        {
            apart(&data, &here.join(output)).unwrap();
        }
    }
}
