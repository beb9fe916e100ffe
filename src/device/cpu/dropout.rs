//! Dropout by counter: the mask is a function of seed and position, drawn again in backward.

use super::simd::widest;
use super::workshop::Workshop;
use crate::device::call::MaskSource;
use crate::random::unit;

/// Elements of one job: ten rounds of Philox cost more than a copy. A multiple of [`BLOCK`].
const CHUNK: usize = 1 << 13;

/// Draws that are made side by side.
const DRAWS: usize = 4;
/// Elements that they serve: a draw serves four neighbours.
const BLOCK: usize = DRAWS * 4;

/// `y[i] = unit(word[i]) < rate ? 0 : x[i] / (1 - rate)`.
pub fn dropout(shop: &Workshop, rate: f32, source: MaskSource, x: &[f32], y: &mut [f32]) {
    let chunks = y.chunks_mut(CHUNK).zip(x.chunks(CHUNK)).enumerate();
    shop.threads.each(chunks, |(at, (y, x))| {
        let counter = source.counter.wrapping_add((at * (CHUNK / 4)) as u64);
        chunk(rate, MaskSource { counter, ..source }, x, y);
    });
}

widest! {
    fn chunk(rate: f32, source: MaskSource, x: &[f32], y: &mut [f32]) {
        let scale = 1.0 / (1.0 - rate);
        let mut counter = source.counter;
        for (y, x) in y.chunks_mut(BLOCK).zip(x.chunks(BLOCK)) {
            let words = draws(MaskSource { counter, ..source });
            for ((y, &x), &word) in y.iter_mut().zip(x).zip(words.as_flattened()) {
                // As bits: a branch would be guessed wrong every other time.
                let keep = 0u32.wrapping_sub(u32::from(unit(word) >= rate));
                *y = f32::from_bits((x * scale).to_bits() & keep);
            }
            counter = counter.wrapping_add(DRAWS as u64);
        }
    }
}

/// [`crate::random::draw`] for four counters in a row, as vectors: every lane holds 32 bits in 64, which
/// is how processors multiply.
#[inline(always)]
fn draws(source: MaskSource) -> [[u32; 4]; DRAWS] {
    const LOW: u64 = u32::MAX as u64;
    let counters: [u64; DRAWS] = std::array::from_fn(|i| source.counter.wrapping_add(i as u64));
    let mut c0 = counters.map(|counter| counter & LOW);
    let mut c1 = counters.map(|counter| counter >> 32);
    let mut c2 = [source.stream as u64; DRAWS];
    let mut c3 = [0; DRAWS];
    let (mut k0, mut k1) = (source.seed as u32, (source.seed >> 32) as u32);
    for _ in 0..10 {
        for i in 0..DRAWS {
            let a = 0xD251_1F53 * c0[i];
            let b = 0xCD9E_8D57 * c2[i];
            (c0[i], c1[i]) = ((b >> 32) ^ c1[i] ^ u64::from(k0), b & LOW);
            (c2[i], c3[i]) = ((a >> 32) ^ c3[i] ^ u64::from(k1), a & LOW);
        }
        (k0, k1) = (k0.wrapping_add(0x9E37_79B9), k1.wrapping_add(0xBB67_AE85));
    }
    std::array::from_fn(|i| [c0[i] as u32, c1[i] as u32, c2[i] as u32, c3[i] as u32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, draw};

    #[test]
    fn draws_side_by_side_are_the_draws_of_the_engine() {
        for counter in [0, 5, u64::from(u32::MAX) - 1, u64::MAX - 1] {
            let source = MaskSource { seed: 0x1234_5678_9ABC_DEF0, stream: Stream::Dropout, counter };
            for (i, words) in (0..).zip(draws(source)) {
                assert_eq!(words, draw(source.seed, source.stream, counter.wrapping_add(i)));
            }
        }
    }
}
