//! A block's shared memory and what is known of it: who wrote, who read, when. Of a cluster that of all its blocks, one
//! window after the other.
//!
//! In: accesses of a warp, already within bounds and aligned. Out: data, and a [`Conflict`] where two
//! warps touch a word with no barrier between. Every warp has a clock for every other; a barrier joins
//! the clocks of those who meet. An access is in order if the other warp's clock at that time is known
//! to this one (vector clocks, Mattern 1988). What works for warps has clocks too (`agents`, `later`).

mod agents;
mod lanes;
mod later;
mod note;
mod window;

pub use agents::{Agent, Agents, BARRIERS, Clock};
pub use later::Carries;
pub use note::{Conflict, Tag, Write};

use later::Later;
use note::{BARRIER, CLOSED, FLYING, GUARD, SEVERAL, renewed};
use std::ops::Range;

/// Who met at a barrier.
#[derive(Clone, Copy, Debug)]
pub struct Met<'a> {
    /// Warps that waited for the others.
    pub waited: &'a [usize],
    /// Those of them that came relaxed.
    pub relaxed: &'a [usize],
    /// What those knew who came and did not wait; empty if all did.
    pub past: &'a [u32],
    /// Whether all warps that live waited.
    pub whole: bool,
}

/// A block's shared memory, or a cluster's.
pub struct Shared {
    /// From address 0 on; the first [`SHARED_BASE`](crate::ptx::SHARED_BASE) bytes of each window belong to nobody.
    pub words: Vec<u32>,
    /// Bytes of a block.
    pub size: u32,
    /// From one block's memory to the next one's.
    window: u32,
    blocks: u32,
    shadow: Option<Shadow>,
}

struct Shadow {
    writes: Vec<Tag>,
    reads: Vec<Tag>,
    /// One bit for each byte that was written, and [`FLYING`], [`BARRIER`], [`GUARD`].
    init: Vec<u8>,
    /// Words between variables, of one block.
    guards: Vec<Range<usize>>,
    /// `clocks[warp · stride + other]`.
    clocks: Vec<u32>,
    agents: Agents,
    stride: usize,
    /// Whether some warps met without the others: then clocks of different warps do not compare, and notes
    /// that stand for several readers say nothing.
    parted: bool,
    /// Of programs that do things later.
    later: Option<Box<Later>>,
}

impl Shared {
    /// `size` bytes of each of `blocks`, the reserved ones included; `guards` are the bytes that belong to no variable.
    pub fn new(size: u32, blocks: u32, agents: Agents, checked: bool, guards: &[Range<u32>]) -> Self {
        // Patterns of swizzles repeat within it.
        let window = if blocks > 1 { size.next_multiple_of(1024) } else { size.next_multiple_of(16) };
        let count = window as usize / 4 * blocks as usize;
        let stride = agents.stride();
        let shadow = checked.then(|| Shadow {
            writes: vec![Tag(0); count],
            reads: vec![Tag(0); count],
            init: vec![0; count],
            // A word that is a variable's, too, is not guarded.
            guards: guards.iter().map(|g| g.start.div_ceil(4) as usize..(g.end / 4) as usize).collect(),
            clocks: vec![0; agents.warps * stride],
            agents,
            stride,
            parted: false,
            later: agents.later.then(|| Box::new(Later::new(agents))),
        });
        Self { words: vec![0; count], size, window, blocks, shadow }
    }

    /// Rubbish, written by nobody.
    pub fn reset(&mut self) {
        self.words.fill(0xffc0_dead);
        if let Some(shadow) = &mut self.shadow {
            shadow.writes.fill(Tag(0));
            shadow.reads.fill(Tag(0));
            shadow.init.fill(0);
            for block in 0..self.blocks as usize {
                let first = block * self.window as usize / 4;
                for guard in &shadow.guards {
                    shadow.init[first + guard.start..first + guard.end].fill(GUARD);
                }
            }
            shadow.clocks.fill(0);
            shadow.parted = false;
            for warp in 0..shadow.agents.warps {
                shadow.clocks[warp * shadow.stride + warp] = 1;
            }
            if let Some(later) = &mut shadow.later {
                later.reset();
            }
        }
    }

    /// Whether anybody keeps account.
    pub fn checked(&self) -> bool {
        self.shadow.is_some()
    }

    /// Those who waited at a barrier know of the past of all who came from now on; of those who came `relaxed`, what
    /// such an arrival carries.
    pub fn join(&mut self, Met { waited: met, relaxed, past, whole }: Met<'_>) {
        let Some(shadow) = &mut self.shadow else { return };
        let (agents, stride) = (shadow.agents, shadow.stride);
        shadow.parted |= !whole || !relaxed.is_empty();
        let mut known = vec![0; stride];
        later::raise(&mut known, past);
        for warp in met {
            let is_relaxed = relaxed.contains(warp);
            let part = agents.carried(is_relaxed);
            later::raise(&mut known[part.clone()], &shadow.clocks[warp * stride..][part]);
            if let Some(later) = shadow.later.as_ref().filter(|_| is_relaxed) {
                later::raise(&mut known, later.released(*warp));
            }
        }
        for &warp in met {
            let row = &mut shadow.clocks[warp * stride..][..stride];
            later::raise(row, &known);
            // A relaxed arrival orders nothing, of lanes either.
            if let Some(later) = shadow.later.as_mut().filter(|_| !relaxed.contains(&warp)) {
                later.met(warp, u32::MAX);
            }
            row[warp] += 1;
        }
    }

    /// Reads `bytes` (1, 2, 4) at an aligned address.
    #[inline(always)]
    pub fn load(&self, address: u32, bytes: u8) -> u32 {
        let word = self.words[(address / 4) as usize] >> (address % 4 * 8);
        match bytes {
            1 => word & 0xff,
            2 => word & 0xffff,
            _ => word,
        }
    }

    /// Writes `bytes` (1, 2, 4) at an aligned address.
    #[inline(always)]
    pub fn store(&mut self, address: u32, bytes: u8, value: u32) {
        let word = &mut self.words[(address / 4) as usize];
        let shift = address % 4 * 8;
        let ones = match bytes {
            1 => 0xff << shift,
            2 => 0xffff << shift,
            _ => u32::MAX,
        };
        *word = (*word & !ones) | ((value << shift) & ones);
    }

    /// Notes a read of `bytes` by a lane.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline(always)]
    pub fn note_read(
        &mut self,
        address: u32,
        bytes: u32,
        (warp, at, lane): (usize, u32, usize),
    ) -> Result<(), Conflict> {
        match &mut self.shadow {
            Some(shadow) if shadow.later.is_some() => shadow.read_later(address, bytes, (warp, at, lane)),
            Some(shadow) => shadow.read(address, bytes, warp, at, lane),
            None => Ok(()),
        }
    }

    /// A volatile read of `bytes` by a warp: it asks for whatever volatile writes and atomics put there. It is not noted, so
    /// that a volatile write behind it does not collide; with a plain one it does where that came first.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn ask(&self, address: u32, bytes: u32, warp: usize) -> Result<(), Conflict> {
        let Some(shadow) = &self.shadow else { return Ok(()) };
        let first = (address / 4) as usize;
        for word in first..first + bytes.div_ceil(4) as usize {
            let want = note::wanted(address, bytes);
            if shadow.init[word] & want != want {
                return Err(shadow.unwritten(word, want));
            }
            let tag = shadow.writes[word];
            if !shadow.ordered(warp, tag) && !tag.several() {
                return Err(Conflict::Race(word as u32 * 4, tag, true));
            }
        }
        Ok(())
    }

    /// Nobody has written these bytes any more: what they will hold is still on its way.
    pub fn forget(&mut self, address: u32, bytes: u32) {
        if let Some(shadow) = &mut self.shadow {
            shadow.init[(address / 4) as usize..(address + bytes).div_ceil(4) as usize].fill(FLYING);
        }
    }

    /// These two words are an `mbarrier` from now on, or are none any more and hold nothing.
    pub fn keep_for_barrier(&mut self, address: u32, keep: bool) {
        if let Some(shadow) = &mut self.shadow {
            let first = (address / 4) as usize;
            shadow.init[first..first + 2].fill(if keep { BARRIER } else { 0 });
        }
    }

    /// What was on its way to these bytes is there now; its write is to be noted.
    pub fn arrive(&mut self, address: u32, bytes: u32) {
        if let Some(shadow) = &mut self.shadow {
            let words = (address / 4) as usize..(address + bytes).div_ceil(4) as usize;
            shadow.init[words].iter_mut().for_each(|init| *init &= !FLYING);
        }
    }

    /// Notes a write of `bytes` by a lane.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline(always)]
    pub fn note_write(
        &mut self,
        address: u32,
        bytes: u32,
        (warp, at, lane): (usize, u32, usize),
        write: Write,
    ) -> Result<(), Conflict> {
        match &mut self.shadow {
            Some(shadow) if shadow.later.is_some() => {
                shadow.write_later(address, bytes, (warp, at, lane), write)
            }
            Some(shadow) => shadow.write(address, bytes, (warp, at, lane), write),
            None => Ok(()),
        }
    }
}

impl Shadow {
    /// What stands in the way of any access of a word.
    #[cold]
    fn closed(&self, word: usize) -> Option<Conflict> {
        let address = word as u32 * 4;
        match self.init[word] {
            init if init & BARRIER != 0 => Some(Conflict::Barrier(address)),
            init if init & GUARD != 0 => Some(Conflict::Outside(address)),
            _ => None,
        }
    }

    /// What is wrong with a read of the bytes `want` of a word, where some were not written.
    #[cold]
    fn unwritten(&self, word: usize, want: u8) -> Conflict {
        let missing = (want & !self.init[word]).trailing_zeros();
        self.closed(word).unwrap_or(Conflict::Uninitialized(word as u32 * 4 + missing))
    }

    #[inline(always)]
    fn ordered(&self, warp: usize, tag: Tag) -> bool {
        tag.clock() <= self.clocks[warp * self.stride + tag.agent()]
    }

    #[inline(always)]
    fn read(&mut self, address: u32, bytes: u32, warp: usize, at: u32, lane: usize) -> Result<(), Conflict> {
        let first = (address / 4) as usize;
        let new = Tag::new(self.clocks[warp * self.stride + warp], warp, at, lane);
        if bytes == 16
            && let Some(init) = self.init[first..].first_chunk::<4>()
            && u32::from_ne_bytes(*init) == 0x0f0f_0f0f
            && let Some(writes) = self.writes[first..].first_chunk::<4>()
            && writes.iter().all(|tag| *tag == writes[0])
            && self.ordered(warp, writes[0])
            && let Some(reads) = self.reads[first..].first_chunk_mut::<4>()
            && reads.iter().all(|tag| *tag == reads[0])
        {
            let old = reads[0];
            *reads = [renewed(old, new, warp); 4];
            return Ok(());
        }
        for word in first..first + bytes.div_ceil(4) as usize {
            let want = note::wanted(address, bytes);
            if self.init[word] & want != want {
                return Err(self.unwritten(word, want));
            }
            let tag = self.writes[word];
            if !self.ordered(warp, tag) {
                return Err(Conflict::Race(word as u32 * 4, tag, true));
            }
            self.reads[word] = renewed(self.reads[word], new, warp);
        }
        Ok(())
    }

    #[inline(always)]
    fn write(
        &mut self,
        address: u32,
        bytes: u32,
        (warp, at, lane): (usize, u32, usize),
        write: Write,
    ) -> Result<(), Conflict> {
        let alike = write != Write::Plain;
        let first = (address / 4) as usize;
        let clock = self.clocks[warp * self.stride + warp];
        let new = Tag::new(clock, warp, at, lane);
        for word in first..first + bytes.div_ceil(4) as usize {
            let want = note::wanted(address, bytes);
            let written = self.writes[word];
            let touched = self.init[word] & want != 0;
            if write == Write::Atomic && self.init[word] & want != want {
                return Err(self.unwritten(word, want));
            }
            // Neighbours within a word may be written by others.
            if !self.ordered(warp, written)
                && touched
                && written.bytes() & want != 0
                && !(alike && written.several())
                || self.init[word] & CLOSED != 0
            {
                return Err(self.closed(word).unwrap_or(Conflict::Race(word as u32 * 4, written, true)));
            }
            let read = self.reads[word];
            let behind = if read.several() {
                !self.parted && read.clock() == clock
            } else {
                !self.ordered(warp, read)
            };
            if behind && touched {
                return Err(Conflict::Race(word as u32 * 4, read, false));
            }
            self.init[word] |= want;
            let new = written.followed_by(new, want);
            self.writes[word] = if alike { Tag(new.0 | SEVERAL) } else { new };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
