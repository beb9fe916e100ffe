//! Weights in the form in which convolutions read them, kept beside the buffer they were made of.
//!
//! In: a way to make them. Out: what was made before, or now. What is used a second time while the buffer stays as
//! it is (frozen layers, evaluation) is kept from then on; weights that move with every step are made anew and
//! take no memory between. Whoever writes the buffer clears it (`Storage::bytes_mut`).

use super::winograd::{Size, Weights};
use crate::error::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place for what was made.
#[derive(Default)]
pub struct Kept(Mutex<State>);

#[derive(Default)]
enum State {
    /// Nothing asked since the buffer was written.
    #[default]
    Fresh,
    /// Made once, and let go.
    Used,
    Made(Arc<Weights>),
}

impl Kept {
    /// The weights for the form `size`.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(&self, size: Size, make: impl FnOnce() -> Result<Weights>) -> Result<Arc<Weights>> {
        // Held while they are made: two threads would make them twice.
        let mut state = self.state();
        if let State::Made(weights) = &*state
            && weights.size == size
        {
            return Ok(Arc::clone(weights));
        }
        let weights = Arc::new(make()?);
        *state = match *state {
            State::Fresh => State::Used,
            _ => State::Made(Arc::clone(&weights)),
        };
        Ok(weights)
    }

    /// The buffer changes.
    pub fn clear(&mut self) {
        *self.state() = State::Fresh;
    }

    // Whole at every moment a thread could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
