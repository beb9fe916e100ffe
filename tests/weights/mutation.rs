//! A small valid file with bytes changed, put in and cut off: never a panic, never a large allocation.

use crate::{metadata, scratch, tensor};
use proptest::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use vgg_ft::weights::{FloatType, Weights, inspect, save};

/// The system's allocator, which notes the largest request of each thread: a damaged file must not
/// make us ask for what it claims.
struct Noting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; the note is a thread-local number without a destructor.
unsafe impl GlobalAlloc for Noting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract; the memory came from `System`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Noting = Noting;

static SMALL_VALID_FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (_dir, path) = scratch();
    let data: Vec<f32> = (0..24).map(|x| x as f32).collect();
    let tensors = [tensor("a.kernel", &[2, 3, 4], &data), tensor("a.bias", &[4], &data[..4])];
    save(&path, &tensors, FloatType::F16, &metadata()).unwrap();
    fs::read(&path).unwrap()
});

/// Opens and reads all of it; only the absence of a panic and of a large allocation is asserted.
fn open_and_read_all(path: &Path) {
    if let Ok(weights) = Weights::open(path) {
        for name in weights.names() {
            let shape = weights.shape(name).unwrap();
            if let Ok(values) = weights.tensor(name, shape) {
                assert_eq!(values.len(), shape.iter().product::<usize>());
            }
        }
    }
    if let Err(error) = inspect(path) {
        assert!(!error.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_mutation_makes_a_panic_or_a_large_allocation(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
        digits in prop::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 0..4),
        length in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = SMALL_VALID_FILE.clone();
        // Digits for digits keep the JSON whole, so that shapes and offsets are reached.
        let places: Vec<usize> = (8..bytes.len() - 56).filter(|&i| bytes[i].is_ascii_digit()).collect();
        for (at, digit) in &digits {
            bytes[places[at.index(places.len())]] = *digit;
        }
        if digits.is_empty() {
            for (at, value, insert) in edits {
                let at = at.index(bytes.len());
                if insert { bytes.insert(at, value) } else { bytes[at] = value }
            }
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        let (_dir, path) = scratch();
        fs::write(&path, &bytes).unwrap();
        LARGEST.with(|largest| largest.set(0));
        open_and_read_all(&path);
        let largest = LARGEST.with(Cell::get);
        // Reading a valid file of 400 bytes needs about 1 kB at a time; 64 kB is far from what a claim
        // of a damaged header (up to 100 MB) would take.
        prop_assert!(largest < 64 << 10, "{largest} bytes in one allocation");
    }
}
