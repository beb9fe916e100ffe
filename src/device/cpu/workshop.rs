//! What every op is handed: the threads to work with and memory to work in.

use super::memory::{Memory, Storage};
use super::threads::Threads;
use crate::device::Dtype;
use crate::error::Result;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A device's threads and memory.
pub struct Workshop {
    pub threads: Threads,
    pub memory: Arc<Memory>,
}

impl Workshop {
    /// Room for `len` numbers, unspecified (or poisoned) until written; kept for the next call that asks
    /// for as much.
    pub fn scratch(&self, len: usize) -> Result<Scratch> {
        Ok(Scratch(Memory::take(&self.memory, Dtype::F32, len)?))
    }

    /// Scratch memory of the same size for every thread.
    pub fn desks(&self, len: usize) -> Result<Vec<Scratch>> {
        (0..self.threads.count()).map(|_| self.scratch(len)).collect()
    }
}

/// Numbers that live as long as a call.
pub struct Scratch(Storage);

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        bytemuck::cast_slice(self.0.bytes())
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(self.0.bytes_mut())
    }
}
