//! Which warp touched which word of global memory in this launch. Opt-in: a locked map is slow, but it
//! needs no memory for words that nobody touches.
//!
//! In: accesses of a warp, and what it knows of others. Out: the other warp, where the two have no order. Warps of one block,
//! and of one cluster, have one where they meet; blocks have none.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 64;
/// Stands for "several blocks".
const SEVERAL: u64 = u64::MAX;
/// More readers of a word than a cluster has warps.
const MOST: usize = 64;

/// Who touches a word, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toucher {
    /// The block's number, or [`SEVERAL`].
    block: u64,
    /// The warp, of its cluster.
    pub warp: usize,
    /// That warp's clock.
    pub clock: u32,
    /// Whether the access is neither atomic nor volatile.
    plain: bool,
    /// A bit for each byte of the word.
    bytes: u8,
}

impl Toucher {
    /// A warp of block `number`.
    pub fn new(number: u64, (warp, clock): (usize, u32), plain: bool) -> Self {
        Self { block: number, warp, clock, plain, bytes: 15 }
    }

    /// The same, where it touches `size` bytes at `address`, which may be less than a word.
    fn of(self, address: u64, size: u32) -> Self {
        let bytes = if size >= 4 { 15 } else { ((1 << size) - 1) << (address % 4) };
        Self { bytes, ..self }
    }

    /// The block's number; `None` for several.
    pub fn number(self) -> Option<u64> {
        if self.block == SEVERAL { None } else { Some(self.block) }
    }
}

/// Of one word, those after whom nobody else came yet.
#[derive(Default)]
struct Owner {
    /// Of different bytes.
    writers: Vec<Toucher>,
    readers: Vec<Toucher>,
}

/// The map.
pub struct Owners(Vec<Mutex<HashMap<u64, Owner>>>);

impl Default for Owners {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Owners {
    /// Notes an access of `size` bytes at `address`, or of the word there where they are more; who else touched it, where they
    /// collide, and whether that one wrote. `after` says of another one whether `me` comes after it.
    pub fn note(
        &self,
        (address, size): (u64, u32),
        me: Toucher,
        writes: bool,
        after: impl Fn(Toucher) -> bool,
    ) -> Option<(Toucher, bool)> {
        let (word, me) = (address / 4, me.of(address, size));
        let mut map = self.0[(word / 16) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let owner = map.entry(word).or_default();
        let same = |other: &Toucher| other.block == me.block && other.warp == me.warp;
        let collides = |other: &Toucher| {
            other.bytes & me.bytes != 0 && !same(other) && (me.plain || other.plain) && !after(*other)
        };
        let writer = owner.writers.iter().copied().find(collides).map(|writer| (writer, true));
        let reader = || owner.readers.iter().copied().find(collides).map(|reader| (reader, false));
        let other = writer.or_else(|| if writes { reader() } else { None });
        if writes {
            // Those who came before it are before whoever comes after it.
            owner.readers.retain(|reader| reader.bytes & !me.bytes != 0 || !same(reader) && !after(*reader));
            owner.writers.retain(|writer| writer.bytes & !me.bytes != 0);
            owner.writers.push(me);
        } else {
            owner.readers.retain(|reader| reader.bytes & !me.bytes != 0 || !same(reader) && !after(*reader));
            owner.readers.push(me);
            if owner.readers.len() > MOST {
                let plain = owner.readers.iter().any(|reader| reader.plain);
                let bytes = owner.readers.iter().fold(0, |bytes, reader| bytes | reader.bytes);
                owner.readers = vec![Toucher { block: SEVERAL, plain, bytes, ..me }];
            }
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: u64 = 64;

    fn by(block: u64, plain: bool) -> Toucher {
        Toucher::new(block, (block as usize, 1), plain)
    }

    #[test]
    fn blocks_have_no_order() {
        let owners = Owners::default();
        let never = |_: Toucher| false;
        assert_eq!(owners.note((AT, 4), by(0, true), false, never), None);
        assert_eq!(owners.note((AT, 4), by(1, true), false, never), None, "both read");
        assert_eq!(owners.note((AT, 4), by(1, true), true, never), Some((by(0, true), false)));
        assert_eq!(owners.note((AT + 4, 4), by(0, true), true, never), None, "its neighbour");
        assert_eq!(owners.note((AT, 4), by(2, true), false, never), Some((by(1, true), true)));
        // Atomics do not collide with each other.
        let at = AT + 64;
        assert_eq!(owners.note((at, 4), by(0, false), true, never), None);
        assert_eq!(owners.note((at, 4), by(1, false), true, never), None);
        assert_eq!(owners.note((at, 4), by(2, true), false, never), Some((by(1, false), true)));
    }

    #[test]
    fn bytes_of_a_word_have_owners_of_their_own() {
        let owners = Owners::default();
        let never = |_: Toucher| false;
        for (block, at) in [(0, AT), (1, AT + 2), (0, AT), (1, AT + 2)] {
            assert_eq!(owners.note((at, 2), by(block, true), true, never), None);
        }
        let half = |block| Toucher { bytes: 12, ..by(block, true) };
        assert_eq!(owners.note((AT + 3, 1), by(2, true), false, never), Some((half(1), true)));
        assert_eq!(
            owners.note((AT, 4), by(1, true), false, never),
            Some((Toucher { bytes: 3, ..by(0, true) }, true))
        );
    }

    #[test]
    fn many_readers_are_several() {
        let owners = Owners::default();
        let never = |_: Toucher| false;
        for block in 0..100 {
            assert_eq!(owners.note((AT, 4), by(block, true), false, never), None);
        }
        let (other, wrote) = owners.note((AT, 4), by(100, true), true, never).unwrap();
        assert_eq!((other.number(), wrote), (None, false));
    }

    /// Two blocks that have met: all before is before, whatever it was and whoever read.
    #[test]
    fn those_who_met_have_one() {
        let owners = Owners::default();
        let met = |_: Toucher| true;
        owners.note((AT, 4), by(0, true), true, |_| false);
        for block in [0, 1, 1, 0] {
            assert_eq!(
                owners.note((AT, 4), by(block, false), true, met),
                None,
                "atomics behind a plain write"
            );
        }
        for block in [0, 1] {
            assert_eq!(owners.note((AT, 4), by(block, true), false, met), None);
        }
        assert_eq!(owners.note((AT, 4), by(1, true), true, met), None, "both have read before");
        assert!(owners.note((AT, 4), by(0, true), false, |_| false).is_some());
    }
}
