//! How long work takes that may have begun in another process.

use std::time::Instant;

/// Seconds of work that this process does, and of what others did of it before.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    since: Instant,
    before: f64,
}

impl Clock {
    /// Of work that this process is at `since` then, after `before` seconds in others.
    pub fn new(since: Instant, before: f64) -> Self {
        Self { since, before }
    }

    /// All seconds until now.
    pub fn seconds(&self) -> f64 {
        self.before + self.since.elapsed().as_secs_f64()
    }
}
