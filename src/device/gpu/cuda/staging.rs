//! Copies between host and card, double-buffered through pinned memory: small uploads through a ring of small buffers,
//! others through two large ones; and small downloads that are collected later.
//!
//! In: host bytes and addresses. Out: the same bytes on the other side. Pageable copies are avoided, because the driver
//! may return before they finish. From pinned memory the card reads by itself, and one buffer is filled while the other
//! is in flight.

use super::handle::Handle;
use super::library::{Code, Library, SUCCESS};
use super::memory::{OUT_OF_MEMORY, Refused};
use crate::device::gpu::driver::Address;
use crate::error::Result;
use cudarc::driver::sys;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Bytes of a piece: long enough that starting a copy costs little.
const PIECE: usize = 4 << 20;

/// Bytes of a piece of the ring, and of one that waits to be fetched: a batch's indices and labels, the outcome of a step.
const SMALL: usize = 16 << 10;

/// Pieces of the ring. A step brings three small lists. The first copy of a step lies in the stream behind all kernels of
/// the step before, so who waits for it lets the card run dry: whatever comes with a few steps has a piece of its own.
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
    fn new(library: &'static Library, count: usize, len: usize) -> Result<Mutex<Self>> {
        let all = (0..count).map(|_| Piece::new(library, len)).collect::<Result<_>>()?;
        Ok(Mutex::new(Self { all, next: 0 }))
    }

    /// The number of the piece whose turn it is.
    fn turn(&mut self) -> usize {
        let turn = self.next;
        self.next = (turn + 1) % self.all.len();
        turn
    }
}

struct Piece {
    library: &'static Library,
    bytes: Handle<u8>,
    /// Recorded behind the last copy that used it.
    done: Handle<sys::CUevent_st>,
}

impl Piece {
    fn new(library: &'static Library, len: usize) -> Result<Self> {
        let mut bytes = std::ptr::null_mut();
        // SAFETY: writes one pointer.
        let answer = unsafe { (library.call.host_take)(&mut bytes, len, 0) };
        library.check(answer, "pin memory of the host").map_err(|error| match answer {
            OUT_OF_MEMORY => error.help("the host has too little memory that can be pinned: end other programs, or give the container more"),
            _ => error,
        })?;
        let mut piece = Self { library, bytes: Handle(bytes.cast()), done: Handle(std::ptr::null_mut()) };
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32;
        // SAFETY: writes one pointer.
        library.check(unsafe { (library.call.event_create)(&mut piece.done.0, flags) }, "make an event")?;
        Ok(piece)
    }

    /// Waits for the last copy. An event that was never recorded is done.
    fn wait(&self) -> Result<(), Refused> {
        // SAFETY: the event is alive.
        answer(unsafe { (self.library.call.event_wait)(self.done.0) }, "wait for a copy")
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // Whatever still travels reads or writes these bytes.
        let _ = self.wait();
        // SAFETY: both were made by `new`, or the event is null, which the driver refuses.
        unsafe {
            (self.library.call.event_destroy)(self.done.0);
            (self.library.call.host_free)(self.bytes.0.cast());
        }
    }
}

fn answer(code: Code, what: &'static str) -> Result<(), Refused> {
    if code == SUCCESS { Ok(()) } else { Err((code, what)) }
}

impl Staging {
    /// For a stream of the current context.
    pub fn new(library: &'static Library, stream: sys::CUstream) -> Result<Self> {
        Ok(Self {
            library,
            stream: Handle(stream),
            pieces: Pieces::new(library, 2, PIECE)?,
            ring: Pieces::new(library, RING, SMALL)?,
            later: Mutex::default(),
        })
    }

    /// To the card; `bytes` may change as soon as this returns.
    pub fn write(&self, to: Address, bytes: &[u8]) -> Result<(), Refused> {
        let pieces = if bytes.len() <= SMALL { &self.ring } else { &self.pieces };
        let mut pieces = pieces.lock().unwrap_or_else(PoisonError::into_inner);
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
            answer(copied, "copy to the card")?;
            self.record(piece)?;
        }
        Ok(())
    }

    /// From the card, after all earlier work.
    pub fn read(&self, from: Address, bytes: &mut [u8]) -> Result<(), Refused> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
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
                answer(copied, "copy from the card")?;
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

    /// Begins to copy from the card, after all earlier work, and gives the copy's number. There are as many pieces as
    /// were ever on their way at once; one that nobody fetches, as of a run that ends with an error, stays taken.
    pub fn read_later(&self, from: Address, bytes: usize) -> Result<Result<usize, Refused>> {
        let mut all = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        let number = match all.iter().position(|later| later.held.is_none()) {
            Some(number) => number,
            None => {
                all.push(Later { piece: Piece::new(self.library, SMALL)?, held: None });
                all.len() - 1
            }
        };
        let later = &mut all[number];
        // SAFETY: the piece has room for so many bytes (`fits_later`) and no copy uses it: it is free, so its last one
        // was waited for; the caller looked up that `from` has that many.
        let copied =
            unsafe { (self.library.call.copy_out)(later.piece.bytes.0.cast(), from.0, bytes, self.stream.0) };
        let begun = answer(copied, "copy from the card").and_then(|()| self.record(&later.piece));
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
        let mut all = self.later.lock().unwrap_or_else(PoisonError::into_inner);
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
