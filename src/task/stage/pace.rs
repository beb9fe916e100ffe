//! How often what a run has come to is written down: its state, and its history.

use crate::error::Result;
use crate::train::Position;
use std::time::{Duration, Instant};

/// How often something is written that is there after each epoch: no sooner than training has taken ten times as long as
/// writing took the last time, or half a minute.
#[derive(Default)]
pub(super) struct Pace {
    /// When the last was there, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// Whether to write at `now` is too soon.
    pub fn hurries(&self, now: Instant) -> bool {
        /// What a kill costs at most, beside the epoch in hand.
        const MOST: Duration = Duration::from_secs(30);
        self.last.is_some_and(|(since, took)| now.duration_since(since) < MOST.min(10 * took))
    }

    /// Writes, and takes the time.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write(&mut self, write: impl FnOnce() -> Result<()>) -> Result<()> {
        let began = Instant::now();
        write()?;
        let now = Instant::now();
        self.last = Some((now, now - began));
        Ok(())
    }
}

/// Whether the state at `position` may be left out: one between two epochs, if nobody `stops` training there and it goes on.
pub(super) fn between_epochs(position: &Position, stops: bool) -> bool {
    position.within == 0 && !position.over && !stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_left_out_where_writing_takes_more_than_a_tenth_of_the_time() {
        let began = Instant::now();
        let pace = |took: u64| Pace { last: Some((began, Duration::from_millis(took))) };
        for (pace, seconds, hurries, why) in [
            (pace(300), 2, true, "ten times are three seconds"),
            (pace(300), 3, false, "they are over"),
            (pace(60_000), 29, true, "a slow disk"),
            (pace(60_000), 30, false, "half a minute is lost at most"),
            (Pace::default(), 2, false, "the first is written"),
        ] {
            assert_eq!(pace.hurries(began + Duration::from_secs(seconds)), hurries, "{why}");
        }
        let at = |within, over| Position { within, over, ..Position::default() };
        for (position, stops, between, why) in [
            (at(0, false), false, true, "training goes on"),
            (at(0, false), true, false, "training stops here"),
            (at(3, false), false, false, "within an epoch it is kept where training stops alone"),
            (at(0, true), false, false, "the stage is over"),
        ] {
            assert_eq!(between_epochs(&position, stops), between, "{why}");
        }
    }
}
