//! One process writes a run's folder at a time.
//!
//! In: the folder. Out: a [`Lock`] that ends with the process, however it ends, or who is asked to wait.

use crate::error::{Error, Kind, Result};
use crate::files::{self, is_at};
use crate::task::Host;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const NAME: &str = ".lock";
/// How often a folder that is taken is asked for.
const TRIES: u32 = 5;

/// A run's folder in the hands of this process.
pub struct Lock {
    file: PathBuf,
    _held: File,
}

impl Lock {
    /// Takes the folder at `path`, which is there; none on a file system without locks.
    ///
    /// # Errors
    /// [`Kind::Io`], also when another process has it.
    pub fn take(path: &Path) -> Result<Option<Self>> {
        let file = path.join(NAME);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        if std::fs::metadata(&file).is_ok_and(|there| !there.is_file()) {
            return Err(
                Error::new(Kind::Io, format!("{} is not a regular file", file.display())).help("remove it")
            );
        }
        for _ in 0..TRIES {
            let held = options.open(&file).map_err(|e| Error::io("create", &file, &e))?;
            match held.try_lock() {
                Ok(()) if is_at(&held, &file) => return Ok(Some(Self { file, _held: held })),
                // Its last holder has removed it since it was opened.
                Ok(()) => {}
                // Perhaps by somebody who only asks whether it is held.
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
        Err(busy(path))
    }
}

/// Says that nothing keeps other processes from writing to `path`.
pub(in crate::task) fn unlocked(host: &Host, path: &Path) {
    host.note(format_args!(
        "the file system of {} has no locks: see that no other vgg-ft writes there",
        path.display()
    ));
}

/// That another process has the folder at `path`.
pub(in crate::task) fn busy(path: &Path) -> Error {
    Error::new(Kind::Io, format!("another vgg-ft is writing {}", path.display()))
        .help("wait until it has ended, or use another folder")
}

/// Whether a process has the folder at `path`, as far as that can be told.
pub fn is_held(path: &Path) -> bool {
    let Ok(file) = files::open_regular(&path.join(NAME)) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: who opens it from here on makes a new one.
        let _ = std::fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_folder_is_one_writers_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        if first.is_none() {
            // Past the harness, which keeps what tests print.
            let _ = writeln!(std::io::stderr(), "skipped: this file system has no locks");
            return;
        }
        let error = Lock::take(dir.path()).err().unwrap();
        assert!(
            error.kind() == Kind::Io && error.to_string().contains("another vgg-ft is writing"),
            "{error}"
        );
        assert!(is_held(dir.path()));
        // At its test or report a run is whole, but not left.
        std::fs::write(dir.path().join("run.toml"), "").unwrap();
        std::fs::create_dir(dir.path().join("features")).unwrap();
        let error = super::super::Folder::finished(dir.path()).unwrap_err();
        assert!(error.kind() == Kind::Io && error.to_string().contains("another vgg-ft"), "{error}");
        std::fs::remove_file(dir.path().join("run.toml")).unwrap();
        std::fs::remove_dir(dir.path().join("features")).unwrap();
        drop(first);
        assert!(!is_held(dir.path()));
        assert!(Lock::take(dir.path()).unwrap().is_some());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing stays");
    }
}
