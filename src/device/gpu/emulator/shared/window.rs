//! Windows: the shared memory of each block of a cluster, one after the other.
//!
//! In: addresses as a block has them, from the begin of its own memory, or as `mapa` makes them. Out: places in the
//! cluster's, and back.

use super::Shared;
use crate::ptx::SHARED_BASE;

/// From here on lie places that no memory has: addresses beyond their block's window.
const FAR: u64 = 1 << 40;

impl Shared {
    /// Where a place of block `rank`'s own memory lies. One beyond its window belongs to nobody.
    #[inline(always)]
    pub fn place(&self, rank: u32, address: u64) -> u64 {
        match self.blocks {
            1 => address,
            _ if address < u64::from(self.window) => address + u64::from(rank * self.window),
            _ => FAR.saturating_add(address),
        }
    }

    /// Where the memory of block `rank` begins: a multiple of 16 bytes.
    #[inline(always)]
    pub fn begin(&self, rank: u32) -> u32 {
        if self.blocks == 1 { 0 } else { rank * self.window }
    }

    /// The same for what may name a block of the cluster, as `mapa` makes it.
    pub fn place_in_cluster(&self, rank: u32, address: u64) -> u64 {
        match (address >> 24) as u32 {
            0 => self.place(rank, address),
            other if other <= self.blocks => self.place(other - 1, address & 0x00ff_ffff),
            _ => FAR.saturating_add(address),
        }
    }

    /// The block whose memory it is, and the place there.
    #[inline(always)]
    pub fn whose(&self, address: u64) -> (u32, u64) {
        match self.blocks {
            1 => (0, address),
            _ if address >= FAR => (0, address - FAR),
            _ => ((address / u64::from(self.window)) as u32, address % u64::from(self.window)),
        }
    }

    /// Whether an access of `bytes` at `address` is within bounds of one block.
    #[inline(always)]
    pub fn holds(&self, address: u64, bytes: u32) -> bool {
        let mut address = address;
        if self.blocks > 1 {
            if address >= u64::from(self.window * self.blocks) {
                return false;
            }
            address %= u64::from(self.window);
        }
        let end = address.checked_add(u64::from(bytes));
        address >= u64::from(SHARED_BASE) && end.is_some_and(|end| end <= u64::from(self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Agents;
    use super::*;

    #[test]
    fn no_window_reaches_into_the_next() {
        let size = SHARED_BASE + 256;
        let shared = Shared::new(size, 2, Agents { warps: 8, later: true }, false, &[]);
        let (last, window) = (u64::from(size) - 4, u64::from(size.next_multiple_of(1024)));
        for rank in [0, 1] {
            let place = shared.place(rank, last);
            assert_eq!(place, u64::from(shared.begin(rank)) + last, "the fast path's");
            assert!(shared.holds(place, 4) && !shared.holds(place, 8));
            assert_eq!(shared.whose(place), (rank, last));
            // As far as the other block's first byte, and further.
            for beyond in [window, window + u64::from(SHARED_BASE), 1 << 32] {
                let place = shared.place(rank, beyond);
                assert!(!shared.holds(place, 4), "{rank} {beyond}");
                assert_eq!(shared.whose(place).1, beyond);
            }
        }
        // As `mapa` names them: ranks 0 and 1, and one that is not there.
        let named = |rank: u64| shared.place_in_cluster(1, (rank + 1) << 24 | last);
        assert_eq!([0, 1].map(|rank| shared.whose(named(rank)).0), [0, 1]);
        assert!(!shared.holds(named(2), 4) && shared.whose(shared.place_in_cluster(1, last)).0 == 1);
    }
}
