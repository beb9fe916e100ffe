//! The bytes of a mapped file in, a source for `hdf5-pure` out: copies of small pieces, counted.
//!
//! Two things are kept from the library here. Memory: a file of 550 MB is read through copies of a hundred
//! kilobytes. And time: in a tree of 60 levels whose nodes have two ways to one node each there are 2⁶⁰ ways
//! down, all of which the library would go. A file may cost [`READS`] reads; then every further one fails.

use hdf5_pure::{FormatError, Source};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Reads that any file may cost. VGG16 costs 1,600 at most, of a microsecond each.
const READS: u64 = 300_000;
/// Bytes that these may copy. VGG16 costs 100 kB.
const BYTES: u64 = 128 << 20;
/// The longest piece of structure. Configurations of models have 20 kB to 2 MB.
const LONGEST: usize = 32 << 20;

/// What reading may still cost.
pub(super) struct Meter {
    reads: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// Allows for the chunks of an array, which lie in the file once.
    pub fn allow(&self, chunks: usize, bytes: u64) {
        self.reads.fetch_add(2 * chunks as u64, Ordering::Relaxed);
        self.bytes.fetch_add(2 * bytes, Ordering::Relaxed);
    }

    /// Whether a read has been refused for what it would cost.
    pub fn is_spent(&self) -> bool {
        self.reads.load(Ordering::Relaxed) == 0 || self.bytes.load(Ordering::Relaxed) == 0
    }

    fn spend(&self, length: usize) -> Result<(), FormatError> {
        let spend = |purse: &AtomicU64, price: u64| {
            // An empty purse stays empty: what comes next is refused too, however small.
            let left = purse.load(Ordering::Relaxed).saturating_sub(price);
            purse.store(left, Ordering::Relaxed);
            left > 0
        };
        if spend(&self.reads, 1) && spend(&self.bytes, length as u64) {
            return Ok(());
        }
        Err(FormatError::Source("the structure is larger than that of any model".into()))
    }
}

/// A view of bytes that may be gone: then every read fails.
pub(super) struct Window {
    lent: Lent,
    length: usize,
    meter: Arc<Meter>,
}

/// `None` once the bytes are the owner's again.
type Lent = Arc<RwLock<Option<&'static [u8]>>>;

/// Takes the bytes back, also when the borrower panics.
struct TakeBack(Lent);

impl Drop for TakeBack {
    fn drop(&mut self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Calls `look` with a window onto `bytes`.
pub(super) fn lend<T>(bytes: &[u8], look: impl FnOnce(Window, &Arc<Meter>) -> T) -> T {
    // SAFETY: hdf5-pure asks for a source without a lifetime, which a borrowed map has not. The reference is
    // in `lent` alone, under a lock; `Window` copies from it while it holds the lock, and hands it to nobody.
    // `TakeBack` removes it before this function ends, by return or by panic, and so within the true lifetime.
    let forever: &'static [u8] = unsafe { std::mem::transmute::<&[u8], &'static [u8]>(bytes) };
    let lent: Lent = Arc::new(RwLock::new(Some(forever)));
    let _take_back = TakeBack(lent.clone());
    let meter = Arc::new(Meter { reads: AtomicU64::new(READS), bytes: AtomicU64::new(BYTES) });
    look(Window { lent, length: bytes.len(), meter: meter.clone() }, &meter)
}

impl Source for Window {
    fn len(&self) -> u64 {
        self.length as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        self.meter.spend(buf.len())?;
        let lent = self.lent.read().unwrap_or_else(PoisonError::into_inner);
        let from = lent.and_then(|bytes| {
            let start = usize::try_from(offset).ok()?;
            bytes.get(start..start.checked_add(buf.len())?)
        });
        let Some(from) = from else {
            return Err(FormatError::UnexpectedEof {
                expected: usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(buf.len()),
                available: self.length,
            });
        };
        buf.copy_from_slice(from);
        Ok(())
    }

    fn read_metadata_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, FormatError> {
        if len > LONGEST {
            return Err(FormatError::Source(format!("a piece of structure has {len} bytes")));
        }
        self.read_exact_at(offset, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_the_bytes_until_they_are_taken_back() {
        let bytes = vec![1, 2, 3, 4];
        let window = lend(&bytes, |window, _| {
            assert_eq!(window.read_exact_at(1, 3).unwrap(), [2, 3, 4]);
            assert!(window.read_exact_at(2, 3).is_err());
            assert!(window.read_at(u64::MAX, &mut [0; 3]).is_err());
            window
        });
        assert!(window.read_exact_at(1, 3).is_err());
        let panic = std::panic::catch_unwind(|| lend(&[1, 2], |window, _| panic!("{}", window.len())));
        assert!(panic.is_err());
    }

    #[test]
    fn the_meter_stops_what_would_never_end() {
        let reads = lend(&[0; 8], |window, meter| {
            let reads = (0..2 * READS).take_while(|_| window.read_exact_at(0, 1).is_ok()).count();
            assert!(meter.is_spent() && window.read_exact_at(0, 1).is_err());
            reads as u64
        });
        assert_eq!(reads, READS - 1);
        let bytes = vec![0; LONGEST + 1];
        lend(&bytes, |window, meter| {
            assert!(window.read_metadata_at(0, LONGEST + 1).is_err());
            let most = BYTES / LONGEST as u64;
            let reads = (0..100).take_while(|_| window.read_metadata_at(0, LONGEST).is_ok()).count();
            assert!(meter.is_spent() && reads as u64 == most - 1, "{reads}");
        });
    }
}
