//! A run's own page: what it is of, and what is said where it would be lost.

use crate::data::Splits;
use crate::error::{Error, Kind};
use crate::files::quoted;
use crate::task::evaluate::SplitName;
use crate::task::resume::Job;
use crate::task::run::Run;
use std::path::Path;

/// That the split which was asked for is not in `data`.
pub(super) fn no_split(data: &Path, split: SplitName) -> Error {
    Error::new(Kind::Usage, format!("{} has no split `{}`", data.display(), split.name()))
        .help("choose another with --split, or name the pictures: `vgg-ft report RUN DATA --split SPLIT`")
}

/// The split of a run's data that its own page is on, if it is on any. Of a run that was stopped before its test that is the
/// test, too: who asks for no split gets it.
pub(super) fn own_split(run: &Run) -> Option<&'static str> {
    let (result, training) = (run.config.result.unwrap_or_default(), &run.config.training);
    let untested = result.test_accuracy.is_none() && training.job == Job::Finetune;
    if untested && Splits::judged(&training.data, None, 0).is_ok_and(|splits| splits.test.is_some()) {
        return Some("test");
    }
    let parts = [("test", result.test_accuracy), ("validation", result.val_accuracy)];
    parts.into_iter().find_map(|(name, judged)| judged.map(|_| name))
}

/// That the page of a run would be lost.
pub(super) fn lost(run: &Path) -> Error {
    Error::new(Kind::Usage, "a new report would lose the predictions of the one that is there").help(format!(
        "name the pictures (`vgg-ft report {} DATA --force`), or another file with -o",
        quoted(run)
    ))
}
