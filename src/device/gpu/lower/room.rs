//! For how large a card work is cut.
//!
//! In: a compute capability. Out: a [`Room`]. How a sum is split is the order of its additions, so it is the same on every
//! card of an architecture, whatever its size; on tensor cores each architecture is split for its own.

use super::mma::Tile;

/// Bytes of shared memory that the system takes of a block, from 8.0 on.
const SYSTEM: u32 = 1 << 10;

/// What the largest known card of an architecture has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Multiprocessors.
    pub sms: usize,
    /// Bytes of shared memory of one.
    shared: u32,
}

impl Room {
    /// An H100 SXM, H200 or GH200.
    pub const HOPPER: Self = Self { sms: 132, shared: 228 << 10 };

    /// Of compute capability `capability` (80 for 8.0): T4, A100, RTX 3090, RTX 4090, H200. Newer ones are cut for an H200 as
    /// the plan of their memory is ([`Card::like`](crate::device::gpu::plan::Card::like)). (CUDA C++ Programming Guide,
    /// "Technical Specifications per Compute Capability".)
    pub fn of(capability: u32) -> Self {
        let (sms, kib) = match capability {
            ..80 => (40, 64),
            80..86 => (108, 164),
            86..89 => (82, 100),
            89..90 => (128, 100),
            _ => return Self::HOPPER,
        };
        Self { sms, shared: kib << 10 }
    }

    /// Blocks at once, two on each multiprocessor.
    pub fn pairs(self) -> usize {
        2 * self.sms
    }

    /// Whether a multiprocessor has shared memory for two blocks of the tile: one of four warps leaves each of the
    /// multiprocessor's four schedulers a single warp, and nothing to do while that waits.
    pub fn takes_two(self, tile: Tile) -> bool {
        let system = if self.shared <= 64 << 10 { 0 } else { SYSTEM };
        2 * (tile.shared + system) <= self.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::gpu::plan::Card;

    #[test]
    fn cards_have_as_many_multiprocessors_as_is_said_of_their_architecture() {
        for name in ["t4", "a100", "rtx3090", "rtx4090", "h100", "h200"] {
            let card = Card::named(name).unwrap();
            assert_eq!(Room::of(card.capability).sms, card.sms as usize, "{name}");
            // One block may have all but what the system takes.
            let system = if card.capability < 80 { 0 } else { SYSTEM };
            assert_eq!(Room::of(card.capability).shared, card.limits().shared_opt_in + system, "{name}");
        }
    }

    /// Or a job's memory would be planned for other cuts than run.
    #[test]
    fn a_card_that_is_not_known_is_cut_for_the_one_that_it_is_planned_as() {
        for capability in [75, 80, 86, 87, 89, 90, 100, 103, 110, 120, 121] {
            assert_eq!(Room::of(capability), Room::of(Card::like(capability).capability), "{capability}");
        }
    }

    /// What was chosen on an H200, where two blocks of every tile fit, stays so there alone.
    #[test]
    fn a_multiprocessor_takes_two_blocks_of_the_tiles_that_it_is_given() {
        let tile = |kib: u32| Tile { rows: 128, columns: 128, depth: 32, threads: 128, shared: kib << 10 };
        let two = |capability: u32| [32, 48, 72, 80, 96].map(|kib| Room::of(capability).takes_two(tile(kib)));
        assert_eq!(two(90), [true; 5]);
        assert_eq!(two(80), [true, true, true, true, false]);
        assert_eq!(two(86), [true, true, false, false, false]);
        assert_eq!(two(89), two(86));
        assert_eq!(two(75), [true, false, false, false, false]);
    }
}
