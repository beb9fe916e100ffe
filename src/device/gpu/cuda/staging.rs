//! Copies between host and GPU, double-buffered through pinned memory: small uploads through a ring of small buffers,
//! others through two large ones; and small downloads that are collected later.
//!
//! In: host bytes and addresses. Out: the same bytes on the other side. Pageable copies are avoided, because the driver
//! may return before they finish. From pinned memory the GPU reads by itself, and one buffer is filled while the other
//! is in flight.

use super::handle::Handle;
use super::library::{Library, Refused, SUCCESS, answer};
use super::lock;
use super::memory::OUT_OF_MEMORY;
use crate::device::gpu::driver::Address;
use crate::error::Result;
use cudarc::driver::sys;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Bytes of a piece: long enough that starting a copy costs little.
const PIECE: usize = 4 << 20;

/// Bytes of a piece of the ring, and of one that waits to be fetched: a batch's indices and labels, the outcome of a step.
const SMALL: usize = 16 << 10;

/// Pieces of the ring. A step brings three small lists. The first copy of a step lies in the stream behind all kernels of
/// the step before, so who waits for it lets the GPU run dry: whatever comes with a few steps has a piece of its own.
const RING: usize = 16;

/// The two pieces, the ring, and those that wait to be fetched.
pub struct Staging {
    library: &'static Library,
    stream: Handle<sys::CUstream_st>,
    pieces: Mutex<Pieces>,
    ring: Mutex<Pieces>,
    later: Mutex<Vec<Later>>,
}

/// A piece for a copy that somebody fetches later, and how many bytes it holds for whom; nobody waits for a free one.
struct Later {
    piece: Piece,
    held: Option<usize>,
}

struct Pieces {
    all: Vec<Piece>,
    next: usize,
}

impl Pieces {
    /// So many, of `len` bytes each.
    fn new(library: &'static Library, count: usize, len: usize) -> Result<Result<Mutex<Self>, Refused>> {
        let all = (0..count).map(|_| Piece::new(library, len)).collect::<Result<Result<_, Refused>>>()?;
        Ok(all.map(|all| Mutex::new(Self { all, next: 0 })))
    }

    /// The number of the piece whose turn it is.
    fn turn(&mut self) -> usize {
        let turn = self.next;
        self.next = (turn + 1) % self.all.len();
        turn
    }
}

/// The first of a piece's bytes, in the host's memory.
struct Pinned(*mut u8);

// SAFETY: pinned memory belongs to no thread; every thread of the process may use it. There is one such pointer for each
// piece, and we read and write through it only while its piece is borrowed from one of the `Mutex`es of `Staging`.
unsafe impl Send for Pinned {}

struct Piece {
    library: &'static Library,
    bytes: Pinned,
    /// Recorded behind the last copy that used it; null in a piece that is given back because there is none.
    done: Handle<sys::CUevent_st>,
}

impl Piece {
    /// Of `len` bytes. That the host has no room for them is said here; any other answer may speak of earlier work.
    fn new(library: &'static Library, len: usize) -> Result<Result<Self, Refused>> {
        const PIN: &str = "pin memory of the host";
        let mut bytes = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        match unsafe { (library.call.host_take)(&mut bytes, len, 0) } {
            SUCCESS => {}
            OUT_OF_MEMORY => {
                return Err(library.error(OUT_OF_MEMORY, PIN).help("the host has too little memory that can be pinned: end other programs, or give the container more"));
            }
            code => return Ok(Err((code, PIN))),
        }
        let mut piece = Self { library, bytes: Pinned(bytes.cast()), done: Handle(std::ptr::null_mut()) };
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: writes one pointer.
        let made = unsafe { (library.call.event_create)(&mut piece.done.0, flags) };
        Ok(answer(made, "make an event").map(|()| piece))
    }

    /// Waits for the last copy. An event that was never recorded is done.
    fn wait(&self) -> Result<(), Refused> {
        // SAFETY: the event is alive.
        answer(unsafe { (self.library.call.event_wait)(self.done.0) }, "wait for a copy")
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if !self.done.0.is_null() {
            // Whatever still travels reads or writes these bytes.
            let _ = self.wait();
            // SAFETY: made by `new`, given back once.
            unsafe { (self.library.call.event_destroy)(self.done.0) };
        }
        // SAFETY: taken by `new`, given back once; no copy uses them, since none was begun or the last was waited for.
        unsafe { (self.library.call.host_free)(self.bytes.0.cast()) };
    }
}

impl Staging {
    /// For a stream of the current context.
    pub fn new(library: &'static Library, stream: sys::CUstream) -> Result<Self> {
        // Nothing of ours ran before.
        let pieces =
            |count, len| Pieces::new(library, count, len)?.map_err(|(code, what)| library.error(code, what));
        Ok(Self {
            library,
            stream: Handle(stream),
            pieces: pieces(2, PIECE)?,
            ring: pieces(RING, SMALL)?,
            later: Mutex::default(),
        })
    }

    /// To the GPU; `bytes` may change as soon as this returns.
    pub fn write(&self, to: Address, bytes: &[u8]) -> Result<(), Refused> {
        let pieces = if bytes.len() <= SMALL { &self.ring } else { &self.pieces };
        let mut pieces = lock(pieces);
        for (at, part) in bytes.chunks(PIECE).enumerate() {
            let number = pieces.turn();
            let piece = &pieces.all[number];
            piece.wait()?;
            // SAFETY: `part` has at most PIECE bytes, and SMALL if the piece is of the ring; the piece has that many, and
            // no copy uses it.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), piece.bytes.0, part.len()) };
            let to = to.0 + (at * PIECE) as u64;
            // SAFETY: the caller looked up that `to` has room; the piece stays as it is until its event.
            let copied =
                unsafe { (self.library.call.copy_in)(to, piece.bytes.0.cast(), part.len(), self.stream.0) };
            answer(copied, "copy to the GPU")?;
            self.record(piece)?;
        }
        Ok(())
    }

    /// From the GPU, after all earlier work.
    pub fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), Refused> {
        let mut pieces = lock(&self.pieces);
        let pieces = &mut *pieces;
        let mut parts = bytes.chunks_mut(PIECE).enumerate();
        let mut travelling = VecDeque::new();
        loop {
            // As many on the way as there are pieces, then the first of them has to land.
            if travelling.len() < pieces.all.len()
                && let Some((at, part)) = parts.next()
            {
                let number = pieces.turn();
                let piece = &pieces.all[number];
                piece.wait()?;
                let from = from.0 + (at * PIECE) as u64;
                // SAFETY: the piece has room for `part` and no copy uses it; the caller looked up that
                // `from` has that many bytes.
                let copied = unsafe {
                    (self.library.call.copy_out)(piece.bytes.0.cast(), from, part.len(), self.stream.0)
                };
                answer(copied, "copy from the GPU")?;
                self.record(piece)?;
                travelling.push_back((number, part));
            } else if let Some((number, part)) = travelling.pop_front() {
                let piece = &pieces.all[number];
                piece.wait()?;
                // SAFETY: the copy of this many bytes into the piece is done, and none has begun since.
                part.copy_from_slice(unsafe { std::slice::from_raw_parts(piece.bytes.0, part.len()) });
            } else {
                return Ok(());
            }
        }
    }

    /// Begins to copy from the GPU, after all earlier work, and gives the copy's number. There are as many pieces as
    /// were ever on their way at once; one that nobody fetches, as of a run that ends with an error, stays taken.
    pub fn read_later(&self, from: Address, bytes: usize) -> Result<Result<usize, Refused>> {
        let mut all = lock(&self.later);
        let number = match all.iter().position(|later| later.held.is_none()) {
            Some(number) => number,
            None => {
                let piece = match Piece::new(self.library, SMALL)? {
                    Ok(piece) => piece,
                    Err(refused) => return Ok(Err(refused)),
                };
                all.push(Later { piece, held: None });
                all.len() - 1
            }
        };
        let later = &mut all[number];
        // SAFETY: the piece has room for so many bytes (`fits_later`) and no copy uses it: it is free, so its last one
        // was waited for; the caller looked up that `from` has that many.
        let copied =
            unsafe { (self.library.call.copy_out)(later.piece.bytes.0.cast(), from.0, bytes, self.stream.0) };
        let begun = answer(copied, "copy from the GPU").and_then(|()| self.record(&later.piece));
        if begun.is_ok() {
            later.held = Some(bytes);
        }
        Ok(begun.map(|()| number))
    }

    /// Whether so many bytes may be fetched later.
    pub fn fits_later(bytes: usize) -> bool {
        bytes <= SMALL
    }

    /// Waits for the copy `number`; `None` if there is none.
    pub fn landed(&self, number: usize) -> Option<Result<Vec<u8>, Refused>> {
        let mut all = lock(&self.later);
        let later = all.get_mut(number)?;
        let len = later.held.take()?;
        Some(later.piece.wait().map(|()| {
            // SAFETY: the copy of this many bytes into the piece is done, and none has begun since.
            unsafe { std::slice::from_raw_parts(later.piece.bytes.0, len) }.to_vec()
        }))
    }

    fn record(&self, piece: &Piece) -> Result<(), Refused> {
        // SAFETY: event and stream are alive and of one context.
        answer(unsafe { (self.library.call.event_record)(piece.done.0, self.stream.0) }, "follow a copy")
    }
}
