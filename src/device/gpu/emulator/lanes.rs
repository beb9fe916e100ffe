//! A warp's registers: rows of 32 lanes.
//!
//! In: slots of a program. Out: rows that [`alu`](super::alu) works on in chunks of eight lanes, a
//! vector register each. Inactive lanes keep what they hold.

use crate::ptx::Class;

/// Lanes of a warp.
pub const LANES: usize = 32;
/// Lanes that are worked on at once.
pub const CHUNK: usize = 8;

/// 32 words.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Row<T>(pub [T; LANES]);

/// Which lanes are active, as bits and as words of all ones.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Mask {
    words: [u32; LANES],
    /// Bit `k`: lane `k`.
    pub bits: u32,
}

impl Mask {
    /// All lanes of `bits`.
    pub fn new(bits: u32) -> Self {
        let mut mask = Self { words: [0; LANES], bits: 0 };
        mask.set(bits);
        mask
    }

    /// Changes the lanes. Spreading the bits costs several times an instruction, so it is done only when
    /// they change.
    #[inline]
    pub fn set(&mut self, bits: u32) {
        if self.bits != bits {
            self.bits = bits;
            for (k, word) in self.words.iter_mut().enumerate() {
                *word = 0u32.wrapping_sub(bits >> k & 1);
            }
        }
    }

    /// The lowest active lane; 0 where there is none.
    pub fn first(&self) -> usize {
        self.bits.trailing_zeros() as usize % LANES
    }
}

/// The active lanes' numbers.
#[inline(always)]
pub fn lanes(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = bits.trailing_zeros() as usize;
        bits &= bits.wrapping_sub(1);
        (lane < LANES).then_some(lane)
    })
}

/// The registers of one warp.
pub struct Registers {
    words: Vec<Row<u32>>,
    longs: Vec<Row<u64>>,
    bits: Vec<u32>,
}

impl Registers {
    /// As many slots of class P, W, L as the program has.
    pub fn new(slots: [u16; 3]) -> Self {
        Self {
            words: vec![Row([0; LANES]); usize::from(slots[1]) + 1],
            longs: vec![Row([0; LANES]); usize::from(slots[2]) + 1],
            bits: vec![0; usize::from(slots[0]) + 1],
        }
    }

    /// For [`alu`](super::alu): pointers to the slots.
    #[inline(always)]
    pub fn raw(&mut self) -> Raw {
        Raw { words: self.words.as_mut_ptr(), longs: self.longs.as_mut_ptr(), bits: self.bits.as_mut_ptr() }
    }

    /// A slot of class W.
    pub fn word(&self, slot: u16) -> &[u32; LANES] {
        &self.words[usize::from(slot)].0
    }

    /// A slot of class W, to write.
    pub fn word_mut(&mut self, slot: u16) -> &mut [u32; LANES] {
        &mut self.words[usize::from(slot)].0
    }

    /// Four slots of class W, to write, from one pointer: so none takes the ground from another.
    #[cfg(target_arch = "x86_64")]
    pub fn four_words(&mut self, slots: [u16; 4]) -> [*mut u32; 4] {
        let all = slots.map(|slot| usize::from(slot) < self.words.len());
        assert!(all == [true; 4], "slots of class W");
        let first = self.words.as_mut_ptr();
        // SAFETY: each slot is one of the rows.
        slots.map(|slot| unsafe { first.add(usize::from(slot)).cast::<u32>() })
    }

    /// A slot of class L.
    pub fn long(&self, slot: u16) -> &[u64; LANES] {
        &self.longs[usize::from(slot)].0
    }

    /// A slot of class L, to write.
    pub fn long_mut(&mut self, slot: u16) -> &mut [u64; LANES] {
        &mut self.longs[usize::from(slot)].0
    }

    /// A slot of class P.
    pub fn predicate(&self, slot: u16) -> u32 {
        self.bits[usize::from(slot)]
    }

    /// A slot of class P, to write.
    pub fn predicate_mut(&mut self, slot: u16) -> &mut u32 {
        &mut self.bits[usize::from(slot)]
    }

    /// The value of one lane, widened, for traces.
    pub fn value(&self, class: Class, slot: u16, lane: usize) -> u64 {
        match class {
            Class::P => u64::from(self.predicate(slot) >> lane & 1),
            Class::W => u64::from(self.word(slot)[lane]),
            Class::L => self.long(slot)[lane],
        }
    }
}

/// Where the slots of a warp begin.
#[derive(Clone, Copy)]
pub struct Raw {
    words: *mut Row<u32>,
    longs: *mut Row<u64>,
    bits: *mut u32,
}

/// A type that a register's bits are read as.
pub trait Lane: Copy + Default {
    /// Chunk `k` of a slot.
    ///
    /// # Safety
    /// The slot must be one of its class, `k` below 4.
    unsafe fn load(raw: Raw, slot: u16, k: usize) -> [Self; CHUNK];

    /// Writes chunk `k` of a slot, in the active lanes or in all.
    ///
    /// # Safety
    /// As [`Lane::load`].
    unsafe fn store<const ALL: bool>(raw: Raw, slot: u16, k: usize, values: [Self; CHUNK], mask: &Mask);
}

macro_rules! words {
    ($($type:ty: $from:expr, $into:expr;)*) => { $(impl Lane for $type {
        #[inline(always)]
        unsafe fn load(raw: Raw, slot: u16, k: usize) -> [Self; CHUNK] {
            // SAFETY: the caller's promise.
            let row = unsafe { &*raw.words.add(usize::from(slot)).cast::<[u32; CHUNK]>().add(k) };
            std::array::from_fn(|i| $from(row[i]))
        }
        #[inline(always)]
        unsafe fn store<const ALL: bool>(raw: Raw, slot: u16, k: usize, values: [Self; CHUNK], mask: &Mask) {
            // SAFETY: the caller's promise.
            let row = unsafe { &mut *raw.words.add(usize::from(slot)).cast::<[u32; CHUNK]>().add(k) };
            for i in 0..CHUNK {
                let new = $into(values[i]);
                row[i] = if ALL { new } else { (new & mask.words[k * CHUNK + i]) | (row[i] & !mask.words[k * CHUNK + i]) };
            }
        }
    })* };
}
words! {
    u32: |x: u32| x, |x: u32| x;
    i32: |x: u32| x as i32, |x: i32| x as u32;
    f32: f32::from_bits, f32::to_bits;
    u16: |x: u32| x as u16, u32::from;
    i16: |x: u32| x as i16, |x: i16| u32::from(x as u16);
}

macro_rules! longs {
    ($($type:ty: $from:expr, $into:expr;)*) => { $(impl Lane for $type {
        #[inline(always)]
        unsafe fn load(raw: Raw, slot: u16, k: usize) -> [Self; CHUNK] {
            // SAFETY: the caller's promise.
            let row = unsafe { &*raw.longs.add(usize::from(slot)).cast::<[u64; CHUNK]>().add(k) };
            std::array::from_fn(|i| $from(row[i]))
        }
        #[inline(always)]
        unsafe fn store<const ALL: bool>(raw: Raw, slot: u16, k: usize, values: [Self; CHUNK], mask: &Mask) {
            // SAFETY: the caller's promise.
            let row = unsafe { &mut *raw.longs.add(usize::from(slot)).cast::<[u64; CHUNK]>().add(k) };
            for i in 0..CHUNK {
                let new = $into(values[i]);
                let keep = mask.words[k * CHUNK + i] as i32 as i64 as u64;
                row[i] = if ALL { new } else { (new & keep) | (row[i] & !keep) };
            }
        }
    })* };
}
longs! {
    u64: |x: u64| x, |x: u64| x;
    i64: |x: u64| x as i64, |x: i64| x as u64;
    f64: f64::from_bits, f64::to_bits;
}

impl Lane for bool {
    #[inline(always)]
    unsafe fn load(raw: Raw, slot: u16, k: usize) -> [Self; CHUNK] {
        // SAFETY: the caller's promise.
        let bits = unsafe { *raw.bits.add(usize::from(slot)) } >> (k * CHUNK);
        std::array::from_fn(|i| bits & 1 << i != 0)
    }
    #[inline(always)]
    unsafe fn store<const ALL: bool>(raw: Raw, slot: u16, k: usize, values: [Self; CHUNK], mask: &Mask) {
        // SAFETY: the caller's promise.
        let bits = unsafe { &mut *raw.bits.add(usize::from(slot)) };
        let mut new = 0;
        for (i, value) in values.into_iter().enumerate() {
            new |= u32::from(value) << i;
        }
        let mut keep = 0xff << (k * CHUNK);
        if !ALL {
            keep &= mask.bits;
        }
        *bits = ((new << (k * CHUNK)) & keep) | (*bits & !keep);
    }
}
