//! Writes the folder: links or copies, beside its place, which then gets its name.
//!
//! In: the images of each split. Out: the folder, or an error and nothing but folders above it.

use super::share::Parts;
use super::{Arrange, Item};
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::interrupt;
use crate::report::counted;
use crate::task::Host;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
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

    /// Puts the image `from`, no link, to `to`, where nothing is.
    fn put(self, from: &Path, to: &Path) -> io::Result<()> {
        match self {
            #[cfg(unix)]
            Self::Symlink => std::os::unix::fs::symlink(from, to),
            #[cfg(windows)]
            Self::Symlink => std::os::windows::fs::symlink_file(from, to),
            #[cfg(not(any(unix, windows)))]
            Self::Symlink => Err(ErrorKind::Unsupported.into()),
            Self::Hardlink => fs::hard_link(from, to),
            // `fs::copy` would wait for a pipe, and write over what has the same name for the disk.
            Self::Copy => io::copy(&mut files::open_regular(from)?, &mut File::create_new(to)?).map(|_| ()),
        }
    }
}

impl std::str::FromStr for How {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|how| how.name() == text).ok_or_else(|| format!("unknown: {text}"))
    }
}

/// Makes the folder of `job`.
///
/// # Errors
/// [`Kind::Io`]; [`Kind::Data`] for two classes or images that are one for the disk; [`Kind::Interrupted`].
pub fn place(host: &Host, job: &Arrange, classes: &[String], parts: &Parts) -> Result<()> {
    let output = files::real(&job.output)?;
    let above = output.parent().unwrap_or(Path::new("."));
    files::create_dir(above)?;
    files::require_room(above)?;
    let partial = files::create_dir_beside(&output)?;
    let placed = fill(host, job, classes, parts, &partial).and_then(|()| {
        if let Ok(former) = fs::metadata(&output) {
            // Who may read it is not for us to change. Some file systems know no permissions.
            let _ = fs::set_permissions(&partial, former.permissions());
        }
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

fn fill(host: &Host, job: &Arrange, classes: &[String], parts: &Parts, partial: &Path) -> Result<()> {
    let all = parts.iter().map(|(_, items)| items.len()).sum();
    let progress = host.progress(if job.how == How::Copy { "copying" } else { "linking" }, all, "images");
    // Of many images few have a folder of their own.
    let mut folders = HashSet::new();
    let mut done = 0;
    for (split, items) in parts {
        let folder = split.map_or_else(|| partial.to_owned(), |split| partial.join(split.name()));
        for class in classes {
            new_folder(&folder.join(class))?;
        }
        for Item { from, to, class, .. } in items {
            interrupt::check()?;
            let to = folder.join(&classes[*class]).join(to);
            if let Some(folder) = to.parent()
                && folders.insert(folder.to_owned())
            {
                files::create_dir(folder)?;
            }
            let from = source(&job.images.join(from))?;
            job.how.put(&from, &to).map_err(|e| failed(job.how, &from, &to, &e))?;
            done += 1;
            progress.set(done);
        }
    }
    progress.finish(&format!("{:10} {}", job.how.participle(), counted(all, "image")));
    Ok(())
}

/// The file itself: a link to a link would break with the first.
fn source(image: &Path) -> Result<PathBuf> {
    fs::canonicalize(image).map_err(|e| {
        let error = Error::io("read", image, &e);
        if image.is_symlink() {
            error.help("it is a link that leads nowhere: remove it, or mend it")
        } else {
            error
        }
    })
}

/// Two classes whose names differ in case alone are one folder on some systems.
fn new_folder(path: &Path) -> Result<()> {
    if let Some(above) = path.parent() {
        files::create_dir(above)?;
    }
    fs::create_dir(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => same("class", path),
        _ => Error::io("create the folder", path, &e),
    })
}

fn same(what: &str, path: &Path) -> Error {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Error::new(Kind::Data, format!("the {what} \"{name}\" is for this disk the same as another"))
        .fact("reason", "it does not tell upper from lower case, or accents, apart")
        .help("give them names that differ otherwise")
}

fn failed(how: How, from: &Path, to: &Path, error: &io::Error) -> Error {
    let what = if how == How::Copy { "copy" } else { "link to" };
    let help = match (how, error.kind()) {
        (_, ErrorKind::AlreadyExists) => return same("image", to),
        (How::Copy, ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => "make room, or take --how symlink",
        (How::Hardlink, ErrorKind::CrossesDevices) => {
            "a hard link needs the same disk: take --how symlink or --how copy"
        }
        (How::Copy, _) => "mend the file, or take it out of the images",
        _ => "where links cannot be made, --how copy does without",
    };
    Error::io(what, from, error).help(help)
}
