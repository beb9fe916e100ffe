//! Global memory: allocations with fake addresses, far from each other.
//!
//! In: sizes. Out: addresses that lead to one allocation or to nothing: between two lie 64 KiB that
//! belong to nobody, and no address is ever used twice. Blocks run on several threads, so words are
//! atomics read and written without order: a race in a kernel is a wrong number here too. (Rust leaves open
//! what happens where atomics of different sizes meet at one place without order. A kernel's bytes and
//! words may; on the processors that this runs on they are plain moves.)

use crate::device::Dtype;
use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

/// The first address.
const BEGIN: u64 = 0x7f00_0000_0000;
/// Bytes between allocations that belong to nobody.
const GAP: u64 = 64 << 10;
/// Alignment of allocations, as cudaMalloc's.
const ALIGN: u64 = 256;

/// A piece of global memory.
pub struct Allocation {
    /// Its number, counted from 1.
    pub number: usize,
    /// First address.
    pub base: u64,
    /// Bytes.
    pub len: usize,
    /// What it was asked for as.
    pub dtype: Dtype,
    words: Box<[AtomicU64]>,
    /// One bit for each byte that was written.
    init: Option<Box<[AtomicU8]>>,
    /// The launch that last wrote each word of four bytes.
    stamps: Option<Box<[AtomicU32]>>,
    /// The launch that last wrote anything.
    stamp: AtomicU32,
}

fn zeroed<T>(count: usize, what: impl FnOnce() -> Error, zero: fn() -> T) -> Result<Box<[T]>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| what())?;
    list.resize_with(count, zero);
    Ok(list.into_boxed_slice())
}

impl Allocation {
    /// The address of byte `offset`.
    ///
    /// # Safety
    /// `offset + size` must not be past [`Allocation::len`].
    #[inline(always)]
    unsafe fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: the caller's promise; the words are interior-mutable.
        unsafe { self.words.as_ptr().cast::<u8>().cast_mut().add(offset) }
    }

    /// Reads `BYTES` (1, 2, 4, 8) at `offset`.
    ///
    /// # Safety
    /// `offset` must be a multiple of `bytes`, `offset + bytes` at most `len`.
    #[inline(always)]
    pub unsafe fn load(&self, offset: usize, bytes: u8) -> u64 {
        use std::sync::atomic::AtomicU16;
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.at(offset);
            match bytes {
                1 => u64::from((*at.cast::<AtomicU8>()).load(Relaxed)),
                2 => u64::from((*at.cast::<AtomicU16>()).load(Relaxed)),
                4 => u64::from((*at.cast::<AtomicU32>()).load(Relaxed)),
                _ => (*at.cast::<AtomicU64>()).load(Relaxed),
            }
        }
    }

    /// [`Allocation::load`] of four bytes.
    ///
    /// # Safety
    /// As [`Allocation::load`].
    #[inline(always)]
    pub unsafe fn load_word(&self, offset: usize) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { (*self.at(offset).cast::<AtomicU32>()).load(Relaxed) }
    }

    /// Writes `bytes` (1, 2, 4, 8) at `offset`.
    ///
    /// # Safety
    /// As [`Allocation::load`].
    #[inline(always)]
    pub unsafe fn store(&self, offset: usize, bytes: u8, value: u64) {
        use std::sync::atomic::AtomicU16;
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.at(offset);
            match bytes {
                1 => (*at.cast::<AtomicU8>()).store(value as u8, Relaxed),
                2 => (*at.cast::<AtomicU16>()).store(value as u16, Relaxed),
                4 => (*at.cast::<AtomicU32>()).store(value as u32, Relaxed),
                _ => (*at.cast::<AtomicU64>()).store(value, Relaxed),
            }
        }
    }

    /// Replaces the number at `offset` by `change` of it, atomically; returns the old one.
    ///
    /// # Safety
    /// As [`Allocation::load`], for 4 or 8 bytes.
    pub unsafe fn update(&self, offset: usize, bytes: u8, change: impl Fn(u64) -> u64) -> u64 {
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.at(offset);
            if bytes == 4 {
                let word = &*at.cast::<AtomicU32>();
                let new = |old: u32| Some(change(u64::from(old)) as u32);
                u64::from(word.fetch_update(Relaxed, Relaxed, new).unwrap_or_else(|old| old))
            } else {
                let word = &*at.cast::<AtomicU64>();
                word.fetch_update(Relaxed, Relaxed, |old| Some(change(old))).unwrap_or_else(|old| old)
            }
        }
    }

    /// Whether bytes were ever written; true where nobody keeps account.
    #[inline]
    pub fn is_init(&self, offset: usize, bytes: usize) -> bool {
        let Some(init) = &self.init else { return true };
        if bytes == 16 && offset.is_multiple_of(8) {
            return init[offset / 8].load(Relaxed) & init[offset / 8 + 1].load(Relaxed) == 0xff;
        }
        if bytes <= 8 && offset % 8 + bytes <= 8 {
            let want = (0xffu32 >> (8 - bytes) << (offset % 8)) as u8;
            return init[offset / 8].load(Relaxed) & want == want;
        }
        (offset..offset + bytes).all(|at| init[at / 8].load(Relaxed) >> (at % 8) & 1 == 1)
    }

    /// Whether all bytes of a range were written, and none of them by launch `stamp`.
    #[inline]
    pub fn is_range_sound(&self, from: usize, to: usize, stamp: Option<u32>) -> bool {
        let Some(init) = &self.init else { return true };
        let (first, last) = (from.next_multiple_of(8), to / 8 * 8);
        let whole = first >= last || init[first / 8..last / 8].iter().all(|bits| bits.load(Relaxed) == 0xff);
        let ends = (from..first.min(to)).chain(last.max(from)..to);
        whole
            && ends.into_iter().all(|at| init[at / 8].load(Relaxed) >> (at % 8) & 1 == 1)
            && stamp.is_none_or(|stamp| !self.written_by(from, to - from, stamp))
    }

    /// Notes that bytes are written, by launch `stamp`.
    #[inline]
    pub fn mark(&self, offset: usize, bytes: usize, stamp: u32) {
        if let Some(init) = &self.init {
            let mut at = offset;
            while at < offset + bytes {
                let count = (8 - at % 8).min(offset + bytes - at);
                let bits = (0xffu32 >> (8 - count) << (at % 8)) as u8;
                if init[at / 8].load(Relaxed) & bits != bits {
                    init[at / 8].fetch_or(bits, Relaxed);
                }
                at += count;
            }
        }
        if let Some(stamps) = &self.stamps
            && stamp != 0
        {
            (offset / 4..(offset + bytes).div_ceil(4)).for_each(|word| stamps[word].store(stamp, Relaxed));
            if self.stamp.load(Relaxed) != stamp {
                self.stamp.store(stamp, Relaxed);
            }
        }
    }

    /// Whether launch `stamp` wrote any of these bytes.
    #[inline]
    pub fn written_by(&self, offset: usize, bytes: usize, stamp: u32) -> bool {
        let Some(stamps) = &self.stamps else { return false };
        if self.stamp.load(Relaxed) != stamp {
            return false;
        }
        (offset / 4..(offset + bytes).div_ceil(4)).any(|word| stamps[word].load(Relaxed) == stamp)
    }

    /// Host bytes to the allocation.
    ///
    /// # Panics
    /// If they do not lie in it: whoever found the allocation asked for their range.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset <= 8 * self.words.len() && bytes.len() <= 8 * self.words.len() - offset);
        let first = offset.next_multiple_of(8);
        let (head, rest) = bytes.split_at((first - offset).min(bytes.len()));
        let (words, tail) = rest.as_chunks::<8>();
        for (at, &byte) in (offset..).zip(head).chain((first + 8 * words.len()..).zip(tail)) {
            // SAFETY: the range lies in the words, as asserted above.
            unsafe { self.store(at, 1, u64::from(byte)) };
        }
        for (word, eight) in self.words[(first / 8).min(self.words.len())..].iter().zip(words) {
            word.store(u64::from_le_bytes(*eight), Relaxed);
        }
        self.mark(offset, bytes.len(), 0);
    }

    /// The allocation's bytes to the host.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        for (k, byte) in bytes.iter_mut().enumerate() {
            let at = offset + k;
            *byte = (self.words[at / 8].load(Relaxed) >> (at % 8 * 8)) as u8;
        }
    }
}

/// All allocations.
pub struct Memory {
    checked: bool,
    inner: RwLock<Inner>,
}

struct Inner {
    next: u64,
    count: usize,
    live: BTreeMap<u64, Arc<Allocation>>,
    /// Bases and lengths of what was given back, newest last.
    freed: Vec<(u64, usize, usize)>,
}

impl Memory {
    /// Empty memory; `checked` keeps account of what was written.
    pub fn new(checked: bool) -> Self {
        let inner = Inner { next: BEGIN, count: 0, live: BTreeMap::new(), freed: Vec::new() };
        Self { checked, inner: RwLock::new(inner) }
    }

    fn inner(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new allocation of `len` elements, its content rubbish (all ones).
    pub fn alloc(&self, dtype: Dtype, len: usize) -> Result<u64> {
        let refuse = || {
            Error::new(Kind::Device, "the emulator has no memory for a buffer")
                .fact("asked for", format!("{dtype}[{len}]"))
                .help("use a smaller batch or smaller images")
        };
        let bytes = len.checked_mul(dtype.size()).filter(|&bytes| bytes < 1 << 40).ok_or_else(refuse)?;
        let words = zeroed(bytes.div_ceil(8), refuse, || AtomicU64::new(u64::MAX))?;
        let init =
            self.checked.then(|| zeroed(bytes.div_ceil(8), refuse, || AtomicU8::new(0))).transpose()?;
        let stamps =
            self.checked.then(|| zeroed(bytes.div_ceil(4), refuse, || AtomicU32::new(0))).transpose()?;
        let mut inner = self.inner();
        let base = inner.next;
        inner.next = (base + bytes as u64 + GAP).next_multiple_of(ALIGN);
        inner.count += 1;
        let number = inner.count;
        let allocation =
            Allocation { number, base, len: bytes, dtype, words, init, stamps, stamp: AtomicU32::new(0) };
        inner.live.insert(base, Arc::new(allocation));
        Ok(base)
    }

    /// Gives an allocation back.
    pub fn free(&self, base: u64) {
        let mut inner = self.inner();
        if let Some(gone) = inner.live.remove(&base) {
            if inner.freed.len() >= 1024 {
                inner.freed.remove(0);
            }
            inner.freed.push((base, gone.len, gone.number));
        }
    }

    /// The allocation that holds `len` bytes at `at`.
    pub fn find(&self, at: u64, len: usize) -> Result<(Arc<Allocation>, usize)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let found = inner.live.range(..=at).next_back().map(|(_, allocation)| Arc::clone(allocation));
        match found {
            Some(it) if (at - it.base) as usize + len <= it.len => {
                let offset = (at - it.base) as usize;
                Ok((it, offset))
            }
            _ => Err(Error::new(Kind::Device, "a copy does not lie within one allocation")
                .fact("address", format!("{at:#x}"))
                .fact("bytes", len)),
        }
    }

    /// All allocations in order of address, as a launch sees them.
    pub fn snapshot(&self) -> Vec<Arc<Allocation>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).live.values().cloned().collect()
    }

    /// The number and first address of the allocation that once held `at`.
    pub fn freed(&self, at: u64) -> Option<(usize, u64)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let held = inner.freed.iter().rev().find(|(base, len, _)| (*base..*base + *len as u64).contains(&at));
        held.map(|&(base, _, number)| (number, base))
    }
}
