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
    /// The weights for the form `size` and so many channels in and out.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(
        &self,
        size: Size,
        channels: (usize, usize),
        make: impl FnOnce() -> Result<Weights>,
    ) -> Result<Arc<Weights>> {
        // Held while they are made: two threads would make them twice.
        let mut state = self.state();
        if let State::Made(weights) = &*state
            && (weights.size, weights.channels) == (size, channels)
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
        *self.0.get_mut().unwrap_or_else(PoisonError::into_inner) = State::Fresh;
    }

    // Whole at every moment a thread could panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Dtype;
    use crate::device::cpu::memory::Memory;
    use crate::device::cpu::threads::Threads;
    use crate::device::cpu::workshop::Workshop;

    #[test]
    fn what_is_used_twice_is_kept_until_the_buffer_is_written() {
        let memory = Memory::new(None);
        let shop = Workshop { threads: Threads::new(Some(1)).unwrap(), memory: Arc::clone(&memory) };
        let mut buffer = Memory::take(&memory, Dtype::F32, 9 * 32 * 32).unwrap();
        let made = |kept: &Kept, size: Size| {
            let mut made = false;
            kept.get(size, (32, 32), || {
                made = true;
                Weights::transform(&shop, size, (32, 32), |_, _, _| {})
            })
            .unwrap();
            made
        };
        let asked =
            |buffer: &crate::device::cpu::memory::Storage| [0; 4].map(|_| made(buffer.kept(), Size::Four));
        assert_eq!(asked(&buffer), [true, true, false, false]);
        assert!(made(buffer.kept(), Size::Two), "another form is no help");
        buffer.bytes_mut()[0] = 1;
        assert_eq!(asked(&buffer), [true, true, false, false]);
    }
}
