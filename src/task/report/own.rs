//! A run's own page: what it is of, and what is said where it would be lost.

use super::REPORT;
use crate::data::Split;
use crate::error::{Error, Kind};
use crate::files::quoted;
use crate::report::html::split_of;
use crate::task::run::Run;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// That the split which was asked for is not in `data`.
pub(super) fn no_split(data: &Path, split: Split) -> Error {
    Error::new(Kind::Usage, format!("{} has no split `{split}`", data.display()))
        .help("choose another with --split, or name the images: `vgg-ft report RUN DATA --split SPLIT`")
}

/// The split of a run's data that the page in its folder is on, as it says itself; where there is none, or it is older,
/// what the run was judged on last.
pub(super) fn own_split(run: &Run, folder: &Path) -> Option<Split> {
    /// Bytes of a page that hold its head.
    const HEAD: u64 = 4096;
    let mut begin = Vec::new();
    if let Ok(page) = File::open(folder.join(REPORT))
        && page.take(HEAD).read_to_end(&mut begin).is_ok()
        && let Some(split) = split_of(&String::from_utf8_lossy(&begin))
    {
        return Split::named(split);
    }
    let result = run.config.result.unwrap_or_default();
    let judged = [(Split::Test, result.test_accuracy), (Split::Validation, result.val_accuracy)];
    judged.into_iter().find_map(|(split, accuracy)| accuracy.map(|_| split))
}

/// That the page of a run would be lost.
pub(super) fn lost(run: &Path, asked: Option<Split>) -> Error {
    let split = asked.map_or_else(String::new, |split| format!(" --split {split}"));
    Error::new(Kind::Usage, "a new report would lose the predictions of the one that is there").help(format!(
        "name the images (`vgg-ft report {} DATA{split} --force`), or another file with -o",
        quoted(run)
    ))
}
