//! Main memory for buffers: aligned to cache lines, and kept for the next buffer of about the same size.
//!
//! In: sizes. Out: [`Storage`], which comes back by itself when it is dropped. A step of training asks
//! for the same sizes again and again, and the first touch of 100 MB of fresh pages costs tens of
//! milliseconds; so dropped storage waits in a list per size, and the smallest that is large enough, but no more than
//! [`LARGER`] times as large, is taken: a network's maps shrink from layer to layer, and a layer's map lies where
//! an earlier one did. What waits together is bounded ([`Memory::bound`]): when that would be exceeded, what has
//! waited longest is freed first, since nobody asks for that size any more. Where the system has no room for
//! a buffer, all that waits is given back first.

use super::kept::Kept;
use super::room;
use crate::device::Dtype;
use crate::error::{Error, Kind, Result};
use memmap2::MmapMut;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that may always wait for reuse, where the machine has four times as many free when the device is made.
const KEPT: usize = 1 << 30;

/// How many times as large as what is asked for reused storage may be.
const LARGER: usize = 4;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Lines on each side of poisoned storage: more than a tile of any kernel is wide.
const GUARD: usize = 64;

/// Bytes from which storage is mapped by itself, in huge pages where the system has them: a step walks through
/// hundreds of megabytes, and with pages of 4 kB looking addresses up takes 8 % of a convolution's time.
const MAPPED: usize = 4 << 20;

/// One cache line; as a type, so that a `Vec` of it is aligned for SIMD.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Some lines.
enum Lines {
    Heap(Vec<Line>),
    Mapped(MmapMut),
}

impl Lines {
    /// `count` lines, or `None` where the system has no room for them.
    fn new(count: usize) -> Option<Self> {
        let bytes = count.checked_mul(LINE)?;
        if bytes < MAPPED {
            let mut lines = Vec::new();
            lines.try_reserve_exact(count).ok()?;
            lines.resize(count, Line([0; LINE]));
            return Some(Self::Heap(lines));
        }
        let map = MmapMut::map_anon(bytes).ok()?;
        // A wish: where it is not granted, pages are small.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(Self::Mapped(map))
    }

    /// How many.
    fn count(&self) -> usize {
        self.bytes().len() / LINE
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(lines) => bytemuck::cast_slice(lines),
            Self::Mapped(map) => map,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(lines) => bytemuck::cast_slice_mut(lines),
            Self::Mapped(map) => map,
        }
    }
}

/// The error of a machine without room for `what`.
pub fn no_memory(what: String) -> Error {
    Error::new(Kind::Device, "the cpu has no memory for a buffer")
        .fact("asked for", what)
        .help("use a smaller batch or smaller images, or end other programs")
}

/// The device's memory.
pub struct Memory {
    poison: Option<u8>,
    /// [`KEPT`], or less in a test.
    kept: usize,
    /// However much there was in use, no more than this waits.
    share: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: usize,
    /// Bytes that are in use, and the most that ever were.
    used: usize,
    most: usize,
    /// How often something was kept.
    clock: u64,
    /// By number of lines, and when they were kept, the latest last.
    lists: BTreeMap<usize, Vec<(u64, Lines)>>,
}

impl Waiting {
    /// Counts what is in use from now on.
    fn begin(&mut self, bytes: usize) {
        self.used += bytes;
        self.most = self.most.max(self.used);
    }

    /// Frees what has waited longest.
    fn free_oldest(&mut self) {
        let oldest = self.lists.iter().filter_map(|(&size, list)| Some((list.first()?.0, size))).min();
        let Some((_, size)) = oldest else { return };
        let list = self.lists.entry(size).or_default();
        if !list.is_empty() {
            self.bytes -= list.remove(0).1.bytes().len();
        }
        if list.is_empty() {
            self.lists.remove(&size);
        }
    }
}

impl Memory {
    pub fn new(poison: Option<u8>) -> Arc<Self> {
        // In a small container what waits for reuse must not cost the job its life.
        let share = room().map_or(usize::MAX, |room| (room.free / 4) as usize);
        Arc::new(Self { poison, kept: KEPT, share, waiting: Mutex::default() })
    }

    /// Bytes that may wait: with what is in use half as much again as ever was, since at the end of a step all that it
    /// worked in waits, pieces of other sizes than are needed next among it.
    fn bound(&self, waiting: &Waiting) -> usize {
        self.kept.max((waiting.most / 2 * 3).saturating_sub(waiting.used)).min(self.share)
    }

    /// Storage for `len` elements of `dtype`, its content unspecified (or the poison).
    pub fn take(self: &Arc<Self>, dtype: Dtype, len: usize) -> Result<Storage> {
        self.take_within(dtype, len, LARGER)
    }

    /// [`Memory::take`] for what will stay: it shall not sit in four times the memory that it needs.
    pub fn take_lasting(self: &Arc<Self>, dtype: Dtype, len: usize) -> Result<Storage> {
        self.take_within(dtype, len, 1)
    }

    /// Storage that is at most `larger` times as large as what is asked for.
    fn take_within(self: &Arc<Self>, dtype: Dtype, len: usize, larger: usize) -> Result<Storage> {
        let refuse = || no_memory(format!("{dtype}[{len}]"));
        let used = len.checked_mul(dtype.size()).ok_or_else(refuse)?;
        let guard = if self.poison.is_some() { GUARD } else { 0 };
        let count = used.div_ceil(LINE) + 2 * guard;
        let mut lines = match self.reuse(count, larger) {
            Some(lines) => lines,
            None => self.fresh(count).ok_or_else(refuse)?,
        };
        if let Some(poison) = self.poison {
            lines.bytes_mut().fill(poison);
        }
        Ok(Storage {
            lines: Some(lines),
            begin: guard * LINE,
            used,
            home: Arc::clone(self),
            kept: Kept::default(),
        })
    }

    fn reuse(&self, count: usize, larger: usize) -> Option<Lines> {
        let mut waiting = self.waiting();
        let mut large_enough = waiting.lists.range_mut(count..=count.saturating_mul(larger));
        let (&size, list) = large_enough.next()?;
        let (_, lines) = list.pop()?;
        if list.is_empty() {
            waiting.lists.remove(&size);
        }
        waiting.bytes -= lines.bytes().len();
        waiting.begin(lines.bytes().len());
        Some(lines)
    }

    /// Lines that nobody had before.
    fn fresh(&self, count: usize) -> Option<Lines> {
        let lines = Lines::new(count).or_else(|| {
            let mut waiting = self.waiting();
            (waiting.lists, waiting.bytes) = (BTreeMap::new(), 0);
            Lines::new(count)
        })?;
        let mut waiting = self.waiting();
        waiting.begin(lines.bytes().len());
        while waiting.bytes > self.bound(&waiting) {
            waiting.free_oldest();
        }
        Some(lines)
    }

    fn keep(&self, lines: Lines) {
        let bytes = lines.bytes().len();
        let mut waiting = self.waiting();
        waiting.used -= bytes;
        let bound = self.bound(&waiting);
        if bytes > bound {
            return;
        }
        while waiting.bytes + bytes > bound {
            waiting.free_oldest();
        }
        waiting.bytes += bytes;
        waiting.clock += 1;
        let now = waiting.clock;
        waiting.lists.entry(lines.count()).or_default().push((now, lines));
    }

    // The lists are whole at every moment another thread could panic, so a poisoned lock is no harm.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of [`Memory`].
pub struct Storage {
    /// There until it is dropped.
    lines: Option<Lines>,
    /// Where the bytes that were asked for begin.
    begin: usize,
    /// How many they are.
    used: usize,
    home: Arc<Memory>,
    /// What was made of the content.
    kept: Kept,
}

impl Storage {
    /// What was made of the content, as long as that stays.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The bytes that were asked for.
    pub fn bytes(&self) -> &[u8] {
        &self.all()[self.begin..][..self.used]
    }

    /// [`Storage::bytes`], to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.kept.clear();
        let all = self.lines.as_mut().map_or(&mut [][..], Lines::bytes_mut);
        &mut all[self.begin..][..self.used]
    }

    fn all(&self) -> &[u8] {
        self.lines.as_ref().map_or(&[], Lines::bytes)
    }

    /// Whether everything around the bytes still holds the poison, if there is one.
    pub fn guarded(&self) -> bool {
        let Some(poison) = self.home.poison else { return true };
        let all = self.all();
        all[..self.begin].iter().chain(&all[self.begin + self.used..]).all(|&byte| byte == poison)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(lines) = self.lines.take() {
            self.home.keep(lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_aligned_reused_and_bounded() {
        let memory = Arc::new(Memory { poison: None, kept: 8000, share: 10000, waiting: Mutex::default() });
        let first = Memory::take(&memory, Dtype::F32, 1000).unwrap();
        let place = first.bytes().as_ptr();
        assert_eq!(place as usize % 64, 0);
        drop(first);
        let again = Memory::take(&memory, Dtype::U8, 4000).unwrap();
        assert_eq!(again.bytes().as_ptr(), place, "the same number of lines comes from the list");
        drop(again);
        let less = Memory::take(&memory, Dtype::U8, 1100).unwrap();
        assert_eq!((less.bytes().as_ptr(), less.bytes().len()), (place, 1100), "so does a quarter");
        drop(less);
        let little = Memory::take(&memory, Dtype::U8, 900).unwrap();
        assert_ne!(little.bytes().as_ptr(), place, "less than a quarter does not");
        drop(little);
        drop(Memory::take(&memory, Dtype::U8, 6400).unwrap());
        assert_eq!(memory.waiting().bytes, 960 + 6400, "the first was let go to stay below the bound");
        drop(Memory::take(&memory, Dtype::U8, 12000).unwrap());
        assert_eq!(
            memory.waiting().bytes,
            960 + 6400,
            "what is larger than the bound does not wait, nor free what does"
        );
        // Half as much again as was in use at once may wait, but not more than the machine's share: the latest.
        let three = [3000; 3].map(|len| Memory::take(&memory, Dtype::U8, len).unwrap());
        // One of them is the 6400 that waited.
        assert_eq!(memory.waiting().used, 6400 + 2 * 3008);
        assert_eq!(memory.waiting().bytes, 960);
        drop(three);
        let Waiting { bytes, used, .. } = *memory.waiting();
        assert_eq!((bytes, used), (2 * 3008, 0));
    }

    #[test]
    fn what_stays_takes_no_more_than_it_needs() {
        let memory = Memory::new(None);
        let first = Memory::take(&memory, Dtype::U8, 4000).unwrap();
        let place = first.bytes().as_ptr();
        drop(first);
        let lasting = Memory::take_lasting(&memory, Dtype::U8, 3900).unwrap();
        assert_ne!(lasting.bytes().as_ptr(), place);
        // Of the same number of lines it may be.
        assert_eq!(Memory::take_lasting(&memory, Dtype::U8, 3970).unwrap().bytes().as_ptr(), place);
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let memory = Memory::new(None);
        for len in [usize::MAX, usize::MAX / 8] {
            let error = Memory::take(&memory, Dtype::F32, len).err().unwrap();
            assert!(error.to_string().contains(&format!("f32[{len}]")), "{error}");
        }
    }

    #[test]
    fn poison_returns_with_every_take_and_shows_what_wrote_past_the_end() {
        let memory = Memory::new(Some(0xFF));
        for _ in 0..2 {
            let mut storage = Memory::take(&memory, Dtype::F32, 5).unwrap();
            assert!(bytemuck::cast_slice::<u8, f32>(storage.bytes()).iter().all(|x| x.is_nan()));
            storage.bytes_mut().fill(0);
            assert!(storage.guarded());
            storage.used -= 1;
            assert!(!storage.guarded(), "the last byte now counts as a neighbour");
        }
    }
}
