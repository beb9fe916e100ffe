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
}

impl Toucher {
    /// A warp of block `number`.
    pub fn new(number: u64, (warp, clock): (usize, u32), plain: bool) -> Self {
        Self { block: number, warp, clock, plain }
    }

    /// The block's number; `None` for several.
    pub fn number(self) -> Option<u64> {
        if self.block == SEVERAL { None } else { Some(self.block) }
    }
}

/// Of one word, those after whom nobody else came yet.
#[derive(Default)]
struct Owner {
    writer: Option<Toucher>,
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
    /// Notes an access of the word at `address`; who else touched it, where they collide, and whether that one wrote.
    /// `after` says of another one whether `me` comes after it.
    pub fn note(
        &self,
        address: u64,
        me: Toucher,
        writes: bool,
        after: impl Fn(Toucher) -> bool,
    ) -> Option<(Toucher, bool)> {
        let word = address / 4;
        let mut map = self.0[(word / 16) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let owner = map.entry(word).or_default();
        let same = |other: &Toucher| other.block == me.block && other.warp == me.warp;
        let collides = |other: &Toucher| !same(other) && (me.plain || other.plain) && !after(*other);
        let writer = owner.writer.filter(collides).map(|writer| (writer, true));
        let reader = || owner.readers.iter().copied().find(collides).map(|reader| (reader, false));
        let other = writer.or_else(|| if writes { reader() } else { None });
        if writes {
            // Those who came before it are before whoever comes after it.
            owner.readers.retain(|reader| !same(reader) && !after(*reader));
            owner.writer = Some(me);
        } else {
            owner.readers.retain(|reader| !same(reader) && !after(*reader));
            owner.readers.push(me);
            if owner.readers.len() > MOST {
                let plain = owner.readers.iter().any(|reader| reader.plain);
                owner.readers = vec![Toucher { block: SEVERAL, plain, ..me }];
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
        assert_eq!(owners.note(AT, by(0, true), false, never), None);
        assert_eq!(owners.note(AT, by(1, true), false, never), None, "both read");
        assert_eq!(owners.note(AT, by(1, true), true, never), Some((by(0, true), false)));
        assert_eq!(owners.note(AT + 4, by(0, true), true, never), None, "its neighbour");
        assert_eq!(owners.note(AT, by(2, true), false, never), Some((by(1, true), true)));
        // Atomics do not collide with each other.
        let at = AT + 64;
        assert_eq!(owners.note(at, by(0, false), true, never), None);
        assert_eq!(owners.note(at, by(1, false), true, never), None);
        assert_eq!(owners.note(at, by(2, true), false, never), Some((by(1, false), true)));
    }

    #[test]
    fn many_readers_are_several() {
        let owners = Owners::default();
        let never = |_: Toucher| false;
        for block in 0..100 {
            assert_eq!(owners.note(AT, by(block, true), false, never), None);
        }
        let (other, wrote) = owners.note(AT, by(100, true), true, never).unwrap();
        assert_eq!((other.number(), wrote), (None, false));
    }

    /// Two blocks that have met: all before is before, whatever it was and whoever read.
    #[test]
    fn those_who_met_have_one() {
        let owners = Owners::default();
        let met = |_: Toucher| true;
        owners.note(AT, by(0, true), true, |_| false);
        for block in [0, 1, 1, 0] {
            assert_eq!(owners.note(AT, by(block, false), true, met), None, "atomics behind a plain write");
        }
        for block in [0, 1] {
            assert_eq!(owners.note(AT, by(block, true), false, met), None);
        }
        assert_eq!(owners.note(AT, by(1, true), true, met), None, "both have read before");
        assert!(owners.note(AT, by(0, true), false, |_| false).is_some());
    }
}
