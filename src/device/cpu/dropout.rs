//! Dropout by counter: the mask is a function of seed and position, drawn again in backward.

use super::workshop::Workshop;
use crate::device::call::MaskSource;
use crate::random::{draw, unit};

/// Elements of one job; a draw of ten rounds costs more than a copy. A multiple of four: a draw
/// serves four neighbours.
const CHUNK: usize = 1 << 13;

/// `y[i] = unit(word[i]) < rate ? 0 : x[i] / (1 - rate)`.
pub fn dropout(shop: &Workshop, rate: f32, source: MaskSource, x: &[f32], y: &mut [f32]) {
    let scale = 1.0 / (1.0 - rate);
    let chunks = y.chunks_mut(CHUNK).zip(x.chunks(CHUNK)).enumerate();
    shop.threads.each(chunks, |(chunk, (y, x))| {
        let first = source.counter.wrapping_add((chunk * (CHUNK / 4)) as u64);
        for (i, (y, x)) in y.chunks_mut(4).zip(x.chunks(4)).enumerate() {
            let words = draw(source.seed, source.stream, first.wrapping_add(i as u64));
            for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
                *y = if unit(word) < rate { 0.0 } else { x * scale };
            }
        }
    });
}
