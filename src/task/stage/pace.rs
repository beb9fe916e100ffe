//! How often a run's state is written down.

use crate::train::Position;
use std::time::{Duration, Instant};

/// How often moments are kept. A card may do an epoch in less time than the moment behind it takes to be written: then the
/// next is written when training has taken ten times as long as the last one took, or half a minute.
pub(super) struct Pace {
    /// Whether any may be left out: not where the weights of the best epoch are kept, which must be those of an epoch that is
    /// kept, too.
    hurries: bool,
    /// When the last was there, and how long it took.
    pub last: Option<(Instant, Duration)>,
}

impl Pace {
    /// Before the first moment.
    pub fn of(hurries: bool) -> Self {
        Self { hurries, last: None }
    }

    /// Whether that of `position` at `now` may be left out: one between two epochs, if nobody `stops` training there and it goes
    /// on.
    pub fn passes(&self, now: Instant, position: &Position, stops: bool) -> bool {
        /// What a kill costs at most, beside the epoch in hand.
        const MOST: Duration = Duration::from_secs(30);
        let between = position.within == 0 && !position.over && !stops;
        let soon = |(since, took): (Instant, Duration)| now.duration_since(since) < MOST.min(10 * took);
        self.hurries && between && self.last.is_some_and(soon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_left_out_where_writing_takes_more_than_a_tenth_of_the_time() {
        let began = Instant::now();
        let pace = |took: u64| Pace { hurries: true, last: Some((began, Duration::from_millis(took))) };
        let at = |within, over| Position { within, over, ..Position::default() };
        for (pace, seconds, position, stops, passes, why) in [
            (pace(300), 2, at(0, false), false, true, "a tenth is three seconds"),
            (pace(300), 3, at(0, false), false, false, "they are over"),
            (pace(60_000), 29, at(0, false), false, true, "a slow disk"),
            (pace(60_000), 30, at(0, false), false, false, "half a minute is lost at most"),
            (pace(300), 2, at(0, false), true, false, "training stops here"),
            (
                pace(300),
                2,
                at(3, false),
                false,
                false,
                "within an epoch it is kept where training stops alone",
            ),
            (pace(300), 2, at(0, true), false, false, "the stage is over"),
            (Pace { hurries: false, ..pace(300) }, 2, at(0, false), false, false, "not on a cpu"),
            (Pace::of(true), 2, at(0, false), false, false, "the first is kept"),
        ] {
            assert_eq!(pace.passes(began + Duration::from_secs(seconds), &position, stops), passes, "{why}");
        }
    }
}
