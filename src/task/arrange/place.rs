//! Writes the folder: links or copies, beside its place, which then gets its name.

use super::share::Parts;
use super::{Arrange, Item};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::task::{Host, SplitName};
use crate::{interrupt, report::counted};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How an image gets to another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A symbolic link to where it is, from the root on: it takes no room, and breaks when the image is moved.
    Symlink,
    /// A second name for the same file, on the same disk alone: it takes no room, and outlives the first name.
    Hardlink,
    /// A copy.
    Copy,
}

impl How {
    /// All.
    pub const ALL: [Self; 3] = [Self::Symlink, Self::Hardlink, Self::Copy];

    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Symlink => "symlink",
            Self::Hardlink => "hardlink",
            Self::Copy => "copy",
        }
    }

    pub(super) fn participle(self) -> &'static str {
        match self {
            Self::Symlink => "linked (symbolic links)",
            Self::Hardlink => "linked (hard links)",
            Self::Copy => "copied",
        }
    }

    fn put(self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Self::Symlink => std::os::unix::fs::symlink(from, to),
            #[cfg(windows)]
            Self::Symlink => std::os::windows::fs::symlink_file(from, to),
            #[cfg(not(any(unix, windows)))]
            Self::Symlink => Err(io::ErrorKind::Unsupported.into()),
            // Of a link what it leads to: another name for the link would lead elsewhere if that is relative.
            Self::Hardlink => fs::hard_link(fs::canonicalize(from)?, to),
            Self::Copy => fs::copy(from, to).map(|_| ()),
        }
    }
}

impl std::str::FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|how| how.name() == text).ok_or_else(|| format!("unknown: {text}"))
    }
}

/// Makes the folder of `job`; on any error there is none.
///
/// # Errors
/// [`Kind::Io`]; [`Kind::Interrupted`].
pub fn place(host: &Host, job: &Arrange, classes: &[String], parts: &Parts) -> Result<()> {
    let output = files::real(&job.output)?;
    if let Some(above) = output.parent() {
        files::create_dir(above)?;
    }
    files::require_room(output.parent().unwrap_or(Path::new(".")))?;
    let partial = beside(&output)?;
    let placed = fill(host, job, classes, parts, &partial).and_then(|()| {
        // Windows renames nothing to a folder that is there, though it be empty.
        let _ = fs::remove_dir(&output);
        fs::rename(&partial, &output).map_err(|e| Error::io("write", &job.output, &e))
    });
    if placed.is_err() {
        // The first failure is the one that matters. Links are removed, not what they lead to.
        let _ = fs::remove_dir_all(&partial);
    }
    placed
}

/// A new folder beside `output`, called as temporary files are.
fn beside(output: &Path) -> Result<PathBuf> {
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = output.with_file_name(name);
    fs::create_dir(&partial).map_err(|e| Error::io("create the folder", &partial, &e))?;
    Ok(partial)
}

fn fill(host: &Host, job: &Arrange, classes: &[String], parts: &Parts, partial: &Path) -> Result<()> {
    let root = fs::canonicalize(&job.images).map_err(|e| Error::io("read", &job.images, &e))?;
    let all = parts.iter().map(|(_, items)| items.len()).sum();
    let progress = host.progress(if job.how == How::Copy { "copying" } else { "linking" }, all, "images");
    let mut done = 0;
    for (split, items) in parts {
        let folder = split.map_or_else(|| partial.to_owned(), |split| partial.join(SplitName::name(split)));
        for class in classes {
            new_folder(&folder.join(class))?;
        }
        for Item { from, to, class, .. } in items {
            interrupt::check()?;
            let (from, to) = (root.join(from), folder.join(&classes[*class]).join(to));
            if let Some(folder) = to.parent() {
                files::create_dir(folder)?;
            }
            job.how.put(&from, &to).map_err(|e| failed(job.how, &from, &e))?;
            done += 1;
            progress.set(done);
        }
    }
    progress.finish(&format!("{:10} {}", job.how.participle(), counted(all, "image")));
    Ok(())
}

/// Two classes whose names differ in case alone are one folder on some systems.
fn new_folder(path: &Path) -> Result<()> {
    if let Some(above) = path.parent() {
        files::create_dir(above)?;
    }
    fs::create_dir(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Error::new(Kind::Data, format!("the class \"{name}\" has the folder of another one here"))
                .fact("reason", "this disk does not tell upper from lower case, or accents, apart")
                .help("give classes names that differ otherwise")
        }
        _ => Error::io("create the folder", path, &e),
    })
}

fn failed(how: How, from: &Path, error: &io::Error) -> Error {
    let (what, help) = match how {
        How::Symlink => ("link to", "where links cannot be made, --how copy does without"),
        How::Hardlink => ("link to", "a hard link needs the same disk: take --how symlink or --how copy"),
        How::Copy => ("copy", "make room for the copies, or take --how symlink"),
    };
    Error::io(what, from, error).help(help)
}
