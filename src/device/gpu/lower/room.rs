//! For how large a GPU work is cut.
//!
//! In: a compute capability. Out: a [`Room`]. How a sum is split is the order of its additions, so it is the same on every
//! GPU of an architecture, whatever its size; on tensor cores each architecture is split for its own.

use super::mma::Tile;

/// What the largest known GPU of an architecture has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Multiprocessors.
    pub sms: usize,
    /// KiB of shared memory that each of two blocks can have on one: half of it, less what the system takes of a block.
    half: u32,
}

impl Room {
    /// An H100 SXM, H200 or GH200.
    pub const HOPPER: Self = Self { sms: 132, half: 113 };

    /// Of compute capability `capability` (80 for 8.0): T4, A100, RTX 3090, RTX 4090, H200. Newer ones are cut for an
    /// H200 as the plan of their memory is ([`Card::like`](crate::device::gpu::plan::Card::like)). (CUDA C++
    /// Programming Guide, "Technical Specifications per Compute Capability".)
    pub fn of(capability: u32) -> Self {
        match capability {
            ..80 => Self { sms: 40, half: 32 },
            80..86 => Self { sms: 108, half: 81 },
            86..89 => Self { sms: 82, half: 49 },
            89..90 => Self { sms: 128, half: 49 },
            _ => Self::HOPPER,
        }
    }

    /// Blocks at once, two on each multiprocessor.
    pub fn pairs(self) -> usize {
        2 * self.sms
    }

    /// Whether a multiprocessor has shared memory for two blocks of the tile: one of four warps leaves each of the
    /// multiprocessor's four schedulers a single warp, and nothing to do while that waits.
    pub fn takes_two(self, tile: Tile) -> bool {
        tile.shared <= self.half << 10
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
            // A block alone may have all but what the system takes, 1 KiB from 8.0 on; of two it takes that twice.
            assert_eq!(Room::of(card.capability).half, (card.limits().shared_opt_in >> 10) / 2, "{name}");
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
