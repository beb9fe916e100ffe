//! Which images of a folder a run learned from and which it held out, by the lists in its folder.
//!
//! In: a run, all images of a folder. Out: the two parts, and how many images are of neither. Drawn again by the run's
//! seed they would be others as soon as one image has come or gone.

use crate::data::Folder;
use crate::data::endings::Endings;
use crate::task::contents::Listing;
use crate::task::run::Run;
use std::collections::HashSet;
use std::ffi::OsStr;

/// A folder as a run has parted it.
pub(super) struct Parted {
    /// Training and validation.
    pub parts: [Folder; 2],
    /// Images that the run has not seen.
    pub new: usize,
}

/// `all` as `run` has parted it; none where the run does not tell, or has seen nothing of it.
pub(super) fn parted(run: &Run, all: &Folder) -> Option<Parted> {
    let [train, validation] = [0, 1].map(|split| Listing::load(&run.listing(split)));
    let [train, validation] = [train?, validation?];
    let part = |listing: &Listing| {
        let names: HashSet<&OsStr> = listing.names().collect();
        let mut part = all.clone();
        // What is no UTF-8 is readable in the list, and no more.
        part.files.retain(|sample| names.contains(OsStr::new(&*sample.path.to_string_lossy())));
        part
    };
    let [train, mut validation] = [part(&train), part(&validation)];
    // Once is enough.
    validation.unread = Endings::default();
    let parts = [train, validation];
    let seen = parts[0].len() + parts[1].len();
    (seen > 0).then(|| Parted { parts, new: all.len() - seen })
}
