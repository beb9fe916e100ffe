//! The accesses in which kernels spend their time: words of four bytes, alone or by two or four, with
//! all 32 lanes active.
//!
//! In: an access and the registers. Out: whether it was done here. Whatever is unusual, and whatever is
//! wrong, is left to the general path (`access`), which does it again lane by lane and can say what and
//! where. With checks, notes are taken of the same bytes in the same order.

use super::core::Core;
#[cfg(target_arch = "x86_64")]
use super::lanes::CHUNK;
use super::lanes::{LANES, Registers};
use super::shared::Write;
use crate::ptx::{Access, Class, Group, NONE, SHARED_BASE, Space};

/// Bytes of global memory that are checked as one range.
const RANGE: u64 = 4096;

impl Core<'_, '_> {
    /// Does the access if it is one of the usual ones.
    #[inline]
    pub(super) fn usual(&mut self, at: u32, access: &Access, registers: &mut Registers) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self.grid.wide {
            // SAFETY: `wide` says that the processor has the instructions.
            return unsafe { self.usual_wide(at, access, registers) };
        }
        self.usual_body(at, access, registers)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn usual_wide(&mut self, at: u32, access: &Access, registers: &mut Registers) -> bool {
        self.usual_body(at, access, registers)
    }

    #[inline(always)]
    fn usual_body(&mut self, at: u32, access: &Access, registers: &mut Registers) -> bool {
        let load = match access.group {
            Group::Load { .. } => true,
            Group::Store => false,
            _ => return false,
        };
        match (access.space, load, access.vector) {
            (Space::Shared, true, 1) => self.load_shared_words::<1>(at, access, registers),
            (Space::Shared, true, 2) => self.load_shared_words::<2>(at, access, registers),
            (Space::Shared, true, 4) => self.load_shared_words::<4>(at, access, registers),
            (Space::Shared, false, 1) => self.store_shared_words::<1>(at, access, registers),
            (Space::Shared, false, 2) => self.store_shared_words::<2>(at, access, registers),
            (Space::Shared, false, 4) => self.store_shared_words::<4>(at, access, registers),
            (Space::Global, _, 1) => self.global_words::<1>(access, registers, load),
            (Space::Global, _, 2) => self.global_words::<2>(access, registers, load),
            (Space::Global, _, 4) => self.global_words::<4>(access, registers, load),
            _ => false,
        }
    }

    /// Every lane's first word among those of the cluster, if all lie within the block's shared memory and are aligned.
    #[inline(always)]
    fn shared_places<const N: usize>(&self, access: &Access, registers: &Registers) -> Option<[u32; LANES]> {
        let mut places = [access.offset as u32; LANES];
        match access.base_class {
            _ if access.base == NONE => {}
            Class::W => {
                let row = registers.word(access.base);
                for (place, &base) in places.iter_mut().zip(row) {
                    *place = place.wrapping_add(base);
                }
            }
            _ => return None,
        }
        let (mut low, mut high, mut bits) = (u32::MAX, 0, 0);
        for &place in &places {
            low = low.min(place);
            high = high.max(place);
            bits |= place;
        }
        let size = 4 * N as u32;
        let fits =
            low >= SHARED_BASE && high <= self.shared.size.saturating_sub(size) && bits & (size - 1) == 0;
        if !fits {
            return None;
        }
        let begin = self.shared.begin(self.rank);
        places.iter_mut().for_each(|place| *place = (*place + begin) / 4);
        Some(places)
    }

    #[inline(always)]
    fn load_shared_words<const N: usize>(
        &mut self,
        at: u32,
        access: &Access,
        registers: &mut Registers,
    ) -> bool {
        let Some(places) = self.shared_places::<N>(access, registers) else { return false };
        if self.shared.checked() {
            if access.volatile {
                return false;
            }
            self.shared.touch(self.warp, u32::MAX);
            let mut before = u32::MAX;
            let period = period(&places);
            // Where lanes arrive for their warp, it is the first that does: of those that read one place, the last is noted.
            let last = if self.agents.later { LANES - period } else { 0 };
            for (lane, &place) in (last..).zip(&places[..period]) {
                // Neighbours often read the same place: a broadcast.
                if std::mem::replace(&mut before, place) != place
                    && self.shared.note_read(place * 4, 4 * N as u32, (self.warp, at, lane)).is_err()
                {
                    return false;
                }
            }
        }
        let words = self.shared.words.as_slice();
        if N == 1 {
            let to = registers.word_mut(access.regs[0]);
            for (to, &place) in to.iter_mut().zip(&places) {
                // SAFETY: `shared_places` checked the range.
                *to = unsafe { *words.get_unchecked(place as usize) };
            }
            return true;
        }
        #[cfg(target_arch = "x86_64")]
        if N == 4 {
            let rows = registers.four_words(access.regs);
            // SAFETY: `shared_places` checked the range; the rows have 32 words each.
            unsafe { transposed(words, &places, rows) };
            return true;
        }
        let mut rows = [[0u32; LANES]; N];
        for (lane, &place) in places.iter().enumerate() {
            // SAFETY: as above: N words from `place` on are within.
            let found: [u32; N] =
                unsafe { words.as_ptr().add(place as usize).cast::<[u32; N]>().read_unaligned() };
            for (row, word) in rows.iter_mut().zip(found) {
                row[lane] = word;
            }
        }
        for (row, &slot) in rows.iter().zip(&access.regs) {
            *registers.word_mut(slot) = *row;
        }
        true
    }

    #[inline(always)]
    fn store_shared_words<const N: usize>(
        &mut self,
        at: u32,
        access: &Access,
        registers: &mut Registers,
    ) -> bool {
        let Some(places) = self.shared_places::<N>(access, registers) else { return false };
        let checked = self.shared.checked();
        if checked {
            if access.volatile {
                return false;
            }
            for (lane, &place) in places.iter().enumerate() {
                if self
                    .shared
                    .note_write(place * 4, 4 * N as u32, (self.warp, at, lane), Write::Plain)
                    .is_err()
                {
                    return false;
                }
            }
        }
        let mut same = true;
        for k in 0..N {
            let row = registers.word(access.regs[k]);
            for (&word, &place) in row.iter().zip(&places) {
                // SAFETY: `shared_places` checked the range.
                unsafe { *self.shared.words.get_unchecked_mut(place as usize + k) = word };
            }
            if checked {
                for (&word, &place) in row.iter().zip(&places) {
                    // SAFETY: as above.
                    same &= unsafe { *self.shared.words.get_unchecked(place as usize + k) } == word;
                }
            }
        }
        // Two lanes at one place with different numbers: the general path says which.
        same
    }

    #[inline(always)]
    fn global_words<const N: usize>(
        &mut self,
        access: &Access,
        registers: &mut Registers,
        load: bool,
    ) -> bool {
        if access.base == NONE || self.grid.owners.is_some() {
            return false;
        }
        let base = registers.long(access.base);
        let memory = self.grid.memory.as_slice();
        let first = base[0].wrapping_add(access.offset as u64);
        let holds = |k: usize| memory.get(k).is_some_and(|it| first.wrapping_sub(it.base) < it.len as u64);
        if !holds(self.keeps.last) {
            let Some(found) = memory.partition_point(|it| it.base <= first).checked_sub(1) else {
                return false;
            };
            if !holds(found) {
                return false;
            }
            self.keeps.last = found;
        }
        let it = &memory[self.keeps.last];
        let size = 4 * N as u64;
        let Some(most) = (it.len as u64).checked_sub(size) else { return false };
        let mut offsets = [0u64; LANES];
        let (mut bits, mut wrong, mut low, mut high) = (0, false, u64::MAX, 0);
        for (offset, &base) in offsets.iter_mut().zip(base) {
            *offset = base.wrapping_add(access.offset as u64).wrapping_sub(it.base);
            bits |= *offset;
            wrong |= *offset > most;
            low = low.min(*offset);
            high = high.max(*offset);
        }
        if wrong || bits & (size - 1) != 0 {
            return false;
        }
        if self.grid.options.checked && load {
            let nc = access.group == (Group::Load { nc: true });
            if high + size - low > RANGE
                || !it.is_range_sound(low as usize, (high + size) as usize, nc.then_some(self.grid.stamp))
            {
                return false;
            }
        }
        for k in 0..N {
            if load {
                let mut row = [0u32; LANES];
                for (word, &offset) in row.iter_mut().zip(&offsets) {
                    // SAFETY: bounds and alignment of all N words were checked above.
                    *word = unsafe { it.load_word(offset as usize + 4 * k) };
                }
                *registers.word_mut(access.regs[k]) = row;
            } else {
                for (&word, &offset) in registers.word(access.regs[k]).iter().zip(&offsets) {
                    // SAFETY: as above.
                    unsafe { it.store(offset as usize + 4 * k, 4, u64::from(word)) };
                }
            }
        }
        if self.grid.options.checked && !load {
            for &offset in &offsets {
                it.mark(offset as usize, 4 * N, self.grid.stamp);
            }
        }
        true
    }
}

/// After how many lanes the places repeat: half a tile's threads read what the other half reads.
#[inline(always)]
fn period(places: &[u32; LANES]) -> usize {
    let mut period = LANES;
    while period > 1 && places[..period / 2] == places[period / 2..period] {
        period /= 2;
    }
    period
}

/// Four words from each lane's place, to four rows. In a tile's product, lanes read the same places eight by
/// eight (columns) or in runs of eight (rows): then a quarter of the loads will do.
///
/// # Safety
/// Four words from each place on must be within `words`; each row must have 32.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transposed(words: &[u32], places: &[u32; LANES], rows: [*mut u32; 4]) {
    let (eights, _) = places.as_chunks::<CHUNK>();
    // SAFETY: the caller's promise.
    unsafe {
        if eights.iter().all(|eight| eight == &eights[0]) {
            turned(words, &places[..CHUNK], rows);
            for row in rows {
                let first = row.cast::<[u32; CHUNK]>().read_unaligned();
                (1..4).for_each(|k| row.add(k * CHUNK).cast::<[u32; CHUNK]>().write_unaligned(first));
            }
        } else if eights.iter().all(|eight| eight == &[eight[0]; CHUNK]) {
            for (k, eight) in eights.iter().enumerate() {
                let found = words.as_ptr().add(eight[0] as usize).cast::<[u32; 4]>().read_unaligned();
                for (row, word) in rows.into_iter().zip(found) {
                    row.add(k * CHUNK).cast::<[u32; CHUNK]>().write_unaligned([word; CHUNK]);
                }
            }
        } else {
            turned(words, places, rows);
        }
    }
}

/// Four words from each place, four lanes at a time.
///
/// # Safety
/// As [`transposed`]; the number of places must be a multiple of four.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn turned(words: &[u32], places: &[u32], rows: [*mut u32; 4]) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise; SSE is part of x86-64.
    unsafe {
        for lane in (0..places.len()).step_by(4) {
            let four = |k: usize| _mm_loadu_ps(words.as_ptr().add(places[lane + k] as usize).cast());
            let (a, b, c, d) = (four(0), four(1), four(2), four(3));
            let (ab, cd) = (_mm_unpacklo_ps(a, b), _mm_unpacklo_ps(c, d));
            let (ef, gh) = (_mm_unpackhi_ps(a, b), _mm_unpackhi_ps(c, d));
            _mm_storeu_ps(rows[0].add(lane).cast(), _mm_movelh_ps(ab, cd));
            _mm_storeu_ps(rows[1].add(lane).cast(), _mm_movehl_ps(cd, ab));
            _mm_storeu_ps(rows[2].add(lane).cast(), _mm_movelh_ps(ef, gh));
            _mm_storeu_ps(rows[3].add(lane).cast(), _mm_movehl_ps(gh, ef));
        }
    }
}
