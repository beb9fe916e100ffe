//! What every op is handed: the threads to work with and memory to work in.

use super::memory::{Memory, Storage};
use super::threads::Threads;
use crate::device::Dtype;
use crate::error::Result;
use std::marker::PhantomData;
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

    /// [`Workshop::scratch`] for what may be kept for long: in memory of its own size.
    pub fn lasting(&self, len: usize) -> Result<Scratch> {
        Ok(Scratch(Memory::take_lasting(&self.memory, Dtype::F32, len)?))
    }

    /// Scratch memory of the same size for every thread that gets one of `jobs`.
    pub fn desks(&self, jobs: usize, len: usize) -> Result<Vec<Scratch>> {
        (0..self.sharers(jobs)).map(|_| self.scratch(len)).collect()
    }

    /// Threads that share `jobs`, one at least.
    pub fn sharers(&self, jobs: usize) -> usize {
        self.threads.count().min(jobs).max(1)
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

/// Memory that several threads write, each in places of its own.
#[derive(Clone, Copy)]
pub struct Shared<'a> {
    first: *mut f32,
    len: usize,
    all: PhantomData<&'a mut [f32]>,
}

// SAFETY: the address of numbers that are borrowed for as long as it lives; who writes where is the promise of
// those who call `at`.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(all: &'a mut [f32]) -> Self {
        Self { first: all.as_mut_ptr(), len: all.len(), all: PhantomData }
    }

    /// The address of number `index`. What is written there by one thread must not be touched by another.
    pub fn at(&self, index: usize) -> *mut f32 {
        assert!(index < self.len);
        self.first.wrapping_add(index)
    }
}
