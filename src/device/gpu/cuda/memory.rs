//! The GPU's memory: taken from the driver in slabs, cut into buffers by the [`Arena`], reused at once when freed.
//!
//! In: sizes. Out: addresses; a map of what is allocated, by whom, so that an out-of-bounds copy is refused and an
//! error lists the owners. A freed buffer may be another's at the next call: stream order guarantees that earlier kernels
//! finish first.

use super::arena::{Arena, grains};
use super::handle::{Handle, Stream};
use super::library::{Code, Library, Refused, SUCCESS, answer};
use super::lock;
use crate::device::gpu::driver::Address;
use crate::device::{Capacity, Dtype};
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes on either side of a guarded buffer; all buffers begin at a multiple of it.
pub const GUARD: usize = 256;
/// What a guard holds: no float that a kernel computes, no label, no index.
pub const GUARD_BYTE: u8 = 0xA5;
/// What fresh memory of a guarded device holds: NaN.
const POISON: u8 = 0xFF;

/// How many of the largest holders an error lists.
const LISTED: usize = 6;

/// Memory of one GPU.
pub struct Memory {
    library: &'static Library,
    stream: Handle<sys::CUstream_st>,
    guarded: bool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    arena: Arena,
    /// By first byte.
    live: BTreeMap<u64, Live>,
    /// Whose the next buffers are.
    label: Arc<str>,
}

/// A buffer.
struct Live {
    dtype: Dtype,
    len: usize,
    label: Arc<str>,
}

impl Live {
    fn bytes(&self) -> usize {
        self.dtype.size() * self.len
    }
}

impl Memory {
    /// Of the current context's GPU.
    pub fn new(library: &'static Library, stream: &Stream, guarded: bool) -> Self {
        Self { library, stream: Handle(stream.raw()), guarded, held: Mutex::default() }
    }

    /// Buffers from now on are the label's.
    pub fn label(&self, label: &str) {
        let mut held = self.held();
        if *held.label != *label {
            held.label = label.into();
        }
    }

    /// `len` elements. Where there is no room, `settle` starts what was kept back, and until its guard goes nothing is kept
    /// back anew: a launch that waits may use memory whose buffer is gone already, and that memory may go to the system.
    /// Where there still is none, `spare` gives back what can be made again. The context must be current, here and below.
    pub fn alloc<Guard>(
        &self,
        dtype: Dtype,
        len: usize,
        settle: impl FnOnce() -> Result<Guard>,
        spare: impl FnOnce(),
    ) -> Result<Result<Address>, Refused> {
        let bytes = dtype.size() * len;
        let whole = self.whole(bytes);
        let mut taken = self.take(whole);
        if taken == Err(OUT_OF_MEMORY) {
            let guard = match settle() {
                Ok(guard) => guard,
                Err(error) => return Ok(Err(error)),
            };
            self.release()?;
            taken = self.take(whole);
            if taken == Err(OUT_OF_MEMORY) {
                spare();
                taken = self.take(whole);
            }
            drop(guard);
        }
        let raw = match taken {
            Ok(raw) => raw,
            Err(OUT_OF_MEMORY) => return Ok(Err(self.out_of_memory(dtype, len))),
            Err(code) => return Err((code, "take memory")),
        };
        let at = raw + self.margin();
        if self.guarded {
            self.fill(raw, GUARD_BYTE, GUARD)?;
            self.fill(at, POISON, bytes)?;
            self.fill(at + bytes as u64, GUARD_BYTE, GUARD)?;
        }
        let mut held = self.held();
        let label = Arc::clone(&held.label);
        held.live.insert(at, Live { dtype, len, label });
        Ok(Ok(Address(at)))
    }

    /// Gives a buffer back, after the work that was started before.
    pub fn free(&self, at: Address) {
        let mut held = self.held();
        if let Some(live) = held.live.remove(&at.0) {
            held.arena.give(at.0 - self.margin(), self.whole(live.bytes()));
        }
    }

    /// Whether `len` bytes from `at` lie within one buffer; its first byte and length.
    pub fn find(&self, at: Address, len: usize) -> Result<(Address, usize)> {
        let held = self.held();
        match held.live.range(..=at.0).next_back() {
            Some((&first, live)) if at.0 - first + len as u64 <= live.bytes() as u64 => {
                Ok((Address(first), live.bytes()))
            }
            _ => Err(Error::bug(Kind::Device, "cuda: a copy that lies in no buffer")
                .fact("bytes", format!("{len} at {:#x}", at.0))),
        }
    }

    /// `f32[64] of block1_conv1`, of the buffer that begins at `first`.
    pub fn name(&self, first: Address) -> String {
        let held = self.held();
        held.live.get(&first.0).map_or_else(String::new, |live| {
            let of = if live.label.is_empty() { "" } else { " of " };
            format!("{}[{}]{of}{}", live.dtype, live.len, live.label)
        })
    }

    /// What the driver has, and what we hold without using it.
    pub fn capacity(&self) -> Result<Capacity, Refused> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes.
        let code = unsafe { (self.library.call.memory_info)(&mut free, &mut total) };
        answer(code, "ask how much memory is free")?;
        Ok(Capacity { free: free as u64 + self.held().arena.spare(), total: total as u64 })
    }

    /// Whether there are guards to look at.
    pub fn guarded(&self) -> bool {
        self.guarded
    }

    /// Bytes before a buffer.
    fn margin(&self) -> u64 {
        if self.guarded { GUARD as u64 } else { 0 }
    }

    /// What a buffer of so many bytes takes of the arena.
    fn whole(&self, bytes: usize) -> u64 {
        grains(if self.guarded { bytes + 2 * GUARD } else { bytes })
    }

    /// A piece of the arena, which grows if it must: by as much as the driver has, down to what is asked for.
    fn take(&self, len: u64) -> Result<u64, Code> {
        let mut held = self.held();
        let mut growth = held.arena.growth(len);
        loop {
            if let Some(at) = held.arena.take(len) {
                return Ok(at);
            }
            let mut at = 0;
            // SAFETY: writes one address.
            match unsafe { (self.library.call.memory_take)(&mut at, growth as usize) } {
                SUCCESS => held.arena.add(at, growth),
                OUT_OF_MEMORY if growth > len => growth = (growth / 2).max(len),
                code => return Err(code),
            }
        }
    }

    /// Gives slabs that nobody uses back to the system, for one of another size. No launch may be kept back meanwhile.
    pub fn release(&self) -> Result<(), Refused> {
        // Nobody gets a piece of them from here on, and who gave one back had started before what uses it: the
        // wait is for that, so it comes second.
        let empty = self.held().arena.release();
        if empty.is_empty() {
            return Ok(());
        }
        // SAFETY: the stream is alive.
        answer(unsafe { (self.library.call.stream_wait)(self.stream.0) }, "wait for the GPU")?;
        for &at in &empty {
            // SAFETY: ours, and the arena knows it no more.
            answer(unsafe { (self.library.call.memory_free)(at) }, "give memory back")?;
        }
        Ok(())
    }

    fn fill(&self, at: u64, byte: u8, len: usize) -> Result<(), Refused> {
        // SAFETY: within what was just taken.
        answer(unsafe { (self.library.call.memory_fill)(at, byte, len, self.stream.0) }, "fill memory")
    }

    fn out_of_memory(&self, dtype: Dtype, len: usize) -> Error {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes; if it cannot, both stay 0.
        unsafe { (self.library.call.memory_info)(&mut free, &mut total) };
        let held = self.held();
        let of = if held.label.is_empty() { String::new() } else { format!(" for {}", held.label) };
        let taken: usize = held.live.values().map(Live::bytes).sum();
        let error = Error::new(Kind::Device, "cuda: out of memory")
            .fact("asked for", format!("{dtype}[{len}], {}{of}", size(dtype.size() * len)))
            .fact("free", format!("{} of {}", size(free), size(total)))
            .fact("taken", format!("{} by this run, in {} buffers", size(taken), held.live.len()));
        let error = match (held.arena.spare() as usize, held.arena.longest() as usize) {
            (0, _) => error,
            (spare, longest) => {
                error.fact("between", format!("{}, the longest piece {}", size(spare), size(longest)))
            }
        };
        let holders = holders(held.live.values());
        let error = if holders.is_empty() { error } else { error.fact("largest", holders.join("\n")) };
        error.help("use a smaller --batch or smaller images (--size); nvidia-smi shows who else uses the GPU")
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Buffers hold the driver, so none is left.
        for at in self.held().arena.take_slabs() {
            // SAFETY: ours; `Cuda` has waited for the last work.
            unsafe { (self.library.call.memory_free)(at) };
        }
    }
}

/// Who holds most: "block1_conv2  1.2 GiB in 3 buffers".
fn holders<'a>(live: impl Iterator<Item = &'a Live>) -> Vec<String> {
    let mut sums = BTreeMap::<&str, (usize, usize)>::new();
    for buffer in live {
        let sum = sums.entry(&buffer.label).or_default();
        *sum = (sum.0 + buffer.bytes(), sum.1 + 1);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|&(_, (bytes, _))| std::cmp::Reverse(bytes));
    let line = |(label, (bytes, count)): (&str, (usize, usize))| {
        let label = if label.is_empty() { "without a name" } else { label };
        format!("{label}: {} in {count} buffer{}", size(bytes), if count == 1 { "" } else { "s" })
    };
    sums.into_iter().take(LISTED).map(line).collect()
}

/// The answer of a GPU that is full.
pub const OUT_OF_MEMORY: Code = sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY as Code;

/// "1.5 GiB".
pub fn size(bytes: usize) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= (1u64 << 30) as f64 => format!("{:.1} GiB", bytes / (1u64 << 30) as f64),
        _ if bytes >= (1 << 20) as f64 => format!("{:.1} MiB", bytes / (1 << 20) as f64),
        _ => format!("{bytes} bytes"),
    }
}
