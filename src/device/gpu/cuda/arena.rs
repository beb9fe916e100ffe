//! Where in the GPU's memory a buffer is: a few large slabs, cut into pieces. No driver is called here.
//!
//! In: sizes, and slabs to cut them from. Out: addresses. The rule is a deterministic best fit: the smallest free piece
//! that is large enough, of equal ones the lowest. Free neighbours are always merged, so the free pieces depend only on
//! what is allocated: a step that asks for the same sizes in the same order as the one before gets the same addresses,
//! and its launches repeat to the last bit.

use std::collections::{BTreeMap, BTreeSet};

/// All pieces begin at, and are as long as, a multiple of this.
pub const GRAIN: u64 = 256;
/// The least that is asked of the driver at once.
const LEAST: u64 = 32 << 20;
/// A slab that is there for growth alone is no longer than this.
const MOST: u64 = 1 << 30;
/// The driver gives memory in pages of this size.
const PAGE: u64 = 2 << 20;

/// Slabs and what is free of them.
#[derive(Default)]
pub struct Arena {
    /// First byte and length.
    slabs: BTreeMap<u64, u64>,
    free: BTreeMap<u64, u64>,
    /// The same, by length.
    by_length: BTreeSet<(u64, u64)>,
}

/// What a piece for `bytes` takes.
pub fn grains(bytes: usize) -> u64 {
    (bytes as u64).max(1).next_multiple_of(GRAIN)
}

impl Arena {
    /// A piece of `len` bytes, a multiple of [`GRAIN`]; none if no slab has room.
    pub fn take(&mut self, len: u64) -> Option<u64> {
        let &(whole, at) = self.by_length.range((len, 0)..).next()?;
        self.forget(at, whole);
        if whole > len {
            self.remember(at + len, whole - len);
        }
        Some(at)
    }

    /// A piece comes back.
    pub fn give(&mut self, at: u64, len: u64) {
        let (mut first, mut end) = (at, at + len);
        let Some((&slab, &whole)) = self.slabs.range(..=at).next_back() else { return };
        // Slabs may lie side by side, but a piece never reaches from one into the next.
        if let Some((&before, &len)) = self.free.range(slab..at).next_back()
            && before + len == at
        {
            self.forget(before, len);
            first = before;
        }
        if end < slab + whole
            && let Some(&len) = self.free.get(&end)
        {
            self.forget(end, len);
            end += len;
        }
        self.remember(first, end - first);
    }

    /// How long the next slab should be so that a piece of `len` fits: half as much again as there is, but
    /// within reason.
    pub fn growth(&self, len: u64) -> u64 {
        (self.held() / 2).clamp(LEAST, MOST).max(len).next_multiple_of(PAGE)
    }

    /// New memory to cut pieces from.
    pub fn add(&mut self, at: u64, len: u64) {
        self.slabs.insert(at, len);
        self.remember(at, len);
    }

    /// Slabs of which nothing is taken; they are no longer the arena's.
    pub fn release(&mut self) -> Vec<u64> {
        let empty: Vec<(u64, u64)> = self
            .slabs
            .iter()
            .map(|(&at, &len)| (at, len))
            .filter(|(at, len)| self.free.get(at) == Some(len))
            .collect();
        for &(at, len) in &empty {
            self.slabs.remove(&at);
            self.forget(at, len);
        }
        empty.into_iter().map(|(at, _)| at).collect()
    }

    /// All slabs; for the end.
    pub fn take_slabs(&mut self) -> Vec<u64> {
        std::mem::take(self).slabs.into_keys().collect()
    }

    /// Bytes of all slabs.
    pub fn held(&self) -> u64 {
        self.slabs.values().sum()
    }

    /// Bytes that are free.
    pub fn spare(&self) -> u64 {
        self.free.values().sum()
    }

    /// Bytes of the longest free piece.
    pub fn longest(&self) -> u64 {
        self.by_length.last().map_or(0, |&(len, _)| len)
    }

    fn remember(&mut self, at: u64, len: u64) {
        self.free.insert(at, len);
        self.by_length.insert((len, at));
    }

    fn forget(&mut self, at: u64, len: u64) {
        self.free.remove(&at);
        self.by_length.remove(&(len, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Draws, Stream};

    const SLAB: u64 = 1 << 20;

    fn arena() -> Arena {
        let mut arena = Arena::default();
        // Side by side, as the driver may well give them.
        arena.add(SLAB, SLAB);
        arena.add(2 * SLAB, SLAB);
        arena
    }

    #[test]
    fn the_smallest_piece_that_fits_is_taken_and_of_equal_ones_the_lowest() {
        let mut arena = arena();
        let [a, b, c, d, e] = [512, 256, 1024, 256, 512].map(|len| arena.take(len).unwrap());
        assert_eq!([a, b, c, d, e].map(|at| at - SLAB), [0, 512, 768, 1792, 2048]);
        arena.give(c, 1024);
        arena.give(a, 512);
        assert_eq!(arena.take(256), Some(a), "the hole of 512, not that of 1024");
        assert_eq!(arena.take(1024), Some(c));
        arena.give(a, 256);
        arena.give(e, 512);
        assert_eq!(arena.take(512), Some(a));
        // Nothing that spans two slabs.
        assert_eq!(arena.take(SLAB), Some(2 * SLAB));
        assert_eq!(arena.take(SLAB), None);
        assert_eq!(arena.spare(), SLAB - 512 - 256 - 1024 - 256);
    }

    #[test]
    fn slabs_that_lie_side_by_side_stay_apart() {
        let mut arena = arena();
        let [low, high] = [(); 2].map(|()| arena.take(SLAB).unwrap());
        arena.give(high, SLAB);
        arena.give(low, SLAB);
        assert_eq!((arena.longest(), arena.spare()), (SLAB, 2 * SLAB));
        let taken = arena.take(256).unwrap();
        assert_eq!(arena.release(), [2 * SLAB], "the other holds something");
        assert_eq!(arena.held(), SLAB);
        arena.give(taken, 256);
        assert_eq!(arena.release(), [SLAB]);
        assert_eq!((arena.held(), arena.spare(), arena.take(256)), (0, 0, None));
    }

    #[test]
    fn the_same_sizes_in_the_same_order_get_the_same_addresses() {
        let mut arena = arena();
        // What lives through all steps, with holes between.
        let kept: Vec<_> = (1..20).map(|n| (arena.take(n * GRAIN).unwrap(), n * GRAIN)).collect();
        kept.iter().step_by(3).for_each(|&(at, len)| arena.give(at, len));
        let mut step = || {
            let mut draws = Draws::new(7, Stream::Demo, 0);
            let (mut live, mut seen) = (Vec::new(), Vec::new());
            for _ in 0..500 {
                if draws.below(5) < 2 && !live.is_empty() {
                    let (at, len) = live.swap_remove(draws.below(live.len() as u32) as usize);
                    arena.give(at, len);
                } else if let len = GRAIN * u64::from(1 + draws.below(40))
                    && let Some(at) = arena.take(len)
                {
                    assert!(
                        live.iter().all(|&(other, size)| at + len <= other || other + size <= at),
                        "overlap"
                    );
                    live.push((at, len));
                    seen.push(at);
                }
            }
            // Given back in another order than taken.
            live.sort_by_key(|&(at, len)| (len, at));
            live.into_iter().for_each(|(at, len)| arena.give(at, len));
            seen
        };
        let first = step();
        assert!(first.len() > 250);
        assert_eq!(step(), first);
    }

    #[test]
    fn slabs_grow_with_what_is_held() {
        let mut arena = Arena::default();
        assert_eq!(arena.growth(256), LEAST);
        assert_eq!(arena.growth(LEAST + 1), LEAST + PAGE);
        arena.add(1 << 40, 200 << 20);
        assert_eq!(arena.growth(256), 100 << 20);
        arena.add(1 << 41, 16 << 30);
        assert_eq!(arena.growth(256), MOST);
    }
}
