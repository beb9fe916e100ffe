//! Images decoded on all threads and handed out in the order in which they are wanted.
//!
//! In: a job and positions in its folder. Out: for each its pixels, or why there are none; an error where that ends the
//! work.

use super::Job;
use crate::data::{DecodedImage, load};
use crate::error::{Error, Kind, Result};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// An image's position in the folder, and its pixels or why there are none.
type Outcome = (usize, Result<DecodedImage>);

/// The next image that can be read; those before it that cannot are `skipped`.
///
/// # Errors
/// What ends the work.
pub(super) fn next_readable(
    outcomes: &mut Decoding<'_>,
    skipped: &mut Vec<(usize, Error)>,
) -> Result<Option<(usize, DecodedImage)>> {
    for outcome in outcomes {
        match outcome? {
            (i, Ok(read)) => return Ok(Some((i, read))),
            (i, Err(error)) => skipped.push((i, error)),
        }
    }
    Ok(None)
}

/// Decodes in parallel, hands out in order. An outer error ends the work.
pub(super) struct Decoding<'a> {
    job: Job<'a>,
    wanted: Vec<usize>,
    begun: usize,
    done: usize,
    ready: VecDeque<Outcome>,
}

impl<'a> Decoding<'a> {
    /// The images `wanted` of the folder of `job`, by their positions in it.
    pub fn new(job: Job<'a>, wanted: Vec<usize>) -> Self {
        Self { job, wanted, begun: 0, done: 0, ready: VecDeque::new() }
    }

    // A piece is long enough that waiting for its last image costs little, and short enough that its pixels fit in
    // memory: 67 kB each at 150x150, 50 MB at 4096x4096.
    fn refill(&mut self) {
        let Job { folder, want, stop, .. } = self.job;
        const PIECE_BYTES: usize = 256 << 20;
        let threads = rayon::current_num_threads();
        let piece = (PIECE_BYTES / want.size.bytes()).clamp(threads, 32 * threads);
        let rest = &self.wanted[self.begun..];
        let rest = &rest[..rest.len().min(piece)];
        let outcomes: Vec<Option<Outcome>> = rest
            .par_iter()
            .map(|&i| {
                let go_on = !stop.load(Ordering::Relaxed);
                go_on.then(|| (i, load(&folder.path(i), want.size, want.resize)))
            })
            .collect();
        self.begun += rest.len();
        self.ready.extend(outcomes.into_iter().flatten());
    }
}

impl Iterator for Decoding<'_> {
    type Item = Result<Outcome>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.refill();
        }
        // After the refill, which the flag may have cut short.
        if self.job.stop.load(Ordering::Relaxed) {
            let error = Error::new(Kind::Interrupted, "stopped by the user");
            // With those that the cache has.
            let (all, left) = (self.job.folder.len(), self.wanted.len() - self.done);
            return Some(Err(error.fact("ready", format!("{} of {all}", all - left))));
        }
        let (i, pixels) = self.ready.pop_front()?;
        self.done += 1;
        (self.job.progress)(self.done, self.wanted.len());
        match pixels {
            // What is left out must hang on the files alone, not on the machine's memory.
            Err(error) if self.job.want.strict || error.kind() != Kind::Data => Some(Err(error)),
            pixels => Some(Ok((i, pixels))),
        }
    }
}
