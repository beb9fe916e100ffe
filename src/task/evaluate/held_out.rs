//! Which images of a folder a run learned from and which it held out, by the lists in its folder.
//!
//! In: a run, all images of a folder, and the parts that its seed draws from them now, if it can. Out: the two parts as
//! they were, and how many images are of neither. The seed draws others as soon as one image has come or gone.

use super::names::Names;
use crate::data::endings::Endings;
use crate::data::{Folder, Split};
use crate::error::Result;
use crate::files;
use crate::report::csv_rows;
use crate::task::contents::Listing;
use crate::task::run::Run;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// A folder as a run has parted it.
pub(super) struct Parted {
    /// Training and validation.
    pub parts: [Folder; 2],
    /// Images that the run does not know.
    pub new: usize,
}

/// `all` as `run` has parted it; none where the run does not tell, or has seen nothing of it. In a folder that is not its
/// `own` an image of another size is another. Where the run parted it as it is `drawn` now, those that could not be read
/// are in their places, too.
///
/// # Errors
/// As [`Run::require_own`].
pub(super) fn parted(
    run: &Run,
    all: &Folder,
    own: bool,
    drawn: Option<[&Folder; 2]>,
) -> Result<Option<Parted>> {
    let [train, validation] = [0, 1].map(|split| Listing::load(&run.listing(split)));
    let (Some(train), Some(validation)) = (train, validation) else { return Ok(None) };
    for (split, list) in Split::EPOCH.into_iter().zip([&train, &validation]) {
        run.require_own(split, list, "without any such list the run's seed draws the parts again")?;
    }
    let mut there = Names::of(all);
    let is_of_size =
        |path: &Path, bytes| all.root.join(path).metadata().is_ok_and(|found| found.len() == bytes);
    let mut of_list = |listing: Listing| -> HashSet<PathBuf> {
        let files = listing.files().map(|(name, bytes)| (there.take(&name.to_string_lossy(), bytes), bytes));
        files.filter(|(path, bytes)| own || is_of_size(path, *bytes)).map(|(path, _)| path).collect()
    };
    let lists = [of_list(train), of_list(validation)];
    let part = |list: &HashSet<PathBuf>| {
        let mut part = all.clone();
        part.files.retain(|sample| list.contains(&sample.path));
        part
    };
    let [train, mut validation] = [part(&lists[0]), part(&lists[1])];
    if train.is_empty() && validation.is_empty() {
        return Ok(None);
    }
    let skipped = csv_rows(&files::read_text(&run.skipped()).unwrap_or_default());
    let was_skipped = |path: &Path| {
        let name = files::shown(path);
        skipped.iter().filter_map(|row| row.first()).any(|skipped| Path::new(skipped).ends_with(&name))
    };
    let is_new = |path: &Path| !lists.iter().any(|list| list.contains(path)) && !was_skipped(path);
    let new = all.files.iter().filter(|sample| is_new(&sample.path)).count();
    let stayed = |part: &Folder, drawn: &Folder| {
        let drawn: HashSet<&PathBuf> = drawn.files.iter().map(|sample| &sample.path).collect();
        part.files.iter().all(|sample| drawn.contains(&sample.path))
    };
    if let Some(drawn) = drawn
        && new == 0
        && stayed(&train, drawn[0])
        && stayed(&validation, drawn[1])
    {
        return Ok(Some(Parted { parts: drawn.map(Folder::clone), new }));
    }
    // Once is enough.
    (validation.unread, validation.ignored, validation.links) = (Endings::default(), Vec::new(), Vec::new());
    Ok(Some(Parted { parts: [train, validation], new }))
}
