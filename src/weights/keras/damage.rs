//! Damage to golden files, of every kind that one place allows: the reader must end, and say why.

use super::tests::{bytes, files};
use super::*;
use crate::weights::contents::Place;
use std::time::{Duration, Instant};

/// Damaged copies of each file. A core reads some 5,000 a second.
const COPIES: u64 = 1000;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % limit as u64) as usize
    }
}

/// Reads a damaged file; true when it could be.
fn survive(name: &str, how: &str, bytes: &[u8]) -> bool {
    let start = Instant::now();
    let outcome = read(Path::new(name), bytes);
    assert!(start.elapsed() < Duration::from_secs(30), "{name}, {how}: {:?}", start.elapsed());
    match outcome {
        Ok(contents) => {
            for found in &contents.tensors {
                let size = found.shape.iter().product::<usize>() * found.dtype.bitsize() / 8;
                match &found.place {
                    Place::Here(range) => {
                        assert!(range.end <= bytes.len() && range.len() == size, "{name}, {how}")
                    }
                    Place::Decoded(bytes) => assert_eq!(bytes.len(), size, "{name}, {how}"),
                    other => panic!("{name}, {how}: {other:?}"),
                }
            }
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("help: "), "{name}, {how}: {text}");
            // A panic, in hdf5-pure or in what calls it.
            assert!(!text.contains("gave up"), "{name}, {how}: {text}");
            assert!(text.lines().all(|line| line.chars().count() < 500), "{text}");
            false
        }
    }
}

#[test]
fn a_file_that_was_cut_off_does_no_harm() {
    for name in files() {
        let whole = bytes(&name);
        for end in (0..whole.len()).step_by(whole.len() / 400 + 1) {
            survive(&name, &format!("cut at {end}"), &whole[..end]);
        }
    }
}

#[test]
fn a_file_with_wrong_bytes_does_no_harm() {
    for (seed, name) in files().into_iter().enumerate() {
        let whole = bytes(&name);
        // Most of a small HDF5 file is room for more.
        let used: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
        let mut random = Random(seed as u64);
        let mut read = 0;
        for copy in 0..COPIES {
            let mut damaged = whole.clone();
            let at = if copy % 4 == 0 { random.below(whole.len()) } else { used[random.below(used.len())] };
            let how = match copy % 6 {
                0 | 1 => {
                    damaged[at] ^= 1 << random.below(8);
                    "a bit"
                }
                2 => {
                    damaged[at] = [0, 0xff, 0x7f, 0x80][random.below(4)];
                    "an extreme"
                }
                3 => {
                    damaged[at] = random.below(256) as u8;
                    "a byte"
                }
                // An address, a length or a signature of another place.
                _ => {
                    let (from, length) = (random.below(whole.len() - 8) & !7, [8, 4, 2][random.below(3)]);
                    let to = (at & !7).min(whole.len() - 8);
                    damaged.copy_within(from..from + length, to);
                    "a piece"
                }
            };
            read += u64::from(survive(&name, &format!("copy {copy}, {how} at {at}"), &damaged));
        }
        // The damage reaches the structure, and does not always destroy it.
        assert!(read > COPIES / 20 || !whole_is_read(&name), "{name}: {read} were read");
        assert!(read < COPIES, "{name}");
    }
}

fn whole_is_read(name: &str) -> bool {
    read(Path::new(name), &bytes(name)).is_ok()
}
