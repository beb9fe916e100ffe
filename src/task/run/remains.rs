//! What a run needs on the way, or leaves when it is killed, and how that goes.

use super::{
    BEST, CHECKPOINT, CURVES, Config, EARLIER, Folder, HISTORY, JOB, LISTINGS, Lock, MODEL, ON_THE_WAY,
    REPORT, RUN, SKIPPED, TENSORBOARD, busy, is_held,
};
use crate::data::Split;
use crate::error::{Error, Kind, Result};
use crate::files::{self, remove_if_there};
use crate::interrupt;
use crate::report::tensorboard;
use std::path::{Path, PathBuf};

pub(super) const FEATURES: &str = "features";
/// Where those of a run lie that is to be written over another, until that one goes.
const NEW_FEATURES: &str = "features.new";
/// All files that are written into a run's folder, beside its lock while it is written; its folders are `features`, until a
/// run that is written over goes `features.new`, and `tensorboard`.
pub(in crate::task) const FILES: [&str; 15] = [
    JOB,
    CHECKPOINT,
    BEST,
    LISTINGS[0],
    LISTINGS[1],
    EARLIER[0],
    EARLIER[1],
    RUN,
    MODEL,
    HISTORY,
    "history.jsonl",
    "curves.svg",
    SKIPPED,
    CURVES,
    REPORT,
];
/// Those that are drawn from the others, and can be again.
pub(in crate::task) const DRAWN: [&str; 2] = [CURVES, REPORT];

impl Folder {
    /// Whether a run can begin here and write over no file: of an earlier beginning of ours there is the job, or only the
    /// lists that are written before it.
    ///
    /// # Errors
    /// [`Kind::Usage`] with the files that are there.
    pub(super) fn nothing_lost(&self) -> Result<()> {
        let is_there = |name: &&str| !EARLIER.contains(name) && self.join(name).is_file();
        let there: Vec<&str> = FILES.into_iter().filter(is_there).collect();
        if there.is_empty() || there.contains(&JOB) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Usage,
            format!("{} holds files that a run would write over", self.path.display()),
        )
        .fact("there", there.join(", "))
        .help("choose another folder with -o, or write over them with --force"))
    }

    /// Whether a finished run is at `path`. What a kill between its last file and the clearing away has left
    /// goes now.
    ///
    /// # Errors
    /// [`Kind::Io`], also where another process is at its test or report; those of [`Config::read`].
    pub fn finished(path: &Path) -> Result<bool> {
        let folder = Self::at(path);
        let file = folder.join(RUN);
        if !file.exists() {
            return Ok(false);
        }
        if is_held(path) {
            return Err(busy(path));
        }
        let keeps = Config::read(&file)?.training.keep_features;
        // The job is gone before the curves and the report are drawn.
        let drawing = !partial(path, |name| FILES.contains(&name))?.is_empty();
        let left = folder.join(JOB).exists() || folder.join(NEW_FEATURES).exists() || drawing;
        if left || folder.join(FEATURES).exists() && !keeps {
            let _lock = Lock::take(path)?;
            ON_THE_WAY.iter().try_for_each(|name| remove_if_there(&folder.join(name)))?;
            folder.remove_remains()?;
            folder.remove_new_features();
            if !keeps {
                folder.remove_features();
            }
        }
        Ok(true)
    }

    /// Where activations at the freeze boundary are put: beside those of the run that is there, until it goes.
    pub fn features(&self) -> PathBuf {
        self.join(if self.over.get() { NEW_FEATURES } else { FEATURES })
    }

    /// Where those of the run lie that is to go; the same may be wanted again.
    pub fn former_features(&self) -> Option<PathBuf> {
        self.over.get().then(|| self.join(FEATURES))
    }

    /// The activations that `finetune` wrote, and their folder if nothing else is in it. That something stays
    /// is no reason to fail a finished run.
    pub fn remove_features(&self) {
        remove_activations(&self.join(FEATURES));
    }

    /// The same of a run that was to be written over another, and was not.
    pub(super) fn remove_new_features(&self) {
        remove_activations(&self.join(NEW_FEATURES));
    }

    /// Puts them in the place of those that went. File by file: somebody may have put others beside the former, and a
    /// system may not move a folder with files that are read.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub(super) fn put_features(&self) -> Result<()> {
        let (new, features) = (self.join(NEW_FEATURES), self.join(FEATURES));
        if !new.exists() {
            return Ok(());
        }
        files::create_dir(&features)?;
        for entry in std::fs::read_dir(&new).map_err(|e| Error::io("read", &new, &e))?.flatten() {
            let to = features.join(entry.file_name());
            std::fs::rename(entry.path(), &to).map_err(|e| Error::io("write", &to, &e))?;
        }
        let _ = std::fs::remove_dir(&new);
        Ok(())
    }

    /// Temporary files of a run that was killed while it wrote.
    pub(super) fn remove_remains(&self) -> Result<()> {
        remove_partial(&self.path, |name| FILES.contains(&name))?;
        for split in Split::EPOCH {
            let folder = self.join(TENSORBOARD).join(split.name());
            if folder.exists() {
                remove_partial(&folder, tensorboard::is_events)?;
            }
        }
        Ok(())
    }
}

impl Drop for Folder {
    /// What a run leaves that ended before it was written over the one that is there. After a stop the same command
    /// goes on.
    fn drop(&mut self) {
        if self.over.get() && interrupt::check().is_ok() {
            self.remove_new_features();
        }
    }
}

/// Removes the activations in `folder`, and the folder if nothing else is in it.
fn remove_activations(folder: &Path) {
    let ours = |name: &str| {
        let (split, rest) = name.split_once('.').unwrap_or_default();
        let place = rest.split('.').next().unwrap_or_default();
        Split::EPOCH.iter().any(|of| of.name() == split)
            && place.len() == 2
            && place.bytes().all(|byte| byte.is_ascii_digit())
            && rest[2..].starts_with(".safetensors")
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if ours(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let _ = std::fs::remove_dir(folder);
}

fn remove_partial(folder: &Path, ours: impl Fn(&str) -> bool) -> Result<()> {
    partial(folder, ours)?.iter().try_for_each(|path| remove_if_there(path))
}

/// What `files::write_atomic` leaves in `folder` when it is killed on its way to a file that is `ours`.
fn partial(folder: &Path, ours: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let io = |e| Error::io("read", folder, &e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if files::of_temporary(&name.to_string_lossy()).is_some_and(&ours) {
            found.push(entry.path());
        }
    }
    Ok(found)
}
