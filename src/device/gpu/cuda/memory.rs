//! The card's memory: taken and given back in the order of the stream, so that nobody waits.
//!
//! In: sizes. Out: addresses; a map of what is taken, so that a copy beside it is refused. Where the
//! driver has pools it keeps what was given back; elsewhere we do, by size. Both give the same memory
//! again without asking the system, since a training step asks for the same sizes as the one before.

use super::handle::{Handle, Stream};
use super::library::{Code, Library, Pools, SUCCESS};
use crate::device::Dtype;
use crate::device::gpu::driver::Address;
use crate::error::{Error, Kind, Result};
use cudarc::driver::sys;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes on either side of a guarded buffer; all buffers begin at a multiple of it.
pub const GUARD: usize = 256;
/// What a guard holds: no float that a kernel computes, no label, no index.
pub const GUARD_BYTE: u8 = 0xA5;
/// What fresh memory of a guarded device holds: NaN.
const POISON: u8 = 0xFF;

/// Sizes of the arena without pools.
const GRAIN: usize = 512;

/// Answers of the driver and what was asked, for the one who knows about earlier launches.
pub type Refused = (Code, &'static str);

/// Memory of one card.
pub struct Memory {
    library: &'static Library,
    stream: Handle<sys::CUstream_st>,
    pools: Option<(&'static Pools, Handle<sys::CUmemPoolHandle_st>)>,
    guarded: bool,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// First byte of a buffer and how many.
    live: BTreeMap<u64, usize>,
    bytes: usize,
    /// Without pools: what was given back, by size.
    spare: HashMap<usize, Vec<u64>>,
}

impl Memory {
    /// Of the current context's card; `pools` if the card has them.
    pub fn new(
        library: &'static Library,
        stream: &Stream,
        device: Option<sys::CUdevice>,
        guarded: bool,
    ) -> Result<Self> {
        let pools = match (device, &library.pools) {
            (Some(device), Some(pools)) => Some((pools, Self::pool(library, pools, device)?)),
            _ => None,
        };
        Ok(Self { library, stream: Handle(stream.raw()), pools, guarded, held: Mutex::default() })
    }

    /// The card's own pool, told to keep what it has: by default it gives all back at each wait.
    fn pool(
        library: &Library,
        pools: &Pools,
        device: sys::CUdevice,
    ) -> Result<Handle<sys::CUmemPoolHandle_st>> {
        let mut pool = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        library.check(unsafe { (pools.default)(&mut pool, device) }, "open the card's memory pool")?;
        let mut keep = u64::MAX;
        let what = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: this attribute is a 64-bit number, read before the call returns.
        let answer = unsafe { (pools.set)(pool, what, (&raw mut keep).cast()) };
        library.check(answer, "set up the card's memory pool")?;
        Ok(Handle(pool))
    }

    /// `len` elements. The context must be current, here and below.
    pub fn alloc(&self, dtype: Dtype, len: usize) -> Result<Result<Address>, Refused> {
        let bytes = dtype.size() * len;
        let whole = if self.guarded { bytes + 2 * GUARD } else { bytes };
        let mut answer = self.take(whole);
        if answer == Err(OUT_OF_MEMORY) {
            // What is given back but kept for other sizes helps after all work is done.
            self.give_up_spares();
            answer = self.take(whole);
        }
        let raw = match answer {
            Ok(raw) => raw,
            Err(OUT_OF_MEMORY) => return Ok(Err(self.out_of_memory(dtype, len, bytes))),
            Err(code) => return Err((code, "take memory")),
        };
        let at = if self.guarded { raw + GUARD as u64 } else { raw };
        if self.guarded {
            self.fill(raw, GUARD_BYTE, GUARD)?;
            self.fill(at, POISON, bytes)?;
            self.fill(at + bytes as u64, GUARD_BYTE, GUARD)?;
        }
        let mut held = self.held();
        held.live.insert(at, bytes);
        held.bytes += whole;
        Ok(Ok(Address(at)))
    }

    /// Gives a buffer back, after the work that was started before.
    pub fn free(&self, at: Address) {
        let mut held = self.held();
        let Some(bytes) = held.live.remove(&at.0) else { return };
        let (raw, whole) =
            if self.guarded { (at.0 - GUARD as u64, bytes + 2 * GUARD) } else { (at.0, bytes) };
        held.bytes -= whole;
        match self.pools {
            // SAFETY: taken from the pool, given back once, in the order of the stream that uses it. An
            // error is one of earlier work, which the next wait reports.
            Some((pools, _)) => _ = unsafe { (pools.free)(raw, self.stream.0) },
            None => held.spare.entry(whole.next_multiple_of(GRAIN)).or_default().push(raw),
        }
    }

    /// Whether `len` bytes from `at` lie within one buffer; its first byte and length.
    pub fn find(&self, at: Address, len: usize) -> Result<(Address, usize)> {
        let held = self.held();
        match held.live.range(..=at.0).next_back() {
            Some((&first, &bytes)) if at.0 - first + len as u64 <= bytes as u64 => {
                Ok((Address(first), bytes))
            }
            _ => Err(Error::new(Kind::Device, "cuda: a copy that lies in no buffer")
                .fact("bytes", format!("{len} at {:#x}", at.0))
                .help("this is a bug in vgg-ft")),
        }
    }

    /// Whether there are guards to look at.
    pub fn guarded(&self) -> bool {
        self.guarded
    }

    fn take(&self, bytes: usize) -> Result<u64, Code> {
        let mut at = 0;
        let answer = match self.pools {
            // SAFETY: writes one address; the memory is used in the order of the stream alone.
            Some((pools, _)) => unsafe { (pools.take)(&mut at, bytes, self.stream.0) },
            None => {
                let bytes = bytes.next_multiple_of(GRAIN);
                if let Some(at) = self.held().spare.get_mut(&bytes).and_then(Vec::pop) {
                    // Earlier work may still use it; later work in the one stream comes after that.
                    return Ok(at);
                }
                // SAFETY: writes one address.
                unsafe { (self.library.call.memory_take)(&mut at, bytes) }
            }
        };
        if answer == SUCCESS { Ok(at) } else { Err(answer) }
    }

    fn give_up_spares(&self) {
        // SAFETY: the stream is alive. What earlier work did wrong comes up at the next call.
        unsafe { (self.library.call.stream_wait)(self.stream.0) };
        match self.pools {
            // SAFETY: the pool is the card's.
            Some((pools, pool)) => _ = unsafe { (pools.trim)(pool.0, 0) },
            None => {
                for at in std::mem::take(&mut self.held().spare).into_values().flatten() {
                    // SAFETY: ours, used by nobody: the wait above came after its last use.
                    unsafe { (self.library.call.memory_free)(at) };
                }
            }
        }
    }

    fn fill(&self, at: u64, byte: u8, len: usize) -> Result<(), Refused> {
        // SAFETY: within what was just taken.
        let answer = unsafe { (self.library.call.memory_fill)(at, byte, len, self.stream.0) };
        if answer == SUCCESS { Ok(()) } else { Err((answer, "fill memory")) }
    }

    fn out_of_memory(&self, dtype: Dtype, len: usize, bytes: usize) -> Error {
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two sizes.
        unsafe { (self.library.call.memory_info)(&mut free, &mut total) };
        let held = self.held().bytes;
        Error::new(Kind::Device, "cuda: out of memory")
            .fact("asked for", format!("{dtype}[{len}], {}", size(bytes)))
            .fact("free", format!("{} of {}", size(free), size(total)))
            .fact("taken", format!("{} by this run", size(held)))
            .help(
                "use a smaller --batch or smaller pictures (--size); nvidia-smi shows who else uses the card",
            )
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Buffers hold the driver, so none is left; the pool's spares go back with the context.
        self.give_up_spares();
    }
}

const OUT_OF_MEMORY: Code = sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY as Code;

/// "1.5 GiB".
pub fn size(bytes: usize) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= (1u64 << 30) as f64 => format!("{:.1} GiB", bytes / (1u64 << 30) as f64),
        _ if bytes >= (1 << 20) as f64 => format!("{:.1} MiB", bytes / (1 << 20) as f64),
        _ => format!("{bytes} bytes"),
    }
}
