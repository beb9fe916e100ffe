//! Batches of named images, decoded one ahead.
//!
//! In: paths as they come, each of which may be a failure. Out: pixels, and beside them what could not be read.

use crate::data::batch::Prefetch;
use crate::data::resize::{Resize, Size};
use crate::error::{Error, Kind, Result};
use crate::interrupt;
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How named images are decoded.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    /// Every image is brought to this size.
    pub size: Size,
    /// The way it is brought there.
    pub resize: Resize,
    /// Images at a time; a list on stdin is answered when so many have come.
    pub batch: usize,
    /// Whether the first unreadable image is the last.
    pub strict: bool,
}

/// Images that go through the network together.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// (n, h, w, 3), row-major RGB, 0 to 255.
    pub pixels: Vec<u8>,
    /// How many of them have an EXIF orientation that was not followed.
    pub sideways: usize,
    /// How many are 16-bit grey with levels above 255, which are clipped.
    pub clipped: usize,
    /// The others of the batch, in their order; with [`Loading::strict`] at most one, and `paths` are those before it.
    pub unreadable: Vec<Unreadable>,
}

/// An image that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Where it is.
    pub path: PathBuf,
    /// How many of [`Loaded::paths`] stand before it.
    pub after: usize,
    /// Why.
    pub error: Error,
}

/// The batches; dropping them ends the thread that makes them.
pub struct LoadedAhead {
    // Before `batches`, whose end waits for the thread.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) batches: Prefetch<Loaded>,
}

impl Iterator for LoadedAhead {
    type Item = Result<Loaded>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.next()
    }
}

impl Drop for LoadedAhead {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Batches of the images at `paths`.
pub(super) struct Batches<I> {
    pub paths: I,
    pub how: Loading,
    pub over: bool,
    /// Why the paths ended before their end.
    pub failed: Option<Error>,
}

impl<I: Iterator<Item = Result<PathBuf>>> Iterator for Batches<I> {
    type Item = Result<Loaded>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return self.failed.take().map(Err);
        }
        let mut named = Vec::new();
        for path in self.paths.by_ref().take(self.how.batch) {
            match path {
                Ok(path) => named.push(path),
                // What was named before is answered first, unless the user stops it all.
                Err(error) => {
                    (self.over, self.failed) = (true, Some(error));
                    break;
                }
            }
        }
        let stopped = self.failed.as_ref().is_some_and(|error| error.kind() == Kind::Interrupted);
        if named.is_empty() || stopped {
            return self.failed.take().map(Err);
        }
        let Loading { size, resize, strict, .. } = self.how;
        // A large image takes seconds: who stops does not wait for the batch.
        let load = |path: &PathBuf| match interrupt::check() {
            Ok(()) => crate::data::load(path, size, resize),
            Err(stopped) => Err(stopped),
        };
        let images: Vec<_> = named.par_iter().map(load).collect();
        if let Err(stopped) = interrupt::check() {
            self.over = true;
            return Some(Err(stopped));
        }
        let mut loaded = Loaded::default();
        for (path, image) in named.into_iter().zip(images) {
            match image {
                Ok(read) => {
                    loaded.paths.push(path);
                    loaded.pixels.extend(read.pixels);
                    loaded.sideways += usize::from(read.caveats.sideways);
                    loaded.clipped += usize::from(read.caveats.clipped);
                }
                // The machine's fault, and that of all that come.
                Err(error) if error.kind() != Kind::Data => {
                    (self.over, self.failed) = (true, Some(error));
                    break;
                }
                Err(error) => {
                    loaded.unreadable.push(Unreadable { path, after: loaded.paths.len(), error });
                    if strict {
                        self.over = true;
                        break;
                    }
                }
            }
        }
        Some(Ok(loaded))
    }
}
