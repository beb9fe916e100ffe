//! Which block touched which word of global memory in this launch. Opt-in: a locked map is slow, but it
//! needs no memory for words that nobody touches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 64;
/// Stands for "several blocks".
const SEVERAL: u64 = u64::MAX;

#[derive(Clone, Copy, Default)]
struct Owner {
    /// The writing block's number plus one; 0 for none.
    writer: u64,
    /// The reading block's number plus one, or [`SEVERAL`].
    reader: u64,
    /// Whether any access was neither atomic nor volatile.
    plain: bool,
}

/// The map.
pub struct Owners(Vec<Mutex<HashMap<u64, Owner>>>);

impl Default for Owners {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Owners {
    /// Notes an access of the word at `address` by `block`; the other block, where they collide, and whether
    /// that one wrote.
    pub fn note(&self, address: u64, block: u64, writes: bool, plain: bool) -> Option<(u64, bool)> {
        let word = address / 4;
        let mut map = self.0[(word / 16) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        let owner = map.entry(word).or_default();
        let me = block + 1;
        let collides = |other: u64| other != 0 && other != me;
        let both_atomic = !plain && !owner.plain;
        let mut other = None;
        if !both_atomic && collides(owner.writer) {
            other = Some((owner.writer - 1, true));
        } else if writes && !both_atomic && collides(owner.reader) {
            other = Some((if owner.reader == SEVERAL { SEVERAL } else { owner.reader - 1 }, false));
        }
        if writes {
            owner.writer = me;
        } else {
            owner.reader = if collides(owner.reader) { SEVERAL } else { me };
        }
        owner.plain |= plain;
        other
    }
}
